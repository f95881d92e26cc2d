//! One lease, from the offer to the receipt.

use crate::session::Session;
use crate::{NodeEvent, Shared};
use depx_protocol::receipt::commitment;
use depx_protocol::wire::{LeaseMessage, LeaseReply, Offer, RefuseReason, Reveal};
use depx_protocol::{Assignment, Canonical, Hash, Limits, ReceiptBody, VERSION};
use depx_runtime::{Cancel, HostFault, Job, JobResult};
use depx_transport::{FrameError, bounded, chain, random, read_frame, unix_ms, write_bytes, write_frame};
use quinn::{RecvStream, SendStream};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

/// A coordinator does not hear of a lease before its end if that comes so soon: one message does for two.
const AT_ONCE: Duration = Duration::from_millis(2);

/// A lease that ended without a receipt.
#[derive(Debug, thiserror::Error)]
enum Abandoned {
    #[error("the lease was refused: {0}")]
    Refused(String),
    #[error("the coordinator cancelled the lease")]
    Cancelled,
    #[error("the job could not be executed here: {0}")]
    Failed(String),
    #[error("the conversation broke off")]
    Frame(#[from] FrameError),
}

/// Why an offer is not taken.
struct Refusal(RefuseReason, String);

/// Handles the stream of one lease.
pub(crate) async fn handle(session: Arc<Session>, mut send: SendStream, mut receive: RecvStream) {
    let event = match converse(&session, &mut send, &mut receive).await {
        Ok((job, result)) => NodeEvent::Completed { job, result },
        Err(abandoned) => NodeEvent::Abandoned { reason: chain(&abandoned) },
    };
    // After a refusal or failure the last message should still arrive; the stream is finished when dropped.
    (session.shared.events)(event);
}

async fn converse(
    session: &Session,
    send: &mut SendStream,
    receive: &mut RecvStream,
) -> Result<(Hash, Hash), Abandoned> {
    let offer: Offer = read_frame(receive).await?;
    let (job, _admitted) = match admit(session, &offer) {
        Ok(admitted) => admitted,
        Err(Refusal(reason, detail)) => {
            write_frame(send, &LeaseMessage::Refuse { reason, detail: bounded(&detail) }).await?;
            return Err(Abandoned::Refused(detail));
        }
    };

    let started_ms = unix_ms();
    let cancelled = CancelledWhenDropped(Cancel::default());
    let executed = tokio::select! {
        executed = accepted(send, execute(session, job, &offer, cancelled.0.clone())) => executed?,
        _ = receive.received_reset() => return Err(Abandoned::Cancelled),
    };
    let result = match executed {
        Ok(honest) => match session.shared.config.fault {
            None => honest,
            Some(fault) => fault.apply(honest),
        },
        Err(detail) => {
            write_frame(send, &LeaseMessage::Failed { detail: bounded(&detail) }).await?;
            return Err(Abandoned::Failed(detail));
        }
    };

    let assignment = &offer.assignment.assignment;
    let (reveal, output) = prove(session, assignment, result, started_ms).await?;
    if offer.job.spec.consistency.commits() {
        write_frame(send, &LeaseMessage::Commit { commit: reveal.receipt.body.commit }).await?;
        let LeaseReply::Open = read_frame(receive).await? else { return Err(Abandoned::Cancelled) };
    }
    let result = reveal.receipt.body.result;
    write_frame(send, &LeaseMessage::Reveal(Box::new(reveal))).await?;
    write_bytes(send, output.into()).await?;
    let LeaseReply::Done = read_frame(receive).await? else { return Err(Abandoned::Cancelled) };
    Ok((job, result))
}

/// Nobody wants an execution any more whose lease has ended, for whatever reason.
struct CancelledWhenDropped(Cancel);

impl Drop for CancelledWhenDropped {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Waits for what an accepted lease comes to. The coordinator hears that it is accepted, unless it hears the result as soon.
async fn accepted<T>(send: &mut SendStream, executing: impl Future<Output = T>) -> Result<T, FrameError> {
    let mut executing = pin!(executing);
    if let Ok(executed) = timeout(AT_ONCE, executing.as_mut()).await {
        return Ok(executed);
    }
    write_frame(send, &LeaseMessage::Accept).await?;
    Ok(executing.await)
}

/// Decides whether to take an offer: is it genuine, for this node, new, within the operator's limits, and is there room?
fn admit(session: &Session, offer: &Offer) -> Result<(Hash, OwnedSemaphorePermit), Refusal> {
    let shared = &session.shared;
    let now_ms = unix_ms();
    let job = offer.job.verify().map_err(|error| Refusal(RefuseReason::Invalid, chain(&error)))?;
    let assignment = offer
        .assignment
        .verify_for(shared.config.coordinator_address, shared.key.address(), job, now_ms)
        .map_err(|error| Refusal(RefuseReason::Invalid, chain(&error)))?;
    if !shared.profiles.contains(&(offer.job.spec.class, assignment.profile)) {
        let detail =
            format!("this node does not offer profile {} of class {}", assignment.profile, offer.job.spec.class.name());
        return Err(Refusal(RefuseReason::Unsupported, detail));
    }
    if let Some(detail) = over_limit(&offer.job.spec.limits, &shared.config.limits) {
        return Err(Refusal(RefuseReason::OverLimit, detail));
    }
    let busy = || Refusal(RefuseReason::Busy, "all slots and the queue are full; try another node".into());
    let permit = shared.admitted.clone().try_acquire_owned().map_err(|_| busy())?;
    // Last, so that a lease refused for want of room may be offered again.
    if !shared.seen.note(assignment.lease, assignment.expires_ms, now_ms) {
        return Err(Refusal(RefuseReason::Replayed, format!("lease {} was offered before", assignment.lease)));
    }
    Ok((job, permit))
}

/// The first limit of a job that is over this node's, in words.
fn over_limit(job: &Limits, node: &Limits) -> Option<String> {
    let pairs = [
        ("fuel", job.fuel, node.fuel),
        ("memory pages", job.memory_pages.into(), node.memory_pages.into()),
        ("table elements", job.table_elements.into(), node.table_elements.into()),
        ("output bytes", job.output_bytes, node.output_bytes),
        ("log bytes", job.log_bytes, node.log_bytes),
        ("files", job.files.into(), node.files.into()),
        ("file bytes", job.file_bytes, node.file_bytes),
        ("milliseconds of wall-clock time", job.wall_ms, node.wall_ms),
    ];
    let (name, asked, allowed) = pairs.into_iter().find(|(_, asked, allowed)| asked > allowed)?;
    Some(format!("the job asks for {asked} {name}, this node allows {allowed}"))
}

/// Pulls what the job needs and executes it when a slot is free.
async fn execute(session: &Session, id: Hash, offer: &Offer, cancel: Cancel) -> Result<JobResult, String> {
    let shared = session.shared.clone();
    let spec = offer.job.spec.clone();
    let mut blobs = depx_runtime::Blobs::new();
    for blob in spec.blobs() {
        let content = shared.blobs.get(blob, &session.connection).await.map_err(|error| chain(&error))?;
        blobs.insert(blob.hash, content);
    }
    let job = Job { id, spec, profile: offer.assignment.assignment.profile, blobs };
    // Also a cancelled job has its slot until it really ends.
    let execution = move || run(&shared, &job, &cancel);
    match session.shared.executing.run(execution).await {
        Some(executed) => executed.map_err(|fault| chain(&fault)),
        None => Err("the worker panicked".to_owned()),
    }
}

/// A worker that has failed is not used again.
fn run(shared: &Shared, job: &Job, cancel: &Cancel) -> Result<JobResult, HostFault> {
    let mut worker = shared.take_worker()?;
    let result = worker.run(job, cancel)?;
    shared.give_back(worker);
    Ok(result)
}

/// Commits to a result and signs the receipt for it.
async fn prove(
    session: &Session,
    assignment: &Assignment,
    result: JobResult,
    started_ms: u64,
) -> Result<(Reveal, Vec<u8>), Abandoned> {
    let executor = session.shared.key.address();
    let (salt, hash) = (random(), result.core.hash());
    let body = ReceiptBody {
        version: VERSION,
        result: hash,
        job: assignment.job,
        lease: assignment.lease,
        attempt: assignment.attempt,
        executor,
        session_key: session.certificate,
        commit: commitment(&assignment.job, &assignment.lease, &executor, &hash, &salt),
        sequence: 0,
        previous: Hash::ZERO,
        started_ms,
        finished_ms: unix_ms().max(started_ms),
        evidence: Vec::new(),
    };
    let signed = session.shared.receipts.sign(body, assignment.settlement).await;
    let receipt = signed.map_err(|error| Abandoned::Failed(chain(&error)))?;
    let output = result.output.to_bytes();
    Ok((Reveal { result: result.core, salt, receipt, output_len: output.len() as u64 }, output))
}
