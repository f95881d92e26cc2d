//! Processes that are started ahead of need.

use crate::WorkerOptions;
use crate::cgroup::Hierarchy;
use crate::layer::Role;
use crate::process::{Greeting, Process};
use depx_runtime::HostFault;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

/// A thread that starts processes of one role, one ahead of need. All are started by this one thread, since a process is killed
/// when the thread that started it ends: after the last worker is gone, or when the whole supervisor dies.
pub(crate) struct Pool {
    started: Option<Mutex<Receiver<Result<Process, HostFault>>>>,
    thread: Option<JoinHandle<()>>,
    /// The one that was started to see what this machine gives.
    first: Mutex<Option<Process>>,
    greeting: Greeting,
    allow_missing: bool,
}

impl Pool {
    /// Starts the first.
    pub(crate) fn start(options: &WorkerOptions, role: Role) -> Result<Self, HostFault> {
        // Holds none itself: the thread waits, with the one that it has started, until that is taken.
        let (send, started) = sync_channel(0);
        let hierarchy = Hierarchy::find().map_err(|error| error.to_string());
        let (allow_missing, options) = (options.allow_missing, options.clone());
        let start = move || {
            loop {
                if let Err(unwanted) = send.send(Process::start(&options, role, &hierarchy)) {
                    return unwanted.0.map_or((), Process::end);
                }
            }
        };
        let thread = std::thread::Builder::new().name("depx-workers".into()).spawn(start);
        let thread = thread.map_err(|_| HostFault::Resources { resource: "threads" })?;
        let (started, thread) = (Some(Mutex::new(started)), Some(thread));
        let mut pool = Self { started, thread, first: Mutex::default(), greeting: Greeting::default(), allow_missing };
        let first = pool.next()?;
        pool.greeting = first.greeting().clone();
        pool.first = Mutex::new(Some(first));
        Ok(pool)
    }

    /// What the first said about itself.
    pub(crate) fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// A process that is ready, and no other than the first was.
    pub(crate) fn take(&self) -> Result<Process, HostFault> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut process = match first {
            Some(process) => process,
            None => self.next()?,
        };
        if !process.is_alive() {
            process = self.next()?;
        }
        let greeting = process.greeting();
        let weaker = greeting.missing.iter().find(|missing| !self.greeting.missing.contains(missing));
        if let Some(missing) = weaker.filter(|_| !self.allow_missing) {
            return Err(HostFault::WorkerDied { reason: format!("it could not be isolated; missing is {missing}") });
        }
        if (&greeting.profiles, greeting.compatibility) != (&self.greeting.profiles, self.greeting.compatibility) {
            let reason = "it offers other execution profiles than the first; restart the node".to_owned();
            return Err(HostFault::WorkerDied { reason });
        }
        Ok(process)
    }

    /// The one that is warm, or the next that starts.
    fn next(&self) -> Result<Process, HostFault> {
        /// The first may have been started long ago, and have failed for what was the matter then, or have died since.
        const ATTEMPTS: usize = 2;
        let gone = || HostFault::WorkerDied { reason: "nothing starts workers any more".to_owned() };
        let started = self.started.as_ref().ok_or_else(gone)?.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last = Err(gone());
        for _ in 0..ATTEMPTS {
            last = started.recv().map_err(|_| gone())?;
            if last.as_mut().is_ok_and(Process::is_alive) {
                break;
            }
        }
        last
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        drop(self.started.take());
        if let Some(thread) = self.thread.take() {
            // It panics if starting a process does, which was reported then.
            let _ = thread.join();
        }
    }
}
