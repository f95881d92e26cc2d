//! Tensors as the items of inference jobs hold them.

use crate::cbor::{self, Canonical};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

/// The inputs of a model, or its outputs, in the model's order. An item of an inference job is the encoding of its inputs, and
/// the item's output that of its outputs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct TensorPack(
    #[cbor(n(0), decode_with = "cbor::list::<_, _, { TensorPack::MAX_TENSORS }>")] pub Vec<RawTensor>,
);

impl TensorPack {
    /// At most this many tensors.
    pub const MAX_TENSORS: usize = 1024;
}

impl Canonical for TensorPack {}

/// One tensor. That its data has the length that follows from type and shape is not checked here.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RawTensor {
    /// The type of its elements.
    #[n(0)]
    pub element_type: TensorType,
    /// Its dimensions, outermost first.
    #[cbor(n(1), decode_with = "cbor::list::<_, _, { RawTensor::MAX_RANK }>")]
    pub shape: Vec<u32>,
    /// Its elements, the last dimension's side by side, little-endian.
    #[n(2)]
    pub data: ByteVec,
}

impl RawTensor {
    /// At most this many dimensions.
    pub const MAX_RANK: usize = 8;
}

/// The type of a tensor's elements, numbered as in `wasi_ephemeral_nn`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum TensorType {
    /// IEEE 754 binary16.
    #[n(0)]
    F16,
    /// IEEE 754 binary32.
    #[n(1)]
    F32,
    /// IEEE 754 binary64.
    #[n(2)]
    F64,
    /// Unsigned, 8 bits.
    #[n(3)]
    U8,
    /// Signed, 32 bits.
    #[n(4)]
    I32,
    /// Signed, 64 bits.
    #[n(5)]
    I64,
}

impl TensorType {
    /// All of them, each at its number.
    pub const ALL: [Self; 6] = [Self::F16, Self::F32, Self::F64, Self::U8, Self::I32, Self::I64];
}
