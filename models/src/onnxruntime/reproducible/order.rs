//! Operators that find elements by their order.

use super::operator::{Compute, Definition, FLOATS, Input, Output, axis, fail, floats, give, give_at, input};
use depx_kernels::{Order, arg_first, hard_max, top_k};
use ort::operator::KernelContext;
use ort::value::TensorElementType;

pub(super) const DEFINITIONS: &[Definition] = &[
    Definition {
        name: "ArgMax",
        inputs: &[Input::Floats],
        outputs: &[Output::Of(TensorElementType::Int64)],
        prepare: |context, _| Ok(arg(context, Order::Descending)),
    },
    Definition {
        name: "ArgMin",
        inputs: &[Input::Floats],
        outputs: &[Output::Of(TensorElementType::Int64)],
        prepare: |context, _| Ok(arg(context, Order::Ascending)),
    },
    Definition {
        name: "Hardmax",
        inputs: &[Input::Floats],
        outputs: FLOATS,
        prepare: |context, _| Ok(hardmax(context)),
    },
    Definition {
        name: "TopK",
        inputs: &[Input::Floats, Input::Integers],
        outputs: &[Output::Of(TensorElementType::Float32), Output::OptionalOf(TensorElementType::Int64)],
        prepare: |context, _| Ok(first(context)),
    },
];

fn arg(context: &KernelContext<'_>, order: Order) -> Compute {
    let along = context.get("axis").unwrap_or(0);
    let keep = context.get::<i64>("keepdims").unwrap_or(1) != 0;
    let last = context.get::<i64>("select_last_index").unwrap_or(0) != 0;
    Box::new(move |context| {
        let x = input(context, 0)?;
        let (mut shape, x) = floats(&x)?;
        let along = axis(along, shape.len())?;
        let (length, inner) = (shape[along], shape[along + 1..].iter().product());
        if keep {
            shape[along] = 1;
        } else {
            shape.remove(along);
        }
        give_at(context, 0, &shape, |positions| arg_first(order, last, x, length, inner, positions))
    })
}

fn hardmax(context: &KernelContext<'_>) -> Compute {
    let along = context.get("axis").unwrap_or(-1);
    Box::new(move |context| {
        let x = input(context, 0)?;
        let (shape, x) = floats(&x)?;
        let along = axis(along, shape.len())?;
        let inner = shape[along + 1..].iter().product();
        give(context, &shape, |y| hard_max(x, shape[along], inner, y))
    })
}

fn first(context: &KernelContext<'_>) -> Compute {
    let along = context.get("axis").unwrap_or(-1);
    let order = if context.get::<i64>("largest").unwrap_or(1) != 0 { Order::Descending } else { Order::Ascending };
    Box::new(move |context| {
        let (x, kept) = (input(context, 0)?, input(context, 1)?);
        let (mut shape, x) = floats(&x)?;
        let along = axis(along, shape.len())?;
        let length = shape[along];
        let kept = match kept.try_extract_tensor::<i64>()?.1 {
            &[kept] => usize::try_from(kept).ok().filter(|kept| *kept <= length),
            _ => None,
        };
        let Some(kept) = kept else {
            return fail(format!("it keeps a number of elements that is not one of {length}"));
        };
        shape[along] = kept;
        let results = shape.iter().product();
        let (mut values, mut at) = (vec![0.0; results], vec![0; results]);
        if results > 0 {
            top_k(order, kept, x, length, shape[along + 1..].iter().product(), &mut values, &mut at);
        }
        give(context, &shape, |y| y.copy_from_slice(&values))?;
        give_at(context, 1, &shape, |y| y.copy_from_slice(&at))
    })
}
