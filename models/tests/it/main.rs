//! Models in the real ONNX Runtime. Without its library these tests say that they are skipped, and fail if
//! `DEPX_REQUIRE_ORT=1`.

mod bits;
mod conformance;
mod digits;
mod einsum;
mod fused;
mod gpu;
mod halves;
mod onnxruntime;
mod operators;
mod quantized;
mod recurrent;
mod reproducible;
mod writer;

use depx_models::{OnnxRuntime, OpenError};

/// The backend, or `None` where the library is not installed.
fn backend() -> Option<OnnxRuntime> {
    match OnnxRuntime::open(None) {
        Ok(backend) => Some(backend),
        Err(error @ OpenError::NotFound { .. })
            if std::env::var_os("DEPX_REQUIRE_ORT").is_none_or(|value| value != "1") =>
        {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}
