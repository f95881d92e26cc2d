//! Canonical CBOR: RFC 8949 §4.2.1 core deterministic encoding, fixed-arity arrays, no maps, no floats.

use minicbor::decode::{self, Decoder};
use minicbor::{Decode, Encode};

/// A structure with exactly one encoding. Whatever decodes was encoded this way: decoding encodes again and compares.
pub trait Canonical: Encode<()> + for<'b> Decode<'b, ()> {
    /// The canonical encoding.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        self.append_to(&mut bytes);
        bytes
    }

    /// Appends the canonical encoding to `bytes`.
    fn append_to(&self, bytes: &mut Vec<u8>) {
        match minicbor::encode(self, bytes) {
            Ok(()) => {}
            Err(error) => unreachable!("writing to memory cannot fail: {error}"),
        }
    }

    /// Decodes exactly one value from all of `bytes`.
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let value: Self = decoder.decode()?;
        if decoder.position() != bytes.len() {
            return Err(DecodeError::TrailingBytes { position: decoder.position() });
        }
        if value.to_bytes() != bytes {
            return Err(DecodeError::NotCanonical);
        }
        Ok(value)
    }
}

/// Decodes a list of at most `MAX` entries. A longer one is refused by its announced length, before any of it is read, so
/// that what a peer makes this program allocate stays small.
pub(crate) fn list<'b, C, T: Decode<'b, C>, const MAX: usize>(
    decoder: &mut Decoder<'b>,
    context: &mut C,
) -> Result<Vec<T>, decode::Error> {
    let position = decoder.position();
    match decoder.array()? {
        Some(len) if len <= MAX as u64 => (0..len).map(|_| decoder.decode_with(context)).collect(),
        Some(_) => Err(decode::Error::message("the list has too many entries").at(position)),
        None => Err(decode::Error::message("a list of indefinite length is not canonical").at(position)),
    }
}

/// For optional fields: never leaves one out, so that every structure has all its elements.
pub(crate) fn never_nil<T>(_: &Option<T>) -> bool {
    false
}

/// Bytes that are not the canonical encoding of the expected structure.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not CBOR, or another structure.
    #[error("not the expected CBOR structure")]
    Malformed(#[from] minicbor::decode::Error),
    /// The structure ended before the bytes did.
    #[error("{position} bytes were read and more follow")]
    TrailingBytes {
        /// Where the structure ended.
        position: usize,
    },
    /// The same structure has a shorter or differently ordered encoding.
    #[error("valid CBOR, but not in canonical form")]
    NotCanonical,
    /// A pack with another number of items than its job states.
    #[error("the pack holds {found} items where the job states {stated}")]
    ItemCount {
        /// In the pack.
        found: u64,
        /// In the job spec.
        stated: u64,
    },
}
