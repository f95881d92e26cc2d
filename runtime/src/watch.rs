//! Cancellation and the wall clock. Time only ever makes a fault; the guest cannot see it.

use crate::{Cancel, HostFault};
use std::time::{Duration, Instant};

/// Says when a run must stop for reasons that are not the guest's.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    cancel: Cancel,
    /// Set when the job is over for another reason.
    stop: Cancel,
    /// `None` when the limit lies beyond what this machine's clock can count.
    deadline: Option<Instant>,
    limit_ms: u64,
}

impl Watch {
    /// Starts the clock.
    pub(crate) fn start(cancel: &Cancel, limit_ms: u64) -> Self {
        let deadline = Instant::now().checked_add(Duration::from_millis(limit_ms));
        Self { cancel: cancel.clone(), stop: Cancel::default(), deadline, limit_ms }
    }

    /// Has everything that runs under this watch end as if it were cancelled.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    pub(crate) fn check(&self) -> Result<(), HostFault> {
        if self.cancel.is_cancelled() || self.stop.is_cancelled() {
            return Err(HostFault::Cancelled);
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(HostFault::Timeout { limit_ms: self.limit_ms });
        }
        Ok(())
    }
}
