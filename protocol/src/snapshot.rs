//! The state that the items of a job start from, where the module has an initialisation that is run once.

use crate::cbor::{self, Canonical};
use crate::hash::{Hash, Tag};
use crate::merkle;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

/// What an initialisation left: the same on every honest node, whatever it executed it on.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Snapshot {
    /// The module's blob hash.
    #[n(0)]
    pub module: Hash,
    /// Pages of 64 KiB.
    #[n(1)]
    pub memory_pages: u32,
    /// [`Snapshot::memory_root`].
    #[n(2)]
    pub memory_root: Hash,
    /// The module's own mutable globals, by index.
    #[cbor(n(3), decode_with = "cbor::list::<_, _, { Snapshot::MAX_GLOBALS }>")]
    pub globals: Vec<SnapshotGlobal>,
}

/// The value of one global.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SnapshotGlobal {
    /// Its index in the module.
    #[n(0)]
    pub index: u32,
    /// Its bits, little-endian: 4, 8 or 16 bytes, as its type has it.
    #[n(1)]
    pub bits: ByteVec,
}

impl Canonical for Snapshot {}

impl Snapshot {
    /// As many as a module may have.
    pub const MAX_GLOBALS: usize = 10_000;

    /// Bytes of a page.
    const PAGE: usize = 64 << 10;

    /// Tree over the pages of a memory, so that a single page can be shown to be part of it.
    pub fn memory_root(memory: &[u8]) -> Hash {
        merkle::root(memory.chunks(Self::PAGE))
    }

    /// What results name it by.
    pub fn hash(&self) -> Hash {
        Tag::Snapshot.hash(&[&self.to_bytes()])
    }
}
