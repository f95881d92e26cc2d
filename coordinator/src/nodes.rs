//! The nodes that are connected, and which of them takes the next lease.

use depx_protocol::wire::{CLOSE_REPLACED, Capabilities};
use depx_protocol::{Address, DeterminismClass, Hash};
use quinn::Connection;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Leases that one node is given beyond its slots, so that it never waits for the network between two jobs.
const AHEAD: u32 = 64;

/// All connected nodes.
#[derive(Default)]
pub(crate) struct Nodes {
    nodes: Mutex<HashMap<Address, Arc<Node>>>,
    /// Counts picks, so that equally loaded nodes take turns.
    picks: AtomicU64,
    changed: Notify,
}

/// A connected node.
pub(crate) struct Node {
    pub(crate) address: Address,
    pub(crate) connection: Connection,
    capabilities: Capabilities,
    in_flight: AtomicU32,
    last_pick: AtomicU64,
    draining: AtomicBool,
}

/// A node with a place reserved for one lease.
pub(crate) struct Picked {
    pub(crate) node: Arc<Node>,
    shared: Arc<crate::Shared>,
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.node.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.shared.nodes.changed.notify_waiters();
    }
}

impl Node {
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    fn offers(&self, class: DeterminismClass, profile: Hash) -> bool {
        self.capabilities.profiles.contains(&(class, profile))
    }

    fn has_room(&self) -> bool {
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        !self.draining.load(Ordering::Relaxed) && in_flight < self.capabilities.slots.saturating_add(AHEAD)
    }
}

impl Nodes {
    /// Takes a node in. An older connection of the same identity is closed: the newer one replaces it.
    pub(crate) fn join(&self, address: Address, connection: Connection, capabilities: Capabilities) -> Arc<Node> {
        let node = Arc::new(Node {
            address,
            connection,
            capabilities,
            in_flight: AtomicU32::new(0),
            last_pick: AtomicU64::new(0),
            draining: AtomicBool::new(false),
        });
        if let Some(older) = self.nodes().insert(address, node.clone()) {
            older.connection.close(CLOSE_REPLACED.into(), b"replaced by a newer connection of the same identity");
        }
        self.changed.notify_waiters();
        node
    }

    /// Lets a node go, unless a newer connection has replaced it.
    pub(crate) fn leave(&self, node: &Arc<Node>) {
        let mut nodes = self.nodes();
        if nodes.get(&node.address).is_some_and(|current| Arc::ptr_eq(current, node)) {
            nodes.remove(&node.address);
        }
        drop(nodes);
        self.changed.notify_waiters();
    }

    /// Wakes when a node joins, leaves or has room again. To be called before looking, so that nothing is missed.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// The profile of `class` that most nodes offer.
    pub(crate) fn best_profile(&self, class: DeterminismClass) -> Option<Hash> {
        let mut counts = HashMap::<Hash, usize>::new();
        for node in self.nodes().values() {
            let offered = node.capabilities.profiles.iter().filter(|(offered, _)| *offered == class);
            offered.for_each(|(_, profile)| *counts.entry(*profile).or_default() += 1);
        }
        counts.into_iter().max_by_key(|(profile, count)| (*count, *profile)).map(|(profile, _)| profile)
    }

    /// The least loaded node for a lease, none of `excluded`; among equals the one picked longest ago.
    pub(crate) fn pick(
        shared: &Arc<crate::Shared>,
        class: DeterminismClass,
        profile: Hash,
        excluded: &[Address],
    ) -> Option<Picked> {
        let this = &shared.nodes;
        let nodes = this.nodes();
        let load = |node: &&Arc<Node>| {
            let in_flight = u64::from(node.in_flight.load(Ordering::Relaxed));
            (in_flight * 1024 / u64::from(node.capabilities.slots.max(1)), node.last_pick.load(Ordering::Relaxed))
        };
        let candidates = nodes
            .values()
            .filter(|node| node.offers(class, profile) && node.has_room() && !excluded.contains(&node.address));
        let node = candidates.min_by_key(load)?.clone();
        node.in_flight.fetch_add(1, Ordering::Relaxed);
        node.last_pick.store(this.picks.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        Some(Picked { node, shared: shared.clone() })
    }

    /// A node that has a lease already, if it is connected.
    pub(crate) fn again(shared: &Arc<crate::Shared>, address: Address) -> Option<Picked> {
        let node = shared.nodes.nodes().get(&address).filter(|node| node.connection.close_reason().is_none())?.clone();
        node.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Picked { node, shared: shared.clone() })
    }

    /// A panic elsewhere cannot leave the map inconsistent, so a poisoned lock is no reason to stop.
    fn nodes(&self) -> std::sync::MutexGuard<'_, HashMap<Address, Arc<Node>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
