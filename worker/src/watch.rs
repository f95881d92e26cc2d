//! When to stop waiting.

use depx_runtime::{Cancel, HostFault, Job};
use std::time::{Duration, Instant};

/// How much longer than a job's limit a worker gets. It watches the limit itself, and stops a guest that calls the host.
const GRACE: Duration = Duration::from_millis(100);

/// Watches one job, from before its module is compiled.
pub(crate) struct Watch<'c> {
    cancel: &'c Cancel,
    /// `None` when the limit lies beyond what this machine's clock can count.
    deadline: Option<Instant>,
    limit_ms: u64,
}

impl<'c> Watch<'c> {
    pub(crate) fn start(job: &Job, cancel: &'c Cancel) -> Self {
        let limit_ms = job.spec.limits.wall_ms;
        let deadline = Instant::now().checked_add(Duration::from_millis(limit_ms).saturating_add(GRACE));
        Self { cancel, deadline, limit_ms }
    }

    pub(crate) fn limit_ms(&self) -> u64 {
        self.limit_ms
    }

    pub(crate) fn check(&self) -> Result<(), HostFault> {
        if self.cancel.is_cancelled() {
            return Err(HostFault::Cancelled);
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(HostFault::Timeout { limit_ms: self.limit_ms });
        }
        Ok(())
    }
}
