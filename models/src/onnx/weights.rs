//! The elements of weights.

use super::types::DataType;
use super::wire::{Message, write, write_varint};
use crate::LoadError;

/// The elements of a tensor of integers, from `int32_data` or `raw_data`.
pub(super) fn integers(tensor: &[u8], ty: DataType) -> Result<Vec<i32>, LoadError> {
    let mut integers = Vec::new();
    for field in Message(tensor) {
        let field = field?;
        match (field.number, ty) {
            (5, _) => {
                for number in field.ints()? {
                    let number = number? as i32;
                    integers.push(match ty {
                        DataType::U8 => i32::from(number as u8),
                        DataType::I8 => i32::from(number as i8),
                        _ => number,
                    });
                }
            }
            (9, DataType::U8) => integers.extend(field.bytes()?.iter().map(|&byte| i32::from(byte))),
            (9, DataType::I8) => integers.extend(field.bytes()?.iter().map(|&byte| i32::from(byte.cast_signed()))),
            (9, _) => integers.extend(field.bytes()?.as_chunks().0.iter().map(|&bytes| i32::from_le_bytes(bytes))),
            _ => {}
        }
    }
    Ok(integers)
}

/// The elements of a tensor of floats, from `float_data` or `raw_data`.
pub(super) fn floats(tensor: &[u8]) -> Result<Vec<f32>, LoadError> {
    let mut floats = Vec::new();
    for field in Message(tensor) {
        let field = field?;
        match field.number {
            4 => field.fixed(4)?.floats(|number| floats.push(number)),
            9 => floats.extend(field.bytes()?.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes))),
            _ => {}
        }
    }
    Ok(floats)
}

/// The bits of the elements of a tensor of 16-bit floats, from `int32_data` or `raw_data`.
pub(super) fn halves(tensor: &[u8]) -> Result<Vec<u16>, LoadError> {
    let mut halves = Vec::new();
    for field in Message(tensor) {
        let field = field?;
        match field.number {
            5 => {
                for bits in field.ints()? {
                    halves.push(bits? as u16);
                }
            }
            9 => halves.extend(field.bytes()?.as_chunks().0.iter().map(|&bytes| u16::from_le_bytes(bytes))),
            _ => {}
        }
    }
    Ok(halves)
}

/// A tensor of floats.
pub(super) fn tensor(name: &str, shape: &[u64], floats: &[f32]) -> Vec<u8> {
    let mut written = Vec::with_capacity(4 * floats.len() + 1024);
    for &size in shape {
        write_varint(&mut written, 1 << 3);
        write_varint(&mut written, size);
    }
    write_varint(&mut written, 2 << 3);
    write_varint(&mut written, DataType::F32.0.cast_unsigned());
    write(&mut written, 8, name.as_bytes());
    write(&mut written, 9, &floats.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>());
    written
}
