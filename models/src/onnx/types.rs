//! The types of values, as far as they matter: integers are not divided by what a run brings, and floats are computed in other ways.

use super::proto::Attribute;
use super::shape::{Call, Inferred, Value};

/// A number of ONNX's TensorProto.DataType.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct DataType(pub(super) i64);

impl DataType {
    /// Not known; an integer, where in doubt.
    pub(super) const UNKNOWN: Self = Self(0);
    pub(super) const F32: Self = Self(1);
    pub(super) const U8: Self = Self(2);
    pub(super) const I8: Self = Self(3);
    pub(super) const U16: Self = Self(4);
    pub(super) const I16: Self = Self(5);
    pub(super) const I32: Self = Self(6);
    pub(super) const I64: Self = Self(7);
    pub(super) const BOOL: Self = Self(9);
    pub(super) const F16: Self = Self(10);
    pub(super) const F64: Self = Self(11);
    pub(super) const BF16: Self = Self(16);

    /// Neither text nor complex, nor smaller than a byte.
    pub(super) fn is_number(self) -> bool {
        matches!(self.0, 1..=7 | 9..=13 | 16)
    }

    pub(super) fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64) || self.is_half()
    }

    /// A float of 16 bits.
    pub(super) fn is_half(self) -> bool {
        matches!(self, Self::F16 | Self::BF16)
    }
}

/// Marks what an operator gives.
pub(super) fn mark(call: &Call<'_>, outputs: &mut [Value]) {
    let input = |position| call.optional(position).map_or(DataType::UNKNOWN, |value: &Value| value.ty);
    let classic = call.node.domain == "ai.onnx.ml";
    let types = match call.node.operator {
        "ArgMax" | "ArgMin" | "Shape" | "Size" => [DataType::I64; 3],
        "And" | "Equal" | "Greater" | "GreaterOrEqual" | "IsInf" | "IsNaN" | "Less" | "LessOrEqual" | "Not" | "Or"
        | "Xor" => [DataType::BOOL; 3],
        "Cast" => match call.attribute("to") {
            Some(Attribute::Int(to)) => [DataType(*to); 3],
            _ => [DataType::UNKNOWN; 3],
        },
        "CastLike" | "DequantizeLinear" | "Where" => [input(1); 3],
        "Constant" => [outputs[0].ty; 3],
        "ConstantOfShape" => match call.attribute("value") {
            Some(Attribute::Tensor(tensor)) => [tensor.ty; 3],
            _ => [DataType::F32; 3],
        },
        "ConvInteger" | "MatMulInteger" => [DataType::I32; 3],
        "DynamicQuantizeLinear" => [DataType::U8, DataType::F32, DataType::U8],
        "OneHot" => [input(2); 3],
        "QLinearConv" | "QLinearMatMul" => [input(7); 3],
        "QuantizeLinear" => match call.optional(2) {
            Some(zero_point) => [zero_point.ty; 3],
            None => [DataType::U8; 3],
        },
        "MaxPool" | "TopK" => [input(0), DataType::I64, DataType::I64],
        _ if classic && outputs.len() == 2 => [DataType::I64, DataType::F32, DataType::UNKNOWN],
        _ if classic => [DataType::F32; 3],
        _ => [input(0); 3],
    };
    for (position, output) in outputs.iter_mut().enumerate() {
        output.ty = *types.get(position).unwrap_or(&types[2]);
    }
}

/// Refuses divisions that the processor may trap on: of integers, by 0, and of the smallest by -1. The library checks for the
/// first alone, and the second ends its process.
pub(super) fn check_division(call: &Call<'_>) -> Inferred<()> {
    let divisor = call.input(1)?;
    let safe =
        |ints: &[Option<i64>]| ints.iter().all(|number| number.is_some_and(|number| number != 0 && number != -1));
    if call.input(0)?.ty.is_float() || divisor.ty.is_float() || divisor.known_ints().is_some_and(safe) {
        return Ok(());
    }
    Err("it divides integers by something other than a few constants that are not 0 or -1; divide floats".to_owned())
}
