//! The life of one job: lease it to as many nodes as needed, let all commit, then let all reveal, count, and ask further nodes if
//! they disagree.

use crate::Shared;
use crate::lease::{self, Committed, Executed, Lease, LeaseError, Open, Revealed};
use crate::nodes::{Nodes, Picked};
use bytes::Bytes;
use depx_protocol::wire::{RefuseReason, Vote};
use depx_protocol::{Address, Assignment, Decision, Hash, SignedJobSpec, Tally};
use depx_transport::{bounded, chain};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

/// A node that is busy is not asked again sooner.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// What happens to a job on the way.
pub(crate) enum Progress {
    Dispatched { assignment: Assignment },
    NoShow { executor: Address, detail: String },
    Vote { vote: Box<Vote> },
}

/// What the nodes agreed on.
pub(crate) struct Agreed {
    pub(crate) result: Hash,
    pub(crate) dissenters: Vec<Address>,
    pub(crate) output: Bytes,
}

/// A job without a result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    #[error("no further node offers class {class} with room for a job; {asked} of the {needed} needed were found within {} seconds", patience.as_secs_f64())]
    NoNodes { class: &'static str, asked: usize, needed: usize, patience: Duration },
    #[error("the nodes disagree and no result has a majority; {votes} voted")]
    NoMajority { votes: usize },
}

/// Runs a job to agreement, or until it is known that there is none, and gives the leases whose receipts are to be stored. Nodes have
/// accepted the `leases` before this coordinator was started. Dropping the future cancels every lease.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    job: Hash,
    signed: SignedJobSpec,
    leases: Vec<Assignment>,
    progress: mpsc::Sender<Progress>,
) -> (Result<Agreed, JobError>, Vec<Open>) {
    let mut run = Run {
        shared,
        job,
        tally: Tally::new(signed.spec.consistency),
        signed,
        progress,
        profile: None,
        asked: Vec::new(),
        executing: JoinSet::new(),
        committed: Vec::new(),
        outputs: Vec::new(),
        open: Vec::new(),
        deadline: Instant::now() + shared.config.queue_timeout,
    };
    leases.into_iter().for_each(|assignment| run.execute(assignment, None));
    let agreed = run.agree().await;
    (agreed, run.open)
}

struct Run<'a> {
    shared: &'a Arc<Shared>,
    job: Hash,
    signed: SignedJobSpec,
    progress: mpsc::Sender<Progress>,
    tally: Tally,
    /// Chosen with the first node; results are compared only within it.
    profile: Option<Hash>,
    asked: Vec<Address>,
    executing: JoinSet<(Address, Result<Executed, LeaseError>)>,
    committed: Vec<Committed>,
    outputs: Vec<(Hash, Bytes)>,
    open: Vec<Open>,
    /// Until then further nodes are looked for.
    deadline: Instant,
}

impl Run<'_> {
    async fn agree(&mut self) -> Result<Agreed, JobError> {
        loop {
            match self.tally.decision() {
                Decision::Agreed { result, dissenters } => {
                    let output =
                        self.outputs.iter().find(|(hash, _)| *hash == result).map(|(_, output)| output.clone());
                    return Ok(Agreed { result, dissenters, output: output.unwrap_or_default() });
                }
                Decision::NoMajority => return Err(JobError::NoMajority { votes: self.tally.votes().len() }),
                Decision::Dispatch(count) => {
                    let changed = self.shared.nodes.changed();
                    let dispatched = self.dispatch(count);
                    if dispatched < count && self.executing.is_empty() {
                        // Those who committed wait with us: nobody reveals before enough were asked.
                        timeout_at(self.deadline, changed).await.map_err(|_| self.no_nodes())?;
                    } else {
                        self.next_commitment().await;
                    }
                }
                // Nobody reveals before everyone who was asked has committed or failed.
                Decision::Wait if self.executing.is_empty() => self.reveal().await,
                Decision::Wait => self.next_commitment().await,
            }
        }
    }

    /// Leases the job to up to `count` further nodes; gives how many were found.
    fn dispatch(&mut self, count: usize) -> usize {
        let class = self.signed.spec.class;
        let Some(profile) = self.profile.or_else(|| self.shared.nodes.best_profile(class)) else { return 0 };
        for dispatched in 0..count {
            let Some(picked) = Nodes::pick(self.shared, class, profile, &self.asked) else { return dispatched };
            let attempt = u32::try_from(self.asked.len()).unwrap_or(u32::MAX);
            let assignment = lease::assignment(self.shared, self.job, picked.node.address, profile, attempt);
            self.execute(assignment, Some(picked));
        }
        count
    }

    fn execute(&mut self, assignment: Assignment, place: Option<Picked>) {
        self.profile = Some(assignment.profile);
        self.asked.push(assignment.executor);
        self.tally.dispatched(assignment.executor);
        let (shared, job, progress) = (self.shared.clone(), self.signed.clone(), self.progress.clone());
        self.executing.spawn(lease::execute(Lease { shared, job, assignment, progress }, place));
    }

    /// Waits until one of the executing nodes has committed or failed, or has voted where nobody commits.
    async fn next_commitment(&mut self) {
        match self.executing.join_next().await {
            Some(Ok((_, Ok(Executed::Committed(lease))))) => self.committed.push(*lease),
            Some(Ok((executor, Ok(Executed::Revealed(revealed))))) => self.count(executor, revealed).await,
            Some(Ok((executor, Err(error)))) => self.no_show(executor, &error).await,
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            None => {}
        }
    }

    /// Lets everyone who has committed reveal, and counts the votes.
    async fn reveal(&mut self) {
        let mut revealing = JoinSet::new();
        for lease in self.committed.drain(..) {
            revealing.spawn(lease.reveal());
        }
        while let Some(revealed) = revealing.join_next().await {
            match revealed {
                Ok((executor, Ok(revealed))) => self.count(executor, revealed).await,
                Ok((executor, Err(error))) => self.no_show(executor, &error).await,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
    }

    async fn count(&mut self, executor: Address, Revealed { vote, output, open }: Revealed) {
        let result = vote.receipt.body.result;
        self.open.push(open);
        self.tally.vote(executor, result);
        self.outputs.push((result, output));
        self.tell(Progress::Vote { vote }).await;
    }

    async fn no_show(&mut self, executor: Address, error: &LeaseError) {
        self.tally.no_show(executor);
        let busy = matches!(error, LeaseError::Refused { reason: RefuseReason::Busy, .. });
        if busy && Instant::now() < self.deadline {
            // It may well have room in a moment, and may be the only one.
            self.asked.retain(|asked| *asked != executor);
            sleep(BUSY_PAUSE).await;
            return;
        }
        self.tell(Progress::NoShow { executor, detail: bounded(&chain(error)) }).await;
    }

    /// A client that has gone is noticed elsewhere.
    async fn tell(&self, progress: Progress) {
        let _ = self.progress.send(progress).await;
    }

    fn no_nodes(&self) -> JobError {
        let spec = &self.signed.spec;
        JobError::NoNodes {
            class: spec.class.name(),
            asked: self.asked.len(),
            needed: spec.consistency.quorum(),
            patience: self.shared.config.queue_timeout,
        }
    }
}
