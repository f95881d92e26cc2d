//! The conversation with one node about one lease. If the connection is lost, the node may come back, and the lease is offered to it again:
//! it goes on from where it was.

use crate::Shared;
use crate::job::Progress;
use crate::nodes::{Nodes, Picked};
use bytes::Bytes;
use depx_protocol::wire::{LeaseMessage, LeaseReply, Offer, RefuseReason, Reveal, Vote};
use depx_protocol::{
    Address, Assignment, BundleError, Hash, JobOutput, LeaseId, OutputError, SignedAssignment, SignedJobSpec, VERSION,
};
use depx_transport::{FrameError, bounded, random, read_bytes, read_frame, unix_ms, write_frame};
use quinn::{ConnectionError, RecvStream, SendStream, VarInt};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

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
    #[error("the connection was lost, and the node did not come back within {} s", .0.as_secs_f64())]
    Gone(Duration),
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

impl LeaseError {
    /// Whether the lease can go on over another connection.
    fn is_loss(&self) -> bool {
        match self {
            Self::Connection(_) => true,
            Self::Frame(error) => error.is_loss(),
            _ => false,
        }
    }
}

/// A job that one node is to execute.
pub(crate) struct Lease {
    pub(crate) shared: Arc<Shared>,
    pub(crate) job: SignedJobSpec,
    /// Its times are those of the last offer.
    pub(crate) assignment: Assignment,
    pub(crate) progress: mpsc::Sender<Progress>,
}

/// An assignment of `job` to a node.
pub(crate) fn assignment(shared: &Shared, job: Hash, executor: Address, profile: Hash, attempt: u32) -> Assignment {
    Assignment {
        version: VERSION,
        job,
        lease: LeaseId(random()),
        attempt,
        coordinator: shared.key.address(),
        executor,
        profile,
        issued_ms: 0,
        expires_ms: 0,
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
    lease: Lease,
    conversation: Conversation,
    assignment: Box<SignedAssignment>,
    commit: Hash,
}

/// A node's checked result and its output. The node keeps both until it is told that it need not.
pub(crate) struct Revealed {
    pub(crate) vote: Box<Vote>,
    pub(crate) output: Bytes,
    pub(crate) open: Open,
}

/// How far one conversation came.
enum Step {
    Committed(Conversation, Box<SignedAssignment>, Hash),
    Revealed(Revealed),
}

/// Leases a job and waits for the commitment, or for the result where nobody needs to commit. Without a place, the lease is one that the node
/// has accepted before. Dropping the future cancels the lease.
pub(crate) async fn execute(mut lease: Lease, place: Option<Picked>) -> (Address, Result<Executed, LeaseError>) {
    let executor = lease.assignment.executor;
    let executed = match lease.until_executed(place).await {
        Ok(Step::Committed(conversation, assignment, commit)) => {
            Ok(Executed::Committed(Box::new(Committed { lease, conversation, assignment, commit })))
        }
        Ok(Step::Revealed(revealed)) => Ok(Executed::Revealed(revealed)),
        Err(error) => Err(error),
    };
    (executor, executed)
}

impl Lease {
    async fn until_executed(&mut self, mut place: Option<Picked>) -> Result<Step, LeaseError> {
        loop {
            let place = match place.take() {
                Some(place) => place,
                None => self.returned().await?,
            };
            match self.converse(place).await {
                Err(error) if error.is_loss() => {}
                done => return done,
            }
        }
    }

    /// Waits until the node is connected.
    async fn returned(&self) -> Result<Picked, LeaseError> {
        let patience = self.shared.config.resume;
        let deadline = Instant::now() + patience;
        loop {
            let changed = self.shared.nodes.changed();
            if let Some(place) = Nodes::again(&self.shared, self.assignment.executor) {
                return Ok(place);
            }
            timeout_at(deadline, changed).await.map_err(|_| LeaseError::Gone(patience))?;
        }
    }

    async fn converse(&mut self, place: Picked) -> Result<Step, LeaseError> {
        let issued_ms = unix_ms();
        self.assignment.issued_ms = issued_ms;
        self.assignment.expires_ms = issued_ms + u64::try_from(ACCEPT.as_millis()).unwrap_or(u64::MAX);
        let assignment = self.shared.assignments.ask(self.assignment.clone()).await.ok_or(LeaseError::Unsigned)?;
        let mut conversation = Conversation::open(place).await?;
        let offer = Offer { job: self.job.clone(), assignment };
        write_frame(&mut conversation.send, &offer).await?;
        let mut heard = conversation.hear(ACCEPT, "answer").await?;
        if let LeaseMessage::Refuse { reason, detail } = heard {
            return Err(LeaseError::Refused { reason, detail: bounded(&detail) });
        }
        // A client that has gone is noticed elsewhere.
        let _ = self.progress.send(Progress::Dispatched { assignment: self.assignment.clone() }).await;
        let spec = &self.job.spec;
        if let LeaseMessage::Accept = heard {
            let patience = Duration::from_millis(spec.limits.wall_ms).saturating_add(SLACK);
            heard = conversation.hear(patience, "finish").await?;
        }
        match heard {
            LeaseMessage::Commit { commit } if spec.consistency.commits() => {
                Ok(Step::Committed(conversation, Box::new(offer.assignment), commit))
            }
            LeaseMessage::Reveal(reveal) if !spec.consistency.commits() => {
                let revealed = timeout(REVEAL, conversation.revealed(&self.job, offer.assignment, *reveal)).await;
                revealed.unwrap_or(Err(LeaseError::Late("reveal"))).map(Step::Revealed)
            }
            LeaseMessage::Failed { detail } => Err(LeaseError::Failed(bounded(&detail))),
            _ => Err(LeaseError::Unexpected),
        }
    }
}

impl Committed {
    /// Asks for the result and its output, and checks both.
    pub(crate) async fn reveal(self) -> (Address, Result<Revealed, LeaseError>) {
        (self.lease.assignment.executor, self.until_revealed().await)
    }

    async fn until_revealed(self) -> Result<Revealed, LeaseError> {
        let Self { mut lease, mut conversation, mut assignment, commit } = self;
        loop {
            let revealed = timeout(REVEAL, conversation.opened(&lease.job, *assignment, commit)).await;
            match revealed.unwrap_or(Err(LeaseError::Late("reveal"))) {
                Err(error) if error.is_loss() => {}
                done => return done,
            }
            match lease.until_executed(None).await? {
                Step::Committed(again, renewed, same) if same == commit => {
                    (conversation, assignment) = (again, renewed)
                }
                Step::Committed(..) | Step::Revealed(_) => return Err(LeaseError::Commitment),
            }
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
    async fn open(place: Picked) -> Result<Self, LeaseError> {
        let (send, receive) = place.node.connection.open_bi().await?;
        Ok(Self { send, receive, over: false, _place: place })
    }

    async fn hear(&mut self, patience: Duration, what: &'static str) -> Result<LeaseMessage, LeaseError> {
        let heard = timeout(patience, read_frame(&mut self.receive)).await;
        Ok(heard.map_err(|_| LeaseError::Late(what))??)
    }

    async fn opened(
        mut self,
        job: &SignedJobSpec,
        assignment: SignedAssignment,
        commit: Hash,
    ) -> Result<Revealed, LeaseError> {
        write_frame(&mut self.send, &LeaseReply::Open).await?;
        match read_frame(&mut self.receive).await? {
            LeaseMessage::Reveal(reveal) if reveal.receipt.body.commit == commit => {
                self.revealed(job, assignment, *reveal).await
            }
            LeaseMessage::Reveal(_) => Err(LeaseError::Commitment),
            _ => Err(LeaseError::Unexpected),
        }
    }

    /// Reads the output of a result that was revealed, and checks both.
    async fn revealed(
        mut self,
        job: &SignedJobSpec,
        assignment: SignedAssignment,
        reveal: Reveal,
    ) -> Result<Revealed, LeaseError> {
        let Reveal { result, salt, receipt, output_len } = reveal;
        let per_item = job.spec.limits.output_bytes.saturating_add(OUTPUT_OVERHEAD);
        let limit = job.spec.input.items().saturating_mul(per_item).saturating_add(OUTPUT_OVERHEAD);
        let output = read_bytes(&mut self.receive, output_len, limit).await?;
        let id = assignment.assignment.job;
        let vote = Box::new(Vote { assignment, result, salt, receipt });
        vote.verify_execution(id, &job.spec)?;
        JobOutput::verified(&output, &vote.result)?;
        Ok(Revealed { vote, output, open: Open(self) })
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

/// A lease whose node waits to hear that its receipt is stored.
pub(crate) struct Open(Conversation);

impl Open {
    /// Tells it. Whoever does not hear it keeps the receipt for a while.
    pub(crate) async fn close(mut self) {
        self.0.over = true;
        let _ = write_frame(&mut self.0.send, &LeaseReply::Done).await;
    }
}
