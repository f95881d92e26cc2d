//! What a node must not forget: which leases it has taken, what came of them until the coordinator has it, and where its chain of receipts
//! stands. Everything that happens at about the same time is written in one transaction, and receipts in it share a signature.
//!
//! A receipt leaves only after it was written, with the number after it. Numbers are never used twice: after a cut of power, which can
//! take the last transactions along, the chain continues above all numbers that could have been used.

use bytes::Bytes;
use depx_journal::{Journal as Database, JournalError, OptionalExtension, Row, SqlResult, Transaction, params};
use depx_protocol::receipt::commitment;
use depx_protocol::wire::Reveal;
use depx_protocol::{
    Address, Assignment, Blob, Canonical, Hash, LeaseId, ReceiptBody, ResultCore, SecretKey, Settlement, SignedReceipt,
    VERSION, sign_batch,
};
use depx_transport::{Together, chain, random, unix_ms};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) const SCHEMA_VERSION: u32 = 1;
const SCHEMA: &str = include_str!("journal.sql");
/// Numbers of receipts that are set aside at a time, which waits for the disk.
const RESERVE: u64 = 4096;
/// Leases that have ended and are still listed.
pub(crate) const HISTORY: u64 = 10_000;
/// So many more are listed before the oldest go.
pub(crate) const HISTORY_SLACK: u64 = 1_000;
/// The outcome of a lease whose receipt the coordinator has.
pub(crate) const ACKNOWLEDGED: &str = "acknowledged";

/// The node's journal.
pub(crate) struct Journal {
    database: Arc<Database>,
    entries: Together<Entry, Written>,
    numbers: Numbers,
}

/// The row of each lease that is on record.
#[derive(Clone, Default)]
struct Numbers(Arc<Mutex<HashMap<LeaseId, u64>>>);

/// Something to remember.
enum Entry {
    Accepted {
        assignment: Box<Assignment>,
        accepted_ms: u64,
    },
    Proven(Box<Proof>),
    /// Of a lease that is on record.
    GivenUp(LeaseId),
    Ended {
        assignment: Box<Assignment>,
        outcome: String,
    },
}

/// What a receipt is made of.
pub(crate) struct Proof {
    pub(crate) assignment: Assignment,
    pub(crate) session_key: Hash,
    pub(crate) result: ResultCore,
    pub(crate) output_len: u64,
    pub(crate) output: Output,
    pub(crate) started_ms: u64,
    pub(crate) finished_ms: u64,
}

/// Where the output is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// In the journal.
    Inline(Bytes),
    /// In the blob store.
    Blob(Blob),
}

/// An entry is on record; of a proof, what may now leave.
enum Written {
    Noted,
    Signed(Box<Reveal>),
}

/// What is known of a lease that is offered.
#[derive(Debug)]
pub(crate) enum Known {
    /// Nothing.
    New,
    /// It was taken, and is to be executed again.
    Taken,
    /// It was executed, and the coordinator does not have the receipt yet.
    Signed(Box<Reveal>, Output),
    /// It is over.
    Ended,
}

/// The journal could not be written; the reason is in the log.
#[derive(Debug, thiserror::Error)]
#[error("the node's journal cannot be written; its operator finds the reason in the log")]
pub(crate) struct Unwritten;

/// The next receipt's number, the last one's hash, and the first number that is not set aside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Head {
    next: u64,
    previous: Hash,
    reserved: u64,
}

impl Journal {
    /// Opens the journal in `path`, or starts one.
    pub(crate) fn open(path: PathBuf, key: SecretKey) -> Result<Self, JournalError> {
        let database = Arc::new(Database::open(path, SCHEMA_VERSION, SCHEMA)?);
        let boot = boot();
        let head = database.lasting(|transaction| Head::resume(transaction, &boot))?;
        let numbers = Numbers::default();
        let (recorded, next) = database.write(recorded)?;
        numbers.lock().extend(recorded);
        let writer = Writer { database: database.clone(), head, boot, key, numbers: numbers.clone(), next, ended: 0 };
        let writer = Mutex::new(writer);
        let write = move |entries| {
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer.write(entries).unwrap_or_else(|error| {
                tracing::error!(error = chain(&error), "the journal was not written");
                Vec::new()
            })
        };
        Ok(Self { database, entries: Together::new(write), numbers })
    }

    /// A lease is taken. Only then may the coordinator hear so.
    pub(crate) async fn accepted(&self, assignment: &Assignment) -> Result<(), Unwritten> {
        let entry = Entry::Accepted { assignment: Box::new(assignment.clone()), accepted_ms: unix_ms() };
        self.entries.ask(entry).await.map(drop).ok_or(Unwritten)
    }

    /// Numbers, links and signs the receipt for a result.
    pub(crate) async fn proven(&self, proof: Proof) -> Result<Reveal, Unwritten> {
        match self.entries.ask(Entry::Proven(Box::new(proof))).await {
            Some(Written::Signed(reveal)) => Ok(*reveal),
            _ => Err(Unwritten),
        }
    }

    /// A lease is over, with this outcome. Written soon; nobody waits for it.
    pub(crate) fn ended(&self, assignment: &Assignment, outcome: String) {
        drop(self.entries.ask(Entry::Ended { assignment: Box::new(assignment.clone()), outcome }));
    }

    /// What is known of a lease.
    pub(crate) fn known(&self, assignment: &Assignment) -> Result<Known, JournalError> {
        let Some(number) = self.numbers.lock().get(&assignment.lease).copied() else { return Ok(Known::New) };
        self.database.write(|transaction| known(transaction, assignment, number))
    }

    /// Gives up the leases of `coordinator` that have not ended, but for those that `kept` says.
    pub(crate) fn give_up(&self, coordinator: Address, kept: impl Fn(&LeaseId) -> bool) -> Result<(), JournalError> {
        let open = self.database.write(|transaction| {
            let mut open = transaction.prepare("SELECT id FROM lease WHERE coordinator = ? AND outcome IS NULL")?;
            open.query_map([coordinator.0], |row| Ok(LeaseId(row.get(0)?)))?.collect::<SqlResult<Vec<_>>>()
        })?;
        open.into_iter().filter(|lease| !kept(lease)).for_each(|lease| drop(self.entries.ask(Entry::GivenUp(lease))));
        Ok(())
    }

    /// Blobs with outputs that the coordinators do not have yet.
    pub(crate) fn outputs(&self) -> Result<Vec<Blob>, JournalError> {
        self.database.write(|transaction| {
            let mut outputs = transaction.prepare("SELECT blob, length FROM lease WHERE blob IS NOT NULL")?;
            outputs.query_map([], |row| Ok(Blob { hash: Hash(row.get(0)?), len: row.get(1)? }))?.collect()
        })
    }
}

/// Writes entries, one group after the other.
struct Writer {
    database: Arc<Database>,
    head: Head,
    boot: String,
    key: SecretKey,
    numbers: Numbers,
    /// The next lease's.
    next: u64,
    /// Leases that have ended since the last look at how many are listed.
    ended: u64,
}

impl Writer {
    fn write(&mut self, entries: Vec<Entry>) -> Result<Vec<Written>, JournalError> {
        let mut head = self.head;
        let linked: Vec<_> = entries.iter().filter_map(Entry::proof).map(|proof| head.link(proof)).collect();
        if head.next > head.reserved {
            // Here and nowhere else the disk is waited for.
            let reserved = head.next + RESERVE;
            self.database.lasting(|transaction| Head { reserved, ..self.head }.store(transaction, &self.boot))?;
            (self.head.reserved, head.reserved) = (reserved, reserved);
        }
        let mut signed = sign(&linked, &self.key).into_iter();
        let reveals: Vec<_> = entries.iter().map(|entry| Some(entry.proof()?.reveal(signed.next()?))).collect();
        let ended = self.ended + entries.iter().filter(|entry| matches!(entry, Entry::Ended { .. })).count() as u64;
        let mut next = self.next;
        let mut numbers = self.numbers.lock();
        let forgotten = self.database.write(|transaction| {
            if !linked.is_empty() {
                head.store(transaction, &self.boot)?;
            }
            for (entry, reveal) in entries.iter().zip(&reveals) {
                let known = numbers.get(entry.lease()).copied();
                entry.write(transaction, reveal.as_ref(), known.unwrap_or(next), known.is_some())?;
                if known.is_none() {
                    // Taken back below if nothing is written.
                    numbers.insert(*entry.lease(), next);
                    next += 1;
                }
            }
            if ended > HISTORY_SLACK { prune(transaction) } else { Ok(Vec::new()) }
        });
        let forgotten = match forgotten {
            Ok(forgotten) => forgotten,
            Err(error) => {
                numbers.retain(|_, number| *number < self.next);
                return Err(error);
            }
        };
        for lease in &forgotten {
            numbers.remove(lease);
        }
        drop(numbers);
        self.next = next;
        self.head = head;
        self.ended = if ended > HISTORY_SLACK { 0 } else { ended };
        Ok(reveals
            .into_iter()
            .map(|reveal| reveal.map_or(Written::Noted, |reveal| Written::Signed(reveal.into())))
            .collect())
    }
}

/// A receipt that has its place in the chain, and who opens its commitment.
struct Linked {
    body: ReceiptBody,
    salt: [u8; 32],
    settlement: Settlement,
}

/// Each run of receipts that is settled in one place has one signature.
fn sign(linked: &[Linked], key: &SecretKey) -> Vec<(SignedReceipt, [u8; 32])> {
    let runs = linked.chunk_by(|one, next| one.settlement == next.settlement);
    let signed = runs.flat_map(|run| {
        let bodies = run.iter().map(|linked| linked.body.clone()).collect();
        sign_batch(bodies, &run[0].settlement, key)
    });
    signed.zip(linked.iter().map(|linked| linked.salt)).collect()
}

const INSERT: &str = "INSERT INTO lease (number, id, coordinator, job, attempt, accepted_ms) VALUES (?, ?, ?, ?, ?, ?)";
const PROVE: &str =
    "UPDATE lease SET result = ?, sequence = ?, reveal = ?, output = ?, blob = ?, length = ? WHERE number = ?";
const END: &str = "UPDATE lease SET outcome = ?, ended_ms = ?, reveal = NULL, output = NULL, blob = NULL, length = NULL
    WHERE number = ?";
const KNOWN: &str = "SELECT coordinator = ? AND job = ? AND attempt = ? AND outcome IS NULL, reveal, output, blob
    FROM lease WHERE number = ?";
const PRUNE: &str = "DELETE FROM lease WHERE outcome IS NOT NULL AND number <= (SELECT max(number) FROM lease) - ?
    RETURNING id";

/// Forgets the oldest of the leases that have ended; gives which.
fn prune(transaction: &Transaction<'_>) -> SqlResult<Vec<LeaseId>> {
    let mut statement = transaction.prepare_cached(PRUNE)?;
    statement.query_map([HISTORY], |row| Ok(LeaseId(row.get(0)?)))?.collect()
}

/// The numbers of all leases on record, and the next one's.
fn recorded(transaction: &Transaction<'_>) -> SqlResult<(Vec<(LeaseId, u64)>, u64)> {
    let mut leases = transaction.prepare("SELECT id, number FROM lease")?;
    let leases: Vec<_> =
        leases.query_map([], |row| Ok((LeaseId(row.get(0)?), row.get(1)?)))?.collect::<SqlResult<_>>()?;
    let next = leases.iter().map(|(_, number)| number + 1).max().unwrap_or(1);
    Ok((leases, next))
}

impl Numbers {
    fn lock(&self) -> MutexGuard<'_, HashMap<LeaseId, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn proof(&self) -> Option<&Proof> {
        if let Self::Proven(proof) = self { Some(proof) } else { None }
    }

    fn lease(&self) -> &LeaseId {
        match self {
            Self::Accepted { assignment, .. } | Self::Ended { assignment, .. } => &assignment.lease,
            Self::Proven(proof) => &proof.assignment.lease,
            Self::GivenUp(lease) => lease,
        }
    }

    fn write(
        &self,
        transaction: &Transaction<'_>,
        reveal: Option<&Reveal>,
        number: u64,
        on_record: bool,
    ) -> SqlResult<()> {
        let insert = |assignment: &Assignment, since_ms: u64| {
            if on_record {
                return Ok(());
            }
            let Assignment { lease, coordinator, job, attempt, .. } = assignment;
            let values = params![number, lease.0, coordinator.0, job.0, attempt, since_ms];
            transaction.prepare_cached(INSERT)?.execute(values).map(drop)
        };
        let end =
            |outcome: &str| transaction.prepare_cached(END)?.execute(params![outcome, unix_ms(), number]).map(drop);
        match self {
            Self::Accepted { assignment, accepted_ms } => insert(assignment, *accepted_ms),
            Self::Proven(proof) => {
                insert(&proof.assignment, proof.started_ms)?;
                let (inline, blob) = match &proof.output {
                    Output::Inline(content) => (Some(&content[..]), None),
                    Output::Blob(blob) => (None, Some(blob.hash.0)),
                };
                let length = blob.map(|_| proof.output_len);
                let body = reveal.map(|reveal| &reveal.receipt.body);
                let (result, sequence) = (body.map(|body| body.result.0), body.map(|body| body.sequence));
                let reveal = reveal.map(Canonical::to_bytes);
                let values = params![result, sequence, reveal, inline, blob, length, number];
                transaction.prepare_cached(PROVE)?.execute(values).map(drop)
            }
            Self::GivenUp(_) => end("given up by the coordinator"),
            Self::Ended { assignment, outcome } => {
                insert(assignment, unix_ms())?;
                end(outcome)
            }
        }
    }
}

impl Proof {
    fn reveal(&self, (receipt, salt): (SignedReceipt, [u8; 32])) -> Reveal {
        Reveal { result: self.result.clone(), salt, receipt, output_len: self.output_len }
    }
}

fn known(transaction: &Transaction<'_>, assignment: &Assignment, number: u64) -> SqlResult<Known> {
    let Assignment { coordinator, job, attempt, .. } = assignment;
    let mut statement = transaction.prepare_cached(KNOWN)?;
    let found = statement.query_row(params![coordinator.0, job.0, attempt, number], |row| {
        // Another coordinator, or another job, has nothing to ask here.
        if !row.get::<_, bool>(0)? {
            return Ok(Known::Ended);
        }
        let Some(reveal) = row.get::<_, Option<Vec<u8>>>(1)? else { return Ok(Known::Taken) };
        // Written by this program; whatever else it may be, it cannot be sent.
        let Ok(reveal) = Reveal::from_bytes(&reveal) else { return Ok(Known::Ended) };
        let output = match row.get::<_, Option<[u8; 32]>>(3)? {
            Some(hash) => Output::Blob(Blob { hash: Hash(hash), len: reveal.output_len }),
            None => Output::Inline(row.get::<_, Option<Vec<u8>>>(2)?.unwrap_or_default().into()),
        };
        Ok(Known::Signed(Box::new(reveal), output))
    });
    Ok(found.optional()?.unwrap_or(Known::New))
}

/// What tells one start of the machine from another.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

impl Head {
    const FIRST: Self = Self { next: 0, previous: Hash::ZERO, reserved: 0 };

    fn resume(transaction: &Transaction<'_>, boot: &str) -> SqlResult<Self> {
        let read = |row: &Row<'_>| {
            let head = Self { next: row.get(0)?, previous: Hash(row.get(1)?), reserved: row.get(2)? };
            Ok((head, row.get::<_, String>(3)? == boot))
        };
        let found = transaction.query_row("SELECT next, previous, reserved, boot FROM chain", [], read).optional()?;
        let head = match found {
            None => Self::FIRST,
            Some((head, true)) => head,
            // The machine has started since: the last receipts may be missing here, and their numbers must not be used again.
            Some((head, false)) => Self { next: head.reserved, ..head },
        };
        head.store(transaction, boot)?;
        Ok(head)
    }

    fn link(&mut self, proof: &Proof) -> Linked {
        let assignment = &proof.assignment;
        let (salt, result) = (random(), proof.result.hash());
        let body = ReceiptBody {
            version: VERSION,
            result,
            job: assignment.job,
            lease: assignment.lease,
            attempt: assignment.attempt,
            executor: assignment.executor,
            session_key: proof.session_key,
            commit: commitment(&assignment.job, &assignment.lease, &assignment.executor, &result, &salt),
            sequence: self.next,
            previous: self.previous,
            started_ms: proof.started_ms,
            finished_ms: proof.finished_ms,
            evidence: Vec::new(),
        };
        (self.next, self.previous) = (self.next + 1, body.hash());
        Linked { body, salt, settlement: assignment.settlement }
    }

    fn store(self, transaction: &Transaction<'_>, boot: &str) -> SqlResult<()> {
        let values = params![self.next, self.previous.0, self.reserved, boot];
        let replace = "INSERT OR REPLACE INTO chain (one, next, previous, reserved, boot) VALUES (1, ?, ?, ?, ?)";
        transaction.prepare_cached(replace)?.execute(values).map(drop)
    }
}

#[cfg(test)]
mod tests;
