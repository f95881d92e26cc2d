//! Positional Merkle trees, hashed as in RFC 9162 §2.1 (leaf `0x00`, node `0x01`), with the number of leaves bound
//! into the root: `root = H(tree tag, count ‖ MTH)`. Unlike sorted-pair trees, a proof says *which* leaf it proves.

use crate::cbor;
use crate::hash::{Hash, Tag};
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// A tree under construction that keeps one hash per level: leaves may be streamed.
#[derive(Clone, Default, Debug)]
pub struct TreeBuilder {
    /// Roots of complete subtrees, largest first, with their sizes' logarithms.
    peaks: Vec<(u32, [u8; 32])>,
    count: u64,
}

impl TreeBuilder {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a leaf with content `data`.
    pub fn push(&mut self, data: &[u8]) {
        let mut peak = (0, leaf_hash(data));
        while let Some((_, left)) = self.peaks.pop_if(|left| left.0 == peak.0) {
            peak = (peak.0 + 1, node_hash(&left, &peak.1));
        }
        self.peaks.push(peak);
        self.count += 1;
    }

    /// The number of leaves so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The root over all leaves so far.
    pub fn root(&self) -> Hash {
        /// Of the empty tree, which is asked for most.
        static EMPTY: LazyLock<Hash> = LazyLock::new(|| bind(0, &Sha256::digest([]).into()));
        let mut peaks = self.peaks.iter().rev().map(|(_, hash)| *hash);
        let Some(head) = peaks.next() else { return *EMPTY };
        bind(self.count, &peaks.fold(head, |right, left| node_hash(&left, &right)))
    }
}

/// The root of the tree with these leaves.
pub fn root<T: AsRef<[u8]>>(leaves: impl IntoIterator<Item = T>) -> Hash {
    let mut builder = TreeBuilder::new();
    leaves.into_iter().for_each(|leaf| builder.push(leaf.as_ref()));
    builder.root()
}

/// Shows that a leaf stands at one position of a tree of known size.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Proof {
    /// The leaf's position, from 0.
    #[n(0)]
    pub index: u64,
    /// The number of leaves.
    #[n(1)]
    pub count: u64,
    /// Siblings from the leaf up; at most one per bit of `count`.
    #[cbor(n(2), decode_with = "cbor::list::<_, _, 64>")]
    pub path: Vec<Hash>,
}

impl Proof {
    /// The root that this proof leads to from a leaf with content `data`, or `None` if its shape is impossible.
    pub fn root(&self, data: &[u8]) -> Option<Hash> {
        if self.index >= self.count {
            return None;
        }
        // RFC 9162 §2.1.3.2.
        let (mut position, mut last) = (self.index, self.count - 1);
        let mut hash = leaf_hash(data);
        for sibling in &self.path {
            if last == 0 {
                return None;
            }
            if position & 1 == 1 || position == last {
                hash = node_hash(&sibling.0, &hash);
                while position & 1 == 0 && position != 0 {
                    position >>= 1;
                    last >>= 1;
                }
            } else {
                hash = node_hash(&hash, &sibling.0);
            }
            position >>= 1;
            last >>= 1;
        }
        (last == 0).then(|| bind(self.count, &hash))
    }
}

/// The proofs of every leaf, in order.
pub fn proofs<T: AsRef<[u8]>>(leaves: &[T]) -> Vec<Proof> {
    let hashes: Vec<_> = leaves.iter().map(|leaf| leaf_hash(leaf.as_ref())).collect();
    let mut proofs: Vec<_> =
        (0u64..).zip(&hashes).map(|(index, _)| Proof { index, count: hashes.len() as u64, path: Vec::new() }).collect();
    extend_paths(&hashes, &mut proofs);
    proofs
}

/// Appends to each proof the siblings within the subtree of `hashes`, and gives the subtree's root.
fn extend_paths(hashes: &[[u8; 32]], proofs: &mut [Proof]) -> [u8; 32] {
    match hashes {
        [] => Sha256::digest([]).into(),
        [only] => *only,
        _ => {
            let split = 1 << (hashes.len() - 1).ilog2();
            let (left_proofs, right_proofs) = proofs.split_at_mut(split);
            let left = extend_paths(&hashes[..split], left_proofs);
            let right = extend_paths(&hashes[split..], right_proofs);
            left_proofs.iter_mut().for_each(|proof| proof.path.push(Hash(right)));
            right_proofs.iter_mut().for_each(|proof| proof.path.push(Hash(left)));
            node_hash(&left, &right)
        }
    }
}

fn bind(count: u64, head: &[u8; 32]) -> Hash {
    Tag::Tree.hash(&[&count.to_be_bytes(), head])
}

fn leaf_hash(data: &[u8]) -> [u8; 32] {
    Sha256::new_with_prefix([0]).chain_update(data).finalize().into()
}

fn node_hash(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new_with_prefix([1]).chain_update(left).chain_update(right).finalize().into()
}
