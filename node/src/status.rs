//! How a running node is, for its operator.

use crate::vitals::Vital;
use crate::{Shared, Stop};
use depx_protocol::Address;
use depx_transport::{bounded, unix_ms};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A view of a running node.
#[derive(Clone)]
pub struct Observer(pub(crate) Arc<Shared>);

/// How a node is.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// Its address.
    pub address: Address,
    /// When it was started, in Unix milliseconds.
    pub started_ms: u64,
    /// Those it serves.
    pub coordinators: Vec<CoordinatorStatus>,
    /// Jobs that it executes at a time.
    pub slots: u32,
    /// Jobs that it executes.
    pub active: u32,
    /// Jobs that wait for a slot.
    pub queued: u32,
    /// Thousandths of all processors.
    pub load: u16,
    /// Bytes of memory that programs can have.
    pub memory: u64,
    /// Bytes that blobs take.
    pub blobs: u64,
    /// Bytes that they may take.
    pub blob_quota: u64,
    /// Receipts signed since it was started.
    pub receipts: u64,
    /// Whether it takes no new leases and stops after those that it has.
    pub draining: bool,
}

/// A coordinator, and whether the node is connected to it.
#[derive(Clone, Debug)]
pub struct CoordinatorStatus {
    /// Who it is.
    pub address: Address,
    /// Where it is.
    pub remote: SocketAddr,
    /// Since when the node is connected, in Unix milliseconds, if it is.
    pub connected_ms: Option<u64>,
    /// Why the last connection ended, or did not come about.
    pub last_error: Option<String>,
}

impl NodeStatus {
    /// To how many coordinators it is connected.
    pub fn connected(&self) -> usize {
        self.coordinators.iter().filter(|coordinator| coordinator.connected_ms.is_some()).count()
    }
}

impl Observer {
    /// How the node is now.
    pub fn status(&self) -> NodeStatus {
        let shared = &self.0;
        let Vital { load, memory } = shared.vitals.look();
        NodeStatus {
            address: shared.key.address(),
            started_ms: shared.started_ms,
            coordinators: shared.coordinators.iter().map(|coordinator| coordinator.status()).collect(),
            slots: shared.config.slots,
            active: shared.executing.busy(),
            queued: shared.executing.queued(),
            load,
            memory,
            blobs: shared.blobs.store().bytes(),
            blob_quota: shared.config.blob_quota,
            receipts: shared.metrics.receipts(),
            draining: shared.is_draining(),
        }
    }

    /// What it has counted and timed, in the text format of OpenMetrics.
    pub fn metrics(&self) -> String {
        self.0.metrics.text(&self.status())
    }

    /// The node takes no new leases, and ends when those are over that it has, however long they take. Says whether this was not so
    /// before.
    pub fn drain(&self) -> bool {
        self.0.stop(Stop::Drain)
    }
}

/// The connection to a coordinator.
#[derive(Default)]
pub(crate) struct Link(Mutex<LinkState>);

#[derive(Clone, Default)]
struct LinkState {
    ever: bool,
    connected_ms: Option<u64>,
    last_error: Option<String>,
}

impl Link {
    /// There is one now. Says whether there was one before.
    pub(crate) fn connected(&self) -> bool {
        let mut state = self.state();
        state.connected_ms = Some(unix_ms());
        std::mem::replace(&mut state.ever, true)
    }

    /// There is none, for this reason.
    pub(crate) fn lost(&self, reason: &str) {
        let mut state = self.state();
        (state.connected_ms, state.last_error) = (None, Some(bounded(reason)));
    }

    /// When it came about, if there is one, and why there was none before.
    pub(crate) fn look(&self) -> (Option<u64>, Option<String>) {
        let LinkState { connected_ms, last_error, .. } = self.state().clone();
        (connected_ms, last_error)
    }

    fn state(&self) -> MutexGuard<'_, LinkState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
