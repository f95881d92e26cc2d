//! Operators that normalise channels.

use super::operator::{Compute, Definition, FLOATS, Input, fail, floats, give, input};
use depx_kernels::{BatchNorm, Isa, LocalResponse, batch_norm, group_norm, local_response_norm};
use ort::operator::KernelContext;

pub(super) const DEFINITIONS: &[Definition] = &[
    Definition {
        name: "BatchNormalization",
        inputs: &[Input::Floats; 5],
        outputs: FLOATS,
        prepare: batch_normalization,
    },
    Definition {
        name: "GroupNormalization",
        inputs: &[Input::Floats; 3],
        outputs: FLOATS,
        prepare: group_normalization,
    },
    Definition {
        name: "InstanceNormalization",
        inputs: &[Input::Floats; 3],
        outputs: FLOATS,
        prepare: instance_normalization,
    },
    Definition { name: "LRN", inputs: &[Input::Floats], outputs: FLOATS, prepare: local_response_normalization },
];

/// Positions of a channel in `[batch, channels, …]`, where there are as many channels as each of `parameters` has elements.
fn positions(shape: &[usize], parameters: &[&[f32]]) -> ort::Result<usize> {
    match shape {
        [_, channels, positions @ ..] if parameters.iter().all(|values| values.len() == *channels) => {
            Ok(positions.iter().product())
        }
        _ => fail("its parameters must have an element for each channel of its input"),
    }
}

fn batch_normalization(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let epsilon = context.get("epsilon").unwrap_or(1e-5);
    Ok(Box::new(move |context| {
        let parameters = [input(context, 1)?, input(context, 2)?, input(context, 3)?, input(context, 4)?];
        let [(_, scale), (_, bias), (_, mean), (_, variance)] =
            [floats(&parameters[0])?, floats(&parameters[1])?, floats(&parameters[2])?, floats(&parameters[3])?];
        let x = input(context, 0)?;
        let (shape, x) = floats(&x)?;
        let positions = positions(&shape, &[scale, bias, mean, variance])?;
        let parameters = BatchNorm { scale, bias, mean, variance, epsilon };
        give(context, &shape, |y| batch_norm(isa, x, positions, parameters, y))
    }))
}

fn instance_normalization(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let epsilon = context.get("epsilon").unwrap_or(1e-5);
    Ok(Box::new(move |context| {
        let (scale, bias) = (input(context, 1)?, input(context, 2)?);
        let ((_, scale), (_, bias)) = (floats(&scale)?, floats(&bias)?);
        let x = input(context, 0)?;
        let (shape, x) = floats(&x)?;
        let positions = positions(&shape, &[scale, bias])?;
        give(context, &shape, |y| group_norm(isa, x, scale.len(), positions, scale, bias, epsilon, y))
    }))
}

fn group_normalization(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let groups = usize::try_from(context.get::<i64>("num_groups").unwrap_or(0)).unwrap_or(0);
    let epsilon = context.get("epsilon").unwrap_or(1e-5);
    Ok(Box::new(move |context| {
        let (x, scale, bias) = (input(context, 0)?, input(context, 1)?, input(context, 2)?);
        let ((shape, x), (_, scale), (_, bias)) = (floats(&x)?, floats(&scale)?, floats(&bias)?);
        let channels = shape.get(1).copied().unwrap_or(0);
        if groups == 0 || !channels.is_multiple_of(groups) {
            return fail(format!("{channels} channels in {groups} groups"));
        }
        // Before operator set 21 there is one for each group.
        let [scale, bias] = [scale, bias].map(|factors| match factors.len() == groups {
            true => factors.iter().flat_map(|factor| vec![*factor; channels / groups]).collect(),
            false => factors.to_vec(),
        });
        let positions = positions(&shape, &[&scale, &bias])?;
        give(context, &shape, |y| group_norm(isa, x, groups, positions, &scale, &bias, epsilon, y))
    }))
}

fn local_response_normalization(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let number = |name, default| context.get(name).unwrap_or(default);
    let response = LocalResponse {
        size: usize::try_from(context.get::<i64>("size").unwrap_or(0)).unwrap_or(0),
        alpha: number("alpha", 0.0001),
        beta: number("beta", 0.75),
        bias: number("bias", 1.0),
    };
    Ok(Box::new(move |context| {
        let x = input(context, 0)?;
        let (shape, x) = floats(&x)?;
        let positions = positions(&shape, &[])?;
        give(context, &shape, |y| local_response_norm(isa, response, x, shape[1], positions, y))
    }))
}
