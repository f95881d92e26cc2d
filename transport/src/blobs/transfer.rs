//! From one machine to the other: whoever wants a blob asks for what it lacks, verifies each window as it arrives, and keeps what
//! was verified whatever comes after it.

use super::groups::Windows;
use super::source::Source;
use super::store::BlobStore;
use super::{BlobError, MAX_BLOB, SMALL, blocking, tree};
use crate::frame::{FrameError, read_frame, write_frame};
use bytes::Bytes;
use depx_protocol::wire::{BlobReply, GetBlob, GroupRange};
use depx_protocol::{Blob, Hash};
use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// A peer of which nothing arrives for so long is given up.
const STALL: Duration = Duration::from_secs(20);
/// A peer that sends parts that do not match is asked again so often.
const MAX_FAULTS: u32 = 3;
/// The code with which a stream is ended whose content does not match.
const DAMAGED: VarInt = VarInt::from_u32(2);

/// A blob that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The peer does not have it.
    #[error("the peer does not have blob {0}")]
    Missing(Hash),
    /// It is longer than any may be.
    #[error("blob {} has {} bytes; at most {MAX_BLOB} are allowed", .0.hash, .0.len)]
    TooLong(Blob),
    /// The peer fell silent.
    #[error("nothing of the blob arrived for {} seconds", STALL.as_secs())]
    Stalled,
    /// It could not be stored, or what the peer sends does not match it.
    #[error(transparent)]
    Store(#[from] BlobError),
    /// The conversation broke off.
    #[error("could not fetch a blob: {0}")]
    Frame(#[from] FrameError),
    /// The connection is gone.
    #[error("could not fetch a blob: {0}")]
    Connection(#[from] ConnectionError),
}

/// A blob that could not be given.
#[derive(Debug, thiserror::Error)]
pub enum GiveError {
    /// The peer asked for what the blob does not have.
    #[error("the peer asked for parts that blob {0} does not have")]
    Ranges(Hash),
    /// The peer does not read.
    #[error("the peer read nothing for {} seconds", STALL.as_secs())]
    Stalled,
    /// What is here does not match its name.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The conversation broke off.
    #[error("the conversation broke off")]
    Frame(#[from] FrameError),
}

/// Answers a peer with what it asked for of `source`, or that it is not here. Takes two windows of memory. Ends the stream where what is
/// here does not match its name.
pub async fn give(mut send: SendStream, request: GetBlob, source: Option<Arc<Source>>) -> Result<(), GiveError> {
    if !request.is_valid() {
        return Err(GiveError::Ranges(request.blob.hash));
    }
    let Some(source) = source.filter(|source| *source.blob() == request.blob) else {
        return Ok(write_frame(&mut send, &BlobReply::Missing).await?);
    };
    write_frame(&mut send, &BlobReply::Found).await?;
    let encode = |pieces: Vec<GroupRange>| {
        let source = source.clone();
        tokio::spawn(async move {
            match source.is_in_memory() {
                true => source.encode(&pieces),
                false => blocking(move || source.encode(&pieces)).await,
            }
        })
    };
    let mut windows = Windows::new(request.ranges);
    let mut next = windows.next().map(encode);
    while let Some(encoding) = next {
        let encoded = joined(encoding.await)?;
        // While this one is sent.
        next = windows.next().map(encode);
        let sent = timeout(STALL, send.write_chunk(encoded)).await.map_err(|_| GiveError::Stalled)?;
        sent.map_err(FrameError::from)?;
    }
    Ok(())
}

/// Answers a peer that asks for a blob out of the store.
pub async fn serve(store: &BlobStore, send: SendStream, mut receive: RecvStream) -> Result<(), GiveError> {
    let request: GetBlob = read_frame(&mut receive).await?;
    let blob = request.blob;
    let source = match store.cached(&blob) {
        // Has no tree to be read or computed.
        Some(content) if blob.groups() == 1 => Some(Source::of_bytes(content)),
        _ => {
            let store = store.clone();
            blocking(move || store.source(&blob)).await?
        }
    };
    let given = give(send, request, source.map(Arc::new)).await;
    if let Err(GiveError::Blob(BlobError::Damaged { .. })) = given {
        let store = store.clone();
        blocking(move || store.doubt(&blob)).await?;
    }
    given
}

/// Brings what the store lacks of `blob` from the peer. What was verified stays, also if the rest does not come.
pub async fn fetch(store: &BlobStore, blob: &Blob, peer: &Connection) -> Result<(), FetchError> {
    if blob.len > MAX_BLOB {
        return Err(FetchError::TooLong(*blob));
    }
    let _pin = store.pin(blob);
    let mut faults = 0;
    loop {
        let fetched = match blob.len <= SMALL {
            true => fetch_small(store, blob, peer).await,
            false => fetch_missing(store, blob, peer).await,
        };
        match fetched {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(FetchError::Store(BlobError::Damaged { .. })) if faults < MAX_FAULTS => faults += 1,
            Err(error) => return Err(error),
        }
    }
}

/// A blob of one window, through memory.
async fn fetch_small(store: &BlobStore, blob: &Blob, peer: &Connection) -> Result<bool, FetchError> {
    let all = vec![GroupRange { first: 0, count: blob.groups() }];
    let mut receive = ask(peer, blob, all.clone()).await?;
    let encoded = read_exactly(&mut receive, tree::encoded_len(&tree::shape(blob), &all)).await?;
    let mut content = Vec::with_capacity(encoded.len());
    let collect = |_, group: &[u8]| {
        content.extend_from_slice(group);
        Ok(())
    };
    let decoded = tree::decode(blob, &all, &encoded, |_, _| Ok(()), collect);
    if let Err(error) = decoded {
        let offset = tree::place(error).unwrap_or_default();
        return Err(FetchError::Store(BlobError::Damaged { blob: *blob, offset }));
    }
    let (store, blob) = (store.clone(), *blob);
    blocking(move || store.put(&blob, Bytes::from(content))).await?;
    Ok(true)
}

/// As much as can be asked for at once of what is missing. Returns whether everything is here.
async fn fetch_missing(store: &BlobStore, blob: &Blob, peer: &Connection) -> Result<bool, FetchError> {
    let (keeper, name) = (store.clone(), *blob);
    let Some(partial) = blocking(move || keeper.partial(&name)).await? else { return Ok(true) };
    let missing = partial.missing();
    if missing.is_empty() {
        let keeper = store.clone();
        blocking(move || keeper.finish(&partial)).await?;
        return Ok(true);
    }
    let mut receive = ask(peer, blob, missing.clone()).await?;
    let mut storing = None;
    let shape = tree::shape(blob);
    for pieces in Windows::new(missing) {
        let read = read_exactly(&mut receive, tree::encoded_len(&shape, &pieces)).await;
        stored(storing.take()).await.inspect_err(|_| drop(receive.stop(DAMAGED)))?;
        let (encoded, partial, store) = (read?, partial.clone(), store.clone());
        storing = Some(tokio::task::spawn_blocking(move || {
            let accepted = partial.accept(&pieces, &encoded);
            store.grow(partial.blob(), partial.grown())?;
            accepted
        }));
    }
    stored(storing).await?;
    Ok(false)
}

async fn stored(storing: Option<tokio::task::JoinHandle<Result<(), BlobError>>>) -> Result<(), BlobError> {
    match storing {
        Some(storing) => joined(storing.await),
        None => Ok(()),
    }
}

fn joined<T>(done: Result<T, tokio::task::JoinError>) -> T {
    match done {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

async fn ask(peer: &Connection, blob: &Blob, ranges: Vec<GroupRange>) -> Result<RecvStream, FetchError> {
    let (mut send, mut receive) = peer.open_bi().await?;
    write_frame(&mut send, &GetBlob { blob: *blob, ranges }).await?;
    match timeout(STALL, read_frame(&mut receive)).await.map_err(|_| FetchError::Stalled)?? {
        BlobReply::Found => Ok(receive),
        BlobReply::Missing => Err(FetchError::Missing(blob.hash)),
    }
}

/// Reads for as long as something arrives.
async fn read_exactly(receive: &mut RecvStream, len: usize) -> Result<Vec<u8>, FetchError> {
    let mut content = Vec::with_capacity(len);
    while content.len() < len {
        let before = content.len();
        match timeout(STALL, fill(receive, &mut content, len)).await {
            Ok(filled) => filled?,
            Err(_) if content.len() > before => {}
            Err(_) => return Err(FetchError::Stalled),
        }
    }
    Ok(content)
}

async fn fill(receive: &mut RecvStream, content: &mut Vec<u8>, len: usize) -> Result<(), FrameError> {
    while content.len() < len {
        let chunk = receive.read_chunk(len - content.len(), true).await?.ok_or(FrameError::Ended)?;
        content.extend_from_slice(&chunk.bytes);
    }
    Ok(())
}
