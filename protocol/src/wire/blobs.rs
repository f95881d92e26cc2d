//! How blobs travel, in either direction: whoever wants one opens a stream and sends [`GetBlob`]; the other answers with [`BlobReply`]
//! and what was asked for, so that each part can be verified against the blob's name as it arrives.
//!
//! A blob consists of groups of [`GROUP`] bytes, the last of which may be shorter; the empty blob has one, of no bytes. They are the
//! leaves of the tree that BLAKE3 is. [`WINDOW`] consecutive groups, counted from the start of the blob, are a window. What follows
//! [`BlobReply::Found`] is for each window of which groups were asked for, in order, the walk through the tree from its root to these
//! groups: for a node above any of them the two chaining values below it, 64 bytes, then what is to be sent of the left and of the
//! right side; for a group its bytes.

use crate::cbor::{self, Canonical};
use crate::job::Blob;
use minicbor::{Decode, Encode};

/// Bytes of a group.
pub const GROUP: u64 = 16 << 10;
/// Groups of a window: what is verified and stored at a time.
pub const WINDOW: u64 = 16;
/// The most ranges that can be asked for at once. Who lacks more asks again.
pub const MAX_RANGES: usize = 256;

/// Somebody asks for a blob, or what it lacks of one.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct GetBlob {
    /// Which.
    #[n(0)]
    pub blob: Blob,
    /// Which groups, in order; no two ranges touch.
    #[cbor(n(1), decode_with = "cbor::list::<_, _, MAX_RANGES>")]
    pub ranges: Vec<GroupRange>,
}

impl Canonical for GetBlob {}

impl GetBlob {
    /// Whether the ranges are in order, apart, not empty, and within the blob.
    pub fn is_valid(&self) -> bool {
        let groups = self.blob.groups();
        let mut free = 0;
        self.ranges.iter().all(|range| {
            let Some(end) = range.first.checked_add(range.count) else { return false };
            let valid = range.count > 0 && range.first >= free && end <= groups;
            free = end.saturating_add(1);
            valid
        })
    }
}

/// Consecutive groups of a blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct GroupRange {
    /// The number of the first, from 0.
    #[n(0)]
    pub first: u64,
    /// How many.
    #[n(1)]
    pub count: u64,
}

/// The answer to [`GetBlob`].
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum BlobReply {
    /// What was asked for follows.
    #[n(0)]
    Found,
    /// It is not here.
    #[n(1)]
    Missing,
}

impl Canonical for BlobReply {}
