//! Protobuf's wire format, read in place: nothing is copied and nothing is allocated, so a hostile file costs no more memory
//! than its own bytes.

use super::invalid;
use crate::LoadError;

/// One field of a message.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) number: u64,
    value: Value<'a>,
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    /// As a signed integer (`int32`, `int64`, an enumeration).
    pub(super) fn int(self) -> Result<i64, LoadError> {
        match self.value {
            Value::Varint(value) => Ok(value.cast_signed()),
            _ => Err(self.mistyped()),
        }
    }

    /// As a length-delimited field: a string, bytes, a message or packed numbers.
    pub(super) fn bytes(self) -> Result<&'a [u8], LoadError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.mistyped()),
        }
    }

    /// As text.
    pub(super) fn text(self) -> Result<&'a str, LoadError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| invalid("a name in it is not valid UTF-8"))
    }

    /// As a nested message.
    pub(super) fn message(self) -> Result<Message<'a>, LoadError> {
        Ok(Message(self.bytes()?))
    }

    /// As one or more varints: a repeated integer comes packed or one by one.
    pub(super) fn ints(self) -> Result<Varints<'a>, LoadError> {
        match self.value {
            Value::Varint(value) => Ok(Varints::One(value)),
            Value::Bytes(packed) => Ok(Varints::Packed(packed)),
            _ => Err(self.mistyped()),
        }
    }

    /// The little-endian bytes of one or more fixed-width numbers of `size` bytes.
    pub(super) fn fixed(self, size: usize) -> Result<Fixed<'a>, LoadError> {
        match self.value {
            Value::Fixed32(value) if size == 4 => Ok(Fixed::One(u64::from(value))),
            Value::Fixed64(value) if size == 8 => Ok(Fixed::One(value)),
            Value::Bytes(packed) if packed.len() % size == 0 => Ok(Fixed::Packed(packed)),
            _ => Err(self.mistyped()),
        }
    }

    fn mistyped(self) -> LoadError {
        invalid(format_args!("field {} of one of its messages has the wrong type", self.number))
    }
}

/// A repeated integer field's numbers.
pub(super) enum Varints<'a> {
    One(u64),
    Packed(&'a [u8]),
    Done,
}

impl Iterator for Varints<'_> {
    type Item = Result<i64, LoadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let value = match self {
            Self::One(value) => {
                let value = *value;
                *self = Self::Done;
                Ok(value)
            }
            Self::Packed([]) | Self::Done => return None,
            Self::Packed(packed) => varint(packed),
        };
        Some(value.map(u64::cast_signed))
    }
}

/// A repeated fixed-width field's numbers.
pub(super) enum Fixed<'a> {
    One(u64),
    Packed(&'a [u8]),
}

impl Fixed<'_> {
    /// How many numbers of `size` bytes these are.
    pub(super) fn count(&self, size: usize) -> u64 {
        match self {
            Self::One(_) => 1,
            Self::Packed(packed) => (packed.len() / size) as u64,
        }
    }

    /// Calls `each` with every number's bits as 32-bit floats.
    pub(super) fn floats(&self, mut each: impl FnMut(f32)) {
        match self {
            Self::One(bits) => each(f32::from_bits(*bits as u32)),
            Self::Packed(packed) => {
                packed.as_chunks().0.iter().for_each(|&bytes| each(f32::from_le_bytes(bytes)));
            }
        }
    }
}

/// A message, as an iterator over its fields in file order.
#[derive(Clone, Copy)]
pub(super) struct Message<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Message<'a> {
    type Item = Result<Field<'a>, LoadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Message<'a> {
    fn field(&mut self) -> Result<Field<'a>, LoadError> {
        let tag = varint(&mut self.0)?;
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut self.0)?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(varint(&mut self.0)?).map_err(|_| truncated())?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or_else(truncated)?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(not_protobuf()),
        };
        // The field number is 29 bits wide; readers differ in what they do with more.
        match tag >> 3 {
            number @ 1..0x2000_0000 => Ok(Field { number, value }),
            _ => Err(not_protobuf()),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], LoadError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or_else(truncated)?;
        self.0 = rest;
        Ok(*bytes)
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, LoadError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or_else(truncated)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(not_protobuf())
}

/// Writes a length-delimited field.
pub(super) fn write(message: &mut Vec<u8>, number: u64, value: &[u8]) {
    write_varint(message, number << 3 | 2);
    write_varint(message, value.len() as u64);
    message.extend_from_slice(value);
}

/// Writes an integer field.
pub(super) fn write_int(message: &mut Vec<u8>, number: u64, value: i64) {
    write_varint(message, number << 3);
    write_varint(message, value.cast_unsigned());
}

/// Writes a field of a 32-bit float.
pub(super) fn write_float(message: &mut Vec<u8>, number: u64, value: f32) {
    write_varint(message, number << 3 | 5);
    message.extend(value.to_le_bytes());
}

pub(super) fn write_varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

fn truncated() -> LoadError {
    invalid("it ends in the middle of a field: it is cut off, or not an ONNX file")
}

fn not_protobuf() -> LoadError {
    invalid("it is damaged, or not an ONNX file: it is not a protocol buffer")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &[u8]) -> Result<Vec<u64>, LoadError> {
        Message(bytes).map(|field| Ok(field?.number)).collect()
    }

    #[test]
    fn fields_of_every_width_are_read() {
        let bytes = [0x08, 0x96, 0x01, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x1a, 2, b'h', b'i', 0x25, 1, 2, 3, 4];
        assert_eq!(fields(&bytes).unwrap(), [1, 2, 3, 4]);
        assert_eq!(Message(&bytes).next().unwrap().unwrap().int().unwrap(), 150);
        assert_eq!(Message(&bytes).nth(2).unwrap().unwrap().text().unwrap(), "hi");
        assert!(Message(&bytes).nth(2).unwrap().unwrap().int().is_err());
    }

    #[test]
    fn what_is_not_a_message_is_refused() {
        for bytes in [
            &[0x80][..],                         // a varint without end
            &[0x80; 11],                         // a varint that is too long
            &[0x0a, 5, 1],                       // longer than what follows
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 15], // much longer
            &[0x0b],                             // a group
            &[0x00, 0],                          // field 0
            &[0x0d, 1, 2],                       // half a fixed32
        ] {
            assert!(fields(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn packed_and_single_numbers_read_alike() {
        let packed = Message(&[0x0a, 3, 1, 0x96, 1]).next().unwrap().unwrap();
        assert_eq!(packed.ints().unwrap().collect::<Result<Vec<_>, _>>().unwrap(), [1, 150]);
        let single = Message(&[0x08, 7]).next().unwrap().unwrap();
        assert_eq!(single.ints().unwrap().collect::<Result<Vec<_>, _>>().unwrap(), [7]);
    }
}
