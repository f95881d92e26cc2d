//! Products and convolutions of 8-bit integers. Integers are exact, so that no order is stated: zero points are subtracted first, and
//! sums wrap at 32 bits.

mod conv;
mod gemm;
#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "each is one instruction, for which its trait states what it needs"
)]
mod lanes;
mod quantize;
mod requantize;
mod tile;

pub use conv::{PackedIntegerFilters, integer_convolution};
pub use gemm::{PackedIntegers, integer_gemm};
pub use quantize::{Quantized, dequantize, quantization_of, quantize};
pub use requantize::{Scales, requantization_scale, requantize};

/// `u8` or `i8`.
pub trait Int8: Copy + Into<i16> + Send + Sync + 'static {
    /// The least.
    const MIN: i16;
    /// The greatest.
    const MAX: i16;

    /// One that is in the range.
    fn of(value: i32) -> Self;
}

impl Int8 for u8 {
    const MIN: i16 = 0;
    const MAX: i16 = 255;

    fn of(value: i32) -> Self {
        value as u8
    }
}

impl Int8 for i8 {
    const MIN: i16 = -128;
    const MAX: i16 = 127;

    fn of(value: i32) -> Self {
        value as i8
    }
}

/// Zero points: one for all, or one for each column of a right operand or each filter.
fn zero_point<T: Int8>(zero_points: &[T], index: usize) -> i16 {
    if zero_points.len() == 1 { zero_points[0].into() } else { zero_points[index].into() }
}

#[cfg(test)]
mod tests;
