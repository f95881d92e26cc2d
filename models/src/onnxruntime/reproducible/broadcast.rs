//! Operators on elements of several inputs, whose shapes broadcast.

use super::operator::{Definition, FLOATS, Input, fail, floats, give, input, sizes};
use depx_kernels::{Binary, Isa};
use ort::operator::ComputeContext;
use ort::value::{PrimitiveTensorElementType, TensorElementType, ValueRef};
use std::borrow::Cow;

/// An operator on any number of inputs.
macro_rules! many {
    ($name:literal, $function:ident) => {
        Definition {
            name: $name,
            inputs: &[Input::ManyFloats],
            outputs: FLOATS,
            prepare: |_, isa| Ok(Box::new(move |context| all(context, isa, Binary::$function, |_, _| {}))),
        }
    };
}

/// An operator on two inputs.
macro_rules! two {
    ($name:literal, $function:ident) => {
        Definition { name: $name, inputs: &[Input::Floats; 2], ..many!($name, $function) }
    };
}

pub(super) const DEFINITIONS: &[Definition] = &[
    many!("Max", Max),
    Definition {
        name: "Mean",
        inputs: &[Input::ManyFloats],
        outputs: FLOATS,
        prepare: |_, isa| {
            Ok(Box::new(move |context| {
                all(context, isa, Binary::Add, |sums, count| sums.iter_mut().for_each(|sum| *sum /= count))
            }))
        },
    },
    many!("Min", Min),
    two!("Mod", Mod),
    two!("PRelu", PRelu),
    Definition { inputs: &[Input::Floats, Input::Anything], ..two!("Pow", Pow) },
    many!("Sum", Add),
];

/// The first input, and with the function of it and each of the others in its place; at last what `finish` makes of that and of
/// the number of inputs.
fn all(context: &ComputeContext, isa: Isa, function: Binary, finish: fn(&mut [f32], f32)) -> ort::Result<()> {
    let inputs =
        (0..context.num_inputs()?).map(|position| input(context, position)).collect::<ort::Result<Vec<_>>>()?;
    let inputs = inputs.iter().map(numbers).collect::<ort::Result<Vec<_>>>()?;
    let shape = inputs.iter().try_fold(Vec::new(), |shape, (other, _)| common(&shape, other))?;
    give(context, &shape, |y| {
        for (position, (from, x)) in inputs.iter().enumerate() {
            let rows = Rows::of(&shape, from);
            for (row, y) in y.chunks_exact_mut(rows.length).enumerate() {
                match (position, &x[rows.start(row)..][..rows.step]) {
                    (0, &[x]) => y.fill(x),
                    (0, x) => y.copy_from_slice(x),
                    (_, x) => function.apply(isa, y, x),
                }
            }
        }
        finish(y, inputs.len() as f32);
    })
}

/// The shape and the elements of a tensor of floats, or of integers, which exponents may be, rounded to floats.
fn numbers<'a>(value: &'a ValueRef<'_>) -> ort::Result<(Vec<usize>, Cow<'a, [f32]>)> {
    fn of<T: PrimitiveTensorElementType + Copy>(
        value: &ValueRef<'_>,
        rounded: fn(T) -> f32,
    ) -> ort::Result<(Vec<usize>, Cow<'static, [f32]>)> {
        let (shape, data) = value.try_extract_tensor::<T>()?;
        Ok((sizes(shape)?, data.iter().map(|&number| rounded(number)).collect()))
    }
    match value.dtype().tensor_type() {
        Some(TensorElementType::Int32) => of(value, |number: i32| number as f32),
        Some(TensorElementType::Int64) => of(value, |number: i64| number as f32),
        Some(TensorElementType::Uint32) => of(value, |number: u32| number as f32),
        Some(TensorElementType::Uint64) => of(value, |number: u64| number as f32),
        _ => floats(value).map(|(shape, data)| (shape, data.into())),
    }
}

/// The shape to which two broadcast.
fn common(a: &[usize], b: &[usize]) -> ort::Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let common = |axis| match (size(a, rank, axis), size(b, rank, axis)) {
        (1, size) | (size, 1) => Ok(size),
        (a, b) if a == b => Ok(a),
        (a, b) => fail(format!("sizes {a} and {b} do not fit together")),
    };
    (0..rank).map(common).collect()
}

/// The size of one of `rank` axes, of which the first are left out where they are 1.
fn size(shape: &[usize], rank: usize, axis: usize) -> usize {
    (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis])
}

/// How the elements of a tensor make up one of a larger shape, row by row.
struct Rows {
    /// Of a row of the larger shape.
    length: usize,
    /// How many elements make up a row: as many, or one for all.
    step: usize,
    /// Of each other axis of the larger shape the size, and how far elements are apart along it.
    outer: Vec<(usize, usize)>,
}

impl Rows {
    fn of(shape: &[usize], from: &[usize]) -> Self {
        let (rank, mut length, mut repeated, mut outer) = (shape.len(), 1, None, shape.len());
        while let Some(axis) = outer.checked_sub(1) {
            let repeats = size(from, rank, axis) == 1;
            if shape[axis] > 1 {
                if repeated.is_some_and(|repeated| repeated != repeats) {
                    break;
                }
                repeated = Some(repeats);
            }
            length *= shape[axis];
            outer = axis;
        }
        let step = if repeated == Some(true) { 1 } else { length };
        let mut apart = step;
        let outer = (0..outer).rev().map(|axis| match size(from, rank, axis) {
            1 => (shape[axis], 0),
            size => {
                apart *= size;
                (size, apart / size)
            }
        });
        Self { length, step, outer: outer.collect() }
    }

    /// Where the elements of a row begin.
    fn start(&self, mut row: usize) -> usize {
        let mut start = 0;
        for &(size, apart) in &self.outer {
            start += row % size * apart;
            row /= size;
        }
        start
    }
}
