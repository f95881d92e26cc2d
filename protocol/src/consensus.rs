//! When the votes of several executors are a result. Pure: the caller dispatches, waits and remembers.

use crate::hash::Hash;
use crate::identity::Address;
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;

/// How many executors a job gets, and how many of them must agree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Consistency {
    /// 1 of 1.
    #[n(0)]
    Eventual,
    /// 2 of 3.
    #[n(1)]
    Session,
    /// 5 of 7.
    #[n(2)]
    Strong,
}

impl Consistency {
    /// How many equal votes decide.
    pub const fn quorum(self) -> usize {
        match self {
            Self::Eventual => 1,
            Self::Session => 2,
            Self::Strong => 5,
        }
    }

    /// How many votes are asked for at most.
    pub const fn committee(self) -> usize {
        match self {
            Self::Eventual => 1,
            Self::Session => 3,
            Self::Strong => 7,
        }
    }

    /// Whether executors commit to their results before anyone reveals: where one could copy another's.
    pub const fn commits(self) -> bool {
        self.committee() > 1
    }
}

/// Where a vote stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// So many further executors should be asked now, beyond those already asked.
    Dispatch(usize),
    /// Enough were asked; their answers are awaited.
    Wait,
    /// Decided.
    Agreed {
        /// The winning hash.
        result: Hash,
        /// Who voted otherwise.
        dissenters: Vec<Address>,
    },
    /// All votes are in and no hash has a quorum, or none can reach it any more.
    NoMajority,
}

/// The votes on one job.
///
/// A committee's quorum is asked first; the rest only if answers differ. An executor that never answers is replaced
/// without using up a vote, as long as the caller has candidates.
#[derive(Clone, Debug)]
pub struct Tally {
    consistency: Consistency,
    pending: Vec<Address>,
    votes: BTreeMap<Address, Hash>,
}

impl Tally {
    /// No votes, nobody asked.
    pub fn new(consistency: Consistency) -> Self {
        Self { consistency, pending: Vec::new(), votes: BTreeMap::new() }
    }

    /// Notes that `executor` was asked. Returns false, and changes nothing, if it is being asked or has voted already, or if
    /// the committee is full: with more voters than that two results could each have a quorum.
    pub fn dispatched(&mut self, executor: Address) -> bool {
        let new = !self.pending.contains(&executor) && !self.votes.contains_key(&executor);
        let full = self.pending.len() + self.votes.len() >= self.consistency.committee();
        if new && !full {
            self.pending.push(executor);
        }
        new && !full
    }

    /// Counts a vote. Returns false, and counts nothing, unless `executor` was asked and has not yet answered.
    pub fn vote(&mut self, executor: Address, result: Hash) -> bool {
        let asked = self.no_show(executor);
        if asked {
            self.votes.insert(executor, result);
        }
        asked
    }

    /// Gives up on an executor that was asked: it refused, failed, vanished or was late. Returns whether it was asked.
    pub fn no_show(&mut self, executor: Address) -> bool {
        let asked = self.pending.iter().position(|pending| *pending == executor);
        asked.map(|position| self.pending.remove(position)).is_some()
    }

    /// All votes, by address.
    pub fn votes(&self) -> &BTreeMap<Address, Hash> {
        &self.votes
    }

    /// What follows from the votes so far.
    pub fn decision(&self) -> Decision {
        let (quorum, committee) = (self.consistency.quorum(), self.consistency.committee());
        let mut counts = BTreeMap::<Hash, usize>::new();
        self.votes.values().for_each(|result| *counts.entry(*result).or_default() += 1);
        let (leader, most) = counts.into_iter().max_by_key(|(_, count)| *count).unwrap_or((Hash::ZERO, 0));
        if most >= quorum {
            let dissenters = self.votes.iter().filter(|(_, result)| **result != leader).map(|(who, _)| *who).collect();
            return Decision::Agreed { result: leader, dissenters };
        }
        let votes_left = committee - self.votes.len().min(committee);
        if most + votes_left < quorum {
            return Decision::NoMajority;
        }
        match (quorum - most).saturating_sub(self.pending.len()) {
            0 => Decision::Wait,
            missing => Decision::Dispatch(missing),
        }
    }
}
