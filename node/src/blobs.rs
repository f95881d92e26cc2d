//! Blobs by hash: from the store, or else from the coordinator, each fetched once however many leases wait for it.

use bytes::Bytes;
use depx_protocol::Blob;
use depx_transport::{BlobError, BlobStore, FetchError, fetch};
use quinn::Connection;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Mutex as AsyncMutex;

pub(crate) struct BlobCache {
    store: BlobStore,
    fetching: Mutex<HashMap<Blob, Arc<AsyncMutex<()>>>>,
}

impl BlobCache {
    pub(crate) fn new(store: BlobStore) -> Self {
        Self { store, fetching: Mutex::default() }
    }

    /// The content of `blob`.
    pub(crate) async fn get(&self, blob: &Blob, connection: &Connection) -> Result<Bytes, FetchError> {
        if let Some(content) = self.stored(blob).await? {
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
        Ok(self.stored(blob).await?.ok_or(BlobError::Mismatch { expected: blob.hash })?)
    }

    async fn stored(&self, blob: &Blob) -> Result<Option<Bytes>, BlobError> {
        if let Some(content) = self.store.cached(blob) {
            return Ok(Some(content));
        }
        let (store, blob) = (self.store.clone(), *blob);
        match tokio::task::spawn_blocking(move || store.get(&blob)).await {
            Ok(read) => read,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn fetching(&self) -> std::sync::MutexGuard<'_, HashMap<Blob, Arc<AsyncMutex<()>>>> {
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
