//! What a model may be.

use std::ops::RangeInclusive;

/// Bytes of an ONNX file. A node holds the file and one copy of its weights per concurrent run in memory, and protocol
/// buffers end at 2 GiB.
pub const MAX_MODEL_BYTES: usize = 512 << 20;

/// Operators in a graph: thirty times those of ResNet-152. Loading takes time that grows with their number.
pub const MAX_NODES: usize = 16_384;

/// Operators on the longest path through a graph: three times those of a 48-layer transformer.
pub const MAX_DEPTH: usize = 4_096;

/// Initialisers of a graph, and tensors in attributes: a few per operator.
pub(super) const MAX_TENSORS: usize = 32_768;

/// Inputs or outputs of one operator; `Concat` and `Split` are the ones that have many.
pub(super) const MAX_PER_NODE: usize = 256;

/// Attributes of one operator; tree ensembles have eighteen.
pub(super) const MAX_ATTRIBUTES: usize = 32;

/// Inputs or outputs of a model; a task hands over each by a call.
pub(super) const MAX_MODEL_TENSORS: usize = 64;

/// Dimensions of a tensor; videos in batches have five, attention heads in windows seven.
pub(super) const MAX_RANK: usize = 8;

/// Elements of one tensor, 1 GiB of the widest type.
pub const MAX_TENSOR_ELEMENTS: u64 = 1 << 27;

/// Elements of all tensors that one run computes together, 4 GiB of the widest type, as if none were freed before the end.
pub const MAX_RUN_ELEMENTS: u64 = 1 << 29;

/// The largest size that a dimension which a model leaves open may have, and the size that a run is charged for.
pub const OPEN_DIMENSION: u32 = 512;

/// Versions of the file format. Before 4, weights were inputs too; 13 is the newest that ONNX Runtime 1.31 reads.
pub const IR_VERSIONS: RangeInclusive<i64> = 4..=13;

/// Versions of ONNX's operators. 13 moved `axes` from attributes to inputs and redefined `Softmax`; from then to 26, the newest that ONNX
/// Runtime 1.31 has, the operators known here got more types and no other shapes or meanings.
pub const OPSETS: RangeInclusive<i64> = 13..=26;

/// Versions of ONNX's classic machine-learning operators.
pub const ML_OPSETS: RangeInclusive<i64> = 1..=4;

/// Numbers of an attribute's list or of a small tensor that are kept: shapes, axes, paddings and scales.
pub(super) const MAX_NUMBERS: usize = 64;
