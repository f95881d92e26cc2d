//! What is on record of a node's leases, for whoever asks beside the node, whether it runs or not.

use crate::journal::{ACKNOWLEDGED, HISTORY, HISTORY_SLACK, SCHEMA_VERSION};
use depx_journal::{JournalError, Row, SqlResult};
use depx_protocol::wire::MAX_REASON;
use depx_protocol::{Address, Hash, LeaseId};
use depx_transport::bounded;
use std::path::Path;

/// Leases that have ended are on record up to this many, and those that have not.
pub const MOST_LEASES: u64 = HISTORY + HISTORY_SLACK;

/// A lease that a node has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// Its name.
    pub lease: LeaseId,
    /// Whose it is.
    pub coordinator: Address,
    /// What was to be executed.
    pub job: Hash,
    /// The how manieth try it is for the job.
    pub attempt: u32,
    /// When it was taken, in Unix milliseconds.
    pub accepted_ms: u64,
    /// When it was over.
    pub ended_ms: Option<u64>,
    /// How far it is.
    pub stage: LeaseStage,
    /// The result's hash, once there is one.
    pub result: Option<Hash>,
    /// The number of the receipt.
    pub receipt: Option<u64>,
}

/// How far a lease is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseStage {
    /// It waits for a slot or is being executed, unless the node does not run.
    Executing,
    /// It was executed, and the coordinator does not have the receipt yet.
    Signed,
    /// The coordinator has the receipt.
    Acknowledged,
    /// It ended otherwise, for this reason.
    Ended(String),
}

/// The leases on record of the node whose data directory this is, those taken last first, at most `limit`.
pub fn leases(data: &Path, limit: u64) -> Result<Vec<LeaseRecord>, JournalError> {
    depx_journal::read(&data.join("journal.db"), SCHEMA_VERSION, |transaction| {
        // The encoded receipts and outputs are not needed.
        let mut statement = transaction.prepare(
            "SELECT id, coordinator, job, attempt, accepted_ms, ended_ms, result, sequence, reveal IS NOT NULL,
            substr(outcome, 1, ?) FROM lease ORDER BY number DESC LIMIT ?",
        )?;
        statement.query_map([MAX_REASON as u64, limit.min(MOST_LEASES)], record)?.collect()
    })
}

fn record(row: &Row<'_>) -> SqlResult<LeaseRecord> {
    let stage = match (row.get::<_, Option<String>>(9)?, row.get(8)?) {
        (Some(outcome), _) if outcome == ACKNOWLEDGED => LeaseStage::Acknowledged,
        (Some(outcome), _) => LeaseStage::Ended(bounded(&outcome)),
        (None, true) => LeaseStage::Signed,
        (None, false) => LeaseStage::Executing,
    };
    Ok(LeaseRecord {
        lease: LeaseId(row.get(0)?),
        coordinator: Address(row.get(1)?),
        job: Hash(row.get(2)?),
        attempt: row.get(3)?,
        accepted_ms: row.get(4)?,
        ended_ms: row.get(5)?,
        stage,
        result: row.get::<_, Option<_>>(6)?.map(Hash),
        receipt: row.get(7)?,
    })
}
