//! Between floats and integers of 8 or 16 bits.

/// An integer with which floats are represented: `u8`, `i8`, `u16` or `i16`.
pub trait Quantized: Copy {
    /// The least.
    const LEAST: i32;
    /// The greatest.
    const GREATEST: i32;

    /// One that is in the range.
    fn from_i32(value: i32) -> Self;

    /// Without loss.
    fn to_i32(self) -> i32;
}

macro_rules! quantized {
    ($($type:ident)*) => {
        $(impl Quantized for $type {
            const LEAST: i32 = $type::MIN as i32;
            const GREATEST: i32 = $type::MAX as i32;

            fn from_i32(value: i32) -> Self {
                value as $type
            }

            fn to_i32(self) -> i32 {
                self.into()
            }
        })*
    };
}

quantized!(u8 i8 u16 i16);

/// The nearest integer, half to even, of a number brought between small bounds; 0 of a NaN.
#[inline(always)]
pub(super) fn nearest(y: f32, [low, high]: [f32; 2]) -> i32 {
    // Adding and subtracting 1.5 × 2²³ rounds what is small.
    const ROUND: f32 = 12_582_912.0;
    let y = if low > y { low } else { y };
    let y = if high < y { high } else { y };
    (y + ROUND - ROUND) as i32
}

/// Makes integers of floats. For each:
///
/// 1. `y = x / scale`,
/// 2. `y = min(max(y, MIN − zero point), MAX − zero point)`,
/// 3. `y` is rounded to an integer, half to even; a NaN becomes 0,
/// 4. the zero point is added.
///
/// # Panics
///
/// If the lengths differ.
pub fn quantize<T: Quantized>(x: &[f32], scale: f32, zero_point: T, output: &mut [T]) {
    assert_eq!(x.len(), output.len(), "an output for each element");
    let zero_point = zero_point.to_i32();
    let bounds = [(T::LEAST - zero_point) as f32, (T::GREATEST - zero_point) as f32];
    for (x, output) in x.iter().zip(output) {
        *output = T::from_i32(nearest(x / scale, bounds) + zero_point);
    }
}

/// The float that an integer stands for: `f32(x − zero point) × scale`, where the difference wraps at 32 bits, and the conversion and
/// the product are rounded.
///
/// # Panics
///
/// If the lengths differ.
pub fn dequantize<T: Copy + Into<i32>>(x: &[T], scale: f32, zero_point: T, output: &mut [f32]) {
    assert_eq!(x.len(), output.len(), "an output for each element");
    let zero_point = zero_point.into();
    for (x, output) in x.iter().zip(output) {
        *output = (*x).into().wrapping_sub(zero_point) as f32 * scale;
    }
}

/// The scale and the zero point with which `u8` represents all of these numbers and 0:
///
/// 1. `low` is the least of 0 and all x, `high` the greatest; NaNs are passed by,
/// 2. `scale = (high − low) / 255`, or 1 if both are the same,
/// 3. the zero point is what [`quantize`] makes of `−low` with this scale and the zero point 0.
pub fn quantization_of(x: &[f32]) -> (f32, u8) {
    let (low, high) = x
        .iter()
        .fold((0.0f32, 0.0f32), |(low, high), &x| (if x < low { x } else { low }, if x > high { x } else { high }));
    let scale = if low == high { 1.0 } else { (high - low) / 255.0 };
    (scale, u8::from_i32(nearest(-low / scale, [0.0, 255.0])))
}
