//! A client's connection: each of its streams is one job.

use crate::job::{Agreed, Progress};
use crate::{CoordinatorEvent, REPLAY_WINDOW_MS, Shared, job};
use bytes::Bytes;
use depx_protocol::wire::{ClientEvent, frame};
use depx_protocol::{Address, Blob, Hash, SignedJobSpec, SpecError};
use depx_transport::{
    BlobStore, FetchError, FrameError, Guest, Pin, TRANSFERS, bounded, chain, fetch, read_frame, unix_ms, write_bytes,
    write_frame,
};
use quinn::{Connection, RecvStream, SendStream};
use std::collections::HashSet;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Events wait so long for others: a short job is told in one message.
const TOGETHER: Duration = Duration::from_millis(2);
/// Events that may wait for a client that reads slowly; then the job waits with them.
const EVENTS: usize = 64;

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
    let (job, spec, _pins) = match admit(shared, client, &mut send, &mut receive).await {
        Ok(admitted) => admitted,
        Err(error) => return write_frame(&mut send, &ClientEvent::Failed { reason: bounded(&chain(&error)) }).await,
    };
    let mut untold = Untold::default();
    untold.add(&ClientEvent::Queued { job })?;

    let (progress, mut events) = mpsc::channel(EVENTS);
    let running = job::run(shared, job, spec, progress);
    let mut gone = pin!(send.stopped());
    let outcome = {
        let mut running = pin!(running);
        loop {
            tokio::select! {
                // What has happened is told before the outcome.
                biased;
                Some(event) = events.recv() => untold.add(&told(event))?,
                outcome = &mut running => break outcome,
                () = untold.due() => write_bytes(&mut send, untold.take()).await?,
                // The client has gone; dropping the job cancels its leases.
                _ = &mut gone => return Ok(()),
            }
        }
    };
    while let Ok(event) = events.try_recv() {
        untold.add(&told(event))?;
    }
    let output = match outcome {
        Ok(Agreed { result, dissenters, output }) => {
            (shared.events)(CoordinatorEvent::Agreed { job, result, dissenters: dissenters.clone() });
            untold.add(&ClientEvent::Agreed { result, dissenters, output_len: output.len() as u64 })?;
            output
        }
        Err(error) => {
            let reason = bounded(&chain(&error));
            (shared.events)(CoordinatorEvent::Failed { job, reason: reason.clone() });
            untold.add(&ClientEvent::Failed { reason })?;
            Bytes::new()
        }
    };
    write_bytes(&mut send, untold.take()).await?;
    write_bytes(&mut send, output).await
}

/// Events that wait a little for others, to go out together.
#[derive(Default)]
struct Untold {
    frames: Vec<u8>,
    since: Option<Instant>,
}

impl Untold {
    fn add(&mut self, event: &ClientEvent) -> Result<(), FrameError> {
        self.frames.extend(frame(event)?);
        self.since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// When the first of them has waited long enough; never if there is none.
    async fn due(&self) {
        match self.since {
            Some(since) => sleep_until(since + TOGETHER).await,
            None => pending().await,
        }
    }

    fn take(&mut self) -> Bytes {
        self.since = None;
        std::mem::take(&mut self.frames).into()
    }
}

/// Reads a signed spec, checks it, and pulls the blobs that are not here yet. They stay for as long as the pins live.
async fn admit(
    shared: &Shared,
    client: &Uploader,
    send: &mut SendStream,
    receive: &mut RecvStream,
) -> Result<(Hash, SignedJobSpec, Vec<Pin>), SubmitError> {
    let signed: SignedJobSpec = read_frame(receive).await?;
    let job = signed.verify()?;
    let spec = &signed.spec;
    if spec.client != client.address {
        return Err(SubmitError::Client { named: spec.client, connected: client.address });
    }
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
    Ok((job, signed, pins))
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

fn told(progress: Progress) -> ClientEvent {
    match progress {
        Progress::Dispatched { executor } => ClientEvent::Dispatched { executor },
        Progress::NoShow { executor, detail } => ClientEvent::NoShow { executor, detail },
        Progress::Vote { vote } => ClientEvent::Vote { vote },
    }
}
