//! Blobs by hash: from the store, or else from the coordinator, each fetched once however many leases wait for it.

use bytes::Bytes;
use depx_protocol::wire::{BlobReply, GetBlob};
use depx_protocol::{Blob, Hash};
use depx_transport::{BlobError, BlobStore, FrameError, read_bytes, read_frame, write_frame};
use quinn::{Connection, ConnectionError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Mutex as AsyncMutex;

/// The largest blob that is fetched: the largest that fits comfortably in memory beside others.
pub(crate) const MAX_BLOB: u64 = 1 << 30;

/// A blob that could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("the coordinator does not have blob {0}")]
    Missing(Hash),
    #[error("the coordinator sends {sent} bytes as a blob of {len}")]
    Length { sent: u64, len: u64 },
    #[error(transparent)]
    Store(#[from] BlobError),
    #[error("could not fetch a blob: {0}")]
    Frame(#[from] FrameError),
    #[error("could not fetch a blob: {0}")]
    Connection(#[from] ConnectionError),
}

pub(crate) struct BlobCache {
    store: Arc<BlobStore>,
    fetching: Mutex<HashMap<Hash, Arc<AsyncMutex<()>>>>,
}

impl BlobCache {
    pub(crate) fn new(store: BlobStore) -> Self {
        Self { store: Arc::new(store), fetching: Mutex::default() }
    }

    /// The content of `blob`.
    pub(crate) async fn get(&self, blob: &Blob, connection: &Connection) -> Result<Bytes, FetchError> {
        if let Some(content) = self.stored(blob).await? {
            return Ok(content);
        }
        let turn = self.fetching().entry(blob.hash).or_default().clone();
        let _turn = turn.lock().await;
        // Whoever had the turn before may have fetched it.
        if let Some(content) = self.stored(blob).await? {
            return Ok(content);
        }
        let fetched = self.fetch(blob, connection).await;
        self.fetching().remove(&blob.hash);
        fetched
    }

    async fn stored(&self, blob: &Blob) -> Result<Option<Bytes>, FetchError> {
        if let Some(content) = self.store.cached(&blob.hash) {
            return Ok(Some(content));
        }
        let (store, hash) = (self.store.clone(), blob.hash);
        Ok(blocking(move || store.get(&hash)).await?)
    }

    async fn fetch(&self, blob: &Blob, connection: &Connection) -> Result<Bytes, FetchError> {
        let (mut send, mut receive) = connection.open_bi().await?;
        write_frame(&mut send, &GetBlob { hash: blob.hash }).await?;
        let content = match read_frame(&mut receive).await? {
            BlobReply::Missing => return Err(FetchError::Missing(blob.hash)),
            BlobReply::Found { len } if len == blob.len => read_bytes(&mut receive, len, MAX_BLOB).await?,
            BlobReply::Found { len } => return Err(FetchError::Length { sent: len, len: blob.len }),
        };
        let (store, blob, kept) = (self.store.clone(), *blob, content.clone());
        blocking(move || store.put(&blob, kept)).await?;
        Ok(content)
    }

    fn fetching(&self) -> std::sync::MutexGuard<'_, HashMap<Hash, Arc<AsyncMutex<()>>>> {
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs what waits for the disk where it holds up nothing else.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
