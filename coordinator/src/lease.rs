//! The conversation with one node about one lease.

use crate::Shared;
use crate::job::Progress;
use crate::nodes::Picked;
use bytes::Bytes;
use depx_protocol::wire::{LeaseMessage, LeaseReply, Offer, RefuseReason, Reveal};
use depx_protocol::{
    Address, Assignment, BundleError, Hash, JobOutput, LeaseId, OutputError, ReceiptBundle, SignedAssignment,
    SignedJobSpec, VERSION,
};
use depx_transport::{FrameError, bounded, random, read_bytes, read_frame, unix_ms, write_frame};
use quinn::{ConnectionError, RecvStream, SendStream, VarInt};
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
    #[error("the node revealed something else than it committed to")]
    Commitment,
    #[error("the node's receipt is not valid")]
    Receipt(#[from] BundleError),
    #[error("the node's output does not belong to its result")]
    Output(#[from] OutputError),
}

/// Signs an assignment of `job` to the picked node.
pub(crate) fn offer(
    shared: &Shared,
    job: Hash,
    signed: &SignedJobSpec,
    picked: &Picked,
    profile: Hash,
    attempt: u32,
) -> Offer {
    let issued_ms = unix_ms();
    let assignment = Assignment {
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
    };
    Offer { job: signed.clone(), assignment: SignedAssignment::sign(assignment, &shared.key) }
}

/// A node that has executed and committed.
pub(crate) struct Committed {
    conversation: Conversation,
    offer: Offer,
    commit: Hash,
}

/// Offers a lease and waits for the commitment. Dropping the future cancels the lease.
pub(crate) async fn execute(
    picked: Picked,
    offer: Offer,
    progress: mpsc::Sender<Progress>,
) -> (Address, Result<Committed, LeaseError>) {
    let executor = picked.node.address;
    (executor, until_commit(picked, offer, progress).await)
}

async fn until_commit(picked: Picked, offer: Offer, progress: mpsc::Sender<Progress>) -> Result<Committed, LeaseError> {
    let executor = picked.node.address;
    let mut conversation = Conversation::open(picked).await?;
    write_frame(&mut conversation.send, &offer).await?;
    match conversation.hear(ACCEPT, "answer").await? {
        LeaseMessage::Accept => {}
        LeaseMessage::Refuse { reason, detail } => {
            return Err(LeaseError::Refused { reason, detail: bounded(&detail) });
        }
        _ => return Err(LeaseError::Unexpected),
    }
    // A client that has gone is noticed elsewhere.
    let _ = progress.send(Progress::Dispatched { executor }).await;
    let patience = Duration::from_millis(offer.job.spec.limits.wall_ms).saturating_add(SLACK);
    match conversation.hear(patience, "commit").await? {
        LeaseMessage::Commit { commit } => Ok(Committed { conversation, offer, commit }),
        LeaseMessage::Failed { detail } => Err(LeaseError::Failed(bounded(&detail))),
        _ => Err(LeaseError::Unexpected),
    }
}

impl Committed {
    /// Asks for the result and its output, and checks both.
    pub(crate) async fn reveal(self) -> (Address, Result<(Box<ReceiptBundle>, Bytes), LeaseError>) {
        let executor = self.offer.assignment.assignment.executor;
        let revealed = timeout(REVEAL, self.until_done()).await;
        (executor, revealed.unwrap_or(Err(LeaseError::Late("reveal"))))
    }

    async fn until_done(mut self) -> Result<(Box<ReceiptBundle>, Bytes), LeaseError> {
        let conversation = &mut self.conversation;
        write_frame(&mut conversation.send, &LeaseReply::Open).await?;
        let LeaseMessage::Reveal(reveal) = read_frame(&mut conversation.receive).await? else {
            return Err(LeaseError::Unexpected);
        };
        let Reveal { result, salt, receipt, output_len } = *reveal;
        if receipt.body.commit != self.commit {
            return Err(LeaseError::Commitment);
        }
        let spec = &self.offer.job.spec;
        let per_item = spec.limits.output_bytes.saturating_add(OUTPUT_OVERHEAD);
        let limit = spec.input.items().saturating_mul(per_item).saturating_add(OUTPUT_OVERHEAD);
        let output = read_bytes(&mut conversation.receive, output_len, limit).await?;
        let bundle = ReceiptBundle { job: self.offer.job, assignment: self.offer.assignment, result, salt, receipt };
        bundle.verify_execution(bundle.assignment.assignment.job)?;
        JobOutput::verified(&output, &bundle.result)?;
        write_frame(&mut self.conversation.send, &LeaseReply::Done).await?;
        self.conversation.over = true;
        Ok((Box::new(bundle), output))
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

impl Drop for Conversation {
    fn drop(&mut self) {
        if !self.over {
            // Both fail only if the stream is over already.
            let _ = self.send.reset(CANCELLED);
            let _ = self.receive.stop(CANCELLED);
        }
    }
}
