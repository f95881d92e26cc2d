//! Tensors as they cross the sandbox: a type, a shape and little-endian bytes.

use crate::RunError;
use crate::onnx::OPEN_DIMENSION;
use crate::text::quoted;
use std::fmt;

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
    /// All of them, each at its number.
    pub const ALL: [Self; 6] = [Self::F16, Self::F32, Self::F64, Self::U8, Self::I32, Self::I64];

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

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::U8 => "u8",
            Self::I32 => "i32",
            Self::I64 => "i64",
        })
    }
}

/// What a model expects or gives at one place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TensorSpec {
    /// The name in the model.
    pub name: String,
    /// The type of its elements.
    pub element_type: ElementType,
    /// Its dimensions; `None` where any size from 1 to [`OPEN_DIMENSION`] is accepted.
    pub shape: Vec<Option<u32>>,
}

impl TensorSpec {
    /// Whether `tensor` is of this type and shape.
    pub fn accepts(&self, tensor: &Tensor) -> bool {
        let fits = |(size, expected): (&u32, &Option<u32>)| match expected {
            Some(expected) => size == expected,
            None => (1..=OPEN_DIMENSION).contains(size),
        };
        tensor.element_type == self.element_type
            && tensor.shape.len() == self.shape.len()
            && tensor.shape.iter().zip(&self.shape).all(fits)
    }
}

/// As in `f32[1, 28, ?]`.
impl fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.element_type)?;
        for (position, size) in self.shape.iter().enumerate() {
            f.write_str(if position == 0 { "" } else { ", " })?;
            match size {
                Some(size) => write!(f, "{size}")?,
                None => f.write_str("?")?,
            }
        }
        f.write_str("]")
    }
}

/// Whether `tensors` are what a model with these inputs expects.
pub fn check_inputs(expected: &[TensorSpec], tensors: &[Tensor]) -> Result<(), RunError> {
    if tensors.len() != expected.len() {
        let reason = format!("it takes {} tensors, not {}", expected.len(), tensors.len());
        return Err(RunError::Inputs { reason });
    }
    for (spec, tensor) in expected.iter().zip(tensors) {
        if !spec.accepts(tensor) {
            let ranks = tensor.shape.iter().take(8).map(u32::to_string).collect::<Vec<_>>().join(", ");
            let reason = format!("{} takes {spec}, not {}[{ranks}]", quoted(&spec.name), tensor.element_type);
            return Err(RunError::Inputs { reason });
        }
    }
    Ok(())
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

    /// Its elements, without the rest.
    pub fn into_data(self) -> Vec<u8> {
        self.data
    }

    /// The same with one NaN for all: positive, quiet, without payload. Which one an operation gives depends on the processor.
    pub fn with_canonical_nans(mut self) -> Self {
        fn replace<const N: usize>(data: &mut [u8], infinity: [u8; N], nan: [u8; N]) {
            for element in data.as_chunks_mut::<N>().0 {
                let mut magnitude = *element;
                magnitude[N - 1] &= 0x7f;
                // Little-endian: the last byte decides first.
                if magnitude.iter().rev().gt(infinity.iter().rev()) {
                    *element = nan;
                }
            }
        }
        match self.element_type {
            ElementType::F16 => replace(&mut self.data, 0x7c00u16.to_le_bytes(), 0x7e00u16.to_le_bytes()),
            ElementType::F32 => replace(&mut self.data, f32::INFINITY.to_le_bytes(), 0x7fc0_0000u32.to_le_bytes()),
            ElementType::F64 => {
                replace(&mut self.data, f64::INFINITY.to_le_bytes(), 0x7ff8_0000_0000_0000u64.to_le_bytes());
            }
            ElementType::U8 | ElementType::I32 | ElementType::I64 => {}
        }
        self
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_has_the_length_of_its_shape() {
        assert!(Tensor::new(ElementType::F64, vec![2, 3], vec![0; 48]).is_ok());
        assert_eq!(
            Tensor::new(ElementType::F32, vec![2, 3], vec![0; 23]),
            Err(TensorError::Length { expected: 24, actual: 23 })
        );
        assert_eq!(Tensor::new(ElementType::U8, vec![u32::MAX; 3], Vec::new()), Err(TensorError::TooLarge));
    }

    #[test]
    fn nans_become_one_and_nothing_else_changes() {
        let numbers = [0x7fc0_0000u32, 0xffc0_0000, 0x7f80_0001, 0xffff_ffff, 0x7f80_0000, 0xff80_0000, 0x8000_0000, 1];
        let tensor =
            |data: Vec<u8>, ty: ElementType| Tensor::new(ty, vec![(data.len() / ty.size()) as u32], data).unwrap();
        let data: Vec<u8> = numbers.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        let canonical = tensor(data.clone(), ElementType::F32).with_canonical_nans();
        let bits = canonical.data().as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes));
        let expected = numbers.map(|bits| if f32::from_bits(bits).is_nan() { 0x7fc0_0000 } else { bits });
        assert!(bits.eq(expected));
        let integers = tensor(data, ElementType::I32);
        assert_eq!(integers.clone().with_canonical_nans(), integers);
        let halves =
            tensor([0xfe01u16, 0x7c00, 0xfc01].iter().flat_map(|bits| bits.to_le_bytes()).collect(), ElementType::F16);
        assert_eq!(halves.with_canonical_nans().data(), [0x00, 0x7e, 0x00, 0x7c, 0x00, 0x7e]);
        let doubles = tensor(
            [f64::NEG_INFINITY, -f64::NAN].iter().flat_map(|number| number.to_le_bytes()).collect(),
            ElementType::F64,
        );
        let expected: Vec<u8> = [f64::NEG_INFINITY, f64::NAN].iter().flat_map(|number| number.to_le_bytes()).collect();
        assert_eq!(doubles.with_canonical_nans().data(), expected);
    }

    #[test]
    fn inputs_are_checked_against_what_is_expected() {
        let spec = TensorSpec { name: "x".to_owned(), element_type: ElementType::U8, shape: vec![Some(2), None] };
        let check = |tensors: &[Tensor]| check_inputs(std::slice::from_ref(&spec), tensors).map_err(|e| e.to_string());
        let tensor = |shape: &[u32]| {
            Tensor::new(ElementType::U8, shape.to_vec(), vec![0; shape.iter().product::<u32>() as usize]).unwrap()
        };
        assert_eq!(check(&[tensor(&[2, 7])]), Ok(()));
        assert_eq!(
            check(&[tensor(&[3, 7])]),
            Err("the inputs do not fit the model: 'x' takes u8[2, ?], not u8[3, 7]".to_owned())
        );
        for wrong in [tensor(&[2]), tensor(&[2, 0]), tensor(&[2, OPEN_DIMENSION + 1])] {
            assert!(check(&[wrong]).is_err());
        }
        let integers = Tensor::new(ElementType::I32, vec![2, 1], vec![0; 8]).unwrap();
        assert!(check(&[integers]).is_err());
        assert_eq!(check(&[]), Err("the inputs do not fit the model: it takes 1 tensors, not 0".to_owned()));
    }
}
