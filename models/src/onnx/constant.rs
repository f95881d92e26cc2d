//! Small integer arithmetic that exporters leave in graphs to compute shapes.

use super::graph;
use super::limits::MAX_NUMBERS;
use super::proto::{Attribute, Numbers};
use super::shape::{Call, Constant, Dim, Effect, Inferred, Value, axis, broadcast, elementwise};
use super::types::DataType;

/// The same elements in another shape.
pub(super) fn keep(input: &Value, shape: Vec<Dim>) -> Inferred {
    Ok(Effect::moves(Value { shape, ..input.clone() }))
}

/// `Identity`, `Cast`: the elements, if they are integers; a cast to a float is never used for a shape.
pub(super) fn copy(call: &Call<'_>) -> Inferred {
    let input = call.input(0)?;
    let mut effect = elementwise(call, 1)?;
    effect.outputs[0].constant = input.known_ints().map(|ints| Constant::Ints(ints.to_vec()));
    Ok(effect)
}

pub(super) fn constant(call: &Call<'_>) -> Inferred {
    let value = match &call.node.attributes[..] {
        [(_, Attribute::Tensor(tensor))] => graph::constant(tensor),
        [("value_int", Attribute::Int(value))] => Value::ints(Vec::new(), vec![Some(*value)]),
        [("value_ints", Attribute::Ints(ints))] => {
            let mut value = Value { ty: DataType::I64, ..Value::of(vec![Dim::exact(ints.count)]) };
            value.constant = ints.all().map(|ints| Constant::Ints(ints.iter().copied().map(Some).collect()));
            value
        }
        [("value_float", Attribute::Float(value))] => {
            Value { shape: Vec::new(), constant: Some(Constant::Floats(vec![*value])), ty: DataType::F32 }
        }
        [("value_floats", Attribute::Floats(floats @ Numbers { count, .. }))] => {
            let mut value = Value { ty: DataType::F32, ..Value::of(vec![Dim::exact(*count)]) };
            value.constant = floats.all().map(|floats| Constant::Floats(floats.to_vec()));
            value
        }
        _ => return Err("it holds no tensor of numbers".to_owned()),
    };
    Ok(Effect::moves(value))
}

pub(super) fn filled(call: &Call<'_>) -> Inferred {
    let sizes = call.ints(0)?;
    let shape = sizes
        .iter()
        .map(|&size| u64::try_from(size).map(Dim::exact).map_err(|_| format!("{size} is not a size")))
        .collect::<Inferred<Vec<_>>>()?;
    let mut output = Value::of(shape);
    if let Some(Attribute::Tensor(tensor)) = call.attribute("value")
        && let Some([value]) = tensor.ints.as_deref()
        && let Ok(count @ 0..=MAX_NUMBERS) = usize::try_from(output.elements())
    {
        output.constant = Some(Constant::Ints(vec![Some(*value); count]));
    }
    Ok(Effect::moves(output))
}

pub(super) fn range(call: &Call<'_>) -> Inferred {
    let one = |position| -> Inferred<i64> {
        match call.ints(position)?[..] {
            [number] => Ok(number),
            _ => Err("its bounds are not single numbers".to_owned()),
        }
    };
    let (start, limit, delta) = (one(0)?, one(1)?, one(2)?);
    let count = match delta {
        0 => return Err("its step is zero".to_owned()),
        1.. => (i128::from(limit) - i128::from(start) + i128::from(delta) - 1) / i128::from(delta),
        _ => (i128::from(start) - i128::from(limit) - i128::from(delta) - 1) / -i128::from(delta),
    };
    let count = u64::try_from(count.max(0)).map_err(|_| "it is too long")?;
    let mut output = Value::of(vec![Dim::exact(count)]);
    if count <= MAX_NUMBERS as u64 {
        let numbers = (0..).zip(0..count).map(|(index, _): (i64, _)| start.checked_add(index.checked_mul(delta)?));
        output.constant = Some(Constant::Ints(numbers.collect()));
    }
    Ok(Effect::moves(output))
}

/// `Shape`, with its optional `start` and `end`.
pub(super) fn shape(call: &Call<'_>) -> Inferred {
    let shape = &call.input(0)?.shape;
    let rank = i64::try_from(shape.len()).unwrap_or(i64::MAX);
    let at = |position: i64| {
        let position = if position < 0 { position.saturating_add(rank) } else { position };
        usize::try_from(position.clamp(0, rank)).unwrap_or(0)
    };
    let (start, end) = (at(call.int("start", 0)?), at(call.int("end", i64::MAX)?));
    let dims = shape.get(start..end).unwrap_or_default();
    let ints = dims.iter().map(|dim| if dim.open { None } else { i64::try_from(dim.size).ok() }).collect();
    Ok(Effect::moves(Value::ints(vec![Dim::exact(dims.len() as u64)], ints)))
}

pub(super) fn size(call: &Call<'_>) -> Inferred {
    let input = call.input(0)?;
    let open = input.shape.iter().any(|dim| dim.open);
    let size = if open { None } else { i64::try_from(input.elements()).ok() };
    Ok(Effect::moves(Value::ints(Vec::new(), vec![size])))
}

/// The integers of one-dimensional inputs, one after the other.
pub(super) fn concat(call: &Call<'_>) -> Option<Constant> {
    let mut all = Vec::new();
    for input in &call.inputs {
        all.extend((*input)?.known_ints()?);
    }
    (all.len() <= MAX_NUMBERS).then_some(Constant::Ints(all))
}

/// Chosen integers of a list.
pub(super) fn gather(data: &Value, indices: &Value) -> Inferred<Option<Constant>> {
    let (1, Some(ints), Some(indices)) = (data.shape.len(), data.known_ints(), indices.known_ints()) else {
        return Ok(None);
    };
    let chosen = indices.iter().map(|&index| match index {
        Some(index) => Ok(ints[axis(index, ints.len())?]),
        None => Ok(None),
    });
    Ok(Some(Constant::Ints(chosen.collect::<Inferred<Vec<_>>>()?)))
}

/// Arithmetic on integers, broadcast like any other; what overflows is not known.
pub(super) fn arithmetic(call: &Call<'_>, operate: fn(i64, i64) -> Option<i64>) -> Inferred {
    let mut effect = broadcast(call, 1)?;
    if let [Some(a), Some(b)] = call.inputs[..]
        && let (Some(left), Some(right)) = (a.known_ints(), b.known_ints())
        && a.shape.len().max(b.shape.len()) <= 1
    {
        let at = |ints: &[Option<i64>], position: usize| if ints.len() == 1 { ints[0] } else { *ints.get(position)? };
        let count = if left.is_empty() || right.is_empty() { 0 } else { left.len().max(right.len()) };
        let result = |position| operate(at(left, position)?, at(right, position)?);
        effect.outputs[0].constant = Some(Constant::Ints((0..count).map(result).collect()));
    }
    Ok(effect)
}

/// `Where` on integers.
pub(super) fn choose(call: &Call<'_>) -> Inferred {
    let mut effect = broadcast(call, 1)?;
    let known = |position| call.optional(position).and_then(Value::known_ints);
    if let (Some(conditions), Some(left), Some(right)) = (known(0), known(1), known(2))
        && effect.outputs[0].shape.len() <= 1
    {
        let at = |ints: &[Option<i64>], position: usize| if ints.len() == 1 { ints[0] } else { *ints.get(position)? };
        let count = usize::try_from(effect.outputs[0].elements()).unwrap_or(0).min(MAX_NUMBERS);
        let result = |position| match at(conditions, position)? {
            0 => at(right, position),
            _ => at(left, position),
        };
        effect.outputs[0].constant = Some(Constant::Ints((0..count).map(result).collect()));
    }
    Ok(effect)
}

/// The positions that a slice takes of one dimension.
pub(super) struct Range {
    first: i128,
    step: i128,
    pub(super) count: u64,
}

impl Range {
    /// As ONNX defines it: negative bounds count from the end, and bounds are clamped.
    pub(super) fn of(size: u64, start: i64, end: i64, step: i64) -> Inferred<Self> {
        let (size, step) = (i128::from(size), i128::from(step));
        let from_end = |bound: i64| if bound < 0 { i128::from(bound) + size } else { i128::from(bound) };
        let (start, end) = (from_end(start), from_end(end));
        let (first, length) = match step {
            0 => return Err("its step is zero".to_owned()),
            _ if size == 0 => (0, 0),
            1.. => {
                let first = start.clamp(0, size);
                (first, end.clamp(0, size) - first)
            }
            _ => {
                let first = start.clamp(0, size - 1);
                (first, first - end.clamp(-1, size - 1))
            }
        };
        let count = (length.max(0) + step.abs() - 1) / step.abs();
        Ok(Self { first, step, count: u64::try_from(count).map_err(|_| "it is too long")? })
    }

    pub(super) fn select(&self, ints: &[Option<i64>]) -> Vec<Option<i64>> {
        (0..i128::from(self.count))
            .map(|index| usize::try_from(self.first + index * self.step).ok().and_then(|at| *ints.get(at)?))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Range;

    #[test]
    fn slices_are_those_of_onnx() {
        for (size, start, end, step, expected) in [
            (5, 1, 4, 1, &[1, 2, 3][..]),
            (5, -2, i64::MAX, 1, &[3, 4]),
            (5, -1, i64::MIN, -1, &[4, 3, 2, 1, 0]),
            (5, 100, -100, -2, &[4, 2, 0]),
            (5, 4, 1, 1, &[]),
            (5, 0, 5, 3, &[0, 3]),
            (0, 0, 1, 1, &[]),
            (0, 0, -1, -1, &[]),
        ] {
            let ints = (0..5).map(Some).collect::<Vec<_>>();
            let range = Range::of(size, start, end, step).unwrap();
            assert_eq!(range.select(&ints), expected.iter().copied().map(Some).collect::<Vec<_>>());
        }
        assert!(Range::of(5, 0, 5, 0).is_err());
    }
}
