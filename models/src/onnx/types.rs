//! Which values are floats, as far as it matters: integers are not divided by what a run brings.

use super::proto::Attribute;
use super::shape::{Call, Inferred, Value};

/// Whether a number of ONNX's TensorProto.DataType is that of a float.
pub(super) fn is_float(data_type: i64) -> bool {
    // f32, f16, f64, bf16
    matches!(data_type, 1 | 10 | 11 | 16)
}

/// Marks what an operator gives. Where in doubt, a value counts as an integer.
pub(super) fn mark(call: &Call<'_>, outputs: &mut [Value]) {
    let input = |position| call.optional(position).is_some_and(|value: &Value| value.float);
    let classic = call.node.domain == "ai.onnx.ml";
    let floats = match call.node.operator {
        "ArgMax" | "ArgMin" | "Equal" | "Greater" | "GreaterOrEqual" | "IsInf" | "IsNaN" | "Less" | "LessOrEqual"
        | "QuantizeLinear" | "Shape" | "Size" => [false; 3],
        "Cast" => [matches!(call.attribute("to"), Some(Attribute::Int(to)) if is_float(*to)); 3],
        "CastLike" | "Where" => [input(1); 3],
        "Constant" => [outputs[0].float; 3],
        "ConstantOfShape" => match call.attribute("value") {
            Some(Attribute::Tensor(tensor)) => [tensor.float; 3],
            _ => [true; 3],
        },
        "DequantizeLinear" => [true; 3],
        "DynamicQuantizeLinear" => [false, true, false],
        "OneHot" => [input(2); 3],
        "TopK" => [input(0), false, false],
        _ if classic && outputs.len() == 2 => [false, true, false],
        _ if classic => [true; 3],
        _ => [input(0); 3],
    };
    for (position, output) in outputs.iter_mut().enumerate() {
        output.float = *floats.get(position).unwrap_or(&floats[2]);
    }
}

/// Refuses divisions that the processor may trap on: of integers, by 0, and of the smallest by -1. The library checks for the
/// first alone, and the second ends its process.
pub(super) fn check_division(call: &Call<'_>) -> Inferred<()> {
    let divisor = call.input(1)?;
    let safe =
        |ints: &[Option<i64>]| ints.iter().all(|number| number.is_some_and(|number| number != 0 && number != -1));
    if call.input(0)?.float || divisor.float || divisor.known_ints().is_some_and(safe) {
        return Ok(());
    }
    Err("it divides integers by something other than a few constants that are not 0 or -1; divide floats".to_owned())
}
