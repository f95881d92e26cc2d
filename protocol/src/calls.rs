//! The log of what a guest asked of its host: one leaf for every call, so that two executors that differ can find the first
//! call that does.

use crate::cbor::{self, Canonical};
use crate::hash::Hash;
use crate::merkle;
use minicbor::{Decode, Encode};

/// One call of a function that a guest imports.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct HostCallLeaf {
    /// Position in the item's log, from 0.
    #[n(0)]
    pub index: u64,
    /// The import's number in `depx-host-abi`.
    #[n(1)]
    pub function: u16,
    /// What it was called with, in order: the bits of each argument, those of 32 bits with zeros above.
    #[cbor(n(2), decode_with = "cbor::list::<_, _, { HostCallLeaf::MAX_ARGUMENTS }>")]
    pub arguments: Vec<u64>,
    /// The error code that the guest was given, 0 for success; `None` where the call ended the run.
    #[cbor(n(3), encode_with = "Encode::encode", is_nil = "cbor::never_nil")]
    pub result: Option<u32>,
    /// Fuel that was left when it was called.
    #[n(4)]
    pub fuel_before: u64,
    /// Fuel that was left afterwards; 0 where it ran out.
    #[n(5)]
    pub fuel_after: u64,
    /// Digest of all that it read from and wrote to the guest's memory, in that order; `None` where there was nothing. How it is
    /// made is a matter of the execution profile; see `protocol/cddl/depx.cddl`.
    #[cbor(n(6), encode_with = "Encode::encode", is_nil = "cbor::never_nil")]
    pub memory: Option<Hash>,
}

impl Canonical for HostCallLeaf {}

impl HostCallLeaf {
    /// No function has more arguments.
    pub const MAX_ARGUMENTS: usize = 16;
}

/// The calls of one item, in brief.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct HostCallLog {
    /// How many there were.
    #[n(0)]
    pub count: u64,
    /// Tree over their canonical [`HostCallLeaf`]s.
    #[n(1)]
    pub root: Hash,
}

impl HostCallLog {
    /// Of the calls so far.
    pub fn of(tree: &merkle::TreeBuilder) -> Self {
        Self { count: tree.count(), root: tree.root() }
    }
}

impl Default for HostCallLog {
    /// Of an item that made no calls.
    fn default() -> Self {
        Self::of(&merkle::TreeBuilder::new())
    }
}
