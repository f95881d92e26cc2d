//! SHA-256 under domain tags, and BLAKE3 for the names of blobs.

use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

/// A digest of 32 bytes: BLAKE3 where it names a blob, SHA-256 everywhere else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct Hash(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

impl Hash {
    /// All zero: stands for "there is none", for instance before the first receipt of a chain.
    pub const ZERO: Self = Self([0; 32]);

    /// The first eight hexadecimal digits, for people to read.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = ParseHexError;

    fn from_str(text: &str) -> Result<Self, ParseHexError> {
        parse_hex(text).map(Self)
    }
}

/// A text that is not the expected number of hexadecimal digits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} hexadecimal digits")]
pub struct ParseHexError {
    expected: usize,
}

pub(crate) fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], ParseHexError> {
    let error = ParseHexError { expected: 2 * N };
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(error);
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).map_err(|_| ParseHexError { expected: 2 * N })?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| ParseHexError { expected: 2 * N })?;
    }
    Ok(bytes)
}

/// What is being hashed. No digest made under one tag can be mistaken for one made under another:
/// `SHA-256(SHA-256(tag) ‖ parts…)`, where every part has a fixed length or is the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tag {
    /// The identity of a job: its canonical spec.
    Job,
    /// What a client signs: the root of a batch of jobs' identities.
    JobBatch,
    /// What a coordinator signs: the root of a batch of assignments.
    AssignmentBatch,
    /// The vote: the canonical `ResultCore`.
    Result,
    /// The commitment to a vote.
    Commit,
    /// The link from one receipt to the next.
    Receipt,
    /// What an executor signs: the root of a batch of receipts.
    ReceiptBatch,
    /// What a peer signs to bind its identity to a connection.
    Channel,
    /// The root of a positional Merkle tree.
    Tree,
    /// Randomness of one item of a job.
    Seed,
    /// An execution profile.
    Profile,
    /// The state that items start from: the canonical `Snapshot`.
    Snapshot,
    /// Randomness of a module's initialisation.
    SnapshotSeed,
    /// What a host call read from and wrote to the guest's memory: the key of a keyed BLAKE3.
    HostMemory,
}

impl Tag {
    /// Every tag, in declaration order.
    pub const ALL: [Self; 14] = [
        Self::Job,
        Self::JobBatch,
        Self::AssignmentBatch,
        Self::Result,
        Self::Commit,
        Self::Receipt,
        Self::ReceiptBatch,
        Self::Channel,
        Self::Tree,
        Self::Seed,
        Self::Profile,
        Self::Snapshot,
        Self::SnapshotSeed,
        Self::HostMemory,
    ];

    /// The tag's text, as other implementations need it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Job => "depx/job/v1",
            Self::JobBatch => "depx/job-batch/v1",
            Self::AssignmentBatch => "depx/assignment-batch/v1",
            Self::Result => "depx/result/v1",
            Self::Commit => "depx/commit/v1",
            Self::Receipt => "depx/receipt/v1",
            Self::ReceiptBatch => "depx/receipt-batch/v1",
            Self::Channel => "depx/channel/v1",
            Self::Tree => "depx/tree/v1",
            Self::Seed => "depx/seed/v1",
            Self::Profile => "depx/profile/v1",
            Self::Snapshot => "depx/snapshot/v1",
            Self::SnapshotSeed => "depx/snapshot-seed/v1",
            Self::HostMemory => "depx/host-memory/v1",
        }
    }

    /// SHA-256 of the tag's text, with which everything that is hashed under it begins.
    pub fn digest(self) -> &'static [u8; 32] {
        static DIGESTS: LazyLock<[[u8; 32]; Tag::ALL.len()]> =
            LazyLock::new(|| Tag::ALL.map(|tag| Sha256::digest(tag.text()).into()));
        &DIGESTS[self as usize]
    }

    /// Hashes the concatenation of `parts` under this tag.
    pub fn hash(self, parts: &[&[u8]]) -> Hash {
        let mut hasher = Sha256::new_with_prefix(self.digest());
        for part in parts {
            hasher.update(part);
        }
        Hash(hasher.finalize().into())
    }
}

/// The name of a blob: plain BLAKE3 of its bytes, so that `b3sum` gives the same, and any part of the blob can be verified
/// with the tree that this is the root of.
pub fn blob_hash(bytes: &[u8]) -> Hash {
    Hash(blake3::hash(bytes).into())
}

/// Plain SHA-256, without a tag: what others compute too, such as the fingerprint of a certificate.
pub fn sha256(bytes: &[u8]) -> Hash {
    Hash(Sha256::digest(bytes).into())
}
