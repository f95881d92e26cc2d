//! Operators that multiply and add: matrix products, convolutions, recurrent layers; and the windows that pooling shares with
//! convolutions.

use super::cost::{COSTLY, PRODUCTS, SINGLE};
use super::shape::{Call, Dim, Effect, Inferred, Value, common, elements};

/// The largest kernel, stride, dilation or padding: more than any image is wide.
const MAX_WINDOW: i64 = 1 << 20;

/// Steps of starting one element of a recurrent layer's sequences, and one sequence's part of it.
const STEP: u64 = 1_024;
const ROW: u64 = 128;

/// Steps of starting another product of a batch, however small it is, and another image or group of a convolution.
const PRODUCT: u64 = 256;
const IMAGE: u64 = 128;

/// Columns that a product with fewer than a vector's is charged for: each row is packed and started for those few.
const COLUMNS: u64 = 16;

/// Steps of each channel of each image in a pool, at least: a window is started there, however small the image is.
const PLANE: u64 = 16;

/// `MatMul` and its quantised forms: the matrices are the inputs at `a` and `b`.
pub(super) fn matmul(call: &Call<'_>, a: usize, b: usize) -> Inferred {
    let (mut a, mut b) = (call.input(a)?.shape.clone(), call.input(b)?.shape.clone());
    if a.is_empty() || b.is_empty() {
        return Err("it multiplies a scalar".to_owned());
    }
    let (vector_a, vector_b) = (a.len() == 1, b.len() == 1);
    if vector_a {
        a.insert(0, Dim::ONE);
    }
    if vector_b {
        b.push(Dim::ONE);
    }
    let (a_batch, &[rows, inner]) = a.split_last_chunk().ok_or("it multiplies a scalar")?;
    let (b_batch, &[other, columns]) = b.split_last_chunk().ok_or("it multiplies a scalar")?;
    same(inner, other)?;
    let mut shape = common(a_batch, b_batch)?;
    let batch = elements(&shape);
    // The library multiplies integers of 32 and 64 bits one by one.
    let narrow = if call.node.operator == "MatMul" && !call.input(0)?.ty.is_float() { 4 } else { 1 };
    let products = batch
        .saturating_mul(rows.size)
        .saturating_mul(charged(columns))
        .saturating_mul(inner.size.max(other.size))
        .saturating_mul(narrow);
    if !vector_a {
        shape.push(rows);
    }
    if !vector_b {
        shape.push(columns);
    }
    Ok(Effect { outputs: vec![Value::of(shape)], products, steps: further(batch, PRODUCT) })
}

/// The columns that a product is charged for.
fn charged(columns: Dim) -> u64 {
    if columns.size < 8 { COLUMNS } else { columns.size }
}

/// What all but the first of a number of parts take to start; the first is in the price of the operator.
fn further(parts: u64, each: u64) -> u64 {
    parts.saturating_sub(1).saturating_mul(each)
}

/// `Gemm`: two matrices, each perhaps transposed, and a bias.
pub(super) fn gemm(call: &Call<'_>) -> Inferred {
    let matrix = |position: usize, transposed: &str| -> Inferred<[Dim; 2]> {
        let shape: [Dim; 2] =
            call.input(position)?.shape[..].try_into().map_err(|_| "it multiplies what is not a matrix".to_owned())?;
        let [first, second] = shape;
        Ok(if call.int(transposed, 0)? == 0 { [first, second] } else { [second, first] })
    };
    let ([rows, inner], [other, columns]) = (matrix(0, "transA")?, matrix(1, "transB")?);
    same(inner, other)?;
    let output = Value::of(vec![rows, columns]);
    let products = rows.size.saturating_mul(charged(columns)).saturating_mul(inner.size.max(other.size));
    Ok(Effect::products(output, products))
}

/// `Conv` and its quantised forms: the image and the weights are the inputs at `x` and `w`.
pub(super) fn convolution(call: &Call<'_>, x: usize, w: usize) -> Inferred {
    let (&[batch, channels, ref image @ ..], &[maps, depth, ref kernel @ ..]) =
        (&call.input(x)?.shape[..], &call.input(w)?.shape[..])
    else {
        return Err("it convolves what is not a batch of images".to_owned());
    };
    let groups = positive(call.int("group", 1)?)?;
    same(channels, depth.with(depth.size.saturating_mul(groups)))?;
    let kernel = exact(kernel)?;
    let mut shape = vec![batch, maps];
    shape.extend(windows(call, image, &kernel)?);
    let output = Value::of(shape);
    let each = kernel.iter().fold(depth.size, |product, &size| product.saturating_mul(size));
    // Bytes are multiplied in wide vectors only where there are no groups, and each sum is widened and narrowed again.
    let bytes = call.node.operator != "Conv";
    let narrow = if bytes && groups > 1 { 4 } else { 1 };
    // A sum of a few products takes a unit, too.
    let products = output.elements().saturating_mul(each.max(PRODUCTS)).saturating_mul(narrow);
    let sums = if bytes { output.elements().saturating_mul(2 * SINGLE) } else { 0 };
    let steps = further(batch.size.saturating_mul(groups), IMAGE).saturating_add(sums);
    Ok(Effect { outputs: vec![output], products, steps })
}

/// `ConvTranspose`.
pub(super) fn transposed_convolution(call: &Call<'_>) -> Inferred {
    let (&[batch, channels, ref image @ ..], &[depth, maps, ref kernel @ ..]) =
        (&call.input(0)?.shape[..], &call.input(1)?.shape[..])
    else {
        return Err("it convolves what is not a batch of images".to_owned());
    };
    same(channels, depth)?;
    let kernel = exact(kernel)?;
    if kernel.len() != image.len() {
        return Err("its kernel and its image differ in dimensions".to_owned());
    }
    let groups = positive(call.int("group", 1)?)?;
    let settings = Settings::of(call, &kernel)?;
    let extra =
        call.list("output_padding")?.map_or_else(|| Ok(vec![0; kernel.len()]), |list| lengths(list, kernel.len()))?;
    let wanted = call.list("output_shape")?.map(|list| lengths(list, kernel.len())).transpose()?;
    let auto = call.text("auto_pad", "NOTSET")?;
    let mut shape = vec![batch, maps.with(maps.size.saturating_mul(groups))];
    let mut products = elements(&[batch, channels, maps]);
    for (position, &dim) in image.iter().enumerate() {
        let (stride, reach) = (settings.strides[position], settings.reach(position, kernel[position]));
        if extra[position] >= stride.max(reach) {
            return Err("its output padding is larger than its strides and its kernel".to_owned());
        }
        let whole = dim.size.saturating_sub(1) * stride + extra[position] + reach;
        let size = match (&wanted, auto) {
            (Some(wanted), _) => Dim::exact(wanted[position]),
            (None, b"SAME_UPPER" | b"SAME_LOWER") => dim.with(dim.size * stride),
            (None, b"VALID") => dim.with(whole),
            (None, b"NOTSET") => {
                let padding = settings.pads[position] + settings.pads[position + kernel.len()];
                dim.with(whole.checked_sub(padding).ok_or("its padding is larger than its result")?)
            }
            _ => return Err("its 'auto_pad' is unknown".to_owned()),
        };
        if size.size > whole + stride {
            return Err("its result is larger than what its input reaches".to_owned());
        }
        shape.push(size);
        // Each output meets this share of the kernel, wherever its input is.
        let met = dim.size.max(size.size.div_ceil(stride));
        products = products.saturating_mul(met).saturating_mul(kernel[position]);
    }
    // Products are added up where they belong, element by element.
    let output = Value::of(shape);
    let scattered = output.elements().saturating_mul(SINGLE);
    // Each combination of strides has filters of its own.
    let parts =
        settings.strides.iter().fold(batch.size.saturating_mul(groups), |parts, &stride| parts.saturating_mul(stride));
    let steps = further(parts.min(output.elements()), IMAGE).saturating_add(scattered);
    Ok(Effect { outputs: vec![output], products, steps })
}

/// `MaxPool`, `AveragePool`, `LpPool`.
pub(super) fn pool(call: &Call<'_>) -> Inferred {
    let &[batch, channels, ref image @ ..] = &call.input(0)?.shape[..] else {
        return Err("it pools what is not a batch of images".to_owned());
    };
    let kernel = call.list("kernel_shape")?.ok_or("it has no kernel shape")?;
    let kernel = kernel.iter().map(|&size| positive(size)).collect::<Inferred<Vec<_>>>()?;
    let mut shape = vec![batch, channels];
    shape.extend(windows(call, image, &kernel)?);
    let output = Value::of(shape);
    let steps = kernel.iter().fold(output.elements(), |product, &size| product.saturating_mul(size));
    let steps = steps.max(elements(&[batch, channels]).saturating_mul(PLANE));
    // The second output of MaxPool says where the elements were.
    let places = call.node.operator == "MaxPool" && call.node.outputs.len() > 1;
    // Places are found one by one, and powers of each element are library calls.
    let weight = if places || call.node.operator == "LpPool" { COSTLY } else { 1 };
    let mut effect = Effect::steps(output, steps.saturating_mul(weight));
    if places {
        effect.outputs.push(effect.outputs[0].clone());
    }
    Ok(effect)
}

/// `LSTM`, `GRU` and `RNN`: `gates` matrices of weights, and one state per output after the first.
pub(super) fn recurrent(call: &Call<'_>, gates: u64, states: usize) -> Inferred {
    let &[time, batch, features] = &call.input(0)?.shape[..] else {
        return Err("it takes a tensor of time, batch and features".to_owned());
    };
    let &[directions, rows, columns] = &call.input(1)?.shape[..] else {
        return Err("its weights have three dimensions".to_owned());
    };
    if call.int("layout", 0)? != 0 {
        return Err("'layout' 1 is not supported; put time first".to_owned());
    }
    same(features, columns)?;
    let hidden = rows.with(rows.size / gates);
    let products = elements(&[time, batch, directions, rows]).saturating_mul(columns.size.saturating_add(hidden.size));
    let mut outputs = vec![Value::of(vec![time, directions, batch, hidden])];
    outputs.extend(vec![Value::of(vec![directions, batch, hidden]); states]);
    // A sigmoid or a hyperbolic tangent for each gate, and what it takes to start one of all, however small they are.
    let starts = batch.size.saturating_mul(ROW).saturating_add(STEP);
    let starts = elements(&[time, directions]).saturating_mul(starts);
    let steps = elements(&[time, batch, directions, rows]).saturating_mul(16).saturating_add(starts);
    Ok(Effect { outputs, products, steps })
}

/// Strides, dilations and paddings of a window.
struct Settings {
    strides: Vec<u64>,
    dilations: Vec<u64>,
    /// Before each dimension, then after each.
    pads: Vec<u64>,
}

impl Settings {
    fn of(call: &Call<'_>, kernel: &[u64]) -> Inferred<Self> {
        let rank = kernel.len();
        if let Some(declared) = call.list("kernel_shape")?
            && lengths(declared, rank)? != kernel
        {
            return Err("its kernel shape is not that of its weights".to_owned());
        }
        let steps = |name| -> Inferred<Vec<u64>> {
            let steps = call.list(name)?.map_or_else(|| Ok(vec![1; rank]), |list| lengths(list, rank))?;
            if steps.contains(&0) { Err(format!("'{name}' has a zero")) } else { Ok(steps) }
        };
        Ok(Self {
            strides: steps("strides")?,
            dilations: steps("dilations")?,
            pads: call.list("pads")?.map_or_else(|| Ok(vec![0; 2 * rank]), |list| lengths(list, 2 * rank))?,
        })
    }

    /// How many elements a kernel of `size` spans.
    fn reach(&self, position: usize, size: u64) -> u64 {
        (size.max(1) - 1) * self.dilations[position] + 1
    }
}

/// How often a kernel fits into each dimension of an image.
fn windows(call: &Call<'_>, image: &[Dim], kernel: &[u64]) -> Inferred<Vec<Dim>> {
    if kernel.len() != image.len() {
        return Err("its kernel and its image differ in dimensions".to_owned());
    }
    let settings = Settings::of(call, kernel)?;
    let auto = call.text("auto_pad", "NOTSET")?;
    let ceil = call.int("ceil_mode", 0)? != 0;
    let fit = |(position, &dim): (usize, &Dim)| {
        let stride = settings.strides[position];
        let reach = settings.reach(position, kernel[position]);
        let before = settings.pads[position];
        let size = match auto {
            b"SAME_UPPER" | b"SAME_LOWER" => dim.size.div_ceil(stride),
            b"VALID" => fits(dim.size, reach, stride, ceil, dim.size)?,
            b"NOTSET" => {
                let padded = dim.size + before + settings.pads[position + kernel.len()];
                fits(padded, reach, stride, ceil, dim.size + before)?
            }
            _ => return Err("its 'auto_pad' is unknown".to_owned()),
        };
        Ok(dim.with(size))
    };
    image.iter().enumerate().map(fit).collect()
}

/// Windows of `reach` elements in `length`, none of which starts after `last`.
fn fits(length: u64, reach: u64, stride: u64, ceil: bool, last: u64) -> Inferred<u64> {
    let room = length.checked_sub(reach).ok_or("its kernel is larger than its image")?;
    let count = if ceil { room.div_ceil(stride) } else { room / stride } + 1;
    Ok(if ceil && (count - 1) * stride >= last { count - 1 } else { count })
}

fn same(a: Dim, b: Dim) -> Inferred<()> {
    if a.size == b.size || a.open || b.open {
        return Ok(());
    }
    Err(format!("it multiplies {} by {} elements", a.size, b.size))
}

fn exact(shape: &[Dim]) -> Inferred<Vec<u64>> {
    shape
        .iter()
        .map(|dim| {
            let usable = !dim.open && (1..=MAX_WINDOW as u64).contains(&dim.size);
            usable.then_some(dim.size).ok_or_else(|| "its kernel is empty, too large or not fixed".to_owned())
        })
        .collect()
}

fn positive(number: i64) -> Inferred<u64> {
    u64::try_from(number)
        .ok()
        .filter(|number| (1..=MAX_WINDOW as u64).contains(number))
        .ok_or_else(|| format!("{number} is not a usable size"))
}

/// Exactly `count` numbers from 0.
fn lengths(list: &[i64], count: usize) -> Inferred<Vec<u64>> {
    if list.len() != count {
        return Err(format!("a list has {} numbers instead of {count}", list.len()));
    }
    list.iter()
        .map(|&number| match number {
            0..=MAX_WINDOW => Ok(number.unsigned_abs()),
            _ => Err(format!("{number} is not a usable size")),
        })
        .collect()
}
