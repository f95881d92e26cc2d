//! What a coordinator must not forget: the jobs that it has accepted, who executes them, and what came of them until their clients know.
//! Nothing is told to anyone before it is written here.

use bytes::Bytes;
use depx_journal::{Journal as Database, JournalError, OptionalExtension, Row, SqlResult, Transaction, params};
use depx_protocol::{Assignment, Blob, Canonical, Hash, SignedJobSpec};
use depx_transport::{Together, chain, unix_ms};
use minicbor::{Decode, Encode};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SCHEMA_VERSION: u32 = 1;
const SCHEMA: &str = include_str!("journal.sql");
/// What came of a job is kept so long for a client that has gone.
const RETENTION_MS: u64 = 24 * 3600 * 1000;

/// The coordinator's journal.
pub(crate) struct Journal {
    database: Arc<Database>,
    entries: Together<Entry, ()>,
    numbers: Numbers,
}

/// The row of each job that is on record.
#[derive(Clone, Default)]
struct Numbers(Arc<Mutex<HashMap<Hash, u64>>>);

/// Something to remember.
enum Entry {
    Accepted { job: Hash, spec: Arc<SignedJobSpec>, leases: Vec<Assignment> },
    Over { job: Hash, told: Bytes, output: Output },
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
        let numbers = Numbers::default();
        let (recorded, next) = database.write(recorded)?;
        numbers.lock().extend(recorded);
        let writer = Mutex::new(Writer { database: database.clone(), numbers: numbers.clone(), next });
        let write = move |entries: Vec<Entry>| {
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            match writer.write(&entries) {
                Ok(()) => vec![(); entries.len()],
                Err(error) => {
                    tracing::error!(error = chain(&error), "the journal was not written");
                    Vec::new()
                }
            }
        };
        Ok(Self { database, entries: Together::new(write), numbers })
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
    pub(crate) async fn over(&self, job: Hash, told: Bytes, output: Output) -> Result<(), Unwritten> {
        self.entries.ask(Entry::Over { job, told, output }).await.ok_or(Unwritten)
    }

    /// The client has everything, or does not want it any more. Written soon; nobody waits for it.
    pub(crate) fn forget(&self, job: Hash) {
        drop(self.entries.ask(Entry::Forgotten { job }));
    }

    /// What came of a job.
    pub(crate) fn outcome(&self, job: Hash) -> Result<Option<Over>, JournalError> {
        let Some(number) = self.numbers.lock().get(&job).copied() else { return Ok(None) };
        let select = "SELECT told, output, blob, length FROM job WHERE number = ? AND told IS NOT NULL";
        self.database.write(|transaction| transaction.prepare_cached(select)?.query_row([number], over).optional())
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

    /// The blobs with outputs that clients do not have yet.
    pub(crate) fn outputs(&self) -> Result<Vec<Blob>, JournalError> {
        self.database.write(|transaction| {
            let mut outputs = transaction.prepare("SELECT blob, length FROM job WHERE blob IS NOT NULL")?;
            outputs.query_map([], |row| Ok(Blob { hash: Hash(row.get(0)?), len: row.get(1)? }))?.collect()
        })
    }
}

fn over(row: &Row<'_>) -> SqlResult<Over> {
    let output = match row.get::<_, Option<[u8; 32]>>(2)? {
        Some(hash) => Output::Blob(Blob { hash: Hash(hash), len: row.get(3)? }),
        None => Output::Inline(row.get::<_, Vec<u8>>(1)?.into()),
    };
    Ok(Over { told: row.get::<_, Vec<u8>>(0)?.into(), output })
}

/// Writes entries, one group after the other.
struct Writer {
    database: Arc<Database>,
    numbers: Numbers,
    /// The next job's.
    next: u64,
}

impl Writer {
    fn write(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        let mut next = self.next;
        let mut numbers = self.numbers.lock();
        let written = self.database.write(|transaction| {
            entries.iter().try_for_each(|entry| {
                let known = numbers.get(entry.job()).copied();
                entry.write(transaction, known.unwrap_or(next), known.is_some())?;
                if known.is_none() {
                    // Taken back below if nothing is written.
                    numbers.insert(*entry.job(), next);
                    next += 1;
                }
                Ok(())
            })
        });
        match &written {
            Ok(()) => {
                for entry in entries.iter().filter(|entry| matches!(entry, Entry::Forgotten { .. })) {
                    numbers.remove(entry.job());
                }
                self.next = next;
            }
            Err(_) => numbers.retain(|_, number| *number < self.next),
        }
        written
    }
}

impl Numbers {
    fn lock(&self) -> MutexGuard<'_, HashMap<Hash, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The numbers of all jobs on record, and the next one's.
fn recorded(transaction: &Transaction<'_>) -> SqlResult<(Vec<(Hash, u64)>, u64)> {
    let mut jobs = transaction.prepare("SELECT id, number FROM job")?;
    let jobs: Vec<_> = jobs.query_map([], |row| Ok((Hash(row.get(0)?), row.get(1)?)))?.collect::<SqlResult<_>>()?;
    let next = jobs.iter().map(|(_, number)| number + 1).max().unwrap_or(1);
    Ok((jobs, next))
}

const ACCEPT: &str = "INSERT INTO job (number, id, spec, leases) VALUES (?, ?, ?, ?)";
const LEASE: &str = "UPDATE job SET leases = ? WHERE number = ?";
const ALREADY_OVER: &str =
    "INSERT INTO job (number, id, told, output, blob, length, over_ms) VALUES (?, ?, ?, ?, ?, ?, ?)";
const OVER: &str = "UPDATE job SET spec = NULL, leases = NULL, told = ?, output = ?, blob = ?, length = ?, over_ms = ?
    WHERE number = ?";
const FORGET: &str = "DELETE FROM job WHERE number = ?";

impl Entry {
    fn job(&self) -> &Hash {
        let (Self::Accepted { job, .. } | Self::Over { job, .. } | Self::Forgotten { job }) = self;
        job
    }

    fn write(&self, transaction: &Transaction<'_>, number: u64, on_record: bool) -> SqlResult<()> {
        match self {
            Self::Accepted { job, spec, leases } => {
                let leases = Leases(leases.clone()).to_bytes();
                if on_record {
                    transaction.prepare_cached(LEASE)?.execute(params![leases, number])
                } else {
                    transaction.prepare_cached(ACCEPT)?.execute(params![number, job.0, spec.to_bytes(), leases])
                }
            }
            Self::Over { job, told, output } => {
                let (inline, blob, length) = match output {
                    Output::Inline(content) => (Some(&content[..]), None, None),
                    Output::Blob(blob) => (None, Some(blob.hash.0), Some(blob.len)),
                };
                let (told, over_ms) = (&told[..], unix_ms());
                if on_record {
                    let values = params![told, inline, blob, length, over_ms, number];
                    transaction.prepare_cached(OVER)?.execute(values)
                } else {
                    let values = params![number, job.0, told, inline, blob, length, over_ms];
                    transaction.prepare_cached(ALREADY_OVER)?.execute(values)
                }
            }
            Self::Forgotten { .. } => transaction.prepare_cached(FORGET)?.execute([number]),
        }
        .map(drop)
    }
}

#[cfg(test)]
mod tests;
