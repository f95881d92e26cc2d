//! Tensors that are handed to a model.

use depx_host_abi::nn::TensorType;
use std::borrow::Cow;

/// A dense tensor in row-major order: a shape and as many elements as it says.
#[derive(Clone, Debug)]
pub struct Tensor<'a> {
    pub(crate) shape: &'a [u32],
    pub(crate) element_type: TensorType,
    /// Little-endian.
    pub(crate) data: Cow<'a, [u8]>,
}

impl<'a> Tensor<'a> {
    /// Of 32-bit floats.
    pub fn f32(shape: &'a [u32], elements: &[f32]) -> Self {
        Self::copied(shape, TensorType::F32, elements, f32::to_le_bytes)
    }

    /// Of 64-bit floats.
    pub fn f64(shape: &'a [u32], elements: &[f64]) -> Self {
        Self::copied(shape, TensorType::F64, elements, f64::to_le_bytes)
    }

    /// Of unsigned 8-bit integers, which are not copied.
    pub fn u8(shape: &'a [u32], elements: &'a [u8]) -> Self {
        Self { shape, element_type: TensorType::U8, data: Cow::Borrowed(elements) }
    }

    /// Of signed 32-bit integers.
    pub fn i32(shape: &'a [u32], elements: &[i32]) -> Self {
        Self::copied(shape, TensorType::I32, elements, i32::to_le_bytes)
    }

    /// Of signed 64-bit integers.
    pub fn i64(shape: &'a [u32], elements: &[i64]) -> Self {
        Self::copied(shape, TensorType::I64, elements, i64::to_le_bytes)
    }

    /// Whether there are as many elements as the shape says.
    pub(crate) fn is_whole(&self) -> bool {
        let element = match self.element_type {
            TensorType::U8 => 1,
            TensorType::F16 => 2,
            TensorType::F32 | TensorType::I32 => 4,
            TensorType::F64 | TensorType::I64 => 8,
        };
        let bytes = self.shape.iter().try_fold(element, |bytes: usize, &size| bytes.checked_mul(size as usize));
        bytes == Some(self.data.len())
    }

    fn copied<T: Copy, const N: usize>(
        shape: &'a [u32],
        element_type: TensorType,
        elements: &[T],
        bytes: fn(T) -> [u8; N],
    ) -> Self {
        Self { shape, element_type, data: elements.iter().flat_map(|&element| bytes(element)).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_little_endian() {
        assert_eq!(&*Tensor::f32(&[1], &[1.0]).data, [0, 0, 0x80, 0x3f]);
        assert_eq!(&*Tensor::i64(&[1], &[-2]).data, [0xfe, 255, 255, 255, 255, 255, 255, 255]);
        assert_eq!(&*Tensor::i32(&[2], &[1, 256]).data, [1, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(&*Tensor::u8(&[3], &[1, 2, 3]).data, [1, 2, 3]);
        assert_eq!(Tensor::f64(&[2], &[0.0; 2]).data.len(), 16);
    }

    #[test]
    fn a_tensor_has_as_many_elements_as_its_shape_says() {
        assert!(Tensor::f32(&[2, 3], &[0.0; 6]).is_whole());
        assert!(Tensor::i64(&[], &[7]).is_whole());
        assert!(!Tensor::f32(&[2, 3], &[0.0; 5]).is_whole());
        assert!(!Tensor::u8(&[u32::MAX; 3], &[]).is_whole());
    }
}
