//! Between floats and integers of few bits.

use crate::Quantized;

/// An integer that stands for a float, see [`quantize`](crate::quantize).
pub fn quantize<T: Quantized>(x: f32, scale: f32, zero_point: T) -> T {
    let zero_point = zero_point.to_i32();
    let y = x / scale;
    if y.is_nan() {
        return T::from_i32(zero_point);
    }
    let y = y.max((T::LEAST - zero_point) as f32).min((T::GREATEST - zero_point) as f32);
    T::from_i32(y.round_ties_even() as i32 + zero_point)
}

/// The float that an integer stands for, see [`dequantize`](crate::dequantize).
pub fn dequantize(x: i32, scale: f32, zero_point: i32) -> f32 {
    x.wrapping_sub(zero_point) as f32 * scale
}

/// A scale and a zero point, see [`quantization_of`](crate::quantization_of).
pub fn quantization_of(x: &[f32]) -> (f32, u8) {
    let low = x.iter().copied().fold(0.0, f32::min);
    let high = x.iter().copied().fold(0.0, f32::max);
    let scale = if low == high { 1.0 } else { (high - low) / 255.0 };
    let zero_point = 0.0 - low / scale;
    (scale, if zero_point.is_nan() { 0 } else { zero_point.clamp(0.0, 255.0).round_ties_even() as u8 })
}
