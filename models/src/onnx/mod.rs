//! What can be said about an ONNX file without running it.
//!
//! [`inspect`] reads the file in place, refuses what no node should hand to an inference library, infers the shape of every
//! tensor and adds up what one run costs. Everything here is a function of the file's bytes alone: every node refuses the same
//! files and asks the same price.

mod constant;
mod cost;
#[cfg(feature = "onnxruntime")]
mod dequantized;
pub(crate) mod einsum;
#[cfg(feature = "onnxruntime")]
mod fuse;
mod graph;
#[cfg(feature = "onnxruntime")]
mod halves;
mod limits;
mod movement;
mod operators;
mod products;
mod proto;
#[cfg(feature = "onnxruntime")]
mod quantized;
#[cfg(feature = "onnxruntime")]
mod recurrent;
#[cfg(feature = "onnxruntime")]
pub(crate) mod reproducible;
mod shape;
#[cfg(test)]
mod tests;
mod types;
#[cfg(feature = "onnxruntime")]
mod weights;
mod wire;

pub use limits::{
    IR_VERSIONS, MAX_DEPTH, MAX_MODEL_BYTES, MAX_NODES, MAX_RUN_ELEMENTS, MAX_TENSOR_ELEMENTS, ML_OPSETS,
    OPEN_DIMENSION, OPSETS,
};

use crate::text::{MAX_REASON, bounded};
use crate::{LoadError, TensorSpec};

/// Which files are taken, with which shapes, and what their runs cost. It is part of the profile, so nodes that take other files or
/// ask other prices are never compared.
pub(crate) const VERSION: u32 = 1;

/// What an ONNX file says about itself, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModelInfo {
    /// What it expects, in order; initialisers are not among them.
    pub inputs: Vec<TensorSpec>,
    /// What it gives, in order.
    pub outputs: Vec<TensorSpec>,
    /// The cost of one run in units of the fuel schedule. A dimension that the model leaves open counts as
    /// [`OPEN_DIMENSION`].
    pub fuel: u64,
    /// The version of ONNX's operators that it uses.
    pub opset: i64,
    /// Operators in its graph.
    pub nodes: usize,
    /// Bytes of weights.
    pub weight_bytes: u64,
}

/// Checks an ONNX file and says what it is.
pub fn inspect(onnx: &[u8]) -> Result<ModelInfo, LoadError> {
    let model = proto::model(onnx)?;
    graph::inspect(&model, &mut |_, _| Ok(())).map(|(info, _)| info)
}

fn invalid(reason: impl std::fmt::Display) -> LoadError {
    LoadError::Invalid { reason: bounded(&reason.to_string(), MAX_REASON) }
}
