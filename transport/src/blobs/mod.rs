//! Content by hash: where it is kept, and how it gets from one machine to another.
//!
//! A blob is named by its BLAKE3 hash, the root of a tree over the blob. With the tree any part of the blob can be verified alone: what
//! arrives, group by group ([`give`], [`fetch`]), what is left of a transfer that broke off ([`Partial`]), and what is read from
//! the disk ([`BlobStore`]).

mod files;
mod groups;
mod index;
mod partial;
mod source;
mod store;
mod transfer;
mod tree;

pub use partial::Partial;
pub use source::Source;
pub use store::{BlobStore, Pin};
pub use transfer::{FetchError, GiveError, fetch, give, serve};

use depx_protocol::wire::{GROUP, WINDOW};
use depx_protocol::{Blob, Hash};
use std::path::{Path, PathBuf};

/// The largest blob in bytes: the largest that fits comfortably in memory beside others.
pub const MAX_BLOB: u64 = 1 << 30;

/// Blobs that travel over one connection at a time, each in two windows of memory; others wait.
pub const TRANSFERS: usize = 8;

/// Blobs up to this length, one window, are handled in one piece.
const SMALL: u64 = WINDOW * GROUP;

/// A blob that could not be stored or found.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Not the content that the hash names.
    #[error("the content does not match its hash {expected}; it was damaged or forged on the way")]
    Mismatch {
        /// The name.
        expected: Hash,
    },
    /// Part of a blob is not what the hash names.
    #[error("blob {} does not match its hash from byte {offset} on; it was damaged or forged on the way", blob.hash)]
    Damaged {
        /// Which.
        blob: Blob,
        /// Where the first part begins that does not match.
        offset: u64,
    },
    /// More than can be kept.
    #[error("blob {} of {} bytes does not fit into the blob store: its quota is {quota} bytes, and the rest of it is in use", blob.hash, blob.len)]
    Full {
        /// Which.
        blob: Blob,
        /// In bytes.
        quota: u64,
    },
    /// The disk.
    #[error("the blob store at {} cannot be used", path.display())]
    Disk {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Runs what waits for the disk where it holds up nothing else.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn disk(path: &Path) -> impl Fn(std::io::Error) -> BlobError {
    let path = path.to_owned();
    move |source| BlobError::Disk { path: path.clone(), source }
}
