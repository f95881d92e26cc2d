//! The reference coordinator. Nodes and clients dial it; it leases a client's job to as many nodes as the job's consistency needs,
//! collects commitments before anyone reveals, and gives the client what the majority says, with every receipt.
//!
//! [`Coordinator::run`] accepts connections; `node` and `client` are the two kinds of session; `job` is the life of one job and
//! `lease` its conversation with one node.

mod client;
mod job;
mod jobs;
mod journal;
mod lease;
mod node;
mod nodes;

pub use depx_journal::JournalError;
use depx_protocol::wire::{ALPN_CLIENT, ALPN_NODE};
use depx_protocol::{Address, Assignment, Hash, SecretKey, Settlement, SignedAssignment};
use depx_transport::{
    BlobError, BlobStore, EndpointError, GreetingError, Pin, Seen, Together, chain, greet, server_endpoint, signer,
};
use jobs::Jobs;
use journal::Journal;
use nodes::Nodes;
use quinn::{Endpoint, Incoming, VarInt};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// What an operator decides.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// Where blobs and the journal are kept.
    pub data: PathBuf,
    /// Bytes that blobs may take on the disk.
    pub blob_quota: u64,
    /// Where to listen, UDP. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// How often nodes should send a heartbeat.
    pub heartbeat: Duration,
    /// A job waits so long for nodes with room before it fails.
    pub queue_timeout: Duration,
    /// A lease waits so long for a node whose connection was lost before another node is asked.
    pub resume: Duration,
    /// Where receipts are settled.
    pub settlement: Settlement,
}

impl CoordinatorConfig {
    /// The heartbeat interval unless told otherwise.
    pub const HEARTBEAT: Duration = Duration::from_secs(30);
    /// How long a job waits for nodes unless told otherwise.
    pub const QUEUE_TIMEOUT: Duration = Duration::from_secs(60);
    /// How long a lease waits for its node unless told otherwise: long enough to start a node anew, or to sit out half a minute without
    /// a network, most of which the connection itself survives.
    pub const RESUME: Duration = Duration::from_secs(15);
}

/// Connections at most: a bound on memory, far above what one coordinator serves.
const MAX_CONNECTIONS: usize = 10_000;
/// A job spec is accepted so long before or after its client made it.
const REPLAY_WINDOW_MS: u64 = 5 * 60 * 1000;

/// What a coordinator tells its operator while it runs.
#[derive(Clone, Debug)]
pub enum CoordinatorEvent {
    /// A node has proven its identity.
    NodeJoined {
        /// Which.
        node: Address,
    },
    /// A node's connection is gone.
    NodeLeft {
        /// Which.
        node: Address,
        /// Why.
        reason: String,
    },
    /// A peer got no further than the greeting.
    Stranger {
        /// Where it is.
        remote: SocketAddr,
        /// What it did.
        reason: String,
    },
    /// A job has a result.
    Agreed {
        /// The job.
        job: Hash,
        /// The result's hash.
        result: Hash,
        /// Nodes that signed something else.
        dissenters: Vec<Address>,
    },
    /// A job ended without a result.
    Failed {
        /// The job.
        job: Hash,
        /// Why.
        reason: String,
    },
}

/// A coordinator that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    /// Its data directory.
    #[error("cannot use the coordinator's blob store")]
    Blobs(#[from] BlobError),
    /// Its records.
    #[error("cannot continue the coordinator's records")]
    Journal(#[from] JournalError),
    /// Its socket.
    #[error("cannot open a QUIC endpoint")]
    Endpoint(#[from] EndpointError),
    /// Its socket's address.
    #[error("cannot tell the address of the QUIC endpoint")]
    Address(#[source] std::io::Error),
}

/// A coordinator, listening.
pub struct Coordinator {
    endpoint: Endpoint,
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What all sessions of a coordinator share.
struct Shared {
    config: CoordinatorConfig,
    key: SecretKey,
    assignments: Together<Assignment, SignedAssignment>,
    blobs: BlobStore,
    nodes: Nodes,
    journal: Journal,
    jobs: Jobs,
    /// Jobs that were submitted.
    seen: Seen<Hash>,
    /// Outputs of jobs whose clients do not have them yet, from before this start.
    _outputs: Vec<Pin>,
    events: Box<dyn Fn(CoordinatorEvent) + Send + Sync>,
}

impl Coordinator {
    /// Opens the socket, the blob store and the journal.
    pub fn bind(
        config: CoordinatorConfig,
        key: SecretKey,
        events: impl Fn(CoordinatorEvent) + Send + Sync + 'static,
    ) -> Result<Self, CoordinatorError> {
        let (endpoint, _) = server_endpoint(config.listen, &[ALPN_NODE, ALPN_CLIENT], &key)?;
        let address = endpoint.local_addr().map_err(CoordinatorError::Address)?;
        let blobs = BlobStore::open(config.data.join("blobs"), config.blob_quota)?;
        let journal = Journal::open(config.data.join("journal.db"))?;
        let shared = Shared {
            config,
            assignments: signer(key.clone()),
            key,
            _outputs: journal.outputs()?.iter().map(|output| blobs.pin(output)).collect(),
            blobs,
            nodes: Nodes::default(),
            journal,
            jobs: Jobs::default(),
            seen: Seen::default(),
            events: Box::new(events),
        };
        Ok(Self { endpoint, address, shared: Arc::new(shared) })
    }

    /// Where it listens.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Serves nodes and clients until `shutdown`, and goes on with the jobs that were not over when it was last stopped.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        jobs::resume(&self.shared);
        let mut shutdown = std::pin::pin!(shutdown);
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let incoming = tokio::select! {
                () = &mut shutdown => break,
                incoming = self.endpoint.accept() => incoming,
            };
            let Some(incoming) = incoming else { break };
            let Ok(place) = room.clone().try_acquire_owned() else {
                incoming.refuse();
                continue;
            };
            let shared = self.shared.clone();
            tokio::spawn(async move {
                let _place = place;
                serve(shared, incoming).await;
            });
        }
        self.endpoint.close(VarInt::from_u32(0), b"the coordinator stops");
        self.endpoint.wait_idle().await;
    }
}

async fn serve(shared: Arc<Shared>, incoming: Incoming) {
    let remote = incoming.remote_address();
    let greeting = async {
        let connection = incoming.await.map_err(GreetingError::Connect)?;
        greet(connection, &shared.key, shared.config.heartbeat).await
    };
    match greeting.await {
        Ok(mut guest) => match guest.capabilities.take() {
            Some(capabilities) => node::serve(&shared, guest, capabilities).await,
            None => client::serve(&shared, guest).await,
        },
        Err(error) => (shared.events)(CoordinatorEvent::Stranger { remote, reason: chain(&error) }),
    }
}
