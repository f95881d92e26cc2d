//! wasi-nn, as its witx description of 2023 and later defines it, with `load_by_name`.
//!
//! Handles of graphs and contexts are 32-bit numbers. A tensor is passed as the address of a record: address and length of its
//! dimensions (`u32` each), its type (one byte), address and length of its data.

use crate::Import;
use crate::import::import;

/// The module from which guests import.
pub const MODULE: &str = "wasi_ephemeral_nn";

/// Its functions, sorted by name. Each returns an [`Errno`]; results are written to the address in the last parameter.
pub const IMPORTS: &[Import] = &[
    // context
    import!(64, "compute", i),
    // context, index, buffer, its length, address of the length written
    import!(65, "get_output", i i i i i),
    // graph, address of the context
    import!(66, "init_execution_context", i i),
    // builders, their number, encoding, target, address of the graph
    import!(67, "load", i i i i i),
    // name, its length, address of the graph
    import!(68, "load_by_name", i i i),
    // context, index, tensor
    import!(69, "set_input", i i i),
];

/// The error code that every function returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Errno {
    /// No error.
    Success = 0,
    /// A handle, index, shape or type that is not valid.
    InvalidArgument = 1,
    /// Not a model in the encoding that was named.
    InvalidEncoding = 2,
    /// An address beyond the end of memory.
    MissingMemory = 3,
    /// The device is occupied.
    Busy = 4,
    /// Inference failed.
    RuntimeError = 5,
    /// The function, encoding or target is not offered.
    UnsupportedOperation = 6,
    /// A model or tensor that is too large.
    TooLarge = 7,
    /// No model of that name was declared.
    NotFound = 8,
}

/// The element type of a tensor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum TensorType {
    /// 16-bit float.
    F16 = 0,
    /// 32-bit float.
    F32 = 1,
    /// 64-bit float.
    F64 = 2,
    /// 8-bit unsigned integer.
    U8 = 3,
    /// 32-bit signed integer.
    I32 = 4,
    /// 64-bit signed integer.
    I64 = 5,
}

impl TryFrom<u8> for TensorType {
    type Error = crate::UnknownCode;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        Ok(match number {
            0 => Self::F16,
            1 => Self::F32,
            2 => Self::F64,
            3 => Self::U8,
            4 => Self::I32,
            5 => Self::I64,
            _ => return Err(crate::UnknownCode(number.into())),
        })
    }
}

/// The number of the ONNX encoding in `load`.
pub const ENCODING_ONNX: u32 = 1;
/// The number that leaves the encoding to the host in `load`.
pub const ENCODING_AUTODETECT: u32 = 5;

/// The number of the processor as target in `load`.
pub const TARGET_CPU: u32 = 0;
/// The number of the graphics card as target in `load`.
pub const TARGET_GPU: u32 = 1;
/// The number of the tensor unit as target in `load`.
pub const TARGET_TPU: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensor_types_convert_back() {
        for number in 0..=u8::MAX {
            assert_eq!(TensorType::try_from(number).map(|tensor| tensor as u8).ok(), (number < 6).then_some(number));
        }
    }
}
