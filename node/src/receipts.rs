//! The node's chain of receipts. One thread numbers, links and signs them: everything that is waiting under one signature,
//! so that an idle node signs at once and a busy one signs many for the price of one.

use depx_protocol::{Hash, ReceiptBody, SecretKey, Settlement, SignedReceipt, sign_batch};
use std::path::{Path, PathBuf};
use tokio::sync::{mpsc, oneshot};

/// Receipts under one signature at most: proofs of at most eight hashes.
const BATCH: usize = 256;

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
    /// The signing thread has stopped after an error.
    #[error("receipts can no longer be signed because the chain's head could not be stored")]
    Stopped,
}

/// Signs receipts; clones share one chain.
#[derive(Clone)]
pub struct ReceiptChain {
    requests: mpsc::Sender<Request>,
}

struct Request {
    body: ReceiptBody,
    settlement: Settlement,
    reply: oneshot::Sender<SignedReceipt>,
}

/// The last receipt's number and hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Head {
    next: u64,
    previous: Hash,
}

impl ReceiptChain {
    /// Continues the chain whose head is in the file at `path`, or starts one.
    pub fn open(path: PathBuf, key: SecretKey) -> Result<Self, ReceiptError> {
        let mut head = Head::load(&path)?;
        let (requests, mut waiting) = mpsc::channel::<Request>(BATCH);
        let sign = move || {
            let mut batch = Vec::with_capacity(BATCH);
            while waiting.blocking_recv_many(&mut batch, BATCH) > 0 {
                while !batch.is_empty() {
                    let settlement = batch[0].settlement;
                    let same = batch.iter().take_while(|request| request.settlement == settlement).count();
                    let (replies, bodies): (Vec<_>, Vec<_>) =
                        batch.drain(..same).map(|request| (request.reply, head.link(request.body))).unzip();
                    // Stored before any receipt leaves: a number is never used twice.
                    if let Err(error) = head.store(&path) {
                        tracing::error!(path = %path.display(), %error, "cannot store the receipt chain's head; signing stops");
                        return;
                    }
                    for (reply, receipt) in replies.into_iter().zip(sign_batch(bodies, &settlement, &key)) {
                        // Whoever asked may have gone; the receipt is then void, its number used.
                        let _ = reply.send(receipt);
                    }
                }
            }
        };
        let started = std::thread::Builder::new().name("depx-receipts".into()).spawn(sign);
        started.map_err(|source| ReceiptError::File { path: PathBuf::from("thread"), source })?;
        Ok(Self { requests })
    }

    /// Numbers, links and signs a receipt; `sequence` and `previous` of `body` are filled in here.
    pub async fn sign(&self, body: ReceiptBody, settlement: Settlement) -> Result<SignedReceipt, ReceiptError> {
        let (reply, signed) = oneshot::channel();
        let request = Request { body, settlement, reply };
        self.requests.send(request).await.map_err(|_| ReceiptError::Stopped)?;
        signed.await.map_err(|_| ReceiptError::Stopped)
    }
}

impl Head {
    fn link(&mut self, body: ReceiptBody) -> ReceiptBody {
        let body = ReceiptBody { sequence: self.next, previous: self.previous, ..body };
        *self = Self { next: self.next + 1, previous: body.hash() };
        body
    }

    fn load(path: &Path) -> Result<Self, ReceiptError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { next: 0, previous: Hash::ZERO });
            }
            Err(source) => return Err(ReceiptError::File { path: path.to_owned(), source }),
        };
        let parsed = text
            .trim_end()
            .split_once(' ')
            .and_then(|(next, previous)| Some(Self { next: next.parse().ok()?, previous: previous.parse().ok()? }));
        parsed.ok_or_else(|| ReceiptError::Damaged { path: path.to_owned() })
    }

    fn store(&self, path: &Path) -> std::io::Result<()> {
        let beside = path.with_extension("chain-new");
        std::fs::write(&beside, format!("{} {}\n", self.next, self.previous))?;
        std::fs::rename(&beside, path)
    }
}
