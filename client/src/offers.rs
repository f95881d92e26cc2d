//! The blobs that the coordinator may ask for.

use bytes::Bytes;
use depx_protocol::Blob;
use depx_protocol::wire::GetBlob;
use depx_transport::{GiveError, Source, TRANSFERS, give, read_frame};
use quinn::{Connection, RecvStream, SendStream};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// What jobs that are being submitted offer, each with how many of them do.
type Offered = HashMap<Blob, (Content, usize)>;

#[derive(Clone)]
enum Content {
    /// Not asked for yet.
    Bytes(Bytes),
    Source(Arc<Source>),
}

/// Gives the coordinator what it asks for of the blobs on offer, for as long as the connection lasts.
#[derive(Clone, Default)]
pub(crate) struct Offers {
    offered: Arc<Mutex<Offered>>,
}

impl Offers {
    pub(crate) fn serve(connection: Connection) -> Self {
        let this = Self::default();
        let (offers, giving) = (this.clone(), Arc::new(Semaphore::new(TRANSFERS)));
        tokio::spawn(async move {
            while let Ok((send, receive)) = connection.accept_bi().await {
                let (offers, giving) = (offers.clone(), giving.clone());
                tokio::spawn(async move {
                    let _turn = giving.acquire_owned().await;
                    // The coordinator says what this means for the job.
                    let _ = offers.give(send, receive).await;
                });
            }
        });
        this
    }

    async fn give(&self, send: SendStream, mut receive: RecvStream) -> Result<(), GiveError> {
        let request: GetBlob = read_frame(&mut receive).await?;
        let source = self.source(&request.blob).await;
        give(send, request, source).await
    }

    async fn source(&self, blob: &Blob) -> Option<Arc<Source>> {
        let content = self.offered().get(blob).map(|(content, _)| content.clone())?;
        let bytes = match content {
            Content::Source(source) => return Some(source),
            Content::Bytes(bytes) => bytes,
        };
        // Hashing a large blob takes its time.
        let source = Arc::new(tokio::task::spawn_blocking(move || Source::of_bytes(bytes)).await.ok()?);
        if let Some((content, _)) = self.offered().get_mut(blob) {
            *content = Content::Source(source.clone());
        }
        Some(source)
    }

    /// Offers a blob until what this gives is dropped.
    pub(crate) fn offer(&self, blob: Blob, content: Bytes) -> Offer {
        self.offered().entry(blob).or_insert_with(|| (Content::Bytes(content), 0)).1 += 1;
        Offer { offers: self.clone(), blob }
    }

    /// A panic elsewhere cannot leave the map inconsistent, so a poisoned lock is no reason to stop.
    fn offered(&self) -> MutexGuard<'_, Offered> {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A blob on offer.
pub(crate) struct Offer {
    offers: Offers,
    blob: Blob,
}

impl Drop for Offer {
    fn drop(&mut self) {
        let mut offered = self.offers.offered();
        if let Some((_, count)) = offered.get_mut(&self.blob) {
            *count -= 1;
            if *count == 0 {
                offered.remove(&self.blob);
            }
        }
    }
}
