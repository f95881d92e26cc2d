//! A client's connection: each of its streams is one job, or follows one that was submitted before the connection was lost.

use crate::jobs::{self, End, LiveJob, Role};
use crate::{REPLAY_WINDOW_MS, Shared};
use bytes::Bytes;
use depx_journal::JournalError;
use depx_protocol::wire::{CLOSE_MOVED, ClientEvent};
use depx_protocol::{Address, Blob, Hash, SignedJobSpec, SpecError};
use depx_transport::{
    BlobError, BlobStore, FetchError, FrameError, Guest, Pin, TRANSFERS, chain, fetch, read_frame, unix_ms,
    write_bytes, write_frame,
};
use quinn::{Connection, ConnectionError, RecvStream, SendStream, StoppedError, WriteError};
use std::collections::HashSet;
use std::sync::Arc;
use tokio::join;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// A submission that did not become a job.
#[derive(Debug, thiserror::Error)]
enum SubmitError {
    #[error("the job spec is not acceptable")]
    Spec(#[from] SpecError),
    #[error("the job spec is by {named}, but {connected} is connected")]
    Client { named: Address, connected: Address },
    #[error("the job spec was made {} seconds ago or hence; it must be submitted within {} seconds, so compare the two machines' clocks", .0 / 1000, REPLAY_WINDOW_MS / 1000)]
    Window(u64),
    #[error("this very job was submitted before; make a new spec with another nonce to run it again")]
    Replayed,
    #[error("the job's blobs cannot be had")]
    Blobs(#[from] FetchError),
    #[error("the coordinator's records cannot be read")]
    Journal(#[from] JournalError),
    #[error("the job's output cannot be read")]
    Output(#[from] BlobError),
    #[error("the conversation broke off")]
    Frame(#[from] FrameError),
}

/// Serves a client for as long as it is there.
pub(crate) async fn serve(shared: &Arc<Shared>, guest: Guest) {
    let client = Arc::new(Uploader {
        address: guest.address,
        connection: guest.connection.clone(),
        transfers: Arc::new(Semaphore::new(TRANSFERS)),
    });
    while let Ok((send, receive)) = guest.connection.accept_bi().await {
        let (shared, client) = (shared.clone(), client.clone());
        tokio::spawn(async move {
            if let Err(error) = submission(&shared, &client, send, receive).await {
                tracing::debug!(client = %client.address, error = chain(&error), "a submission broke off");
            }
        });
    }
}

/// Whom a job's blobs come from.
struct Uploader {
    address: Address,
    connection: Connection,
    transfers: Arc<Semaphore>,
}

async fn submission(
    shared: &Arc<Shared>,
    client: &Uploader,
    mut send: SendStream,
    mut receive: RecvStream,
) -> Result<(), FrameError> {
    let signed: SignedJobSpec = read_frame(&mut receive).await?;
    let job = match verify(client, &signed) {
        Ok(job) => job,
        Err(error) => return write_bytes(&mut send, jobs::failed(&error).into()).await,
    };
    loop {
        let (live, followed) = match shared.jobs.take(job) {
            Role::Follow(live) => {
                let followed = follow(&live, &mut send).await;
                (live, followed)
            }
            Role::Run(live) => {
                let followed = match admit(shared, client, &live, job, &signed, &mut send).await {
                    Ok(Some(_pins)) => {
                        let running = jobs::run(shared, &live, job, signed.clone(), Vec::new());
                        join!(follow(&live, &mut send), running).0
                    }
                    Ok(None) => follow(&live, &mut send).await,
                    Err(error) if client.connection.close_reason().is_some() => {
                        tracing::debug!(error = chain(&error), "the client was lost before it had given everything");
                        // It may have submitted the job again by now.
                        shared.seen.forget(&job);
                        live.give_up();
                        Followed::Lost
                    }
                    Err(error) => {
                        live.is_over(&jobs::failed(&error), Bytes::new(), None);
                        follow(&live, &mut send).await
                    }
                };
                (live, followed)
            }
        };
        shared.jobs.leave(job, live);
        match followed {
            Followed::ToTheEnd => shared.journal.forget(job),
            Followed::Lost => {}
            Followed::GivenUp => continue,
        }
        return Ok(());
    }
}

/// How a client heard of a job.
enum Followed {
    /// It has everything that it wants.
    ToTheEnd,
    /// The connection was lost. The job goes on, and the client can submit it again.
    Lost,
    /// Whoever ran the job could not.
    GivenUp,
}

/// Tells a client what happens to a job.
async fn follow(live: &LiveJob, send: &mut SendStream) -> Followed {
    let mut position = 0;
    loop {
        let (frames, end) = tokio::select! {
            gone = send.stopped() => return left(live, gone.err()),
            after = live.after(position) => after,
        };
        position += frames.len();
        let output = match end {
            End::NotYet => Bytes::new(),
            End::Output(ref output) => output.clone(),
            End::GivenUp => return Followed::GivenUp,
        };
        for content in [frames, output] {
            match send.write_chunk(content).await {
                Ok(()) => {}
                Err(WriteError::ConnectionLost(error)) => return left(live, Some(StoppedError::ConnectionLost(error))),
                Err(_) => return left(live, None),
            }
        }
        if let End::Output(_) = end {
            // Fails only if the client has stopped the stream.
            let _ = send.finish();
            // Until it has arrived.
            return left(live, send.stopped().await.err());
        }
    }
}

/// A client that is gone wants a job no more, unless it was lost.
fn left(live: &LiveJob, error: Option<StoppedError>) -> Followed {
    match error {
        Some(StoppedError::ConnectionLost(ConnectionError::ApplicationClosed(close)))
            if close.error_code == CLOSE_MOVED.into() =>
        {
            Followed::Lost
        }
        None | Some(StoppedError::ConnectionLost(ConnectionError::ApplicationClosed(_))) => {
            live.cancel();
            Followed::ToTheEnd
        }
        Some(_) => Followed::Lost,
    }
}

/// Checks what a client signed, and that it is the one that is connected.
fn verify(client: &Uploader, signed: &SignedJobSpec) -> Result<Hash, SubmitError> {
    let job = signed.verify()?;
    if signed.spec.client != client.address {
        return Err(SubmitError::Client { named: signed.spec.client, connected: client.address });
    }
    Ok(job)
}

/// Decides whether to run a job, and pulls the blobs that are not here yet. They stay for as long as the pins live. `None` if the job is over,
/// and its client can be told again.
async fn admit(
    shared: &Shared,
    client: &Uploader,
    live: &LiveJob,
    job: Hash,
    signed: &SignedJobSpec,
    send: &mut SendStream,
) -> Result<Option<Vec<Pin>>, SubmitError> {
    if let Some(over) = shared.journal.outcome(job)? {
        return Ok(jobs::recall(shared, live, over).await.map(|()| None)?);
    }
    let spec = &signed.spec;
    let now_ms = unix_ms();
    let off_ms = now_ms.abs_diff(spec.created_ms);
    if off_ms > REPLAY_WINDOW_MS {
        return Err(SubmitError::Window(off_ms));
    }
    if !shared.seen.note(job, spec.created_ms.saturating_add(REPLAY_WINDOW_MS + 1), now_ms) {
        return Err(SubmitError::Replayed);
    }
    let mut named = HashSet::new();
    let blobs: Vec<Blob> = spec.blobs().filter(|blob| named.insert(**blob)).copied().collect();
    let pins = blobs.iter().map(|blob| shared.blobs.pin(blob)).collect();
    let missing: Vec<Blob> = blobs.into_iter().filter(|blob| !shared.blobs.contains(blob)).collect();
    if !missing.is_empty() {
        write_frame(send, &ClientEvent::Need { blobs: missing.clone() }).await?;
        client.pull(&shared.blobs, missing).await?;
    }
    Ok(Some(pins))
}

impl Uploader {
    /// Fetches blobs, a few at a time.
    async fn pull(&self, store: &BlobStore, blobs: Vec<Blob>) -> Result<(), FetchError> {
        let mut pulling = JoinSet::new();
        for blob in blobs {
            let (store, connection, transfers) = (store.clone(), self.connection.clone(), self.transfers.clone());
            pulling.spawn(async move {
                let _turn = transfers.acquire_owned().await;
                fetch(&store, &blob, &connection).await
            });
        }
        while let Some(pulled) = pulling.join_next().await {
            pulled.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        }
        Ok(())
    }
}
