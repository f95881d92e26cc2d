//! Leases whose execution is under way, so that a lease that is offered again, after its connection was lost, is not executed again.

use depx_protocol::wire::Reveal;
use depx_protocol::{Address, Assignment, Hash, LeaseId};
use depx_runtime::Cancel;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::watch;

/// With so many, those that nobody holds any more are forgotten.
const MANY: usize = 1024;

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
        if leases.len() >= MANY {
            leases.retain(|_, lease| lease.strong_count() > 0);
        }
        let (cancel, end, attached) = (Cancel::default(), watch::Sender::new(None), AtomicU32::new(0));
        let lease = Arc::new(Lease { assignment: assignment.clone(), cancel, end, attached });
        leases.insert(assignment.lease, Arc::downgrade(&lease));
        Some(Role::Execute(lease))
    }

    /// Nobody executes this lease any more; whoever is offered it next has to.
    pub(crate) fn forget(&self, lease: &Arc<Lease>) {
        let mut leases = self.leases();
        let id = &lease.assignment.lease;
        if leases.get(id).is_some_and(|known| known.as_ptr() == Arc::as_ptr(lease)) {
            leases.remove(id);
        }
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

    pub(crate) fn is_detached(&self) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use depx_protocol::{SecretKey, Settlement, VERSION};

    fn assignment(number: u64) -> Assignment {
        let address = SecretKey::from_bytes(&[6; 32]).unwrap().address();
        let mut lease = LeaseId([0; 16]);
        lease.0[..8].copy_from_slice(&number.to_be_bytes());
        Assignment {
            version: VERSION,
            job: Hash::ZERO,
            lease,
            attempt: 0,
            coordinator: address,
            executor: address,
            profile: Hash::ZERO,
            issued_ms: 0,
            expires_ms: 1,
            settlement: Settlement::default(),
        }
    }

    fn owned(role: Option<Role>) -> Arc<Lease> {
        match role {
            Some(Role::Execute(lease)) => lease,
            _ => panic!("it is to be executed"),
        }
    }

    #[tokio::test]
    async fn one_executes_a_lease_and_others_follow() {
        let leases = Leases::default();
        let lease = owned(leases.take(&assignment(1)));
        let Some(Role::Follow(followed)) = leases.take(&assignment(1)) else { panic!("somebody executes it") };
        assert!(Arc::ptr_eq(&lease, &followed));
        assert!(leases.take(&Assignment { attempt: 1, ..assignment(1) }).is_none(), "it is another's");
        lease.end(End::Failed("as a test".into()));
        assert!(matches!(followed.ended().await, End::Failed(_)));

        // Nobody executes it any more, though somebody still holds it.
        leases.forget(&lease);
        let next = owned(leases.take(&assignment(1)));
        leases.forget(&lease);
        assert!(matches!(leases.take(&assignment(1)), Some(Role::Follow(_))), "only what it was is forgotten");
        drop(next);
        owned(leases.take(&assignment(1)));
    }

    #[test]
    fn leases_without_a_stream_are_cancelled_when_nobody_offers_them_again() {
        let leases = Leases::default();
        let (kept, lost) = (owned(leases.take(&assignment(1))), owned(leases.take(&assignment(2))));
        let attached = Attached::to(&kept);
        leases.cancel_detached(Address([0; 20]));
        assert!(!lost.cancel.is_cancelled(), "it is another coordinator's");
        leases.cancel_detached(lost.assignment().coordinator);
        assert!(lost.cancel.is_cancelled() && !kept.cancel.is_cancelled());
        assert!(leases.is_attached(&assignment(1).lease) && !leases.is_attached(&assignment(2).lease));
        drop(attached);
        assert!(!leases.is_attached(&assignment(1).lease));
    }

    #[test]
    fn what_nobody_holds_takes_no_room() {
        let leases = Leases::default();
        for number in 0..5000 {
            drop(leases.take(&assignment(number)));
            assert!(leases.leases().len() <= MANY);
        }
    }
}
