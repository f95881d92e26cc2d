//! Operators that normalise channels.

use super::operator::{Compute, Definition, Input, fail, floats, give, input};
use depx_kernels::{BatchNorm, Isa, batch_norm, group_norm};
use ort::operator::KernelContext;

pub(super) const DEFINITIONS: &[Definition] = &[
    Definition { name: "BatchNormalization", inputs: &[Input::Floats; 5], prepare: batch_normalization },
    Definition { name: "InstanceNormalization", inputs: &[Input::Floats; 3], prepare: instance_normalization },
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
