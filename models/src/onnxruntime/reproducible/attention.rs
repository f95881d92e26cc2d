//! Attention, which models spell with products and a softmax.

use super::operator::{Compute, Definition, FLOATS, Input, fail, floats, give, input, optional};
use depx_kernels::{AttentionShape, Heads, Isa, attention};
use ort::operator::KernelContext;

pub(super) const DEFINITIONS: &[Definition] = &[Definition {
    name: "ScaledDotProductAttention",
    inputs: &[Input::Floats, Input::Floats, Input::Floats, Input::OptionalFloats],
    outputs: FLOATS,
    prepare: scaled,
}];

/// Queries, keys and values, each transposed by an attribute, to `[batch, heads, …]`; so is the result.
fn scaled(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let order = |name| {
        let order: Vec<i64> = context.get(name).unwrap_or_default();
        let order = order.iter().map(|&axis| usize::try_from(axis).ok().filter(|axis| *axis < 4));
        match order.collect::<Option<Vec<_>>>().map(<[usize; 4]>::try_from) {
            Some(Ok(order)) => Ok(order),
            _ => fail(format!("'{name}' is not an order of four axes")),
        }
    };
    let orders = [order("perm_q")?, order("perm_k")?, order("perm_v")?];
    let of_result = order("perm_y")?;
    let scale = context.get("scale").unwrap_or(1.0);
    Ok(Box::new(move |context| {
        let (q, k, v, mask) = (input(context, 0)?, input(context, 1)?, input(context, 2)?, optional(context, 3)?);
        let [(of_q, q), (of_k, k), (of_v, v)] = [
            transposed(floats(&q)?, orders[0])?,
            transposed(floats(&k)?, orders[1])?,
            transposed(floats(&v)?, orders[2])?,
        ];
        let mask = mask.as_ref().map(floats).transpose()?;
        let whole = |axis: usize| of_q[axis].max(of_k[axis]).max(of_v[axis]);
        let shape = AttentionShape {
            batch: whole(0),
            heads: whole(1),
            rows: of_q[2],
            depth: of_q[3],
            keys: of_k[3],
            columns: of_v[3],
        };
        let AttentionShape { batch, heads, rows, depth, keys, columns } = shape;
        let tensors = [
            repeated(of_q, q, [batch, heads, rows, depth])?,
            repeated(of_k, k, [batch, heads, depth, keys])?,
            repeated(of_v, v, [batch, heads, keys, columns])?,
        ];
        let mask = match mask {
            Some((of, data)) if of.len() <= 4 => {
                let mut sizes = [1; 4];
                sizes[4 - of.len()..].copy_from_slice(&of);
                let (sizes, mask) = transposed((sizes.to_vec(), data), [0, 1, 2, 3])?;
                Some(repeated(sizes, mask, [batch, heads, rows, keys])?)
            }
            Some(_) => return fail("the mask has more than four dimensions"),
            None => None,
        };
        let sizes = [batch, heads, rows, columns];
        let result = of_result.map(|axis| sizes[axis]);
        give(context, &result, |output| {
            let mut strides = [0; 4];
            for (position, axis) in of_result.into_iter().enumerate() {
                strides[axis] = result[position + 1..].iter().product();
            }
            attention(context.parallel, isa, shape, tensors, scale, mask, output, strides);
        })
    }))
}

/// The sizes and strides of a tensor whose axes are taken in this order.
fn transposed((shape, data): (Vec<usize>, &[f32]), order: [usize; 4]) -> ort::Result<([usize; 4], Heads<'_>)> {
    let Ok(shape) = <[usize; 4]>::try_from(shape) else { return fail("heads have four dimensions") };
    let strides: [usize; 4] = std::array::from_fn(|axis| shape[axis + 1..].iter().product());
    Ok((order.map(|axis| shape[axis]), Heads { data, strides: order.map(|axis| strides[axis]) }))
}

/// A tensor of these sizes: dimensions of 1 are repeated.
fn repeated(sizes: [usize; 4], mut tensor: Heads<'_>, whole: [usize; 4]) -> ort::Result<Heads<'_>> {
    for axis in 0..4 {
        if sizes[axis] == 1 {
            tensor.strides[axis] = 0;
        } else if sizes[axis] != whole[axis] {
            return fail(format!("{sizes:?} and {whole:?} do not fit together"));
        }
    }
    Ok(tensor)
}
