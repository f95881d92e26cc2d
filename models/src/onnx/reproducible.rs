//! Models whose results are the same bits on every processor: which operators of a graph an inference library may compute, and
//! which must be computed by our own kernels.
//!
//! A library may move elements, compute with integers, and do single operations that IEEE 754 defines to the bit. Whatever sums up,
//! is transcendental, or depends on the sign of a zero goes to operators of the same names in the domain [`DOMAIN`].

use super::proto::{self, Attribute};
use super::shape::{Call, Constant};
use super::types::DataType;
use super::wire::Message;
use super::{ModelInfo, graph};
use crate::LoadError;

/// Where our operators live.
pub(crate) const DOMAIN: &str = "depx";

/// The version of the table and of what is rewritten: another one may have other bits.
pub(crate) const VERSION: u32 = 1;

/// Who computes an operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Library,
    Kernels,
}

/// Checks a model as [`inspect`](super::inspect) does, and moves operators to our domain.
pub(crate) fn rewrite(onnx: &[u8]) -> Result<(ModelInfo, Vec<u8>), LoadError> {
    let mut places = Vec::new();
    let info = graph::inspect(&proto::model(onnx)?, &mut |call| {
        places.push(place(call)?);
        Ok(())
    })?;
    Ok((info, model(onnx, &places)?))
}

fn place(call: &Call<'_>) -> Result<Place, String> {
    let floats = call.inputs.iter().flatten().any(|value| value.ty.is_float());
    let known = call.inputs.iter().flatten().all(|value| value.ty != DataType::UNKNOWN);
    let operator = call.node.operator;
    if call.node.domain == "ai.onnx.ml" {
        return Err("classic operators have no reproducible kernels".to_owned());
    }
    match operator {
        "Concat" | "Constant" | "ConstantOfShape" | "DepthToSpace" | "Expand" | "Flatten" | "Gather"
        | "GatherElements" | "GatherND" | "Identity" | "OneHot" | "Pad" | "Reshape" | "Shape" | "Size" | "Slice"
        | "SpaceToDepth" | "Split" | "Squeeze" | "Tile" | "Transpose" | "Trilu" | "Unsqueeze" | "Where" | "And"
        | "Or" | "Not" | "Xor" | "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "IsInf"
        | "IsNaN" | "Dropout" => Ok(Place::Library),
        "ScatterElements" | "ScatterND" if call.text("reduction", "none")? == b"none" => Ok(Place::Library),
        // Conversions of floats to integers differ where they do not fit; all others are exact or rounded to nearest.
        "Cast" if known && (!floats || matches!(call.attribute("to"), Some(Attribute::Int(1 | 9 | 10 | 11 | 16)))) => {
            Ok(Place::Library)
        }
        "CastLike" if known && (!floats || call.input(1)?.ty.is_float()) => Ok(Place::Library),
        "Cast" | "CastLike" => Err("conversions of floats to integers have no reproducible kernel yet".to_owned()),
        _ if known && !floats => integers(operator),
        _ if !call.inputs.iter().flatten().all(|value| value.ty == DataType::F32 || !value.ty.is_float()) || !known => {
            Err("reproducible kernels take 32-bit floats; convert the model to them".to_owned())
        }
        "Abs" | "Add" | "ArgMax" | "ArgMin" | "Ceil" | "Div" | "Floor" | "Mul" | "Neg" | "Round" | "Sub" => {
            Ok(Place::Library)
        }
        _ => kernel(call),
    }
}

/// Operators on integers, all of which are exact.
fn integers(operator: &str) -> Result<Place, String> {
    match operator {
        "Abs" | "Add" | "ArgMax" | "ArgMin" | "BitShift" | "BitwiseAnd" | "BitwiseNot" | "BitwiseOr" | "BitwiseXor"
        | "CumSum" | "Div" | "Max" | "Min" | "Mod" | "Mul" | "Neg" | "Range" | "ReduceMax" | "ReduceMin"
        | "ReduceSum" | "Sign" | "Sub" | "Sum" | "TopK" => Ok(Place::Library),
        _ => Err("it has no reproducible kernel for integers".to_owned()),
    }
}

fn kernel(call: &Call<'_>) -> Result<Place, String> {
    let constant = |position| match call.optional(position) {
        None => true,
        Some(value) => matches!(&value.constant, Some(Constant::Ints(ints)) if ints.iter().all(Option::is_some)),
    };
    match call.node.operator {
        "Acos"
        | "Acosh"
        | "Asin"
        | "Asinh"
        | "Atan"
        | "Atanh"
        | "BatchNormalization"
        | "Celu"
        | "Clip"
        | "Conv"
        | "Cos"
        | "Cosh"
        | "Elu"
        | "Erf"
        | "Exp"
        | "Gelu"
        | "Gemm"
        | "HardSigmoid"
        | "HardSwish"
        | "InstanceNormalization"
        | "LayerNormalization"
        | "LeakyRelu"
        | "Log"
        | "LogSoftmax"
        | "MatMul"
        | "Mish"
        | "Pow"
        | "Reciprocal"
        | "Relu"
        | "Selu"
        | "Sigmoid"
        | "Sin"
        | "Sinh"
        | "Softmax"
        | "Softplus"
        | "Softsign"
        | "Sqrt"
        | "Tan"
        | "Tanh"
        | "GlobalAveragePool" => {}
        "AveragePool" | "LpNormalization" | "RMSNormalization" => {}
        "MaxPool" if call.int("storage_order", 0)? == 0 => {}
        "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax" | "ReduceMean" | "ReduceMin"
        | "ReduceProd" | "ReduceSum" | "ReduceSumSquare"
            if constant(1) => {}
        _ => return Err("it has no reproducible kernel yet; ask for class D2".to_owned()),
    }
    match call.node.outputs.iter().filter(|name| !name.is_empty()).count() {
        0 | 1 => Ok(Place::Kernels),
        _ => Err("only its first output has a reproducible kernel".to_owned()),
    }
}

/// The model with its operators at their places. Everything else stays byte for byte.
fn model(onnx: &[u8], places: &[Place]) -> Result<Vec<u8>, LoadError> {
    let mut places = places.iter();
    let mut rewritten = fields(onnx, |number, value| match number {
        7 => fields(value?, |number, value| match number {
            1 if places.next() == Some(&Place::Kernels) => moved(value?).map(Some),
            _ => Ok(None),
        })
        .map(Some),
        _ => Ok(None),
    })?;
    let mut operators = Vec::new();
    write(&mut operators, 1, DOMAIN.as_bytes());
    operators.extend([2 << 3, VERSION as u8]);
    write(&mut rewritten, 8, &operators);
    Ok(rewritten)
}

/// A node in our domain.
fn moved(node: &[u8]) -> Result<Vec<u8>, LoadError> {
    let mut moved = fields(node, |number, _| Ok((number == 7).then(Vec::new)))?;
    write(&mut moved, 7, DOMAIN.as_bytes());
    Ok(moved)
}

/// A message of which fields are replaced: with something else, or, by something empty, with nothing.
fn fields<'a>(
    message: &'a [u8],
    mut replace: impl FnMut(u64, Result<&'a [u8], LoadError>) -> Result<Option<Vec<u8>>, LoadError>,
) -> Result<Vec<u8>, LoadError> {
    let (mut rest, mut written) = (Message(message), Vec::with_capacity(message.len() + 64));
    loop {
        let before = rest.0;
        let Some(field) = rest.next() else { return Ok(written) };
        let field = field?;
        match replace(field.number, field.bytes())? {
            None => written.extend_from_slice(&before[..before.len() - rest.0.len()]),
            Some(empty) if empty.is_empty() => {}
            Some(value) => write(&mut written, field.number, &value),
        }
    }
}

/// A length-delimited field.
fn write(message: &mut Vec<u8>, number: u64, value: &[u8]) {
    for mut varint in [number << 3 | 2, value.len() as u64] {
        while varint >= 0x80 {
            message.push(varint as u8 | 0x80);
            varint >>= 7;
        }
        message.push(varint as u8);
    }
    message.extend_from_slice(value);
}

const _: () = assert!(VERSION < 0x80, "one byte holds the version");
