//! One lease, from the offer to the receipt. A lease whose connection is lost goes on, and the coordinator offers it again over the next
//! one: it then hears how far it is.

use crate::journal::{ACKNOWLEDGED, Known, Output, Proof};
use crate::leases::{Attached, End, Lease, Role, Signed};
use crate::metrics::Phase;
use crate::session::Session;
use crate::{NodeEvent, Shared};
use bytes::Bytes;
use depx_protocol::wire::{LeaseMessage, LeaseReply, Offer, RefuseReason};
use depx_protocol::{Assignment, Blob, Canonical, Hash, Limits};
use depx_runtime::{Cancel, HostFault, Job, JobResult};
use depx_transport::{FrameError, bounded, chain, read_frame, unix_ms, write_bytes, write_frame};
use quinn::{ReadError, RecvStream, SendStream, WriteError};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;

/// A coordinator does not hear of a lease before its end if that comes so soon: one message does for two, and one entry in the journal.
const AT_ONCE: Duration = Duration::from_millis(2);
/// Longer outputs are kept in the blob store until the coordinator has them.
const INLINE: usize = 64 << 10;

/// A lease that ended without a receipt.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Abandoned {
    #[error("the lease was refused: {0}")]
    Refused(String),
    #[error("the coordinator cancelled the lease")]
    Cancelled,
    #[error("the job could not be executed here: {0}")]
    Failed(String),
    #[error("the conversation broke off")]
    Frame(#[from] FrameError),
    #[error("the connection was lost; the coordinator can offer the lease again")]
    Lost,
}

/// Why an offer is not taken.
struct Refusal(RefuseReason, String);

/// How far the node is with a lease that it takes.
enum Admitted {
    /// It is to be executed.
    Execute(Owner, OwnedSemaphorePermit),
    /// It is being executed.
    Follow(Arc<Lease>),
    /// It was executed.
    Tell(Owner, Arc<Signed>),
}

/// Has the task of executing a lease, for as long as it lives.
struct Owner {
    lease: Arc<Lease>,
    shared: Arc<Shared>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Nobody wants an execution any more whose lease has ended, for whatever reason.
        self.lease.cancel.cancel();
        // Others may still tell the coordinator what came of it.
        if self.lease.is_detached() {
            self.shared.leases.forget(&self.lease);
        }
    }
}

/// Handles the stream of one lease.
pub(crate) async fn handle(session: Arc<Session>, mut send: SendStream, mut receive: RecvStream) {
    let event = match converse(&session, &mut send, &mut receive).await {
        Ok((job, result)) => {
            session.shared.metrics.completed();
            NodeEvent::Completed { job, result }
        }
        Err(abandoned) => {
            session.shared.metrics.abandoned(&abandoned);
            NodeEvent::Abandoned { reason: chain(&abandoned) }
        }
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
    let (mut checked, mut accepted) = (check(session, &offer), false);
    let (lease, end, _owner, attached) = loop {
        let admitted = match std::mem::replace(&mut checked, Ok(())) {
            Ok(()) => admit(session, &offer.assignment.assignment).await,
            Err(refusal) => Err(refusal),
        };
        let (lease, end, owner, mut attached) = match admitted {
            Ok(Admitted::Execute(owner, permit)) => {
                let lease = owner.lease.clone();
                let mut attached = Some(Attached::to(&lease));
                let executing = settle(session, &lease, &offer);
                let end = attend(session, send, receive, &lease, &mut attached, &mut accepted, executing).await?;
                (lease, end, Some((owner, Some(permit))), attached)
            }
            Ok(Admitted::Tell(owner, signed)) => {
                let lease = owner.lease.clone();
                let attached = Some(Attached::to(&lease));
                (lease, End::Signed(signed), Some((owner, None)), attached)
            }
            Ok(Admitted::Follow(lease)) => {
                let mut attached = Some(Attached::to(&lease));
                let end = attend(session, send, receive, &lease, &mut attached, &mut accepted, lease.ended()).await?;
                (lease.clone(), end, None, attached)
            }
            Err(Refusal(reason, detail)) => {
                session.shared.metrics.refused(reason);
                write_frame(send, &LeaseMessage::Refuse { reason, detail: bounded(&detail) }).await?;
                return Err(Abandoned::Refused(detail));
            }
        };
        if owner.is_some() {
            if matches!(end, End::Lost) {
                session.shared.leases.forget(&lease);
            }
            lease.end(end.clone());
        } else if matches!(end, End::Lost) {
            // Whoever executed it could not; now it is this one's turn.
            attached.take();
            continue;
        }
        break (lease, end, owner, attached);
    };
    let signed = match end {
        End::Signed(signed) => signed,
        End::Lost => return Err(Abandoned::Lost),
        End::Failed(detail) => {
            write_frame(send, &LeaseMessage::Failed { detail: bounded(&detail) }).await?;
            return Err(Abandoned::Failed(detail));
        }
    };
    // Without a connection it is in the journal, and told when it is offered again.
    let Some(_attached) = attached else { return Err(Abandoned::Lost) };
    let began = Instant::now();
    let told = tell(send, receive, &signed, offer.job.spec.consistency.commits()).await;
    let outcome = match &told {
        Ok(()) => ACKNOWLEDGED.to_owned(),
        Err(Abandoned::Lost) => return Err(Abandoned::Lost),
        Err(abandoned) => chain(abandoned),
    };
    session.shared.metrics.took(Phase::Acknowledgement, began);
    session.shared.journal.ended(lease.assignment(), outcome);
    told.map(|()| (lease.job(), signed.reveal.receipt.body.result))
}

/// Waits for what comes of a lease, for as long as the coordinator wants it. The coordinator hears that it is accepted, unless it hears
/// the end as soon. The connection may be lost meanwhile; the lease is then no longer attached.
async fn attend(
    session: &Session,
    send: &mut SendStream,
    receive: &mut RecvStream,
    lease: &Arc<Lease>,
    attached: &mut Option<Attached>,
    accepted: &mut bool,
    ending: impl Future<Output = End>,
) -> Result<End, Abandoned> {
    let (mut ending, mut patience) = (pin!(ending), pin!(sleep(AT_ONCE)));
    loop {
        tokio::select! {
            biased;
            end = &mut ending => return Ok(end),
            () = &mut patience, if !*accepted => {
                *accepted = true;
                if let Err(error) = session.shared.journal.accepted(lease.assignment()).await {
                    return Ok(End::Failed(error.to_string()));
                }
                // If it is lost, so is the connection, which is noticed below.
                let _ = write_frame(send, &LeaseMessage::Accept).await;
            }
            reset = receive.received_reset(), if attached.is_some() => match reset {
                Err(_) => drop(attached.take()),
                Ok(_) => {
                    lease.cancel.cancel();
                    session.shared.journal.ended(lease.assignment(), chain(&Abandoned::Cancelled));
                    return Err(Abandoned::Cancelled);
                }
            },
        }
    }
}

/// Commits, reveals, and waits until the coordinator has everything.
async fn tell(
    send: &mut SendStream,
    receive: &mut RecvStream,
    signed: &Signed,
    commits: bool,
) -> Result<(), Abandoned> {
    let telling = async {
        if commits {
            write_frame(send, &LeaseMessage::Commit { commit: signed.reveal.receipt.body.commit }).await?;
            let LeaseReply::Open = read_frame(receive).await? else { return Ok(false) };
        }
        write_frame(send, &LeaseMessage::Reveal(Box::new(signed.reveal.clone()))).await?;
        write_bytes(send, signed.output.clone()).await?;
        Ok(matches!(read_frame(receive).await?, LeaseReply::Done))
    };
    match telling.await {
        Ok(true) => Ok(()),
        Ok(false) | Err(FrameError::Read(ReadError::Reset(_)) | FrameError::Write(WriteError::Stopped(_))) => {
            Err(Abandoned::Cancelled)
        }
        Err(error) if error.is_loss() => Err(Abandoned::Lost),
        Err(error) => Err(error.into()),
    }
}

/// Is an offer genuine, for this node, and within the operator's limits?
fn check(session: &Session, offer: &Offer) -> Result<(), Refusal> {
    let shared = &session.shared;
    let job = offer.job.verify().map_err(|error| Refusal(RefuseReason::Invalid, chain(&error)))?;
    let assignment = offer
        .assignment
        .verify_for(session.coordinator.address, shared.key.address(), job, unix_ms())
        .map_err(|error| Refusal(RefuseReason::Invalid, chain(&error)))?;
    if !shared.profiles.contains(&(offer.job.spec.class, assignment.profile)) {
        let detail =
            format!("this node does not offer profile {} of class {}", assignment.profile, offer.job.spec.class.name());
        return Err(Refusal(RefuseReason::Unsupported, detail));
    }
    match over_limit(&offer.job.spec.limits, &shared.config.limits) {
        Some(detail) => Err(Refusal(RefuseReason::OverLimit, detail)),
        None => Ok(()),
    }
}

/// Decides whether to take a lease: how far is it, and is there room?
async fn admit(session: &Session, assignment: &Assignment) -> Result<Admitted, Refusal> {
    let shared = &session.shared;
    let replayed = || Refusal(RefuseReason::Replayed, format!("lease {} is over, or another's", assignment.lease));
    let owner = match shared.leases.take(assignment).ok_or_else(replayed)? {
        Role::Follow(lease) => return Ok(Admitted::Follow(lease)),
        Role::Execute(lease) => Owner { lease, shared: shared.clone() },
    };
    match recall(shared, &owner).await? {
        Recalled::Unfinished => {}
        Recalled::Signed(signed) => return Ok(Admitted::Tell(owner, signed)),
        Recalled::Ended => return Err(replayed()),
    }
    if shared.is_draining() {
        return Err(Refusal(RefuseReason::Draining, "the node is about to stop; try another".into()));
    }
    let busy = || Refusal(RefuseReason::Busy, "all slots and the queue are full; try another node".into());
    let permit = session.coordinator.admitted.clone().try_acquire_owned().map_err(|_| busy())?;
    Ok(Admitted::Execute(owner, permit))
}

/// What the journal says of a lease that was offered before.
enum Recalled {
    Unfinished,
    Signed(Arc<Signed>),
    Ended,
}

async fn recall(shared: &Arc<Shared>, owner: &Owner) -> Result<Recalled, Refusal> {
    let unreadable = |error: String| Refusal(RefuseReason::Busy, format!("the node's records cannot be read: {error}"));
    match shared.journal.known(owner.lease.assignment()).map_err(|error| unreadable(chain(&error)))? {
        Known::New | Known::Taken => Ok(Recalled::Unfinished),
        Known::Ended => Ok(Recalled::Ended),
        Known::Signed(reveal, Output::Inline(output)) => {
            Ok(Recalled::Signed(Arc::new(Signed { reveal: *reveal, output, _pin: None })))
        }
        Known::Signed(reveal, Output::Blob(blob)) => {
            let pin = shared.blobs.store().pin(&blob);
            match shared.blobs.stored(&blob).await.map_err(|error| unreadable(chain(&error)))? {
                Some(output) => Ok(Recalled::Signed(Arc::new(Signed { reveal: *reveal, output, _pin: Some(pin) }))),
                None => Err(unreadable("an output is missing".into())),
            }
        }
    }
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

/// A job that has no result here.
enum Unexecuted {
    /// What it needs could not be fetched over a connection that is gone.
    Lost,
    /// This machine failed.
    Failed(String),
}

/// Executes a lease and signs the receipt for it, or records that this came to nothing.
async fn settle(session: &Session, lease: &Lease, offer: &Offer) -> End {
    let started_ms = unix_ms();
    let settled = async {
        let honest = execute(session, lease, offer).await?;
        let result = match session.shared.config.fault {
            None => honest,
            Some(fault) => fault.apply(honest),
        };
        prove(session, lease, result, started_ms).await.map_err(Unexecuted::Failed)
    };
    match settled.await {
        Ok(signed) => End::Signed(Arc::new(signed)),
        Err(Unexecuted::Lost) => End::Lost,
        Err(Unexecuted::Failed(detail)) => {
            session.shared.journal.ended(lease.assignment(), format!("failed: {detail}"));
            End::Failed(detail)
        }
    }
}

/// Pulls what the job needs and executes it when a slot is free.
async fn execute(session: &Session, lease: &Lease, offer: &Offer) -> Result<JobResult, Unexecuted> {
    let shared = session.shared.clone();
    let spec = offer.job.spec.clone();
    let (mut blobs, began) = (depx_runtime::Blobs::new(), Instant::now());
    for blob in spec.blobs() {
        let content = shared.blobs.get(blob, &session.connection).await.map_err(|error| {
            if session.connection.close_reason().is_some() {
                Unexecuted::Lost
            } else {
                Unexecuted::Failed(chain(&error))
            }
        })?;
        blobs.insert(blob.hash, content);
    }
    let job = Job { id: lease.job(), spec, profile: lease.assignment().profile, blobs };
    let cancel = lease.cancel.clone();
    session.shared.metrics.took(Phase::Blobs, began);
    let queued = Instant::now();
    // Also a cancelled job has its slot until it really ends.
    let execution = move || run(&shared, &job, &cancel, queued);
    match session.shared.executing.run(session.coordinator.index, execution).await {
        Some(executed) => executed.map_err(|fault| Unexecuted::Failed(chain(&fault))),
        None => Err(Unexecuted::Failed("the worker panicked".to_owned())),
    }
}

/// A worker that has failed is not used again.
fn run(shared: &Shared, job: &Job, cancel: &Cancel, queued: Instant) -> Result<JobResult, HostFault> {
    shared.metrics.took(Phase::Queue, queued);
    let began = Instant::now();
    let mut worker = shared.take_worker()?;
    let result = worker.run(job, cancel)?;
    shared.give_back(worker);
    shared.metrics.took(Phase::Execution, began);
    shared.metrics.fuel.inc_by(result.core.fuel_used);
    Ok(result)
}

/// Signs the receipt for a result, and puts both where they outlive this program.
async fn prove(session: &Session, lease: &Lease, result: JobResult, started_ms: u64) -> Result<Signed, String> {
    let (shared, began) = (&session.shared, Instant::now());
    let output = Bytes::from(result.output.to_bytes());
    let (kept, pin) = if output.len() <= INLINE {
        (Output::Inline(output.clone()), None)
    } else {
        let blob = Blob::of(&output);
        let pin = shared.blobs.store().pin(&blob);
        shared.blobs.put(blob, output.clone()).await.map_err(|error| chain(&error))?;
        (Output::Blob(blob), Some(pin))
    };
    let proof = Proof {
        assignment: lease.assignment().clone(),
        session_key: session.certificate,
        result: result.core,
        output_len: output.len() as u64,
        output: kept,
        started_ms,
        finished_ms: unix_ms().max(started_ms),
    };
    let reveal = shared.journal.proven(proof).await.map_err(|error| error.to_string())?;
    shared.metrics.took(Phase::Proof, began);
    shared.metrics.receipts.inc();
    Ok(Signed { reveal, output, _pin: pin })
}
