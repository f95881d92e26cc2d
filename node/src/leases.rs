//! Leases whose execution is under way, so that a lease that is offered again, after its connection was lost, is not executed again.

use depx_protocol::wire::Reveal;
use depx_protocol::{Address, Assignment, Hash, LeaseId};
use depx_runtime::Cancel;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::watch;

/// All of them, whatever coordinator they are of.
#[derive(Default)]
pub(crate) struct Leases(Mutex<HashMap<LeaseId, Weak<Lease>>>);

/// One lease, for as long as somebody executes it or waits for what comes of it.
pub(crate) struct Lease {
    assignment: Assignment,
    pub(crate) cancel: Cancel,
    end: watch::Sender<Option<End>>,
    /// Streams of the coordinator that are open.
    attached: AtomicU32,
}

/// What came of a lease.
#[derive(Clone)]
pub(crate) enum End {
    /// A receipt, which is in the journal.
    Signed(Arc<Signed>),
    /// This machine failed.
    Failed(String),
    /// Nothing, because the connection was lost that was needed for it.
    Lost,
}

/// A result that may leave.
pub(crate) struct Signed {
    pub(crate) reveal: Reveal,
    pub(crate) output: bytes::Bytes,
    /// Where the blob store has the output, it stays there.
    pub(crate) _pin: Option<depx_transport::Pin>,
}

/// Whose task it is to execute a lease.
pub(crate) enum Role {
    /// The caller's.
    Execute(Arc<Lease>),
    /// Somebody's already.
    Follow(Arc<Lease>),
}

impl Leases {
    /// Takes a lease on, or finds who did. `None` if a lease of this name is another's.
    pub(crate) fn take(&self, assignment: &Assignment) -> Option<Role> {
        let mut leases = self.leases();
        if let Some(lease) = leases.get(&assignment.lease).and_then(Weak::upgrade) {
            return lease.is_of(assignment).then_some(Role::Follow(lease));
        }
        let (cancel, end, attached) = (Cancel::default(), watch::Sender::new(None), AtomicU32::new(0));
        let lease = Arc::new(Lease { assignment: assignment.clone(), cancel, end, attached });
        leases.insert(assignment.lease, Arc::downgrade(&lease));
        Some(Role::Execute(lease))
    }

    /// Whoever executes a lease has to call this in the end.
    pub(crate) fn forget(&self, lease: &Lease) {
        self.leases().remove(&lease.assignment.lease);
    }

    /// Cancels those of `coordinator` that no stream is open for.
    pub(crate) fn cancel_detached(&self, coordinator: Address) {
        let detached = |lease: &Arc<Lease>| lease.is_detached() && lease.assignment.coordinator == coordinator;
        self.leases().values().filter_map(Weak::upgrade).filter(detached).for_each(|lease| lease.cancel.cancel());
    }

    /// Whether a stream is open for this lease.
    pub(crate) fn is_attached(&self, lease: &LeaseId) -> bool {
        self.leases().get(lease).and_then(Weak::upgrade).is_some_and(|lease| !lease.is_detached())
    }

    fn leases(&self) -> MutexGuard<'_, HashMap<LeaseId, Weak<Lease>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    fn is_of(&self, offered: &Assignment) -> bool {
        let name = |assignment: &Assignment| (assignment.coordinator, assignment.job, assignment.attempt);
        name(&self.assignment) == name(offered)
    }

    fn is_detached(&self) -> bool {
        self.attached.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn job(&self) -> Hash {
        self.assignment.job
    }

    pub(crate) fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// Tells all who wait.
    pub(crate) fn end(&self, end: End) {
        self.end.send_replace(Some(end));
    }

    /// Waits for what comes of it.
    pub(crate) async fn ended(&self) -> End {
        let mut end = self.end.subscribe();
        match end.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(End::Lost),
            Err(_) => End::Lost,
        }
    }
}

/// A stream that is open.
pub(crate) struct Attached(Arc<Lease>);

impl Attached {
    pub(crate) fn to(lease: &Arc<Lease>) -> Self {
        lease.attached.fetch_add(1, Ordering::Relaxed);
        Self(lease.clone())
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.attached.fetch_sub(1, Ordering::Relaxed);
    }
}
