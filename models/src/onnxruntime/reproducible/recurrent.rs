//! Recurrent layers. Weights are packed once.

use super::operator::{Compute, Definition, Input, Output, elements, fail, floats, give_at, input};
use depx_kernels::{Cell, Isa, PackedRecurrent, Recurrence, Unary, recurrent};
use ort::operator::{ComputeContext, KernelContext};
use ort::value::{DynTensorValueType, TensorElementType, ValueRef};

const LENGTHS: Input = Input::OptionalOf(TensorElementType::Int32);
const STATES: Output = Output::OptionalOf(TensorElementType::Float32);

pub(super) const DEFINITIONS: &[Definition] = &[
    Definition {
        name: "GRU",
        inputs: &[Input::Floats, Input::Floats, Input::Floats, Input::OptionalFloats, LENGTHS, Input::OptionalFloats],
        prepare: |context, isa| {
            let linear_before_reset = context.get::<i64>("linear_before_reset").unwrap_or(0) != 0;
            layer(context, isa, &["Sigmoid", "Tanh"], |functions| match functions {
                [f, g] => Some(Cell::Gru { f: *f, g: *g, linear_before_reset }),
                _ => None,
            })
        },
        outputs: &[STATES; 2],
    },
    Definition {
        name: "LSTM",
        inputs: &[
            Input::Floats,
            Input::Floats,
            Input::Floats,
            Input::OptionalFloats,
            LENGTHS,
            Input::OptionalFloats,
            Input::OptionalFloats,
            Input::OptionalFloats,
        ],
        prepare: |context, isa| {
            layer(context, isa, &["Sigmoid", "Tanh", "Tanh"], |functions| match functions {
                [f, g, h] => Some(Cell::Lstm { f: *f, g: *g, h: *h }),
                _ => None,
            })
        },
        outputs: &[STATES; 3],
    },
    Definition {
        name: "RNN",
        inputs: &[Input::Floats, Input::Floats, Input::Floats, Input::OptionalFloats, LENGTHS, Input::OptionalFloats],
        prepare: |context, isa| {
            layer(context, isa, &["Tanh"], |functions| match functions {
                [f] => Some(Cell::Rnn { f: *f }),
                _ => None,
            })
        },
        outputs: &[STATES; 2],
    },
];

/// The functions that layers may name, with ONNX's constants.
fn function(name: &str) -> Option<Unary> {
    Some(match name {
        "Elu" => Unary::Elu { alpha: 1.0 },
        "HardSigmoid" => Unary::HardSigmoid { alpha: 0.2, beta: 0.5 },
        "LeakyRelu" => Unary::LeakyRelu { alpha: 0.01 },
        "Relu" => Unary::Relu,
        "Sigmoid" => Unary::Sigmoid,
        "Softplus" => Unary::Softplus,
        "Softsign" => Unary::Softsign,
        "Tanh" => Unary::Tanh,
        _ => return None,
    })
}

/// One direction.
struct Direction {
    cell: Cell,
    reversed: bool,
}

fn layer(
    context: &KernelContext<'_>,
    isa: Isa,
    defaults: &[&str],
    cell: impl Fn(&[Unary]) -> Option<Cell>,
) -> ort::Result<Compute> {
    let reversed: &[bool] = match context.get::<String>("direction").as_deref() {
        Some("bidirectional") => &[false, true],
        Some("reverse") => &[true],
        _ => &[false],
    };
    let names = context.get::<Vec<String>>("activations").unwrap_or_default();
    let mut names = names.iter().map(String::as_str).collect::<Vec<_>>();
    if names.is_empty() {
        names = defaults.repeat(reversed.len());
    }
    let functions = names.into_iter().map(function).collect::<Option<Vec<_>>>().unwrap_or_default();
    let cells = functions.chunks(defaults.len()).map(cell).collect::<Option<Vec<_>>>().unwrap_or_default();
    if cells.len() != reversed.len() {
        return fail("its activations are not those of its directions");
    }
    let directions = cells.into_iter().zip(reversed);
    let directions = directions.map(|(cell, &reversed)| Direction { cell, reversed }).collect::<Vec<_>>();
    let clip = context.get::<f32>("clip");
    let constant = [1, 2].iter().all(|&position| context.constant_input::<DynTensorValueType>(position).is_ok());
    let mut packed: Vec<PackedRecurrent> = Vec::new();
    Ok(Box::new(move |context| {
        let (x, w, r) = (input(context, 0)?, input(context, 1)?, input(context, 2)?);
        let ((x_shape, x), (w_shape, w), (r_shape, r)) = (floats(&x)?, floats(&w)?, floats(&r)?);
        let (&[time, batch, features], &[.., hidden]) = (&x_shape[..], &r_shape[..]) else {
            return fail("its input has no time, batch and features");
        };
        let count = directions.len();
        let rows = directions[0].cell.gates() * hidden;
        if w_shape != [count, rows, features] || r_shape != [count, rows, hidden] {
            return fail(format!("its weights are not those of {features} features and {hidden} elements of a state"));
        }
        if packed.is_empty() || !constant {
            let weights = directions.iter().enumerate().map(|(index, direction)| {
                let (w, r) = (&w[index * rows * features..], &r[index * rows * hidden..]);
                let (w, r) = (&w[..rows * features], &r[..rows * hidden]);
                PackedRecurrent::new(isa, direction.cell, [features, hidden], w, r)
            });
            packed = weights.collect();
        }
        let bias = optional(context, 3, [count, 2 * rows, 1])?;
        let lengths = lengths(context, time, batch)?;
        let is_lstm = matches!(directions[0].cell, Cell::Lstm { .. });
        let mut h = states(context, 5, [count, batch, hidden])?;
        let mut c = if is_lstm { states(context, 6, [count, batch, hidden])? } else { Vec::new() };
        let peepholes = if is_lstm { optional(context, 7, [count, 3 * hidden, 1])? } else { None };

        let size = batch * hidden;
        let mut all = vec![0.0; time * count * size];
        let mut y = vec![0.0; time * size];
        for (index, (direction, packed)) in directions.iter().zip(&packed).enumerate() {
            let recurrence = Recurrence {
                bias: part(&bias, index, 2 * rows)?,
                peepholes: part(&peepholes, index, 3 * hidden)?,
                clip,
                reversed: direction.reversed,
            };
            let h = &mut h[index * size..][..size];
            let c = if is_lstm { &mut c[index * size..][..size] } else { &mut [] };
            recurrent(context.parallel, packed, recurrence, x, &lengths, [h, c], &mut y);
            for (time, y) in y.chunks_exact(size.max(1)).enumerate() {
                all[(time * count + index) * size..][..size].copy_from_slice(y);
            }
        }
        give_at(context, 0, &[time, count, batch, hidden], |output| output.copy_from_slice(&all))?;
        give_at(context, 1, &[count, batch, hidden], |output| output.copy_from_slice(&h))?;
        match is_lstm {
            true => give_at(context, 2, &[count, batch, hidden], |output| output.copy_from_slice(&c)),
            false => Ok(()),
        }
    }))
}

/// An input that may be left out, of as many elements as a shape has.
fn optional(context: &ComputeContext, position: usize, shape: [usize; 3]) -> ort::Result<Option<ValueRef<'_>>> {
    let Some(value) = context.input(position)? else { return Ok(None) };
    if floats(&value)?.1.len() != shape.iter().product() {
        return fail(format!("its input {position} has another shape than its weights"));
    }
    Ok(Some(value))
}

/// What belongs to one direction; nothing of what is left out.
fn part<'a>(value: &'a Option<ValueRef<'_>>, index: usize, size: usize) -> ort::Result<&'a [f32]> {
    match value {
        None => Ok(&[]),
        Some(value) => Ok(&floats(value)?.1[index * size..][..size]),
    }
}

/// The states before the first element: zeros, unless they are given.
fn states(context: &ComputeContext, position: usize, shape: [usize; 3]) -> ort::Result<Vec<f32>> {
    match optional(context, position, shape)? {
        None => Ok(vec![0.0; shape.iter().product()]),
        Some(value) => Ok(floats(&value)?.1.to_vec()),
    }
}

/// How many elements of each sequence count: all, unless they are given.
fn lengths(context: &ComputeContext, time: usize, batch: usize) -> ort::Result<Vec<usize>> {
    let Some(value) = context.input(4)? else { return Ok(vec![time; batch]) };
    let lengths = elements::<i32>(&value)?.1;
    let usable = |length: &i32| usize::try_from(*length).ok().filter(|length| *length <= time);
    match lengths.iter().map(usable).collect::<Option<Vec<_>>>() {
        Some(lengths) if lengths.len() == batch => Ok(lengths),
        _ => fail(format!("its lengths are not {batch} from 0 to {time}")),
    }
}
