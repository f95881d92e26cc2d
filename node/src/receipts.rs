//! The node's chain of receipts: numbered, linked, and signed, everything that is waiting under one signature, so that an idle node
//! signs at once and a busy one signs many for the price of one.

use depx_protocol::{Hash, ReceiptBody, SecretKey, Settlement, SignedReceipt, sha256, sign_batch};
use depx_transport::Together;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// A chain that cannot be continued.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// The file with the chain's head.
    #[error("cannot read or write {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file has other content.
    #[error("{} is damaged: expected the number and hash of the last receipt; restore it from a backup, or start with a new key", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
    },
    /// Signing has stopped after an error.
    #[error("receipts can no longer be signed because the chain's head could not be stored")]
    Stopped,
}

/// Signs receipts.
pub struct ReceiptChain(Together<(ReceiptBody, Settlement), SignedReceipt>);

/// The last receipt's number and hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Head {
    next: u64,
    previous: Hash,
}

impl ReceiptChain {
    /// Continues the chain whose head is in the file at `path`, or starts one.
    pub fn open(path: PathBuf, key: SecretKey) -> Result<Self, ReceiptError> {
        let file = Mutex::new(Some(HeadFile::open(path)?));
        Ok(Self(Together::new(move |waiting| sign(&file, waiting, &key).unwrap_or_default())))
    }

    /// Numbers, links and signs a receipt; `sequence` and `previous` of `body` are filled in here. The receipt of a caller who goes away
    /// meanwhile is void, its number used.
    pub async fn sign(&self, body: ReceiptBody, settlement: Settlement) -> Result<SignedReceipt, ReceiptError> {
        self.0.ask((body, settlement)).await.ok_or(ReceiptError::Stopped)
    }
}

/// Signs receipts in order, each run of them that is settled in one place under one signature. Nothing once the head could not be stored.
fn sign(
    file: &Mutex<Option<HeadFile>>,
    waiting: Vec<(ReceiptBody, Settlement)>,
    key: &SecretKey,
) -> Option<Vec<SignedReceipt>> {
    let linked: Vec<_> = {
        let mut chain = file.lock().unwrap_or_else(PoisonError::into_inner);
        let file = chain.as_mut()?;
        let mut head = file.head;
        let linked = waiting.into_iter().map(|(body, settlement)| (head.link(body), settlement)).collect();
        // Before any receipt leaves: a number is never used twice.
        if let Err(error) = file.store(head) {
            tracing::error!(path = %file.path.display(), %error, "cannot store the receipt chain's head; signing stops");
            *chain = None;
            return None;
        }
        linked
    };
    let runs = linked.chunk_by(|(_, one), (_, next)| one == next);
    let signed = runs.flat_map(|run| {
        let bodies = run.iter().map(|(body, _)| body.clone()).collect();
        sign_batch(bodies, &run[0].1, key)
    });
    Some(signed.collect())
}

impl Head {
    const FIRST: Self = Self { next: 0, previous: Hash::ZERO };

    fn link(&mut self, body: ReceiptBody) -> ReceiptBody {
        let body = ReceiptBody { sequence: self.next, previous: self.previous, ..body };
        *self = Self { next: self.next + 1, previous: body.hash() };
        body
    }

    /// One line of a fixed length: number, hash, and a check on both.
    fn to_line(self) -> String {
        let content = format!("{:020} {}", self.next, self.previous);
        format!("{content} {}\n", sha256(content.as_bytes()).short())
    }

    fn from_line(line: &str) -> Option<Self> {
        let (next, rest) = line.split_once(' ')?;
        let (previous, _) = rest.split_once(' ')?;
        let head = Self { next: next.parse().ok()?, previous: previous.parse().ok()? };
        (head.to_line().trim_end() == line).then_some(head)
    }
}

/// The file with the chain's head. It has two lines that are written in turn, in place, so that whatever interrupts a write,
/// the other line is whole.
struct HeadFile {
    path: PathBuf,
    file: File,
    head: Head,
    /// The line to write next.
    turn: u64,
}

impl HeadFile {
    /// Opens the file, or makes it. The head is the later of the lines that are whole.
    fn open(path: PathBuf) -> Result<Self, ReceiptError> {
        let failed = |source| ReceiptError::File { path: path.clone(), source };
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(failed)?;
        let text = String::from_utf8_lossy(&text);
        let lines = (0..).zip(text.lines());
        let whole = lines.filter_map(|(number, line)| Some((number, Head::from_line(line)?)));
        match whole.max_by_key(|(_, head)| head.next) {
            Some((number, head)) => Ok(Self { path, file, head, turn: 1 - number % 2 }),
            None if text.is_empty() => Ok(Self { path, file, head: Head::FIRST, turn: 0 }),
            None => Err(ReceiptError::Damaged { path }),
        }
    }

    fn store(&mut self, head: Head) -> std::io::Result<()> {
        let line = head.to_line();
        self.file.write_all_at(line.as_bytes(), self.turn * line.len() as u64)?;
        (self.head, self.turn) = (head, 1 - self.turn);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(next: u64) -> Head {
        Head { next, previous: sha256(&next.to_be_bytes()) }
    }

    #[test]
    fn the_head_is_the_last_one_stored() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("receipts.chain");
        assert_eq!(HeadFile::open(path.clone()).unwrap().head, Head::FIRST);
        for next in [1, 2, 7, 8, 300] {
            HeadFile::open(path.clone()).unwrap().store(head(next)).unwrap();
            assert_eq!(HeadFile::open(path.clone()).unwrap().head, head(next));
        }
    }

    #[test]
    fn an_interrupted_write_leaves_the_head_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("receipts.chain");
        let mut file = HeadFile::open(path.clone()).unwrap();
        (1..=4).for_each(|next| file.store(head(next)).unwrap());
        let whole = std::fs::read(&path).unwrap();
        let line = whole.len() / 2;
        // Number 4 is in the second line. Its line end alone says nothing.
        for cut in 0..line - 1 {
            let mut torn = whole.clone();
            torn[line + cut..].fill(b'x');
            std::fs::write(&path, torn).unwrap();
            assert_eq!(HeadFile::open(path.clone()).unwrap().head, head(3), "torn after {cut} bytes");
        }
    }

    #[test]
    fn a_file_without_a_whole_line_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("receipts.chain");
        std::fs::write(&path, "1 2 3\n").unwrap();
        let error = HeadFile::open(path).err().unwrap().to_string();
        assert!(error.contains("restore it from a backup, or start with a new key"), "{error}");
    }
}
