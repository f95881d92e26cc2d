//! The seam between a node and whatever executes jobs for it: a disposable process, or a thread of this one.

use crate::{HostFault, Job, JobResult, Runtime};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Makes workers.
pub trait WorkerLauncher: Send + Sync {
    /// A fresh worker.
    fn launch(&self) -> Result<Box<dyn Worker>, HostFault>;
}

/// Executes one job at a time. After a [`HostFault`] it is dropped and a fresh one launched.
pub trait Worker: Send {
    /// Executes `job`; blocks until it is done, has failed or was cancelled.
    fn run(&mut self, job: &Job, cancel: &Cancel) -> Result<JobResult, HostFault>;
}

/// Stops a running job; clones share the same state.
#[derive(Clone, Default, Debug)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Stops the job at its next host call or item.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the job should stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Executes jobs on the calling thread of this process. A guest that spins is stopped by its fuel, not by `cancel`.
#[derive(Clone)]
pub struct InProcess(pub Runtime);

impl WorkerLauncher for InProcess {
    fn launch(&self) -> Result<Box<dyn Worker>, HostFault> {
        Ok(Box::new(self.clone()))
    }
}

impl Worker for InProcess {
    fn run(&mut self, job: &Job, cancel: &Cancel) -> Result<JobResult, HostFault> {
        self.0.run_job(job, cancel)
    }
}
