//! Models whose results are the same bits on every processor: which operators of a graph an inference library may compute, and
//! which must be computed by our own kernels.
//!
//! A library may move elements, compute with integers, and do single operations that IEEE 754 defines to the bit. Whatever sums up,
//! is transcendental, converts floats to integers, or depends on the sign of a zero or on a NaN goes to operators in the domain
//! [`DOMAIN`]. Several that make up one of ours become that one, see `fuse`.

use super::fuse::{self, Step};
use super::proto::{self, Attribute};
use super::shape::Call;
use super::types::DataType;
use super::wire::{Message, write, write_int};
use super::{ModelInfo, dequantized, einsum, graph, halves, quantized, recurrent};
use crate::LoadError;

/// Where our operators live.
pub(crate) const DOMAIN: &str = "depx";

/// What the library's operators are marked with, under [`ANNOTATION`]. They stay on the processor: a library's kernels for GPUs need
/// not give the same bits.
pub(crate) const LIBRARY: &str = "library";

/// By this key of an operator's metadata, ONNX Runtime assigns it to a provider.
const ANNOTATION: &str = "layer_ann";

/// The version of the table and of what is rewritten: another one may have other bits.
pub(crate) const VERSION: u32 = 2;

/// Who computes an operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Library,
    Kernels,
    /// Kernels, as the operator of this name.
    Renamed(&'static str),
}

/// Checks a model as [`inspect`](super::inspect) does, and moves operators to our domain, of whose operators `outputs` says how many
/// outputs they have.
pub(crate) fn rewrite(onnx: &[u8], outputs: Outputs) -> Result<(ModelInfo, Vec<u8>), LoadError> {
    let widened = halves::widened(onnx)?;
    let onnx = widened.as_deref().unwrap_or(onnx);
    let dequantized = dequantized::dequantized(onnx)?;
    let onnx = dequantized.as_deref().unwrap_or(onnx);
    let parsed = proto::model(onnx)?;
    let mut places = Vec::new();
    let (info, values) = graph::inspect(&parsed, &mut |call, _| {
        places.push(place(call, outputs)?);
        Ok(())
    })?;
    let steps = fuse::fuse(&parsed, &values, &places);
    Ok((info, model(onnx, &steps)?))
}

type Outputs = fn(&str) -> Option<usize>;

fn place(call: &Call<'_>, outputs: Outputs) -> Result<Place, String> {
    let types = || call.inputs.iter().flatten().map(|value| value.ty);
    let operator = call.node.operator;
    if call.node.domain == "ai.onnx.ml" {
        return Err("classic operators have no reproducible kernels".to_owned());
    }
    if !types().all(DataType::is_number) {
        return Err("its inputs are not all plain numbers of a type that is known".to_owned());
    }
    match operator {
        "Concat" | "Constant" | "ConstantOfShape" | "DepthToSpace" | "Expand" | "Flatten" | "Gather"
        | "GatherElements" | "GatherND" | "Identity" | "Pad" | "Reshape" | "Shape" | "Size" | "Slice"
        | "SpaceToDepth" | "Split" | "Squeeze" | "Tile" | "Transpose" | "Trilu" | "Unsqueeze" | "Where" | "And"
        | "Or" | "Not" | "Xor" | "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "IsInf"
        | "IsNaN" | "Dropout" => Ok(Place::Library),
        "ScatterElements" | "ScatterND" if call.text("reduction", "none")? == b"none" => Ok(Place::Library),
        "OneHot" if !call.input(0)?.ty.is_float() && !call.input(1)?.ty.is_float() => Ok(Place::Library),
        "Cast" => match call.attribute("to") {
            Some(Attribute::Int(to)) => conversion(call, DataType(*to)),
            _ => Err("it does not say to which type".to_owned()),
        },
        "CastLike" => conversion(call, call.input(1)?.ty),
        "ConvInteger" | "DequantizeLinear" | "MatMulInteger" => quantized::check(call).map(|()| Place::Kernels),
        _ if !types().any(DataType::is_float) => integers(call),
        "Abs" | "Add" | "Div" | "Mul" | "Neg" | "Sub" => Ok(Place::Library),
        _ if types().any(|ty| ty.is_float() && ty != DataType::F32) => {
            Err("reproducible kernels take 32-bit floats; convert the model to them".to_owned())
        }
        "DynamicQuantizeLinear" | "QLinearConv" | "QLinearMatMul" | "QuantizeLinear" => {
            quantized::check(call).map(|()| Place::Kernels)
        }
        "Einsum" => einsum::check(call).map(|()| Place::Kernels),
        "GRU" | "LSTM" | "RNN" => recurrent::check(call).map(|()| Place::Kernels),
        _ => match outputs(operator) {
            Some(outputs) => kernel(call, outputs),
            None => Err("it has no reproducible kernel yet; ask for class D2".to_owned()),
        },
    }
}

/// Conversions of floats to integers differ in libraries where they do not fit, and of two conversions between floats in a row a library
/// may leave one out, depending on its version; all others wrap or are exact. No operator of ours may be called `Cast`: it would be taken
/// for the library's.
fn conversion(call: &Call<'_>, to: DataType) -> Result<Place, String> {
    let from = call.input(0)?.ty;
    if !to.is_number() {
        return Err("it converts to what is not a plain number".to_owned());
    }
    if from == to || !from.is_float() || to == DataType::BOOL || to == DataType::F64 {
        return Ok(Place::Library);
    }
    if to.is_float() && call.node.operator == "CastLike" {
        return Err("it converts floats; use Cast".to_owned());
    }
    if from == DataType::F64 && (to == DataType::F16 || to == DataType::BF16) {
        return Err("it converts doubles to 16 bits; convert them to 32 bits first".to_owned());
    }
    Ok(Place::Renamed(match to.0 {
        1 => "ToFloat",
        2 => "CastToUint8",
        3 => "CastToInt8",
        4 => "CastToUint16",
        5 => "CastToInt16",
        6 => "CastToInt32",
        7 => "CastToInt64",
        10 => "ToFloat16",
        12 => "CastToUint32",
        13 => "CastToUint64",
        16 => "ToBFloat16",
        _ => return Err("it converts to a type that is not known".to_owned()),
    }))
}

/// Operators on integers, all of which are exact.
fn integers(call: &Call<'_>) -> Result<Place, String> {
    match call.node.operator {
        "Abs" | "Add" | "ArgMax" | "ArgMin" | "BitwiseAnd" | "BitwiseNot" | "BitwiseOr" | "BitwiseXor" | "Clip"
        | "CumSum" | "Div" | "Max" | "MaxPool" | "Min" | "Mod" | "Mul" | "Neg" | "Range" | "ReduceMax"
        | "ReduceMin" | "ReduceSum" | "Sign" | "Sub" => Ok(Place::Library),
        "TopK" if call.int("sorted", 1)? == 1 => Ok(Place::Library),
        "TopK" => Err("the order of its results is not defined; sort them".to_owned()),
        "BitShift" => Err("what shifts by more bits than there are give is the processor's choice".to_owned()),
        _ => Err("it has no reproducible kernel for integers".to_owned()),
    }
}

/// Whether a kernel of ours does what this node asks for.
fn kernel(call: &Call<'_>, outputs: usize) -> Result<Place, String> {
    let operator = call.node.operator;
    let shaped = |position| match call.optional(position) {
        None => true,
        Some(value) => value.known_ints().is_some_and(|ints| ints.iter().all(Option::is_some)),
    };
    // Fused operators have more inputs and attributes than a file may give them.
    let plain = |inputs| call.inputs.len() <= inputs && call.attribute("activation").is_none();
    let fits = match operator {
        "Conv" | "Gemm" => plain(3),
        "MatMul" => plain(2) && call.attribute("transB").is_none(),
        "Celu" => call.float("alpha", 1.0)? > 0.0,
        "Gelu" => matches!(call.text("approximate", "none")?, b"none" | b"tanh"),
        "LpNormalization" => matches!(call.int("p", 2)?, 1 | 2),
        // The weights are packed once for each combination of strides.
        "ConvTranspose" => {
            call.list("strides")?.unwrap_or_default().iter().fold(1, |all: i64, stride| all.saturating_mul(*stride))
                <= 4096
        }
        "GlobalLpPool" | "LpPool" => call.int("p", 2)? > 0,
        "GroupNormalization" | "LayerNormalization" | "RMSNormalization" => call.int("stash_type", 1)? == 1,
        "MaxPool" => call.int("storage_order", 0)? == 0,
        "Mod" => call.int("fmod", 0)? == 1,
        // Exponents are floats or integers of 32 or 64 bits.
        "Pow" => call.input(0)?.ty.is_float() && matches!(call.input(1)?.ty.0, 1 | 6 | 7 | 12 | 13),
        "Resize" => resizes(call)?,
        "ScatterElements" | "ScatterND" => {
            call.input(1)?.ty == DataType::I64
                && matches!(call.text("reduction", "none")?, b"add" | b"mul" | b"max" | b"min")
        }
        _ => !operator.starts_with("Reduce") || shaped(1),
    };
    if !fits {
        return Err("it has no reproducible kernel with these attributes; ask for class D2".to_owned());
    }
    match call.node.outputs.len() <= outputs {
        true => Ok(Place::Kernels),
        false => Err(format!("only its first {outputs} outputs have reproducible kernels")),
    }
}

/// Whether the modes of a `Resize` are known.
fn resizes(call: &Call<'_>) -> Result<bool, String> {
    let coordinates: [&[u8]; 6] = [
        b"half_pixel",
        b"half_pixel_symmetric",
        b"pytorch_half_pixel",
        b"align_corners",
        b"asymmetric",
        b"tf_crop_and_resize",
    ];
    let nearest: [&[u8]; 4] = [b"round_prefer_floor", b"round_prefer_ceil", b"floor", b"ceil"];
    Ok(matches!(call.text("mode", "nearest")?, b"nearest" | b"linear" | b"cubic")
        && coordinates.contains(&call.text("coordinate_transformation_mode", "half_pixel")?)
        && nearest.contains(&call.text("nearest_mode", "round_prefer_floor")?))
}

/// The model with these operators. Everything else stays byte for byte.
fn model(onnx: &[u8], steps: &[Option<Step<'_>>]) -> Result<Vec<u8>, LoadError> {
    let mut rewritten = fields(onnx, |number, value, written| {
        if number == 7 {
            write(written, 7, &graph_of(value?, steps)?);
        }
        Ok(number == 7)
    })?;
    let mut operators = Vec::new();
    write(&mut operators, 1, DOMAIN.as_bytes());
    write_int(&mut operators, 2, i64::from(VERSION));
    write(&mut rewritten, 8, &operators);
    Ok(rewritten)
}

fn graph_of(graph: &[u8], steps: &[Option<Step<'_>>]) -> Result<Vec<u8>, LoadError> {
    let mut nodes = Vec::with_capacity(steps.len());
    let mut rewritten = fields(graph, |number, value, _| {
        if number == 1 {
            nodes.push(value?);
        }
        Ok(number == 1)
    })?;
    for step in steps.iter().flatten() {
        let mut node = match step.attributes.and_then(|index| nodes.get(index)) {
            // Names and domains are written anew, and of metadata there is ours alone.
            Some(node) => {
                fields(node, |number, _, _| Ok(matches!(number, 1 | 2 | 4 | 9) || step.kernel && number == 7))?
            }
            None => Vec::new(),
        };
        step.inputs.iter().for_each(|name| write(&mut node, 1, name.as_bytes()));
        step.outputs.iter().for_each(|name| write(&mut node, 2, name.as_bytes()));
        write(&mut node, 4, step.operator.as_bytes());
        if step.kernel {
            write(&mut node, 7, DOMAIN.as_bytes());
        } else {
            let mut metadata = Vec::new();
            write(&mut metadata, 1, ANNOTATION.as_bytes());
            write(&mut metadata, 2, LIBRARY.as_bytes());
            write(&mut node, 9, &metadata);
        }
        node.extend_from_slice(&step.further);
        write(&mut rewritten, 1, &node);
    }
    Ok(rewritten)
}

/// A message in which fields are replaced: `replace` says of each whether it has written what there is instead.
pub(super) fn fields<'a>(
    message: &'a [u8],
    mut replace: impl FnMut(u64, Result<&'a [u8], LoadError>, &mut Vec<u8>) -> Result<bool, LoadError>,
) -> Result<Vec<u8>, LoadError> {
    let (mut rest, mut written) = (Message(message), Vec::with_capacity(message.len() + 64));
    loop {
        let before = rest.0;
        let Some(field) = rest.next() else { return Ok(written) };
        let field = field?;
        if !replace(field.number, field.bytes(), &mut written)? {
            written.extend_from_slice(&before[..before.len() - rest.0.len()]);
        }
    }
}
