//! Connections, the blob store and the transfer of blobs, also from peers that break the rules.

mod peers;
mod sessions;
mod store;
mod transfer;

use bytes::Bytes;

/// Content that looks random and is the same in every run.
fn content(len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes.into()
}

/// Bytes of a group.
const GROUP: usize = depx_protocol::wire::GROUP as usize;
