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
        prepare: |context, isa| {
            normalization(context, isa, |isa, x, length, [scale, bias], epsilon, y| {
                layer_norm(isa, x, length, scale, bias, epsilon, y);
            })
        },
    },
    Definition { name: "LpNormalization", inputs: &[Input::Floats], prepare: lp_normalization },
    Definition {
        name: "RMSNormalization",
        inputs: &[Input::Floats, Input::OptionalFloats],
        prepare: |context, isa| {
            normalization(context, isa, |isa, x, length, [scale, _], epsilon, y| {
                rms_norm(isa, x, length, scale, epsilon, y);
            })
        },
    },
    Definition {
        name: "LogSoftmax",
        inputs: &[Input::Floats],
        prepare: |context, isa| along(context, move |x, length, inner, y| log_softmax(isa, x, length, inner, y)),
    },
    Definition {
        name: "Softmax",
        inputs: &[Input::Floats],
        prepare: |context, isa| along(context, move |x, length, inner, y| softmax(isa, x, length, inner, y)),
    },
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

/// A kernel on `[outer, axis, inner]`, which gets the sizes of the last two.
fn along(
    context: &KernelContext<'_>,
    kernel: impl Fn(&[f32], usize, usize, &mut [f32]) + Send + 'static,
) -> ort::Result<Compute> {
    let along = context.get("axis").unwrap_or(-1);
    Ok(Box::new(move |context| {
        let x = input(context, 0)?;
        let (shape, x) = floats(&x)?;
        let along = axis(along, shape.len())?;
        let inner = shape[along + 1..].iter().product();
        give(context, &shape, |y| kernel(x, shape[along], inner, y))
    }))
}

/// The order of other models is 1.
fn lp_normalization(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let p = if context.get::<i64>("p").unwrap_or(2) == 2 { 2 } else { 1 };
    along(context, move |x, length, inner, y| lp_normalize(isa, p, x, length, inner, y))
}

/// A kernel on rows with a scale and a bias, each of a row's length or left out.
fn normalization(context: &KernelContext<'_>, isa: Isa, kernel: Normalization) -> ort::Result<Compute> {
    let along: i64 = context.get("axis").unwrap_or(-1);
    let epsilon: f32 = context.get("epsilon").unwrap_or(1e-5);
    Ok(Box::new(move |context| {
        let factors = |position| if position < context.num_inputs()? { context.input(position) } else { Ok(None) };
        let (scale, bias) = (factors(1)?, factors(2)?);
        let scale = scale.as_ref().map(floats).transpose()?.map(|(_, scale)| scale);
        let bias = bias.as_ref().map(floats).transpose()?.map(|(_, bias)| bias);
        let x = input(context, 0)?;
        let (shape, x) = floats(&x)?;
        let length = shape[axis(along, shape.len())?..].iter().product();
        if [scale, bias].into_iter().flatten().any(|factors| factors.len() != length) {
            return fail(format!("its scale and bias must have {length} elements"));
        }
        give(context, &shape, |y| kernel(isa, x, length, [scale, bias], epsilon, y))
    }))
}

type Normalization = fn(Isa, &[f32], usize, [Option<&[f32]>; 2], f32, &mut [f32]);

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
        give(context, &kept.collect::<Vec<_>>(), |y| match side_by_side(&axes) {
            Some((first, last)) => {
                let size = |range: &[usize]| range.iter().product();
                reduce(isa, reduction, x, size(&shape[first..last]), size(&shape[last..]), y);
            }
            None => {
                let x = inwards(x, &shape, &axes);
                reduce(isa, reduction, &x, axes.iter().map(|&axis| shape[axis]).product(), 1, y);
            }
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
        give(context, &shape, |y| reduce(isa, Reduction::Mean, x, plane, 1, y))
    })
}
