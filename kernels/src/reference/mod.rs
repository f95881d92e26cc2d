//! `KERNELS.md` in Rust: every operator element by element, one operation after the other, with no thought for speed. What the fast
//! kernels are tested against.

mod conv;
mod double;
mod gemm;
mod halves;
mod int8;
mod pool;
mod quantize;
mod recurrent;
mod rows;
mod single;
mod trigonometric;
mod unary;

pub use conv::{convolution, transposed_convolution};
pub use gemm::{epilogue, gemm, sum_of_products};
pub use halves::{narrow, widen};
pub use int8::{integer_convolution, integer_gemm, requantize};
pub use pool::{average_pool, max_pool};
pub use quantize::{dequantize, quantization_of, quantize};
pub use recurrent::recurrent;
pub use rows::{
    batch_norm, cumulative_sum, group_norm, layer_norm, log_softmax, lp_normalize, mean_and_factor, mean_variance_norm,
    reduce, rms_norm, softmax,
};
pub use unary::{pow, unary};

/// a × b + c, rounded once.
fn fma(a: f32, b: f32, c: f32) -> f32 {
    a.mul_add(b, c)
}

/// The polynomial with these coefficients, the lowest first: Horner's rule, each step fused.
fn horner(x: f32, coefficients: &[f32]) -> f32 {
    let (highest, others) = coefficients.split_last().expect("a polynomial has coefficients");
    others.iter().rev().fold(*highest, |sum, coefficient| fma(sum, x, *coefficient))
}

/// The same in double precision.
fn horner_double(x: f64, coefficients: &[f64]) -> f64 {
    let (highest, others) = coefficients.split_last().expect("a polynomial has coefficients");
    others.iter().rev().fold(*highest, |sum, coefficient| sum.mul_add(x, *coefficient))
}

/// `value` × 2ⁿ in two multiplications: by 2^⌊n/2⌋, then by the rest.
fn scale(value: f32, n: f32) -> f32 {
    let n = n as i32;
    let first = n.div_euclid(2);
    value * power_of_two(first) * power_of_two(n - first)
}

/// 2ⁿ for -126 <= n <= 127.
fn power_of_two(n: i32) -> f32 {
    f32::from_bits(((n + 127) as u32) << 23)
}
