//! Starts worker processes, one ahead of need.

use crate::cgroup::Hierarchy;
use crate::layer::Missing;
use crate::process::Process;
use crate::sealed::SealedBlobs;
use crate::supervise::ProcessWorker;
use depx_protocol::{DeterminismClass, Hash};
use depx_runtime::{EngineOptions, HostFault, Worker, WorkerLauncher};
use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How to start workers and what to allow them.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// The program that calls [`crate::serve`]; an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// How modules are compiled and instantiated. Never changes a result.
    pub engine: EngineOptions,
    /// Whether workers load ONNX Runtime: from where `ORT_DYLIB_PATH` says, beside the program, or in `library_folder`.
    pub models: bool,
    /// See `models`.
    pub library_folder: Option<PathBuf>,
    /// Threads on which the items of one job are executed, and processors that a worker may use.
    pub threads: NonZeroU32,
    /// Bytes of output and logs of all items of one job; see [`depx_runtime::RuntimeOptions::max_job_output`].
    pub max_job_output: u64,
    /// Bytes of memory beyond what a job may hold: the program, the compiler, models.
    pub overhead: u64,
    /// Processor time for compiling one module. What takes longer is hostile, or larger than this node wants it.
    pub compile_time: Duration,
    /// Jobs after which a process is replaced, so that what one client's guest might have left in it does not stay for ever.
    pub jobs_per_process: u32,
    /// Work also where layers of isolation are missing.
    pub allow_missing: bool,
}

impl WorkerOptions {
    /// One thread, no models, 1 GiB beyond what a job may hold, 10 s to compile, 1,000 jobs per process, every layer.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            engine: EngineOptions::default(),
            models: false,
            library_folder: None,
            threads: NonZeroU32::MIN,
            max_job_output: 1 << 30,
            overhead: 1 << 30,
            compile_time: Duration::from_secs(10),
            jobs_per_process: 1000,
            allow_missing: false,
        }
    }
}

/// Why no workers can be had.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The first worker did not start.
    #[error("no worker process can be started")]
    Worker(#[source] HostFault),
    /// It is not isolated as it should be.
    #[error("workers cannot be isolated on this machine; {}; or allow a weaker sandbox", list(.missing))]
    Weak {
        /// What lacks.
        missing: Vec<Missing>,
    },
}

fn list(missing: &[Missing]) -> String {
    let parts: Vec<String> = missing.iter().map(|missing| format!("missing is {missing}")).collect();
    parts.join("; ")
}

/// Starts worker processes and keeps one warm. Clones share it.
#[derive(Clone)]
pub struct ProcessLauncher(Arc<Shared>);

impl ProcessLauncher {
    /// Starts a first worker, to see what this machine gives.
    pub fn new(options: WorkerOptions) -> Result<Self, LaunchError> {
        let pool = Pool::start(options.clone()).map_err(LaunchError::Worker)?;
        let first = pool.next().map_err(LaunchError::Worker)?;
        let greeting = first.greeting();
        if !greeting.missing.is_empty() && !options.allow_missing {
            return Err(LaunchError::Weak { missing: greeting.missing.clone() });
        }
        let shared = Shared {
            missing: greeting.missing.clone(),
            profiles: greeting.profiles.clone(),
            no_models: greeting.no_models.clone(),
            first: Mutex::new(Some(first)),
            sealed: SealedBlobs::new(),
            options,
            pool,
        };
        Ok(Self(Arc::new(shared)))
    }

    /// What workers can execute.
    pub fn profiles(&self) -> Vec<(DeterminismClass, Hash)> {
        self.0.profiles.clone()
    }

    /// Layers of isolation that this machine does not give.
    pub fn missing(&self) -> &[Missing] {
        &self.0.missing
    }

    /// Why workers cannot run models, if they were to.
    pub fn no_models(&self) -> Option<&str> {
        self.0.no_models.as_deref()
    }
}

impl WorkerLauncher for ProcessLauncher {
    fn launch(&self) -> Result<Box<dyn Worker>, HostFault> {
        let process = self.0.take()?;
        Ok(Box::new(ProcessWorker::new(self.0.clone(), process)))
    }
}

/// What all workers of a launcher share.
pub(crate) struct Shared {
    pub(crate) options: WorkerOptions,
    pub(crate) sealed: SealedBlobs,
    missing: Vec<Missing>,
    profiles: Vec<(DeterminismClass, Hash)>,
    no_models: Option<String>,
    /// The one that was started to see what this machine gives.
    first: Mutex<Option<Process>>,
    pool: Pool,
}

impl Shared {
    /// A process that is ready for a job.
    pub(crate) fn take(&self) -> Result<Process, HostFault> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut process = match first {
            Some(process) => process,
            None => self.pool.next()?,
        };
        if !process.is_alive() {
            process = self.pool.next()?;
        }
        let greeting = process.greeting();
        let weaker = greeting.missing.iter().find(|missing| !self.missing.contains(missing));
        if let Some(missing) = weaker.filter(|_| !self.options.allow_missing) {
            return Err(HostFault::WorkerDied { reason: format!("it could not be isolated; missing is {missing}") });
        }
        if greeting.profiles != self.profiles {
            let reason = "it offers other execution profiles than the first; restart the node".to_owned();
            return Err(HostFault::WorkerDied { reason });
        }
        Ok(process)
    }
}

/// A thread that starts processes, one ahead of need. All are started by this one thread, since a process is killed when the
/// thread that started it ends: after the last worker is gone, or when the whole supervisor dies.
struct Pool {
    started: Option<Mutex<Receiver<Result<Process, HostFault>>>>,
    thread: Option<JoinHandle<()>>,
}

impl Pool {
    fn start(options: WorkerOptions) -> Result<Self, HostFault> {
        // Holds none itself: the thread waits, with the one that it has started, until that is taken.
        let (send, started) = sync_channel(0);
        let hierarchy = Hierarchy::find().map_err(|error| error.to_string());
        let start = move || {
            loop {
                if let Err(unwanted) = send.send(Process::start(&options, &hierarchy)) {
                    return unwanted.0.map_or((), Process::end);
                }
            }
        };
        let thread = std::thread::Builder::new().name("depx-workers".into()).spawn(start);
        let thread = thread.map_err(|_| HostFault::Resources { resource: "threads" })?;
        Ok(Self { started: Some(Mutex::new(started)), thread: Some(thread) })
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
