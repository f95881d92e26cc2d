//! Records that survive their program, in an SQLite database.
//!
//! What a transaction wrote is there after the program was killed at any point. A cut of power can take the last second with it, always
//! whole transactions and always the last ones, unless the transaction was [lasting](Journal::lasting): waiting for the disk each time
//! costs more than a short job.

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
pub use rusqlite::{OptionalExtension, Result as SqlResult, Row, Transaction, params};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What was written is on the disk after so long.
const SYNC: Duration = Duration::from_secs(1);
/// Pages of 4 KiB that wait in the log before they are put in their places.
const LOG_PAGES: u32 = 4000;
/// What holds the database's lock is another process that reads, and soon done.
const LOCKED: Duration = Duration::from_secs(5);

/// A journal that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Its file.
    #[error("cannot open the journal {}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// Something else is in the file.
    #[error("the journal {} is damaged: {detail}; restore it from a backup, or start with a new key and without it", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// There is nothing to read.
    #[error("there is no journal {}", path.display())]
    Missing {
        /// Which.
        path: PathBuf,
    },
    /// A database of another kind.
    #[error("{} is not a journal of this kind", path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
    },
    /// It cannot be read now.
    #[error("cannot read the journal {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// Made by a program that knows more.
    #[error("the journal {} has version {found}, this program knows version {known}; use the newer program", path.display())]
    Newer {
        /// Which.
        path: PathBuf,
        /// The file's.
        found: u32,
        /// This program's.
        known: u32,
    },
    /// The thread that writes to the disk.
    #[error("cannot start the journal's thread")]
    Thread(#[source] std::io::Error),
    /// No room. Nothing of the transaction was written.
    #[error("the disk is full: the journal {} cannot grow; make room", path.display())]
    Full {
        /// Which.
        path: PathBuf,
    },
    /// Nothing of the transaction was written.
    #[error("cannot write the journal {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    connection: Mutex<Connection>,
    written: Arc<AtomicBool>,
    /// Its end is that of the thread.
    _alive: Sender<()>,
}

impl Journal {
    /// Opens the journal at `path`. Where there is none, `schema` makes it, in version `version`.
    pub fn open(path: PathBuf, version: u32, schema: &str) -> Result<Self, JournalError> {
        let connection = prepared(&path, version, schema)?;
        let written = Arc::new(AtomicBool::new(false));
        let (alive, ended) = channel::<()>();
        let mut log = path.clone().into_os_string();
        log.push("-wal");
        let (log, changed) = (PathBuf::from(log), written.clone());
        let sync = move || {
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(SYNC) {
                if changed.swap(false, Ordering::Relaxed) {
                    sync(&log);
                }
            }
        };
        std::thread::Builder::new().name("depx-journal".into()).spawn(sync).map_err(JournalError::Thread)?;
        Ok(Self { path, connection: Mutex::new(connection), written, _alive: alive })
    }

    /// All that `work` writes, or nothing of it.
    pub fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> SqlResult<T>) -> Result<T, JournalError> {
        let mut connection = self.connection();
        let done = transaction(&mut connection, work);
        self.written.store(true, Ordering::Relaxed);
        done.map_err(|source| self.failed(source))
    }

    /// The same, on the disk before this returns: a cut of power cannot undo it, nor anything written before.
    pub fn lasting<T>(&self, work: impl FnOnce(&Transaction<'_>) -> SqlResult<T>) -> Result<T, JournalError> {
        let mut connection = self.connection();
        let done = connection
            .pragma_update(None, "synchronous", "FULL")
            .and_then(|()| transaction(&mut connection, work))
            .and_then(|done| connection.pragma_update(None, "synchronous", "NORMAL").map(|()| done));
        done.map_err(|source| self.failed(source))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, source: rusqlite::Error) -> JournalError {
        let path = self.path.clone();
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => JournalError::Full { path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                JournalError::Damaged { path, detail: source.to_string() }
            }
            _ => JournalError::Write { path, source },
        }
    }

    /// A transaction that panicked was rolled back, so a poisoned lock is no reason to stop.
    fn connection(&self) -> std::sync::MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What `work` finds in the journal at `path`, which another process may be writing meanwhile. Changes nothing in it.
pub fn read<T>(
    path: &Path,
    version: u32,
    work: impl FnOnce(&Transaction<'_>) -> SqlResult<T>,
) -> Result<T, JournalError> {
    let path = path.to_owned();
    if !path.is_file() {
        return Err(JournalError::Missing { path });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let found = Connection::open_with_flags(&path, flags).and_then(|mut connection| {
        connection.busy_timeout(LOCKED)?;
        let transaction = connection.transaction()?;
        let found: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let check: String = transaction.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        let done = if found == version && check == "ok" { Some(work(&transaction)) } else { None };
        Ok((found, check, done.transpose()?))
    });
    match found {
        Ok((_, _, Some(done))) => Ok(done),
        Ok((0, _, None)) => Err(JournalError::Foreign { path }),
        Ok((found, _, None)) if found > version => Err(JournalError::Newer { path, found, known: version }),
        Ok((_, detail, None)) => Err(JournalError::Damaged { path, detail }),
        Err(source) => Err(match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                JournalError::Damaged { path, detail: source.to_string() }
            }
            // It has no such table or column.
            Some(ErrorCode::Unknown) => JournalError::Foreign { path },
            Some(_) => JournalError::Read { path, source },
            // A value that is not of the type that was written.
            None => JournalError::Damaged { path, detail: source.to_string() },
        }),
    }
}

fn transaction<T>(connection: &mut Connection, work: impl FnOnce(&Transaction<'_>) -> SqlResult<T>) -> SqlResult<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = work(&transaction)?;
    transaction.commit()?;
    Ok(done)
}

fn prepared(path: &Path, version: u32, schema: &str) -> Result<Connection, JournalError> {
    let open = |source| JournalError::Open { path: path.to_owned(), source };
    let damaged = |detail: String| JournalError::Damaged { path: path.to_owned(), detail };
    let mut connection = Connection::open(path).map_err(open)?;
    let configured = || {
        connection.busy_timeout(LOCKED)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
        connection.set_prepared_statement_cache_capacity(64);
        let found: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let check: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        Ok((found, check))
    };
    let (found, check) = configured().map_err(|source: rusqlite::Error| match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => damaged(source.to_string()),
        _ => open(source),
    })?;
    if check != "ok" {
        return Err(damaged(check));
    }
    if found > version {
        return Err(JournalError::Newer { path: path.to_owned(), found, known: version });
    }
    if found < version {
        // There is no older version yet.
        let make = |transaction: &Transaction<'_>| {
            transaction.execute_batch(schema)?;
            transaction.pragma_update(None, "user_version", version)
        };
        transaction(&mut connection, make).map_err(open)?;
    }
    Ok(connection)
}

fn sync(log: &Path) {
    match File::open(log).and_then(|file| file.sync_data()) {
        Ok(()) => {}
        // The journal is being closed, which puts everything in its place.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(path = %log.display(), %error, "the journal was not written through to the disk"),
    }
}

#[cfg(test)]
mod tests;
