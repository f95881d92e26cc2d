//! ONNX models: validation and inference backends.
//!
//! A [`Backend`] turns the bytes of an ONNX file into a [`Model`], which maps [`Tensor`]s to [`Tensor`]s. Model bytes are
//! hostile input: [`onnx::inspect`] checks them before any backend's library sees them, and prices a run.
//!
//! Both backends need ONNX Runtime, behind the feature `onnxruntime`, which is on by default: [`OnnxRuntime`] leaves everything to it,
//! and its results are the same on processors of one kind; [`Reproducible`] computes in kernels of ours whatever could differ, and its
//! results are the same on all. With the feature `cuda`, either does so on an NVIDIA
//! GPU, if it is given one. The library is loaded when it is first needed; a program without it runs everything else.

pub mod onnx;
#[cfg(feature = "onnxruntime")]
mod onnxruntime;
mod tensor;
mod text;

#[cfg(feature = "cuda")]
pub use onnxruntime::{Gpu, GpuError, GpuOptions};
#[cfg(feature = "onnxruntime")]
pub use onnxruntime::{ONNX_RUNTIME_VERSION, OnnxRuntime, OpenError, Reproducible};
pub use tensor::{ElementType, Tensor, TensorError, TensorSpec, check_inputs};

use std::sync::Arc;

/// Loads models. One implementation per inference library.
pub trait Backend: Send + Sync {
    /// Everything that decides the bits of this backend's results: library, exact version, provider, kernels,
    /// processor features. It becomes part of the execution profile; nodes are compared only where it is equal.
    fn profile(&self) -> String;

    /// Checks and loads a model.
    fn load(&self, onnx: &[u8]) -> Result<Arc<dyn Model>, LoadError>;
}

/// A loaded model; may be called from several threads at once.
pub trait Model: Send + Sync {
    /// What it expects, in order.
    fn inputs(&self) -> &[TensorSpec];

    /// What it gives, in order.
    fn outputs(&self) -> &[TensorSpec];

    /// The cost of one run in units of the fuel schedule, from the model's graph alone: the same on every node.
    fn fuel(&self) -> u64;

    /// Runs the model once on inputs that match [`Model::inputs`].
    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunError>;
}

/// A model that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file itself is at fault: every node refuses it.
    #[error("not a usable ONNX model: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// The library failed: another node may load it.
    #[error("the inference library could not load the model: {reason}")]
    Backend {
        /// What the library says, bounded.
        reason: String,
    },
}

/// A run that gave no result.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The inputs do not fit the model: the caller's mistake, the same on every node.
    #[error("the inputs do not fit the model: {reason}")]
    Inputs {
        /// What does not fit.
        reason: String,
    },
    /// The library failed: another node may succeed.
    #[error("inference failed: {reason}")]
    Backend {
        /// What the library says, bounded.
        reason: String,
    },
}
