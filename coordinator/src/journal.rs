//! What a coordinator must not forget: the jobs that it has accepted, who executes them, and what came of them until their clients know.
//! Nothing is told to anyone before it is written here.

use bytes::Bytes;
use depx_journal::{Journal as Database, JournalError, OptionalExtension, Row, SqlResult, Transaction, params};
use depx_protocol::{Address, Assignment, Blob, Canonical, Hash, SignedJobSpec};
use depx_transport::{Together, chain, unix_ms};
use minicbor::{Decode, Encode};
use std::path::PathBuf;
use std::sync::Arc;

const SCHEMA_VERSION: u32 = 1;
const SCHEMA: &str = include_str!("journal.sql");
/// What came of a job is kept so long for a client that has gone.
const RETENTION_MS: u64 = 24 * 3600 * 1000;

/// The coordinator's journal.
pub(crate) struct Journal {
    database: Arc<Database>,
    entries: Together<Entry, ()>,
}

/// Something to remember.
enum Entry {
    Accepted { job: Hash, spec: Arc<SignedJobSpec>, leases: Vec<Assignment> },
    Over { job: Hash, spec: Arc<SignedJobSpec>, told: Bytes, output: Output },
    Forgotten { job: Hash },
}

/// Where an output is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// In the journal.
    Inline(Bytes),
    /// In the blob store.
    Blob(Blob),
}

/// A job that was accepted and is not over.
pub(crate) struct Unfinished {
    pub(crate) job: Hash,
    pub(crate) spec: SignedJobSpec,
    pub(crate) leases: Vec<Assignment>,
}

/// What came of a job.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Over {
    pub(crate) client: Address,
    pub(crate) told: Bytes,
    pub(crate) output: Output,
}

/// The journal could not be written; the reason is in the log.
#[derive(Debug, thiserror::Error)]
#[error("the coordinator's journal cannot be written; its operator finds the reason in the log")]
pub(crate) struct Unwritten;

/// The leases of one job, as they are stored.
#[derive(Encode, Decode)]
struct Leases(#[n(0)] Vec<Assignment>);

impl Canonical for Leases {}

impl Journal {
    /// Opens the journal in `path`, or starts one.
    pub(crate) fn open(path: PathBuf) -> Result<Self, JournalError> {
        let database = Arc::new(Database::open(path, SCHEMA_VERSION, SCHEMA)?);
        let before = unix_ms().saturating_sub(RETENTION_MS);
        database.write(|transaction| transaction.execute("DELETE FROM job WHERE over_ms < ?", [before]))?;
        let writer = database.clone();
        let write = move |entries: Vec<Entry>| {
            let write = |transaction: &Transaction<'_>| entries.iter().try_for_each(|entry| entry.write(transaction));
            match writer.write(write) {
                Ok(()) => vec![(); entries.len()],
                Err(error) => {
                    tracing::error!(error = chain(&error), "the journal was not written");
                    Vec::new()
                }
            }
        };
        Ok(Self { database, entries: Together::new(write) })
    }

    /// A job is accepted, and these leases of it are.
    pub(crate) async fn accepted(
        &self,
        job: Hash,
        spec: Arc<SignedJobSpec>,
        leases: Vec<Assignment>,
    ) -> Result<(), Unwritten> {
        self.entries.ask(Entry::Accepted { job, spec, leases }).await.ok_or(Unwritten)
    }

    /// A job is over; this its client is told, if need be again.
    pub(crate) async fn over(
        &self,
        job: Hash,
        spec: Arc<SignedJobSpec>,
        told: Bytes,
        output: Output,
    ) -> Result<(), Unwritten> {
        self.entries.ask(Entry::Over { job, spec, told, output }).await.ok_or(Unwritten)
    }

    /// The client has everything, or does not want it any more. Written soon; nobody waits for it.
    pub(crate) fn forget(&self, job: Hash) {
        drop(self.entries.ask(Entry::Forgotten { job }));
    }

    /// What came of a job.
    pub(crate) fn outcome(&self, job: Hash) -> Result<Option<Over>, JournalError> {
        let select = "SELECT client, told, output, blob, length FROM job WHERE id = ? AND told IS NOT NULL";
        self.database.write(|transaction| transaction.prepare_cached(select)?.query_row([job.0], over).optional())
    }

    /// The jobs that are not over.
    pub(crate) fn unfinished(&self) -> Result<Vec<Unfinished>, JournalError> {
        self.database.write(|transaction| {
            let mut jobs =
                transaction.prepare("SELECT id, spec, leases FROM job WHERE told IS NULL ORDER BY number")?;
            let read = jobs.query_map([], |row| {
                let (spec, leases) = (row.get::<_, Vec<u8>>(1)?, row.get::<_, Vec<u8>>(2)?);
                let (spec, leases) = (SignedJobSpec::from_bytes(&spec).ok(), Leases::from_bytes(&leases).ok());
                let job = Hash(row.get(0)?);
                Ok(spec.zip(leases).map(|(spec, Leases(leases))| Unfinished { job, spec, leases }))
            })?;
            // All were written by this program.
            read.filter_map(SqlResult::transpose).collect()
        })
    }

    /// The jobs that are over, and the blobs with their outputs.
    pub(crate) fn outcomes(&self) -> Result<Vec<(Hash, Option<Blob>)>, JournalError> {
        self.database.write(|transaction| {
            let mut jobs = transaction.prepare("SELECT id, blob, length FROM job WHERE told IS NOT NULL")?;
            let read = jobs.query_map([], |row| {
                let blob = row.get::<_, Option<[u8; 32]>>(1)?.zip(row.get(2)?);
                Ok((Hash(row.get(0)?), blob.map(|(hash, len)| Blob { hash: Hash(hash), len })))
            })?;
            read.collect()
        })
    }
}

fn over(row: &Row<'_>) -> SqlResult<Over> {
    let output = match row.get::<_, Option<[u8; 32]>>(3)? {
        Some(hash) => Output::Blob(Blob { hash: Hash(hash), len: row.get(4)? }),
        None => Output::Inline(row.get::<_, Vec<u8>>(2)?.into()),
    };
    Ok(Over { client: Address(row.get(0)?), told: row.get::<_, Vec<u8>>(1)?.into(), output })
}

const ACCEPT: &str = "INSERT INTO job (id, client, spec, leases) VALUES (?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET leases = excluded.leases";
const OVER: &str =
    "INSERT INTO job (id, client, spec, told, output, blob, length, over_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET leases = NULL, told = excluded.told, output = excluded.output, blob = excluded.blob,
    length = excluded.length, over_ms = excluded.over_ms";

impl Entry {
    fn write(&self, transaction: &Transaction<'_>) -> SqlResult<()> {
        match self {
            Self::Accepted { job, spec, leases } => {
                let leases = Leases(leases.clone()).to_bytes();
                let values = params![job.0, spec.spec.client.0, spec.to_bytes(), leases];
                transaction.prepare_cached(ACCEPT)?.execute(values)
            }
            Self::Over { job, spec, told, output } => {
                let (inline, blob, length) = match output {
                    Output::Inline(content) => (Some(&content[..]), None, None),
                    Output::Blob(blob) => (None, Some(blob.hash.0), Some(blob.len)),
                };
                let (client, spec) = (spec.spec.client.0, spec.to_bytes());
                let values = params![job.0, client, spec, &told[..], inline, blob, length, unix_ms()];
                transaction.prepare_cached(OVER)?.execute(values)
            }
            Self::Forgotten { job } => transaction.prepare_cached("DELETE FROM job WHERE id = ?")?.execute([job.0]),
        }
        .map(drop)
    }
}
