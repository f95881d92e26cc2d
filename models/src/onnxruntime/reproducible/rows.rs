//! Operators on rows of elements.

use super::operator::{Compute, Definition, Input, axis, fail, floats, give, input};
use depx_kernels::{Isa, Reduction, layer_norm, log_softmax, lp_normalize, reduce, rms_norm, softmax};
use ort::operator::{ComputeContext, KernelContext};

macro_rules! reduction {
    ($name:literal, $reduction:ident) => {
        Definition {
            name: $name,
            inputs: &[Input::Floats, Input::OptionalIntegers],
            prepare: |context, isa| Ok(reduced(context, isa, Reduction::$reduction)),
        }
    };
}

pub(super) const DEFINITIONS: &[Definition] = &[
    Definition { name: "GlobalAveragePool", inputs: &[Input::Floats], prepare: |_, isa| Ok(average_of_planes(isa)) },
    Definition {
        name: "LayerNormalization",
        inputs: &[Input::Floats, Input::OptionalFloats, Input::OptionalFloats],
        prepare: layer_normalization,
    },
    Definition { name: "LpNormalization", inputs: &[Input::Floats], prepare: lp_normalization },
    Definition {
        name: "RMSNormalization",
        inputs: &[Input::Floats, Input::OptionalFloats],
        prepare: rms_normalization,
    },
    Definition {
        name: "LogSoftmax",
        inputs: &[Input::Floats],
        prepare: |context, isa| Ok(share(context, isa, log_softmax)),
    },
    Definition { name: "Softmax", inputs: &[Input::Floats], prepare: |context, isa| Ok(share(context, isa, softmax)) },
    reduction!("ReduceL1", L1),
    reduction!("ReduceL2", L2),
    reduction!("ReduceLogSum", LogSum),
    reduction!("ReduceLogSumExp", LogSumExp),
    reduction!("ReduceMax", Max),
    reduction!("ReduceMean", Mean),
    reduction!("ReduceMin", Min),
    reduction!("ReduceProd", Prod),
    reduction!("ReduceSum", Sum),
    reduction!("ReduceSumSquare", SumSquare),
];

/// A kernel on `[outer, axis, inner]`.
type Share = fn(Isa, &[f32], usize, usize, &mut [f32]);

fn share(context: &KernelContext<'_>, isa: Isa, kernel: Share) -> Compute {
    let along = context.get("axis").unwrap_or(-1);
    Box::new(move |context| {
        let x = input(context, 0)?;
        let (shape, x) = floats(&x)?;
        let along = axis(along, shape.len())?;
        let inner = shape[along + 1..].iter().product();
        give(context, &shape, |y| {
            if !y.is_empty() {
                kernel(isa, x, shape[along], inner, y);
            }
            Ok(())
        })
    })
}

fn layer_normalization(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let along: i64 = context.get("axis").unwrap_or(-1);
    let epsilon: f32 = context.get("epsilon").unwrap_or(1e-5);
    Ok(Box::new(move |context| {
        let (scale, bias) = (context.input(1)?, context.input(2)?);
        let scale = scale.as_ref().map(floats).transpose()?;
        let bias = bias.as_ref().map(floats).transpose()?;
        let x = input(context, 0)?;
        let (shape, x) = floats(&x)?;
        let along = axis(along, shape.len())?;
        let length = shape[along..].iter().product();
        if [&scale, &bias].into_iter().flatten().any(|(_, factors)| factors.len() != length) {
            return fail(format!("scale and bias must have {length} elements"));
        }
        let (scale, bias) = (scale.map(|(_, scale)| scale), bias.map(|(_, bias)| bias));
        give(context, &shape, |y| {
            if !y.is_empty() {
                layer_norm(isa, x, length, scale, bias, epsilon, y);
            }
            Ok(())
        })
    }))
}

fn rms_normalization(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let along: i64 = context.get("axis").unwrap_or(-1);
    let epsilon: f32 = context.get("epsilon").unwrap_or(1e-5);
    Ok(Box::new(move |context| {
        let scale = context.input(1)?;
        let scale = scale.as_ref().map(floats).transpose()?.map(|(_, scale)| scale);
        let x = input(context, 0)?;
        let (shape, x) = floats(&x)?;
        let along = axis(along, shape.len())?;
        let length = shape[along..].iter().product();
        if scale.is_some_and(|scale| scale.len() != length) {
            return fail(format!("its scale must have {length} elements"));
        }
        give(context, &shape, |y| {
            if !y.is_empty() {
                rms_norm(isa, x, length, scale, epsilon, y);
            }
            Ok(())
        })
    }))
}

fn lp_normalization(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let along: i64 = context.get("axis").unwrap_or(-1);
    let p = match context.get::<i64>("p").unwrap_or(2) {
        1 => 1,
        2 => 2,
        p => return fail(format!("a norm of order {p} has no reproducible kernel")),
    };
    Ok(Box::new(move |context| {
        let x = input(context, 0)?;
        let (shape, x) = floats(&x)?;
        let along = axis(along, shape.len())?;
        let inner = shape[along + 1..].iter().product();
        give(context, &shape, |y| {
            if !y.is_empty() {
                lp_normalize(isa, p, x, shape[along], inner, y);
            }
            Ok(())
        })
    }))
}

fn reduced(context: &KernelContext<'_>, isa: Isa, reduction: Reduction) -> Compute {
    let named: Vec<i64> = context.get("axes").unwrap_or_default();
    let keep = context.get::<i64>("keepdims").unwrap_or(1) != 0;
    let nothing_by_default = context.get::<i64>("noop_with_empty_axes").unwrap_or(0) != 0;
    Box::new(move |context| {
        let x = input(context, 0)?;
        let (shape, x) = floats(&x)?;
        let mut axes = axes(context, &named, shape.len())?;
        if axes.is_empty() && !nothing_by_default {
            axes = (0..shape.len()).collect();
        }
        let dimensions = shape.iter().enumerate();
        let kept = dimensions.filter_map(|(position, &size)| match axes.contains(&position) {
            true => keep.then_some(1),
            false => Some(size),
        });
        give(context, &kept.collect::<Vec<_>>(), |y| {
            match side_by_side(&axes) {
                _ if y.is_empty() => {}
                Some((first, last)) => {
                    let size = |range: &[usize]| range.iter().product();
                    reduce(isa, reduction, x, size(&shape[first..last]), size(&shape[last..]), y);
                }
                None => {
                    let x = inwards(x, &shape, &axes);
                    reduce(isa, reduction, &x, axes.iter().map(|&axis| shape[axis]).product(), 1, y);
                }
            }
            Ok(())
        })
    })
}

/// The axes that an attribute names or the second input holds, sorted.
fn axes(context: &ComputeContext, named: &[i64], rank: usize) -> ort::Result<Vec<usize>> {
    let given = if context.num_inputs()? > 1 { context.input(1)? } else { None };
    let given = given.as_ref().map(|axes| axes.try_extract_tensor::<i64>()).transpose()?;
    let named = given.map_or(named, |(_, axes)| axes);
    let mut axes = named.iter().map(|&named| axis(named, rank)).collect::<ort::Result<Vec<_>>>()?;
    axes.sort_unstable();
    axes.dedup();
    Ok(axes)
}

/// The first of sorted axes and the end of the last, if no other lies between them.
fn side_by_side(axes: &[usize]) -> Option<(usize, usize)> {
    match axes {
        [] => Some((0, 0)),
        [first, .., last] if last - first + 1 > axes.len() => None,
        [first, ..] => Some((*first, first + axes.len())),
    }
}

/// The elements with `axes` as the last dimensions, in their order.
fn inwards(x: &[f32], shape: &[usize], axes: &[usize]) -> Vec<f32> {
    let strides = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product::<usize>()).collect::<Vec<_>>();
    let mut order = (0..shape.len()).filter(|axis| !axes.contains(axis)).collect::<Vec<_>>();
    order.extend(axes);
    let starts = order.iter().fold(vec![0], |starts, &axis| {
        starts
            .iter()
            .flat_map(|start| (0..shape[axis]).map(move |index| (start, index)))
            .map(|(start, index)| start + index * strides[axis])
            .collect()
    });
    starts.iter().map(|&start: &usize| x[start]).collect()
}

/// The mean of each channel.
fn average_of_planes(isa: Isa) -> Compute {
    Box::new(move |context| {
        let x = input(context, 0)?;
        let (mut shape, x) = floats(&x)?;
        if shape.len() < 2 {
            return fail("it averages what has a batch and channels");
        }
        let plane = shape[2..].iter().product();
        shape[2..].fill(1);
        give(context, &shape, |y| {
            if !y.is_empty() {
                reduce(isa, Reduction::Mean, x, plane, 1, y);
            }
            Ok(())
        })
    })
}
