//! Tensors as they cross the sandbox: a type, a shape and little-endian bytes.

/// The type of a tensor's elements, numbered as in `wasi_ephemeral_nn`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum ElementType {
    /// IEEE 754 binary16.
    F16 = 0,
    /// IEEE 754 binary32.
    F32 = 1,
    /// IEEE 754 binary64.
    F64 = 2,
    /// Unsigned, 8 bits.
    U8 = 3,
    /// Signed, 32 bits.
    I32 = 4,
    /// Signed, 64 bits.
    I64 = 5,
}

impl ElementType {
    /// Bytes per element.
    pub const fn size(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::F16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }
}

/// What a model expects or gives at one place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TensorSpec {
    /// The name in the model.
    pub name: String,
    /// The type of its elements.
    pub element_type: ElementType,
    /// Its dimensions; `None` where any size is accepted.
    pub shape: Vec<Option<u32>>,
}

/// A dense tensor in row-major order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tensor {
    element_type: ElementType,
    shape: Vec<u32>,
    data: Vec<u8>,
}

impl Tensor {
    /// From its parts; `data` holds the product of `shape` elements, little-endian.
    pub fn new(element_type: ElementType, shape: Vec<u32>, data: Vec<u8>) -> Result<Self, TensorError> {
        let expected = shape
            .iter()
            .try_fold(element_type.size(), |bytes, &dimension| bytes.checked_mul(dimension as usize))
            .ok_or(TensorError::TooLarge)?;
        if data.len() != expected {
            return Err(TensorError::Length { expected, actual: data.len() });
        }
        Ok(Self { element_type, shape, data })
    }

    /// The type of its elements.
    pub fn element_type(&self) -> ElementType {
        self.element_type
    }

    /// Its dimensions.
    pub fn shape(&self) -> &[u32] {
        &self.shape
    }

    /// Its elements, little-endian.
    pub fn data(&self) -> &[u8] {
        &self.data
    }
}

/// Parts that do not make a tensor.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TensorError {
    /// Data of another length than the shape says.
    #[error("a tensor of this type and shape has {expected} bytes, not {actual}")]
    Length {
        /// By type and shape.
        expected: usize,
        /// As given.
        actual: usize,
    },
    /// A shape whose size in bytes does not fit in memory.
    #[error("the tensor's shape is larger than memory")]
    TooLarge,
}
