//! The conversation with one node about one lease.

use crate::Shared;
use crate::job::Progress;
use crate::nodes::Picked;
use bytes::Bytes;
use depx_protocol::wire::{LeaseMessage, LeaseReply, Offer, RefuseReason, Reveal, Vote};
use depx_protocol::{Address, Assignment, BundleError, Hash, JobOutput, LeaseId, OutputError, SignedJobSpec, VERSION};
use depx_transport::{FrameError, bounded, random, read_bytes, read_frame, unix_ms, write_frame};
use quinn::{ConnectionError, RecvStream, SendStream, VarInt};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A node must accept within this time; then the assignment is worthless.
const ACCEPT: Duration = Duration::from_secs(10);
/// Beyond the job's own wall-clock limit: for pulling blobs and waiting in the node's queue.
const SLACK: Duration = Duration::from_secs(60);
/// A node must reveal within this time after all have committed.
const REVEAL: Duration = Duration::from_secs(30);
/// The code with which a cancelled lease's stream is reset.
const CANCELLED: VarInt = VarInt::from_u32(1);
/// Beyond the outputs themselves, the encoding may take so many bytes per item.
const OUTPUT_OVERHEAD: u64 = 4096;

/// Why a node gave no vote.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaseError {
    #[error("the connection was lost")]
    Connection(#[from] ConnectionError),
    #[error("the conversation broke off")]
    Frame(#[from] FrameError),
    #[error("the node did not {0} in time")]
    Late(&'static str),
    #[error("the node refused ({reason:?}): {detail}")]
    Refused { reason: RefuseReason, detail: String },
    #[error("the node failed: {0}")]
    Failed(String),
    #[error("the node did not say what was expected at this point")]
    Unexpected,
    #[error("the assignment could not be signed")]
    Unsigned,
    #[error("the node revealed something else than it committed to")]
    Commitment,
    #[error("the node's receipt is not valid")]
    Receipt(#[from] BundleError),
    #[error("the node's output does not belong to its result")]
    Output(#[from] OutputError),
}

/// An assignment of `job` to the picked node.
pub(crate) fn assignment(shared: &Shared, job: Hash, picked: &Picked, profile: Hash, attempt: u32) -> Assignment {
    let issued_ms = unix_ms();
    Assignment {
        version: VERSION,
        job,
        lease: LeaseId(random()),
        attempt,
        coordinator: shared.key.address(),
        executor: picked.node.address,
        profile,
        issued_ms,
        expires_ms: issued_ms + u64::try_from(ACCEPT.as_millis()).unwrap_or(u64::MAX),
        settlement: shared.config.settlement,
    }
}

/// What a node did with a lease.
pub(crate) enum Executed {
    /// It commits to a result.
    Committed(Box<Committed>),
    /// It revealed one at once.
    Revealed(Revealed),
}

/// A node that has executed and committed.
pub(crate) struct Committed {
    conversation: Conversation,
    offer: Offer,
    commit: Hash,
}

/// A node's checked result and its output.
pub(crate) struct Revealed {
    pub(crate) vote: Box<Vote>,
    pub(crate) output: Bytes,
}

/// Leases a job and waits for the commitment, or for the result where nobody needs to commit. Dropping the future cancels the lease.
pub(crate) async fn execute(
    shared: Arc<Shared>,
    job: SignedJobSpec,
    picked: Picked,
    assignment: Assignment,
    progress: mpsc::Sender<Progress>,
) -> (Address, Result<Executed, LeaseError>) {
    let executor = picked.node.address;
    let executed = async {
        let assignment = shared.assignments.ask(assignment).await.ok_or(LeaseError::Unsigned)?;
        let conversation = Conversation::open(picked).await?;
        until_executed(conversation, Offer { job, assignment }, progress).await
    };
    (executor, executed.await)
}

async fn until_executed(
    mut conversation: Conversation,
    offer: Offer,
    progress: mpsc::Sender<Progress>,
) -> Result<Executed, LeaseError> {
    let executor = offer.assignment.assignment.executor;
    write_frame(&mut conversation.send, &offer).await?;
    let mut heard = conversation.hear(ACCEPT, "answer").await?;
    if let LeaseMessage::Refuse { reason, detail } = heard {
        return Err(LeaseError::Refused { reason, detail: bounded(&detail) });
    }
    // A client that has gone is noticed elsewhere.
    let _ = progress.send(Progress::Dispatched { executor }).await;
    if let LeaseMessage::Accept = heard {
        let patience = Duration::from_millis(offer.job.spec.limits.wall_ms).saturating_add(SLACK);
        heard = conversation.hear(patience, "finish").await?;
    }
    match heard {
        LeaseMessage::Commit { commit } if offer.job.spec.consistency.commits() => {
            Ok(Executed::Committed(Box::new(Committed { conversation, offer, commit })))
        }
        LeaseMessage::Reveal(reveal) if !offer.job.spec.consistency.commits() => {
            let revealed = timeout(REVEAL, conversation.revealed(offer, *reveal)).await;
            revealed.unwrap_or(Err(LeaseError::Late("reveal"))).map(Executed::Revealed)
        }
        LeaseMessage::Failed { detail } => Err(LeaseError::Failed(bounded(&detail))),
        _ => Err(LeaseError::Unexpected),
    }
}

impl Committed {
    /// Asks for the result and its output, and checks both.
    pub(crate) async fn reveal(self) -> (Address, Result<Revealed, LeaseError>) {
        let executor = self.offer.assignment.assignment.executor;
        let revealed = timeout(REVEAL, self.until_done()).await;
        (executor, revealed.unwrap_or(Err(LeaseError::Late("reveal"))))
    }

    async fn until_done(self) -> Result<Revealed, LeaseError> {
        let Self { mut conversation, offer, commit } = self;
        write_frame(&mut conversation.send, &LeaseReply::Open).await?;
        match read_frame(&mut conversation.receive).await? {
            LeaseMessage::Reveal(reveal) if reveal.receipt.body.commit == commit => {
                conversation.revealed(offer, *reveal).await
            }
            LeaseMessage::Reveal(_) => Err(LeaseError::Commitment),
            _ => Err(LeaseError::Unexpected),
        }
    }
}

/// A lease's stream, reset when dropped before its end, which tells the node to stop.
struct Conversation {
    send: SendStream,
    receive: RecvStream,
    over: bool,
    _place: Picked,
}

impl Conversation {
    async fn open(picked: Picked) -> Result<Self, LeaseError> {
        let (send, receive) = picked.node.connection.open_bi().await?;
        Ok(Self { send, receive, over: false, _place: picked })
    }

    async fn hear(&mut self, patience: Duration, what: &'static str) -> Result<LeaseMessage, LeaseError> {
        let heard = timeout(patience, read_frame(&mut self.receive)).await;
        Ok(heard.map_err(|_| LeaseError::Late(what))??)
    }
}

impl Conversation {
    /// Reads the output of a result that was revealed, checks both, and ends the lease.
    async fn revealed(mut self, offer: Offer, reveal: Reveal) -> Result<Revealed, LeaseError> {
        let Offer { job, assignment } = offer;
        let Reveal { result, salt, receipt, output_len } = reveal;
        let per_item = job.spec.limits.output_bytes.saturating_add(OUTPUT_OVERHEAD);
        let limit = job.spec.input.items().saturating_mul(per_item).saturating_add(OUTPUT_OVERHEAD);
        let output = read_bytes(&mut self.receive, output_len, limit).await?;
        let id = assignment.assignment.job;
        let vote = Vote { assignment, result, salt, receipt };
        vote.verify_execution(id, &job.spec)?;
        JobOutput::verified(&output, &vote.result)?;
        write_frame(&mut self.send, &LeaseReply::Done).await?;
        self.over = true;
        Ok(Revealed { vote: Box::new(vote), output })
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        if !self.over {
            // Both fail only if the stream is over already.
            let _ = self.send.reset(CANCELLED);
            let _ = self.receive.stop(CANCELLED);
        }
    }
}
