//! Operators that update elements at given places.

use super::operator::{Compute, Definition, FLOATS, Input, axis, fail, floats, give, input, sizes};
use depx_kernels::Scatter;
use ort::operator::KernelContext;

pub(super) const DEFINITIONS: &[Definition] = &[
    Definition {
        name: "ScatterElements",
        inputs: &[Input::Floats, Input::Integers, Input::Floats],
        outputs: FLOATS,
        prepare: |context, _| {
            let along = context.get("axis").unwrap_or(0);
            updated(context, move |shape, indices, places, updates| {
                elements(shape, axis(along, shape.len())?, indices, places, updates)
            })
        },
    },
    Definition {
        name: "ScatterND",
        inputs: &[Input::Floats, Input::Integers, Input::Floats],
        outputs: FLOATS,
        prepare: |context, _| updated(context, slices),
    },
];

/// Updates the first input's elements by the third's; `positions` finds them from the shape, and from the shape and the numbers of the
/// second input, and must find as many as there are updates.
fn updated(
    context: &KernelContext<'_>,
    positions: impl Fn(&[usize], &[i64], &[usize], usize) -> ort::Result<Vec<usize>> + Send + 'static,
) -> ort::Result<Compute> {
    let how = match context.get::<String>("reduction").unwrap_or_default().as_str() {
        "add" => Scatter::Add,
        "mul" => Scatter::Mul,
        "max" => Scatter::Max,
        "min" => Scatter::Min,
        other => return fail(format!("{other} is no reduction")),
    };
    Ok(Box::new(move |context| {
        let (data, indices, updates) = (input(context, 0)?, input(context, 1)?, input(context, 2)?);
        let ((shape, data), (_, updates)) = (floats(&data)?, floats(&updates)?);
        let (places, indices) = indices.try_extract_tensor::<i64>()?;
        let positions = positions(&shape, indices, &sizes(places)?, updates.len())?;
        give(context, &shape, |y| {
            y.copy_from_slice(data);
            how.apply(y, positions.into_iter().zip(updates.iter().copied()));
        })
    }))
}

/// One of so many elements, from the end if negative.
fn element(index: i64, size: usize) -> ort::Result<usize> {
    let position = if index < 0 { index + size as i64 } else { index };
    match usize::try_from(position) {
        Ok(position) if position < size => Ok(position),
        _ => fail(format!("index {index} is not one of {size}")),
    }
}

/// The index's own place, in all but one dimension.
fn elements(
    shape: &[usize],
    along: usize,
    indices: &[i64],
    places: &[usize],
    updates: usize,
) -> ort::Result<Vec<usize>> {
    let fits = |(position, (place, size)): (usize, (&usize, &usize))| position == along || place <= size;
    if indices.len() != updates || places.len() != shape.len() || !places.iter().zip(shape).enumerate().all(fits) {
        return fail("its indices do not have the dimensions of its data, or there are not as many updates");
    }
    let position = |(mut number, &index): (usize, &i64)| {
        let (mut position, mut apart) = (0, 1);
        for (axis, (&place, &size)) in places.iter().zip(shape).enumerate().rev() {
            position += apart * if axis == along { element(index, size)? } else { number % place };
            apart *= size;
            number /= place;
        }
        Ok(position)
    };
    indices.iter().enumerate().map(position).collect()
}

/// All elements of the slices that rows of indices name.
fn slices(shape: &[usize], indices: &[i64], places: &[usize], updates: usize) -> ort::Result<Vec<usize>> {
    let Some(&length) = places.last().filter(|&&length| 0 < length && length <= shape.len()) else {
        return fail("its indices do not name elements of its data");
    };
    let (named, slice) = shape.split_at(length);
    let slice: usize = slice.iter().product();
    if indices.len() / length * slice != updates {
        return fail(format!("{updates} updates of slices of {slice} elements"));
    }
    let mut positions = Vec::with_capacity(updates);
    for row in indices.chunks_exact(length) {
        let mut start = 0;
        for (&index, &size) in row.iter().zip(named) {
            start = start * size + element(index, size)?;
        }
        positions.extend(start * slice..(start + 1) * slice);
    }
    Ok(positions)
}
