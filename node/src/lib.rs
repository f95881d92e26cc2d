//! The agent on an operator's machine. It dials its coordinator, takes leases, pulls what they need, executes them through the
//! runtime, commits to the result, reveals it, and signs a receipt.
//!
//! [`Node::run`] is the life of a node; `session` is one connection, `lease` one job on it.

mod blobs;
mod fault;
mod lease;
mod receipts;
mod session;
mod slots;

pub use fault::InjectedFault;
pub use receipts::{ReceiptChain, ReceiptError};

use blobs::BlobCache;
use depx_protocol::wire::Capabilities;
use depx_protocol::{Address, DeterminismClass, Hash, LeaseId, Limits, SecretKey};
use depx_runtime::{HostFault, Worker, WorkerLauncher};
use depx_transport::{BlobError, BlobStore, EndpointError, GreetingError, Seen};
use slots::Slots;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Leases that may wait for a slot; with more, the node answers that it is busy.
pub const QUEUE: u32 = 100;

/// What an operator decides.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Where blobs and the receipt chain are kept.
    pub data: PathBuf,
    /// Where the coordinator listens.
    pub coordinator: SocketAddr,
    /// Who must answer there.
    pub coordinator_address: Address,
    /// Jobs executed at a time.
    pub slots: u32,
    /// Bytes that blobs may take on the disk.
    pub blob_quota: u64,
    /// The most that one job may ask for.
    pub limits: Limits,
    /// For tests and demonstrations of dishonest nodes.
    pub fault: Option<InjectedFault>,
}

/// What a node tells its operator while it runs.
#[derive(Clone, Debug)]
pub enum NodeEvent {
    /// The coordinator has welcomed the node.
    Connected {
        /// Which.
        coordinator: Address,
    },
    /// The connection is gone; the node dials again after the pause.
    Disconnected {
        /// Why.
        reason: String,
        /// In milliseconds.
        retry_ms: u64,
    },
    /// A lease was executed and its receipt accepted.
    Completed {
        /// The job.
        job: Hash,
        /// The result's hash.
        result: Hash,
    },
    /// A lease ended without a receipt.
    Abandoned {
        /// Why.
        reason: String,
    },
}

/// A node that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Its data directory.
    #[error("cannot use the node's blob store")]
    Blobs(#[from] BlobError),
    /// Its receipts.
    #[error("cannot continue the node's chain of receipts")]
    Receipts(#[from] ReceiptError),
    /// Its threads.
    #[error("cannot start a thread for each slot")]
    Slots(#[source] std::io::Error),
    /// Its socket.
    #[error("cannot open a QUIC endpoint")]
    Endpoint(#[from] EndpointError),
    /// The coordinator turned it away for a reason that trying again will not change.
    #[error("the coordinator does not take this node")]
    Rejected(#[source] GreetingError),
    /// Another process connected with this node's key.
    #[error("another node connected with the same key, {address}; give each node a data directory and key of its own")]
    Replaced {
        /// Of both.
        address: Address,
    },
}

/// A node, ready to run.
pub struct Node {
    shared: Arc<Shared>,
}

/// What all sessions and leases of a node share.
struct Shared {
    config: NodeConfig,
    key: SecretKey,
    profiles: Vec<(DeterminismClass, Hash)>,
    launcher: Box<dyn WorkerLauncher>,
    idle_workers: Mutex<Vec<Box<dyn Worker>>>,
    blobs: BlobCache,
    receipts: ReceiptChain,
    /// Leases in any stage; what bounds the queue.
    admitted: Arc<Semaphore>,
    /// Where leases are executed.
    executing: Slots,
    /// Leases that were offered.
    seen: Seen<LeaseId>,
    events: Box<dyn Fn(NodeEvent) + Send + Sync>,
}

impl Node {
    /// A node that executes with `launcher`'s workers, which offer `profiles`.
    pub fn new(
        config: NodeConfig,
        key: SecretKey,
        launcher: impl WorkerLauncher + 'static,
        profiles: Vec<(DeterminismClass, Hash)>,
        events: impl Fn(NodeEvent) + Send + Sync + 'static,
    ) -> Result<Self, NodeError> {
        let blobs = BlobCache::new(BlobStore::open(config.data.join("blobs"), config.blob_quota)?);
        let receipts = ReceiptChain::open(config.data.join("receipts.chain"), key.clone())?;
        let slots = config.slots.max(1);
        let shared = Shared {
            key,
            profiles,
            launcher: Box::new(launcher),
            idle_workers: Mutex::new(Vec::new()),
            blobs,
            receipts,
            admitted: Arc::new(Semaphore::new((slots + QUEUE) as usize)),
            executing: Slots::start(slots).map_err(NodeError::Slots)?,
            seen: Seen::default(),
            events: Box::new(events),
            config: NodeConfig { slots, ..config },
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Serves the coordinator until `shutdown`, then finishes what was accepted. Dials again whenever the connection is lost.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), NodeError> {
        session::serve(&self.shared, shutdown).await
    }
}

impl Shared {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            software: concat!("depx ", env!("CARGO_PKG_VERSION")).to_owned(),
            slots: self.config.slots,
            profiles: self.profiles.clone(),
        }
    }

    fn take_worker(&self) -> Result<Box<dyn Worker>, HostFault> {
        let idle = self.idle_workers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| self.launcher.launch(), Ok)
    }

    fn give_back(&self, worker: Box<dyn Worker>) {
        self.idle_workers.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
    }
}
