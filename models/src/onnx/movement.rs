//! Operators that move, select or reduce elements.

use super::constant;
use super::cost::{COSTLY, SINGLE};
use super::shape::{Call, Constant, Dim, Effect, Inferred, Value, axes, axis, common, elements, elementwise, merged};

/// `ReduceSum` and its kind: `axes` is an attribute or, in newer versions, the second input.
pub(super) fn reduce(call: &Call<'_>, weight: u64) -> Inferred {
    let input = call.input(0)?;
    let rank = input.shape.len();
    let named = match call.optional(1) {
        Some(_) => call.ints(1)?,
        None => call.list("axes")?.unwrap_or_default().to_vec(),
    };
    let reduced = match (named.is_empty(), call.int("noop_with_empty_axes", 0)?) {
        (true, 0) => (0..rank).collect(),
        _ => axes(&named, rank)?,
    };
    let output = without(input, &reduced, call.int("keepdims", 1)? != 0);
    // Each result is started anew, however few elements it has.
    let started = output.elements().saturating_mul(SINGLE);
    Ok(Effect::steps(output, input.elements().saturating_mul(weight).saturating_add(started)))
}

/// `ArgMax`, `ArgMin`.
pub(super) fn reduce_one(call: &Call<'_>) -> Inferred {
    let input = call.input(0)?;
    let reduced = call.axis(0, input.shape.len())?;
    // Along an outer axis, neighbours in a row are far from each other.
    let steps = input.elements().saturating_mul(8);
    Ok(Effect::steps(without(input, &[reduced], call.int("keepdims", 1)? != 0), steps))
}

/// Two further outputs are the mean and the factor of each row.
pub(super) fn layer_normalization(call: &Call<'_>) -> Inferred {
    let input = call.input(0)?;
    let rank = input.shape.len();
    let mut effect = elementwise(call, COSTLY)?;
    if call.node.outputs.len() > 1 {
        let rows = without(input, &(call.axis(-1, rank)?..rank).collect::<Vec<_>>(), true);
        effect.outputs.extend([rows.clone(), rows]);
    }
    Ok(effect)
}

fn without(input: &Value, reduced: &[usize], keep: bool) -> Value {
    let kept =
        input.shape.iter().enumerate().filter_map(|(position, &dim)| match (reduced.contains(&position), keep) {
            (false, _) => Some(dim),
            (true, true) => Some(Dim::ONE),
            (true, false) => None,
        });
    Value::of(kept.collect())
}

/// `GlobalAveragePool` and its kind.
pub(super) fn global_pool(call: &Call<'_>, weight: u64) -> Inferred {
    let input = call.input(0)?;
    let spatial = (2..input.shape.len()).collect::<Vec<_>>();
    Ok(Effect::steps(without(input, &spatial, true), input.elements().saturating_mul(weight)))
}

pub(super) fn reshape(call: &Call<'_>) -> Inferred {
    let input = call.input(0)?;
    let target = call.ints(1)?;
    let copies = call.int("allowzero", 0)? == 0;
    let mut shape = Vec::with_capacity(target.len());
    let mut remaining = input.shape.clone();
    let (mut known, mut inferred) = (1u64, None);
    for (position, &size) in target.iter().enumerate() {
        match size {
            0 if copies => {
                let dim = *input.shape.get(position).ok_or("it copies a dimension that its input does not have")?;
                // Copied dimensions cancel out of what is left to infer.
                remaining[position] = Dim::ONE;
                shape.push(dim);
            }
            -1 if inferred.is_none() => {
                inferred = Some(position);
                shape.push(Dim::ONE);
            }
            0.. => {
                known = known.saturating_mul(size.unsigned_abs());
                shape.push(Dim::exact(size.unsigned_abs()));
            }
            _ => return Err(format!("{size} is not a size")),
        }
    }
    let left = merged(&remaining);
    match inferred {
        Some(position) if known > 0 && (left.open || left.size.is_multiple_of(known)) => {
            shape[position] = left.with(left.size / known);
        }
        None if left.open || left.size == known => {}
        _ => return Err(format!("{} elements do not fit its shape", input.elements())),
    }
    constant::keep(input, shape)
}

pub(super) fn flatten(call: &Call<'_>) -> Inferred {
    let input = call.input(0)?;
    let rank = input.shape.len();
    // The axis may be one past the last.
    let split = match call.int("axis", 1)? {
        at if usize::try_from(at) == Ok(rank) => rank,
        at => axis(at, rank)?,
    };
    let (rows, columns) = input.shape.split_at(split);
    Ok(Effect::moves(Value::of(vec![merged(rows), merged(columns)])))
}

pub(super) fn squeeze(call: &Call<'_>) -> Inferred {
    let input = call.input(0)?;
    let dropped = match call.optional(1) {
        Some(_) => axes(&call.ints(1)?, input.shape.len())?,
        None if input.shape.iter().any(|dim| dim.open) => {
            return Err("it needs axes, since a dimension is open".to_owned());
        }
        None => (0..input.shape.len()).filter(|&position| input.shape[position] == Dim::ONE).collect(),
    };
    if dropped.iter().any(|&position| input.shape[position].size != 1 && !input.shape[position].open) {
        return Err("it drops a dimension that is not 1".to_owned());
    }
    constant::keep(input, without(input, &dropped, false).shape)
}

pub(super) fn unsqueeze(call: &Call<'_>) -> Inferred {
    let input = call.input(0)?;
    let named = call.ints(1)?;
    let mut shape = input.shape.clone();
    for position in axes(&named, input.shape.len() + named.len())? {
        shape.insert(position, Dim::ONE);
    }
    constant::keep(input, shape)
}

pub(super) fn transpose(call: &Call<'_>) -> Inferred {
    let shape = &call.input(0)?.shape;
    let order = match call.list("perm")? {
        Some(order) => order.iter().map(|&item| axis(item, shape.len())).collect::<Inferred<Vec<_>>>()?,
        None => (0..shape.len()).rev().collect(),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..shape.len()) {
        return Err("'perm' is not a permutation".to_owned());
    }
    // What is moved at once are the last dimensions that stay; from each run to the next is a jump through memory.
    let moved = (0..shape.len()).rfind(|&position| order[position] != position).map_or(0, |last| last + 1);
    let jumps = if elements(shape) == 0 { 0 } else { elements(&shape[..moved]) };
    let output = Value::of(order.into_iter().map(|position| shape[position]).collect());
    Ok(Effect::steps(output, jumps.saturating_mul(2 * SINGLE)))
}

pub(super) fn concat(call: &Call<'_>) -> Inferred {
    let mut shape = call.input(0)?.shape.clone();
    let along = call.axis(0, shape.len())?;
    for position in 1..call.inputs.len() {
        let other = &call.input(position)?.shape;
        if other.len() != shape.len() {
            return Err("its inputs differ in dimensions".to_owned());
        }
        for (axis, (dim, &other)) in shape.iter_mut().zip(other).enumerate() {
            if axis == along {
                *dim = Dim { size: dim.size.saturating_add(other.size), open: dim.open || other.open };
            } else if dim.open {
                *dim = if other.open { dim.with(dim.size.max(other.size)) } else { other };
            } else if !other.open && dim.size != other.size {
                return Err(format!("sizes {} and {} do not fit together", dim.size, other.size));
            }
        }
    }
    let mut output = Value::of(shape);
    output.constant = constant::concat(call);
    Ok(Effect::moves(output))
}

pub(super) fn split(call: &Call<'_>) -> Inferred {
    let input = call.input(0)?;
    let along = call.axis(0, input.shape.len())?;
    let whole = input.shape[along];
    let sizes = match call.optional(1) {
        Some(_) => call
            .ints(1)?
            .iter()
            .map(|&size| u64::try_from(size).map(Dim::exact).map_err(|_| format!("{size} is not a size")))
            .collect::<Inferred<Vec<_>>>()?,
        None => {
            let parts = call.node.outputs.len().max(1) as u64;
            let each = whole.size.div_ceil(parts);
            (0..parts).map(|part| whole.with(each.min(whole.size.saturating_sub(part * each)))).collect()
        }
    };
    let total = sizes.iter().fold(0u64, |total, dim| total.saturating_add(dim.size));
    if total != whole.size && !whole.open {
        return Err("its parts do not make up the whole".to_owned());
    }
    let part = |size| {
        let mut shape = input.shape.clone();
        shape[along] = size;
        Value::of(shape)
    };
    Ok(Effect { outputs: sizes.into_iter().map(part).collect(), products: 0, steps: 0 })
}

pub(super) fn slice(call: &Call<'_>) -> Inferred {
    let input = call.input(0)?;
    let rank = input.shape.len();
    let (starts, ends) = (call.ints(1)?, call.ints(2)?);
    let named = match call.optional(3) {
        Some(_) => call.ints(3)?,
        None => (0..starts.len()).map(|position| position.try_into().unwrap_or(i64::MAX)).collect(),
    };
    let steps = if call.optional(4).is_some() { call.ints(4)? } else { vec![1; starts.len()] };
    if [ends.len(), named.len(), steps.len()] != [starts.len(); 3] {
        return Err("its starts, ends, axes and steps differ in number".to_owned());
    }
    axes(&named, rank)?;
    let mut shape = input.shape.clone();
    let mut ranges = Vec::with_capacity(starts.len());
    for (((start, end), named), step) in starts.into_iter().zip(ends).zip(named).zip(steps) {
        let position = axis(named, rank)?;
        let dim = shape[position];
        let range = constant::Range::of(dim.size, start, end, step)?;
        // Counted from the end of an open dimension, a slice may be longer where the dimension is shorter.
        shape[position] = if dim.open && (start < 0 || end < 0 || step < 0) { dim } else { dim.with(range.count) };
        ranges.push(range);
    }
    let mut output = Value::of(shape);
    if let (1, [range], Some(ints)) = (rank, &ranges[..], input.known_ints()) {
        output.constant = Some(Constant::Ints(range.select(ints)));
    }
    Ok(Effect::moves(output))
}

pub(super) fn gather(call: &Call<'_>) -> Inferred {
    let (data, indices) = (call.input(0)?, call.input(1)?);
    let along = call.axis(0, data.shape.len())?;
    let mut shape = data.shape[..along].to_vec();
    shape.extend(&indices.shape);
    shape.extend(&data.shape[along + 1..]);
    let mut output = Value::of(shape);
    output.constant = constant::gather(data, indices)?;
    Ok(Effect::scattered(output))
}

pub(super) fn gather_nd(call: &Call<'_>) -> Inferred {
    let (data, indices) = (call.input(0)?, call.input(1)?);
    let batch = usize::try_from(call.int("batch_dims", 0)?).map_err(|_| "'batch_dims' is negative")?;
    let Some((&Dim { size, open: false }, outer)) = indices.shape.split_last() else {
        return Err("its indices have no fixed length".to_owned());
    };
    let inner = usize::try_from(size).ok().and_then(|size| data.shape.get(batch.checked_add(size)?..));
    let mut shape = outer.to_vec();
    shape.extend(inner.ok_or("its indices have more numbers than its data has dimensions")?);
    Ok(Effect::scattered(Value::of(shape)))
}

pub(super) fn gather_elements(call: &Call<'_>) -> Inferred {
    Ok(Effect::scattered(Value::of(call.input(1)?.shape.clone())))
}

/// `ScatterElements`, `ScatterND`: the first input's shape, changed at each index.
pub(super) fn scatter(call: &Call<'_>) -> Inferred {
    let mut effect = elementwise(call, 1)?;
    effect.steps = effect.steps.saturating_add(call.input(1)?.elements().saturating_mul(COSTLY));
    Ok(effect)
}

pub(super) fn expand(call: &Call<'_>) -> Inferred {
    let shape = common(&call.input(0)?.shape, &sizes(&call.ints(1)?)?)?;
    Ok(Effect::scattered(Value::of(shape)))
}

pub(super) fn tile(call: &Call<'_>) -> Inferred {
    let input = call.input(0)?;
    let repeats = sizes(&call.ints(1)?)?;
    if repeats.len() != input.shape.len() {
        return Err("it needs one repeat for each dimension".to_owned());
    }
    let shape = input.shape.iter().zip(repeats).map(|(dim, repeat)| dim.with(dim.size.saturating_mul(repeat.size)));
    Ok(Effect::scattered(Value::of(shape.collect())))
}

pub(super) fn pad(call: &Call<'_>) -> Inferred {
    let input = call.input(0)?;
    let rank = input.shape.len();
    let pads = call.ints(1)?;
    let named = match call.optional(3) {
        Some(_) => call.ints(3)?.iter().map(|&item| axis(item, rank)).collect::<Inferred<Vec<_>>>()?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * named.len() {
        return Err("it needs two pads for each dimension".to_owned());
    }
    let mut shape = input.shape.clone();
    for (index, &position) in named.iter().enumerate() {
        let dim = shape[position];
        let size = i128::from(dim.size) + i128::from(pads[index]) + i128::from(pads[index + named.len()]);
        shape[position] = match u64::try_from(size) {
            Ok(size) => dim.with(size),
            Err(_) if dim.open && size < 0 => dim.with(0),
            Err(_) => return Err("it pads to an impossible size".to_owned()),
        };
    }
    Ok(Effect::scattered(Value::of(shape)))
}

/// `DepthToSpace` if `deep`, else `SpaceToDepth`.
pub(super) fn blocks(call: &Call<'_>, deep: bool) -> Inferred {
    let &[batch, channels, rows, columns] = &call.input(0)?.shape[..] else {
        return Err("it takes a batch of images".to_owned());
    };
    let Ok(block @ 1..=4096) = u64::try_from(call.int("blocksize", 0)?) else {
        return Err("its block size is not between 1 and 4096".to_owned());
    };
    let larger = |dim: Dim, factor| dim.with(dim.size.saturating_mul(factor));
    let smaller = |dim: Dim, factor| dim.with(dim.size / factor);
    let shape = if deep {
        vec![batch, smaller(channels, block * block), larger(rows, block), larger(columns, block)]
    } else {
        vec![batch, larger(channels, block * block), smaller(rows, block), smaller(columns, block)]
    };
    Ok(Effect::moves(Value::of(shape)))
}

pub(super) fn resize(call: &Call<'_>) -> Inferred {
    let input = call.input(0)?;
    if call.text("keep_aspect_ratio_policy", "stretch")? != b"stretch" {
        return Err("'keep_aspect_ratio_policy' is not supported; give the sizes that it leads to".to_owned());
    }
    let mut shape = input.shape.clone();
    let named = match call.list("axes")? {
        Some(named) => named.iter().map(|&item| axis(item, shape.len())).collect::<Inferred<Vec<_>>>()?,
        None => (0..shape.len()).collect(),
    };
    let old = named.iter().map(|&position| shape[position]);
    let new = match call.optional(3) {
        Some(_) => sizes(&call.ints(3)?)?,
        None => match &call.input(2)?.constant {
            Some(Constant::Floats(scales)) if scales.len() == named.len() => {
                old.zip(scales).map(|(dim, &scale)| scaled(dim, scale)).collect::<Inferred<Vec<_>>>()?
            }
            Some(Constant::Floats(_)) => Vec::new(),
            _ => return Err("its scales are not a constant".to_owned()),
        },
    };
    if new.len() != named.len() {
        return Err("it needs one size or scale for each dimension".to_owned());
    }
    named.into_iter().zip(new).for_each(|(position, dim)| shape[position] = dim);
    // Cubic interpolation weighs sixteen elements for each; what is known of each position of an axis is computed before.
    let weight = if call.text("mode", "nearest")? == b"cubic" { 8 * COSTLY } else { COSTLY };
    let positions = shape.iter().fold(0u64, |sum, dim| sum.saturating_add(dim.size)).saturating_mul(4 * COSTLY);
    // A smaller result takes its elements from all of the input, or weighs each of them.
    let reading = if call.int("antialias", 0)? == 0 { SINGLE } else { COSTLY };
    let steps = [positions, input.elements().saturating_mul(reading)];
    let steps = steps.into_iter().fold(elements(&shape).saturating_mul(weight), u64::saturating_add);
    Ok(Effect::steps(Value::of(shape), steps))
}

fn scaled(dim: Dim, scale: f32) -> Inferred<Dim> {
    let size = (dim.size as f32 * scale).floor();
    if !(0.0..=16_777_216.0).contains(&size) {
        return Err(format!("scale {scale} is not usable"));
    }
    Ok(dim.with(size as u64))
}

pub(super) fn one_hot(call: &Call<'_>) -> Inferred {
    let depth = sizes(&call.ints(1)?)?;
    let [depth] = depth[..] else { return Err("its depth is not one number".to_owned()) };
    let mut shape = call.input(0)?.shape.clone();
    let along = call.axis(-1, shape.len() + 1)?;
    shape.insert(along, depth);
    Ok(Effect::scattered(Value::of(shape)))
}

pub(super) fn top_k(call: &Call<'_>) -> Inferred {
    let input = call.input(0)?;
    let kept = sizes(&call.ints(1)?)?;
    let [kept] = kept[..] else { return Err("its count is not one number".to_owned()) };
    let mut shape = input.shape.clone();
    let along = call.axis(-1, shape.len())?;
    shape[along] = kept;
    // Each element is compared with as many others as the number kept has bits.
    let compared = SINGLE * u64::from(u64::BITS - kept.size.leading_zeros());
    let steps = input.elements().saturating_mul(COSTLY + compared);
    Ok(Effect { outputs: vec![Value::of(shape); 2], products: 0, steps })
}

fn sizes(ints: &[i64]) -> Inferred<Vec<Dim>> {
    ints.iter().map(|&size| u64::try_from(size).map(Dim::exact).map_err(|_| format!("{size} is not a size"))).collect()
}
