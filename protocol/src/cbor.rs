//! Canonical CBOR: RFC 8949 §4.2.1 core deterministic encoding, fixed-arity arrays, no maps, no floats.

use minicbor::decode::Decoder;
use minicbor::{Decode, Encode};

/// A structure with exactly one encoding. Whatever decodes was encoded this way: decoding encodes again and compares.
pub trait Canonical: Encode<()> + for<'b> Decode<'b, ()> {
    /// The canonical encoding.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        match minicbor::encode(self, &mut bytes) {
            Ok(()) => bytes,
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
}
