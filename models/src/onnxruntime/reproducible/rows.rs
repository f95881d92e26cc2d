//! Operators on rows of elements.

use super::operator::{
    Compute, Definition, FLOATS, Input, Output, axis, fail, fill_parts, floats, give, give_at, input, optional,
};
use depx_kernels::{
    CumulativeSum, Isa, Reduction, cumulative_sum, layer_norm, layer_norm_statistics, log_softmax, lp_normalize,
    mean_variance_norm, reduce, rms_norm, softmax,
};
use ort::operator::{ComputeContext, KernelContext};
use ort::value::TensorElementType;

macro_rules! reduction {
    ($name:literal, $reduction:ident) => {
        Definition {
            name: $name,
            inputs: &[Input::Floats, Input::OptionalIntegers],
            outputs: FLOATS,
            prepare: |context, isa| Ok(reduced(context, isa, Reduction::$reduction)),
        }
    };
}

const STATISTICS: Output = Output::OptionalOf(TensorElementType::Float32);

pub(super) const DEFINITIONS: &[Definition] = &[
    Definition {
        name: "CumSum",
        inputs: &[Input::Floats, Input::Anything],
        outputs: FLOATS,
        prepare: |context, isa| Ok(sums(context, isa)),
    },
    Definition {
        name: "GlobalAveragePool",
        inputs: &[Input::Floats],
        outputs: FLOATS,
        prepare: |_, isa| Ok(planes(move |x, plane, y| reduce(isa, Reduction::Mean, x, plane, 1, y))),
    },
    Definition {
        name: "GlobalMaxPool",
        inputs: &[Input::Floats],
        outputs: FLOATS,
        prepare: |_, isa| Ok(planes(move |x, plane, y| reduce(isa, Reduction::Max, x, plane, 1, y))),
    },
    Definition {
        name: "LayerNormalization",
        inputs: &[Input::Floats, Input::OptionalFloats, Input::OptionalFloats],
        outputs: &[FLOATS[0], STATISTICS, STATISTICS],
        prepare: layer_normalization,
    },
    Definition { name: "LpNormalization", inputs: &[Input::Floats], outputs: FLOATS, prepare: lp_normalization },
    Definition {
        name: "MeanVarianceNormalization",
        inputs: &[Input::Floats],
        outputs: FLOATS,
        prepare: |context, isa| Ok(mean_variance_normalization(context, isa)),
    },
    Definition {
        name: "RMSNormalization",
        inputs: &[Input::Floats, Input::OptionalFloats],
        outputs: FLOATS,
        prepare: |context, isa| {
            normalization(context, isa, |isa, x, length, [scale, _], epsilon, y| {
                rms_norm(isa, x, length, scale, epsilon, y);
            })
        },
    },
    Definition {
        name: "LogSoftmax",
        inputs: &[Input::Floats],
        outputs: FLOATS,
        prepare: |context, isa| along(context, move |x, length, inner, y| log_softmax(isa, x, length, inner, y)),
    },
    Definition {
        name: "Softmax",
        inputs: &[Input::Floats],
        outputs: FLOATS,
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
    kernel: impl Fn(&[f32], usize, usize, &mut [f32]) + Send + Sync + 'static,
) -> ort::Result<Compute> {
    let along = context.get("axis").unwrap_or(-1);
    Ok(Box::new(move |context| {
        let x = input(context, 0)?;
        let (shape, x) = floats(&x)?;
        let along = axis(along, shape.len())?;
        let inner = shape[along + 1..].iter().product();
        let length = shape[along];
        give(context, &shape, |y| {
            fill_parts(context.parallel, y, length * inner, |part, y| kernel(&x[part], length, inner, y));
        })
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
        let (scale, bias) = (optional(context, 1)?, optional(context, 2)?);
        let scale = scale.as_ref().map(floats).transpose()?.map(|(_, scale)| scale);
        let bias = bias.as_ref().map(floats).transpose()?.map(|(_, bias)| bias);
        let x = input(context, 0)?;
        let (shape, x) = floats(&x)?;
        let length = shape[axis(along, shape.len())?..].iter().product();
        if [scale, bias].into_iter().flatten().any(|factors| factors.len() != length) {
            return fail(format!("its scale and bias must have {length} elements"));
        }
        give(context, &shape, |y| {
            fill_parts(context.parallel, y, length, |part, y| kernel(isa, &x[part], length, [scale, bias], epsilon, y));
        })
    }))
}

fn layer_normalization(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let along: i64 = context.get("axis").unwrap_or(-1);
    let epsilon: f32 = context.get("epsilon").unwrap_or(1e-5);
    let mut normalize = normalization(context, isa, |isa, x, length, [scale, bias], epsilon, y| {
        layer_norm(isa, x, length, scale, bias, epsilon, y);
    })?;
    Ok(Box::new(move |context| {
        normalize(context)?;
        if context.num_outputs()? == 1 {
            return Ok(());
        }
        let x = input(context, 0)?;
        let (mut shape, x) = floats(&x)?;
        let along = axis(along, shape.len())?;
        let length = shape[along..].iter().product();
        shape[along..].fill(1);
        let [mut means, mut factors] = [(); 2].map(|()| vec![0.0; shape.iter().product()]);
        layer_norm_statistics(isa, x, length, epsilon, &mut means, &mut factors);
        give_at(context, 1, &shape, |y| y.copy_from_slice(&means))?;
        give_at(context, 2, &shape, |y| y.copy_from_slice(&factors))
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
                let x = inwards(&shape, &axes).into_iter().map(|at| x[at]).collect::<Vec<_>>();
                reduce(isa, reduction, &x, axes.iter().map(|&axis| shape[axis]).product(), 1, y);
            }
        })
    })
}

/// The axes that an attribute names or the second input holds, sorted.
fn axes(context: &ComputeContext, named: &[i64], rank: usize) -> ort::Result<Vec<usize>> {
    let given = optional(context, 1)?;
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

/// Where the elements are, in the order that they have with `axes` as the last dimensions.
fn inwards(shape: &[usize], axes: &[usize]) -> Vec<usize> {
    let strides = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product::<usize>()).collect::<Vec<_>>();
    let mut order = (0..shape.len()).filter(|axis| !axes.contains(axis)).collect::<Vec<_>>();
    order.extend(axes);
    order.iter().fold(vec![0], |starts, &axis| {
        starts
            .iter()
            .flat_map(|start| (0..shape[axis]).map(move |index| (start, index)))
            .map(|(start, index)| start + index * strides[axis])
            .collect()
    })
}

/// What each channel is reduced to; `reduce` gets the elements of all and their number in each.
pub(super) fn planes(reduce: impl Fn(&[f32], usize, &mut [f32]) + Send + 'static) -> Compute {
    Box::new(move |context| {
        let x = input(context, 0)?;
        let (mut shape, x) = floats(&x)?;
        if shape.len() < 2 {
            return fail("it pools what has a batch and channels");
        }
        let plane = shape[2..].iter().product();
        shape[2..].fill(1);
        give(context, &shape, |y| reduce(x, plane, y))
    })
}

/// The second input is the axis, an integer of 32 or 64 bits.
fn sums(context: &KernelContext<'_>, isa: Isa) -> Compute {
    let flag = |name| context.get::<i64>(name).unwrap_or(0) != 0;
    let which = CumulativeSum { exclusive: flag("exclusive"), reverse: flag("reverse") };
    Box::new(move |context| {
        let (x, along) = (input(context, 0)?, input(context, 1)?);
        let (shape, x) = floats(&x)?;
        let along = match along.dtype().tensor_type() {
            Some(TensorElementType::Int32) => {
                along.try_extract_tensor::<i32>()?.1.iter().map(|&axis| axis.into()).collect()
            }
            _ => along.try_extract_tensor::<i64>()?.1.to_vec(),
        };
        let &[along] = &along[..] else { return fail("its axis must be one number") };
        let along = axis(along, shape.len())?;
        let inner = shape[along + 1..].iter().product();
        give(context, &shape, |y| cumulative_sum(isa, which, x, shape[along], inner, y))
    })
}

fn mean_variance_normalization(context: &KernelContext<'_>, isa: Isa) -> Compute {
    let named = context.get::<Vec<i64>>("axes").unwrap_or_else(|| vec![0, 2, 3]);
    Box::new(move |context| {
        let x = input(context, 0)?;
        let (shape, x) = floats(&x)?;
        let axes = axes(context, &named, shape.len())?;
        let length = axes.iter().map(|&axis| shape[axis]).product();
        let order = inwards(&shape, &axes);
        let rows = order.iter().map(|&at| x[at]).collect::<Vec<_>>();
        give(context, &shape, |y| {
            let mut results = vec![0.0; rows.len()];
            mean_variance_norm(isa, &rows, length, &mut results);
            order.into_iter().zip(results).for_each(|(at, result)| y[at] = result);
        })
    })
}
