//! The tree that BLAKE3 is over a blob, with groups as its leaves: what travels of it, and how it verifies.

use bao_tree::io::outboard::PreOrderMemOutboard;
use bao_tree::io::sync::{DecodeResponseIter, ReadAt, encode_ranges_validated, truncate_ranges};
use bao_tree::io::{BaoContentItem, DecodeError, EncodeError, Leaf, Parent};
use bao_tree::{BaoTree, BlockSize, ChunkNum, ChunkRanges};
use bytes::Bytes;
use depx_protocol::Blob;
use depx_protocol::wire::{GROUP, GroupRange};
use std::io::{self, Read};

/// BLAKE3's chunks are of 1024 bytes.
const CHUNKS: u64 = GROUP / 1024;

/// The inner nodes of a blob's tree, 64 bytes each, in the order in which they are met from the root, the left side first.
pub(crate) type Tree<T> = PreOrderMemOutboard<T>;

/// Where a blob's groups and nodes are.
pub(crate) fn shape(blob: &Blob) -> BaoTree {
    BaoTree::new(blob.len, BlockSize::from_chunk_log(CHUNKS.ilog2() as u8))
}

/// A tree of a blob of which nothing is known yet but the name.
pub(crate) fn unknown(blob: &Blob) -> Tree<Vec<u8>> {
    with(blob, vec![0; usize::try_from(shape(blob).outboard_size()).unwrap_or(usize::MAX)])
}

/// The tree of `blob` with these nodes, which are believed only where they verify.
pub(crate) fn with<T>(blob: &Blob, nodes: T) -> Tree<T> {
    Tree { root: blob.hash.0.into(), tree: shape(blob), data: nodes }
}

/// Computes the tree of `len` bytes of content.
pub(crate) fn compute(content: impl Read, len: u64) -> io::Result<(Blob, Tree<Vec<u8>>)> {
    let mut blob = Blob { hash: depx_protocol::Hash::ZERO, len };
    let mut tree = unknown(&blob);
    tree.root = bao_tree::io::sync::outboard(content, tree.tree, &mut tree)?;
    blob.hash = depx_protocol::Hash(*tree.root.as_bytes());
    Ok((blob, tree))
}

/// What is sent of groups within one window. Fails if the content does not match the tree.
pub(crate) fn encode<T: AsRef<[u8]>>(
    content: impl ReadAt,
    tree: &Tree<T>,
    pieces: &[GroupRange],
) -> Result<Bytes, EncodeError> {
    let mut encoded = Vec::with_capacity(encoded_len(&tree.tree, pieces));
    encode_ranges_validated(content, tree, &chunks(pieces), &mut encoded)?;
    Ok(encoded.into())
}

/// Whether a group's content matches the tree.
pub(crate) fn holds<T: AsRef<[u8]>>(content: impl ReadAt, tree: &Tree<T>, group: u64) -> bool {
    let piece = GroupRange { first: group, count: 1 };
    encode_ranges_validated(content, tree, &chunks(&[piece]), io::sink()).is_ok()
}

/// How many bytes [`encode`] gives.
pub(crate) fn encoded_len(tree: &BaoTree, pieces: &[GroupRange]) -> usize {
    let chunks = chunks(pieces);
    let items = tree.ranges_pre_order_chunks_iter_ref(truncate_ranges(&chunks, tree.size()), 0);
    items.map(|item| item.without_ranges().size()).sum()
}

pub(crate) fn chunks(pieces: &[GroupRange]) -> ChunkRanges {
    let chunk = |group: u64| ChunkNum(group * CHUNKS);
    let ranges = pieces.iter().map(|piece| ChunkRanges::from(chunk(piece.first)..chunk(piece.first + piece.count)));
    ranges.fold(ChunkRanges::empty(), |all, range| all | range)
}

/// Verifies what [`encode`] gave, and hands on every node with where it is kept, and every group with its offset. Stops at the first
/// that does not match.
pub(crate) fn decode(
    blob: &Blob,
    pieces: &[GroupRange],
    encoded: &[u8],
    mut on_node: impl FnMut(u64, [u8; 64]) -> io::Result<()>,
    mut on_group: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> Result<(), DecodeError> {
    let tree = shape(blob);
    let chunks = chunks(pieces);
    for item in DecodeResponseIter::new(blob.hash.0.into(), tree, encoded, &chunks) {
        match item? {
            BaoContentItem::Parent(Parent { node, pair: (left, right) }) => {
                // Every node above whole groups is kept.
                let Some(index) = tree.pre_order_offset(node) else { continue };
                let mut pair = [0; 64];
                pair[..32].copy_from_slice(left.as_bytes());
                pair[32..].copy_from_slice(right.as_bytes());
                on_node(index * 64, pair)?;
            }
            BaoContentItem::Leaf(Leaf { offset, data }) => on_group(offset, &data)?,
        }
    }
    Ok(())
}

/// Where the content begins that did not verify, or why it could not be used.
pub(crate) fn place(error: DecodeError) -> Result<u64, io::Error> {
    match error {
        DecodeError::LeafHashMismatch(chunk) | DecodeError::LeafNotFound(chunk) => Ok(chunk.to_bytes()),
        DecodeError::ParentHashMismatch(node) | DecodeError::ParentNotFound(node) => {
            Ok(node.chunk_range().start.to_bytes())
        }
        DecodeError::Io(error) => Err(error),
    }
}
