//! Jobs that are under way, whoever is connected. What happens to one is written into the journal, and then told to its client.

use crate::job::{self, Agreed, Progress};
use crate::journal::{Output, Over, Unfinished, Unwritten};
use crate::lease::Open;
use crate::{CoordinatorEvent, Shared};
use bytes::Bytes;
use depx_protocol::wire::{ClientEvent, frame};
use depx_protocol::{Assignment, Blob, Hash, SignedJobSpec};
use depx_transport::{BlobError, Pin, bounded, chain};
use std::collections::HashMap;
use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

/// Events wait so long for others: a short job is told in one message, and written in one entry of the journal.
const TOGETHER: Duration = Duration::from_millis(2);
/// Events that may wait to be written; then the job waits with them.
const EVENTS: usize = 64;
/// Longer outputs are kept in the blob store until the client has them.
const INLINE: usize = 64 << 10;

/// All jobs for which somebody works or waits.
#[derive(Default)]
pub(crate) struct Jobs(Mutex<HashMap<Hash, Weak<LiveJob>>>);

/// One of them.
pub(crate) struct LiveJob {
    told: Mutex<Told>,
    changed: Notify,
    unwanted: Notify,
}

/// What the client is told of a job.
#[derive(Default)]
struct Told {
    /// As encoded events.
    frames: Vec<u8>,
    end: End,
    /// Where the blob store has the output, it stays there.
    _pin: Option<Pin>,
}

/// What follows the events.
#[derive(Clone, Default)]
pub(crate) enum End {
    /// Others may.
    #[default]
    NotYet,
    /// This output.
    Output(Bytes),
    /// Nothing, ever: whoever ran the job lost its client before it was accepted.
    GivenUp,
}

/// Whose task it is to run a job.
pub(crate) enum Role {
    /// The caller's.
    Run(Arc<LiveJob>),
    /// Somebody's already.
    Follow(Arc<LiveJob>),
}

impl Jobs {
    /// Takes a job on, or finds who did. The caller whose task it is has to see to it that it is [over](LiveJob::is_over).
    pub(crate) fn take(&self, job: Hash) -> Role {
        let mut jobs = self.jobs();
        if let Some(live) = jobs.get(&job).and_then(Weak::upgrade) {
            return Role::Follow(live);
        }
        let live = Arc::new(LiveJob { told: Mutex::default(), changed: Notify::new(), unwanted: Notify::new() });
        jobs.insert(job, Arc::downgrade(&live));
        Role::Run(live)
    }

    /// Whoever was given a job is done with it.
    pub(crate) fn leave(&self, job: Hash, live: Arc<LiveJob>) {
        drop(live);
        let mut jobs = self.jobs();
        if jobs.get(&job).is_some_and(|live| live.strong_count() == 0) {
            jobs.remove(&job);
        }
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<Hash, Weak<LiveJob>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LiveJob {
    /// The client does not want it any more.
    pub(crate) fn cancel(&self) {
        self.unwanted.notify_one();
    }

    fn tell(&self, frames: &[u8]) {
        self.told().frames.extend_from_slice(frames);
        self.changed.notify_waiters();
    }

    /// These events, if any, and then this output; nothing further.
    pub(crate) fn is_over(&self, frames: &[u8], output: Bytes, pin: Option<Pin>) {
        let mut told = self.told();
        told.frames.extend_from_slice(frames);
        (told.end, told._pin) = (End::Output(output), pin);
        drop(told);
        self.changed.notify_waiters();
    }

    /// Somebody else has to run it.
    pub(crate) fn give_up(&self) {
        self.told().end = End::GivenUp;
        self.changed.notify_waiters();
    }

    /// What follows the first `position` bytes of events, as soon as there is anything.
    pub(crate) async fn after(&self, position: usize) -> (Bytes, End) {
        loop {
            let changed = self.changed.notified();
            {
                let told = self.told();
                if told.frames.len() > position || !matches!(told.end, End::NotYet) {
                    return (Bytes::copy_from_slice(&told.frames[position..]), told.end.clone());
                }
            }
            changed.await;
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Goes on with what was not over when the coordinator was last stopped.
pub(crate) fn resume(shared: &Arc<Shared>) {
    let unfinished = match shared.journal.unfinished() {
        Ok(unfinished) => unfinished,
        Err(error) => return tracing::error!(error = chain(&error), "jobs that were not over are not gone on with"),
    };
    for Unfinished { job, spec, leases } in unfinished {
        let Role::Run(live) = shared.jobs.take(job) else { continue };
        let shared = shared.clone();
        tokio::spawn(async move {
            let _pins: Vec<_> = spec.spec.blobs().map(|blob| shared.blobs.pin(blob)).collect();
            run(&shared, &live, job, spec, leases).await;
            shared.jobs.leave(job, live);
        });
    }
}

/// Runs a job to its end, or until it is cancelled.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    live: &LiveJob,
    job: Hash,
    spec: SignedJobSpec,
    mut leases: Vec<Assignment>,
) {
    let (progress, mut events) = mpsc::channel(EVENTS);
    let mut running = pin!(job::run(shared, job, spec.clone(), leases.clone(), progress));
    let mut untold = Untold::default();
    untold.add(&ClientEvent::Queued { job });
    let spec = Arc::new(spec);
    let (outcome, open) = loop {
        tokio::select! {
            // What has happened is told before the outcome.
            biased;
            Some(event) = events.recv() => untold.happened(event, &mut leases),
            outcome = &mut running => break outcome,
            () = untold.due() => match shared.journal.accepted(job, spec.clone(), leases.clone()).await {
                Ok(()) => live.tell(&untold.take()),
                Err(error) => return fail(shared, live, job, error.to_string()),
            },
            // Dropping the job cancels its leases.
            () = live.unwanted.notified() => {
                shared.journal.forget(job);
                return live.is_over(&[], Bytes::new(), None);
            }
        }
    };
    while let Ok(event) = events.try_recv() {
        untold.happened(event, &mut leases);
    }
    let output = match outcome {
        Ok(Agreed { result, dissenters, output }) => {
            (shared.events)(CoordinatorEvent::Agreed { job, result, dissenters: dissenters.clone() });
            untold.add(&ClientEvent::Agreed { result, dissenters, output_len: output.len() as u64 });
            output
        }
        Err(error) => {
            let reason = bounded(&chain(&error));
            (shared.events)(CoordinatorEvent::Failed { job, reason: reason.clone() });
            untold.add(&ClientEvent::Failed { reason });
            Bytes::new()
        }
    };
    let told = untold.take();
    match store(shared, live, job, &told, output.clone()).await {
        Ok(pin) => live.is_over(&told, output, pin),
        Err(error) => return fail(shared, live, job, chain(&error)),
    }
    for lease in open {
        Open::close(lease).await;
    }
}

/// A job that came to an end that could not be recorded.
#[derive(Debug, thiserror::Error)]
enum StoreError {
    #[error("the output cannot be stored")]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Journal(#[from] Unwritten),
}

/// Writes down what came of a job, all that was told before included.
async fn store(
    shared: &Shared,
    live: &LiveJob,
    job: Hash,
    told: &[u8],
    output: Bytes,
) -> Result<Option<Pin>, StoreError> {
    let (kept, pin) = if output.len() <= INLINE {
        (Output::Inline(output), None)
    } else {
        let (blob, store) = (Blob::of(&output), shared.blobs.clone());
        let pin = store.pin(&blob);
        let put = tokio::task::spawn_blocking(move || store.put(&blob, output));
        put.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        (Output::Blob(blob), Some(pin))
    };
    let told = [&live.told().frames[..], told].concat().into();
    shared.journal.over(job, told, kept).await?;
    Ok(pin)
}

/// Ends a job that cannot be recorded. Nobody has its result.
fn fail(shared: &Shared, live: &LiveJob, job: Hash, reason: String) {
    let reason = bounded(&reason);
    (shared.events)(CoordinatorEvent::Failed { job, reason: reason.clone() });
    live.is_over(&encoded(&ClientEvent::Failed { reason }), Bytes::new(), None);
}

/// The last event of a job that came to nothing for this reason.
pub(crate) fn failed(error: &dyn std::error::Error) -> Vec<u8> {
    encoded(&ClientEvent::Failed { reason: bounded(&chain(error)) })
}

/// Brings back what is recorded of a job that is over.
pub(crate) async fn recall(shared: &Shared, live: &LiveJob, over: Over) -> Result<(), BlobError> {
    let (output, pin) = match over.output {
        Output::Inline(output) => (output, None),
        Output::Blob(blob) => {
            let (store, pin) = (shared.blobs.clone(), shared.blobs.pin(&blob));
            let read = tokio::task::spawn_blocking(move || store.get(&blob)).await;
            let read = read.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
            (read.ok_or(BlobError::Mismatch { expected: blob.hash })?, Some(pin))
        }
    };
    live.is_over(&over.told, output, pin);
    Ok(())
}

/// Events that wait a little for others, to be written and told together.
#[derive(Default)]
struct Untold {
    frames: Vec<u8>,
    since: Option<Instant>,
}

impl Untold {
    fn happened(&mut self, progress: Progress, leases: &mut Vec<Assignment>) {
        let event = match progress {
            Progress::Dispatched { assignment } => {
                let executor = assignment.executor;
                leases.retain(|lease| lease.lease != assignment.lease);
                leases.push(assignment);
                ClientEvent::Dispatched { executor }
            }
            Progress::NoShow { executor, detail } => {
                leases.retain(|lease| lease.executor != executor);
                ClientEvent::NoShow { executor, detail }
            }
            Progress::Vote { vote } => ClientEvent::Vote { vote },
        };
        self.add(&event);
    }

    fn add(&mut self, event: &ClientEvent) {
        self.frames.extend(encoded(event));
        self.since.get_or_insert_with(Instant::now);
    }

    /// When the first of them has waited long enough; never if there is none.
    async fn due(&self) {
        match self.since {
            Some(since) => sleep_until(since + TOGETHER).await,
            None => pending().await,
        }
    }

    fn take(&mut self) -> Vec<u8> {
        self.since = None;
        std::mem::take(&mut self.frames)
    }
}

fn encoded(event: &ClientEvent) -> Vec<u8> {
    // All that an event holds is bounded, far below the longest frame.
    frame(event).unwrap_or_default()
}
