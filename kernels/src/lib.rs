//! Kernels of neural networks whose results are the same bits on every processor.
//!
//! Each is a fixed sequence of IEEE 754 operations for every element of its result, written down in `KERNELS.md` and, literally, in
//! `reference`. Faster ones compute several elements side by side ([`Isa`] says how many) or on several threads, which changes
//! no bit.

#![allow(unsafe_code, reason = "vector instructions")]

mod aligned;
#[allow(clippy::undocumented_unsafe_blocks, reason = "as for `lanes`")]
mod bits;
mod coefficients;
mod conv;
#[allow(clippy::undocumented_unsafe_blocks, reason = "as for `lanes`")]
mod doubles;
mod elementwise;
mod environment;
mod gemm;
#[cfg(test)]
mod golden;
mod halve;
mod halves;
mod int8;
mod isa;
#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "each is one instruction, for which its trait states what it needs"
)]
mod lanes;
mod local_response;
mod order;
mod parallel;
mod pool;
mod recurrent;
pub mod reference;
mod resize;
mod rows;
#[cfg(test)]
mod samples;
mod scatter;
mod threads;
#[allow(clippy::undocumented_unsafe_blocks, reason = "as for `lanes`")]
mod two;
#[allow(clippy::undocumented_unsafe_blocks, reason = "as for `lanes`")]
mod vector;

pub use conv::{Axes, PackedFilters, PackedTransposedFilters, Window, convolution, transposed_convolution};
pub use elementwise::{Binary, Unary};
pub use environment::with_ieee_floats;
pub use gemm::{
    Activation, Addend, AttentionShape, Bias, Epilogue, Heads, Matrix, PackedMatrix, attention, batched_gemm, gemm,
};
pub use halves::{narrow_bf16, narrow_f16, widen_bf16, widen_f16};
pub use int8::{
    Int8, PackedIntegerFilters, PackedIntegers, Quantized, Scales, dequantize, integer_convolution, integer_gemm,
    quantization_of, quantize, requantization_scale, requantize,
};
pub use isa::Isa;
pub use local_response::{LocalResponse, local_response_norm};
pub use order::{Order, arg_first, hard_max, top_k};
pub use parallel::{Parallel, Sequential};
pub use pool::{average_pool, global_lp_pool, lp_pool, max_pool, max_pool_positions};
pub use recurrent::{Cell, PackedRecurrent, Recurrence, recurrent};
pub use resize::{Coordinates, Interpolation, Nearest, Resize, ResizedAxis, resize};
pub use rows::{
    BatchNorm, CumulativeSum, Reduction, batch_norm, cumulative_sum, group_norm, layer_norm, layer_norm_statistics,
    log_softmax, lp_normalize, mean_variance_norm, reduce, rms_norm, softmax,
};
pub use scatter::Scatter;
pub use threads::Threads;

/// The version of `KERNELS.md`: another one has other bits.
pub const VERSION: u32 = 2;
