//! The agent on an operator's machine. It dials its coordinators, takes leases, pulls what they need, executes them through the
//! runtime, commits to the result, reveals it, and signs a receipt.
//!
//! [`Node::run`] is the life of a node; `session` is one connection, `lease` one job on it.

mod blobs;
mod fault;
mod history;
mod journal;
mod lease;
mod leases;
mod metrics;
mod session;
mod slots;
mod status;
mod vitals;

pub use depx_journal::JournalError;
pub use fault::InjectedFault;
pub use history::{LeaseRecord, LeaseStage, MOST_LEASES, leases};
pub use status::{CoordinatorStatus, NodeStatus, Observer};

use blobs::BlobCache;
use depx_protocol::wire::{ALPN_NODE, Capabilities};
use depx_protocol::{Address, DeterminismClass, Hash, Limits, SecretKey};
use depx_runtime::{HostFault, Worker, WorkerLauncher};
use depx_transport::{BlobError, BlobStore, EndpointError, GreetingError, Pin, chain, client_endpoint, unix_ms};
use journal::Journal;
use leases::Leases;
use metrics::Metrics;
use quinn::VarInt;
use slots::Slots;
use status::Link;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use vitals::Vitals;

/// Leases of one coordinator that may wait for a slot; with more, the node answers that it is busy.
pub const QUEUE: u32 = 100;

/// What an operator decides.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Where blobs and the journal are kept.
    pub data: PathBuf,
    /// Where coordinators listen, and who must answer there.
    pub coordinators: Vec<(SocketAddr, Address)>,
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
        /// From which.
        coordinator: Address,
        /// Why.
        reason: String,
        /// In milliseconds.
        retry_ms: u64,
    },
    /// A coordinator turned the node away, for a reason that trying again will not change; the others are still served.
    Rejected {
        /// Which.
        coordinator: Address,
        /// Why.
        reason: String,
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
    /// Its records.
    #[error("cannot continue the node's records and chain of receipts")]
    Journal(#[from] JournalError),
    /// Its coordinators.
    #[error("a node needs a coordinator, and each coordinator once")]
    Coordinators,
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
    journal: Journal,
    leases: Leases,
    /// Where leases are executed.
    executing: Slots,
    vitals: Vitals,
    metrics: Arc<Metrics>,
    coordinators: Vec<Arc<Coordinator>>,
    started_ms: u64,
    stop: watch::Sender<Stop>,
    /// Outputs that no coordinator has yet, from before this start.
    _outputs: Vec<Pin>,
    events: Box<dyn Fn(NodeEvent) + Send + Sync>,
}

/// One of the node's coordinators.
struct Coordinator {
    index: usize,
    remote: SocketAddr,
    address: Address,
    /// Its leases in any stage; what bounds its queue.
    admitted: Arc<Semaphore>,
    link: Link,
}

impl Coordinator {
    fn status(&self) -> CoordinatorStatus {
        let (connected_ms, last_error) = self.link.look();
        CoordinatorStatus { address: self.address, remote: self.remote, connected_ms, last_error }
    }
}

/// Whether the node goes on. Stopping cannot be undone, only hastened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stop {
    No,
    /// It ends after the leases that it has, however long they take.
    Drain,
    /// It ends within a deadline.
    Soon,
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
        let named: HashSet<_> = config.coordinators.iter().map(|(_, address)| *address).collect();
        if named.is_empty() || named.len() != config.coordinators.len() {
            return Err(NodeError::Coordinators);
        }
        let store = BlobStore::open(config.data.join("blobs"), config.blob_quota)?;
        let journal = Journal::open(config.data.join("journal.db"), key.clone())?;
        let slots = config.slots.max(1);
        let coordinators = config.coordinators.iter().copied().enumerate().map(|(index, (remote, address))| {
            let admitted = Arc::new(Semaphore::new((slots + QUEUE) as usize));
            Arc::new(Coordinator { index, remote, address, admitted, link: Link::default() })
        });
        let metrics = Arc::new(Metrics::new());
        let shared = Shared {
            key,
            profiles,
            launcher: Box::new(launcher),
            idle_workers: Mutex::new(Vec::new()),
            _outputs: journal.outputs()?.iter().map(|output| store.pin(output)).collect(),
            blobs: BlobCache::new(store, metrics.clone()),
            journal,
            leases: Leases::default(),
            executing: Slots::start(slots, named.len()).map_err(NodeError::Slots)?,
            vitals: Vitals::default(),
            metrics,
            coordinators: coordinators.collect(),
            started_ms: unix_ms(),
            stop: watch::Sender::new(Stop::No),
            events: Box::new(events),
            config: NodeConfig { slots, ..config },
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A view of it, also while it runs.
    pub fn observer(&self) -> Observer {
        Observer(self.shared.clone())
    }

    /// Serves the coordinators until `shutdown`, then finishes what was accepted, within a deadline. Dials again whenever a connection is lost. Ends before
    /// that if every coordinator has turned the node away, as the last one did.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), NodeError> {
        let Self { shared } = self;
        let (endpoint, certificate) = client_endpoint(ALPN_NODE)?;
        let mut sessions = JoinSet::new();
        for coordinator in shared.coordinators.iter().cloned() {
            let (shared, endpoint, stopped) = (shared.clone(), endpoint.clone(), shared.stop.subscribe());
            sessions.spawn(async move {
                (coordinator.address, session::serve(&shared, &coordinator, (&endpoint, certificate), stopped).await)
            });
        }
        let mut shutdown = pin!(shutdown);
        let mut last = Ok(());
        loop {
            let (coordinator, ended) = tokio::select! {
                () = &mut shutdown, if *shared.stop.borrow() != Stop::Soon => {
                    shared.stop(Stop::Soon);
                    continue;
                }
                ended = sessions.join_next() => match ended {
                    Some(ended) => ended.unwrap_or_else(|error| resume_unwind(error.into_panic())),
                    None => break,
                },
            };
            if let (Err(error), false) = (&ended, sessions.is_empty()) {
                (shared.events)(NodeEvent::Rejected { coordinator, reason: chain(error) });
            }
            last = ended;
        }
        endpoint.close(VarInt::from_u32(0), b"the node stops");
        endpoint.wait_idle().await;
        last
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

    /// Says whether that hastens the end.
    fn stop(&self, how: Stop) -> bool {
        self.stop.send_if_modified(|stop| {
            let hastened = how > *stop;
            *stop = how.max(*stop);
            hastened
        })
    }

    fn is_draining(&self) -> bool {
        *self.stop.borrow() != Stop::No
    }

    fn take_worker(&self) -> Result<Box<dyn Worker>, HostFault> {
        let idle = self.idle_workers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| self.launcher.launch(), Ok)
    }

    fn give_back(&self, worker: Box<dyn Worker>) {
        self.idle_workers.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
    }
}
