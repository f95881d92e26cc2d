//! Conversions of floats to integers.

use super::operator::{Compute, Definition, Input, Output, fail, give_at, input, sizes};
use half::{bf16, f16};
use ort::value::{PrimitiveTensorElementType, TensorElementType, ValueRef};

/// The operator for one type of integers. Its first input holds floats of any type; `CastLike` has a second one.
macro_rules! cast {
    ($name:literal, $integer:ident, $ty:ident) => {
        Definition {
            name: $name,
            inputs: &[Input::Anything],
            outputs: &[Output::Of(TensorElementType::$ty)],
            // Without its fraction, then the nearest that there is; of a NaN 0.
            prepare: |_, _| Ok(cast(|x| x as $integer)),
        }
    };
}

pub(super) const DEFINITIONS: &[Definition] = &[
    cast!("CastToInt8", i8, Int8),
    cast!("CastToInt16", i16, Int16),
    cast!("CastToInt32", i32, Int32),
    cast!("CastToInt64", i64, Int64),
    cast!("CastToUint8", u8, Uint8),
    cast!("CastToUint16", u16, Uint16),
    cast!("CastToUint32", u32, Uint32),
    cast!("CastToUint64", u64, Uint64),
];

fn cast<T: PrimitiveTensorElementType + 'static>(convert: fn(f64) -> T) -> Compute {
    Box::new(move |context| {
        let x = input(context, 0)?;
        let (shape, x) = doubles(&x)?;
        give_at(context, 0, &shape, |y| y.iter_mut().zip(x).for_each(|(y, x)| *y = convert(x)))
    })
}

/// The shape and the elements of a tensor of floats of any type, all of which are doubles.
fn doubles(value: &ValueRef<'_>) -> ort::Result<(Vec<usize>, Vec<f64>)> {
    fn of<T: PrimitiveTensorElementType + Copy + Into<f64>>(
        value: &ValueRef<'_>,
    ) -> ort::Result<(Vec<usize>, Vec<f64>)> {
        let (shape, data) = value.try_extract_tensor::<T>()?;
        Ok((sizes(shape)?, data.iter().map(|&x| x.into()).collect()))
    }
    match value.dtype().tensor_type() {
        Some(TensorElementType::Float32) => of::<f32>(value),
        Some(TensorElementType::Float64) => of::<f64>(value),
        Some(TensorElementType::Float16) => of::<f16>(value),
        Some(TensorElementType::Bfloat16) => of::<bf16>(value),
        _ => fail("it converts what is not a float"),
    }
}
