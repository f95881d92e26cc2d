//! Blobs by hash: from the store, or else from the coordinator, each fetched once however many leases wait for it.

use crate::metrics::Metrics;
use bytes::Bytes;
use depx_protocol::Blob;
use depx_transport::{BlobError, BlobStore, FetchError, fetch};
use quinn::Connection;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Mutex as AsyncMutex;

pub(crate) struct BlobCache {
    store: BlobStore,
    metrics: Arc<Metrics>,
    fetching: Mutex<HashMap<Blob, Arc<AsyncMutex<()>>>>,
}

impl BlobCache {
    pub(crate) fn new(store: BlobStore, metrics: Arc<Metrics>) -> Self {
        Self { store, metrics, fetching: Mutex::default() }
    }

    pub(crate) fn store(&self) -> &BlobStore {
        &self.store
    }

    /// Keeps `content`, whose name is `blob`.
    pub(crate) async fn put(&self, blob: Blob, content: Bytes) -> Result<(), BlobError> {
        let store = self.store.clone();
        unblocked(move || store.put(&blob, content)).await
    }

    /// The content of `blob`.
    pub(crate) async fn get(&self, blob: &Blob, connection: &Connection) -> Result<Bytes, FetchError> {
        if let Some(content) = self.stored(blob).await? {
            self.metrics.blobs_found.inc();
            return Ok(content);
        }
        let turn = self.fetching().entry(*blob).or_default().clone();
        let _turn = turn.lock().await;
        let fetched = self.fetch(blob, connection).await;
        self.fetching().remove(blob);
        fetched
    }

    async fn fetch(&self, blob: &Blob, connection: &Connection) -> Result<Bytes, FetchError> {
        // Whoever had the turn before may have fetched it.
        if let Some(content) = self.stored(blob).await? {
            return Ok(content);
        }
        let _pin = self.store.pin(blob);
        fetch(&self.store, blob, connection).await?;
        self.metrics.blobs_fetched.inc();
        self.metrics.blobs_fetched_bytes.inc_by(blob.len);
        Ok(self.stored(blob).await?.ok_or(BlobError::Mismatch { expected: blob.hash })?)
    }

    /// The content of `blob` if it is in the store.
    pub(crate) async fn stored(&self, blob: &Blob) -> Result<Option<Bytes>, BlobError> {
        if let Some(content) = self.store.cached(blob) {
            return Ok(Some(content));
        }
        let (store, blob) = (self.store.clone(), *blob);
        unblocked(move || store.get(&blob)).await
    }

    fn fetching(&self) -> std::sync::MutexGuard<'_, HashMap<Blob, Arc<AsyncMutex<()>>>> {
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the disk where others need not wait with it.
async fn unblocked<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
