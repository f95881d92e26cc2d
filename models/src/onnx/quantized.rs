//! Which uses of operators on quantised tensors have reproducible kernels.

use super::shape::Call;
use super::types::DataType;

/// Refuses what the kernels of these operators do not do.
pub(super) fn check(call: &Call<'_>) -> Result<(), String> {
    let byte = |position: usize| match call.input(position)?.ty {
        DataType::U8 | DataType::I8 => Ok(()),
        _ => Err(format!("its input {position} is not of 8-bit integers")),
    };
    let single = |position: usize| match call.optional(position) {
        Some(value) if value.shape.iter().any(|dim| dim.size != 1) => {
            Err(format!("its input {position} is not a single number; only the right operand may have several"))
        }
        _ => Ok(()),
    };
    let vector = |position: usize| match call.optional(position) {
        Some(value) if value.shape.len() > 1 => Err(format!("its input {position} has more than one dimension")),
        _ => Ok(()),
    };
    // Zero points and what they are of, by position.
    let alike = |pairs: &[[usize; 2]]| {
        let differ = |[a, b]: &&[usize; 2]| match (call.optional(*a), call.optional(*b)) {
            (Some(a), Some(b)) => a.ty != b.ty,
            _ => false,
        };
        match pairs.iter().find(differ) {
            None => Ok(()),
            Some([a, b]) => Err(format!("its inputs {a} and {b} are of different types")),
        }
    };
    match call.node.operator {
        "ConvInteger" | "MatMulInteger" => {
            byte(0)?;
            byte(1)?;
            alike(&[[0, 2], [1, 3]])?;
            single(2)?;
            vector(3)
        }
        "QLinearConv" | "QLinearMatMul" => {
            for position in [0, 3] {
                byte(position)?;
            }
            alike(&[[0, 2], [3, 5], [0, 7]])?;
            for position in [1, 2, 6, 7] {
                single(position)?;
            }
            vector(4)?;
            vector(5)
        }
        "DequantizeLinear" => {
            linear(call)?;
            alike(&[[0, 2]])?;
            match call.input(0)?.ty {
                DataType::U8 | DataType::I8 | DataType::U16 | DataType::I16 | DataType::I32 => Ok(()),
                _ => Err("it takes no integers of 8, 16 or 32 bits".to_owned()),
            }
        }
        "QuantizeLinear" => {
            linear(call)?;
            if !call.input(0)?.ty.is_float() {
                return Err("it takes no floats".to_owned());
            }
            match call.optional(2).map_or(DataType::U8, |zero_point| zero_point.ty) {
                DataType::U8 | DataType::I8 | DataType::U16 | DataType::I16 => Ok(()),
                _ => Err("it gives no integers of 8 or 16 bits".to_owned()),
            }
        }
        _ => Ok(()),
    }
}

/// What quantising and its inverse have in common.
fn linear(call: &Call<'_>) -> Result<(), String> {
    if call.int("block_size", 0)? != 0 || call.input(1)?.shape.len() > 1 {
        return Err("scales of blocks have no reproducible kernel; quantise by tensor or by axis".to_owned());
    }
    for attribute in ["output_dtype", "precision"] {
        if call.int(attribute, 0)? != 0 {
            return Err(format!("its attribute '{attribute}' has no reproducible kernel; give a zero point"));
        }
    }
    Ok(())
}
