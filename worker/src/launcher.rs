//! Workers: how they are to be, and where they come from.

use crate::compile::CompiledModules;
use crate::layer::{Missing, Role};
use crate::pool::Pool;
use crate::sealed::SealedBlobs;
use crate::supervise::ProcessWorker;
use depx_protocol::{DeterminismClass, Hash};
use depx_runtime::{EngineOptions, HostFault, Worker, WorkerLauncher};
use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
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
    /// Bytes of memory beyond what a job may hold and its models take: the program, and models of earlier jobs.
    pub overhead: u64,
    /// Processor time for compiling one module. What takes longer is hostile, or larger than this node wants it.
    pub compile_time: Duration,
    /// Bytes of memory for the process that compiles one module, the module and the program itself included.
    pub compile_memory: u64,
    /// Where compiled modules are kept; `None` keeps them in a temporary folder as long as there are workers. Nobody else may
    /// write there, and nothing that is not isolated should execute what is there: it was made of strangers' modules.
    pub cache_dir: Option<PathBuf>,
    /// Bytes of compiled modules that are kept.
    pub cache_bytes: u64,
    /// Jobs after which a process is replaced, so that what one client's guest might have left in it does not stay for ever.
    pub jobs_per_process: u32,
    /// Work also where layers of isolation are missing.
    pub allow_missing: bool,
}

impl WorkerOptions {
    /// One thread, no models, 512 MiB beyond what a job may hold, 10 s and 1 GiB to compile, 4 GiB of compiled modules in a temporary
    /// folder, 1,000 jobs per process, every layer.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            engine: EngineOptions::default(),
            models: false,
            library_folder: None,
            threads: NonZeroU32::MIN,
            max_job_output: 1 << 30,
            overhead: 512 << 20,
            compile_time: Duration::from_secs(10),
            compile_memory: 1 << 30,
            cache_dir: None,
            cache_bytes: 4 << 30,
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
    /// There is no place for compiled modules.
    #[error("compiled modules cannot be kept")]
    Cache(#[source] HostFault),
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
        // The kernel counts whole seconds, and the program's start with them; the supervisor counts more closely.
        let seconds = options.compile_time.as_secs().saturating_add(1);
        let (execute, compile) = std::thread::scope(|scope| {
            let compile = scope.spawn(|| Pool::start(&options, Role::Compile { seconds }));
            (Pool::start(&options, Role::Execute), compile.join())
        });
        let pool = execute.map_err(LaunchError::Worker)?;
        let died = |_| Err(HostFault::Resources { resource: "threads" });
        let compilers = compile.unwrap_or_else(died).map_err(LaunchError::Worker)?;
        let mut missing = pool.greeting().missing.clone();
        missing.extend(
            compilers.greeting().missing.iter().filter(|other| !pool.greeting().missing.contains(other)).cloned(),
        );
        if !missing.is_empty() && !options.allow_missing {
            return Err(LaunchError::Weak { missing });
        }
        let compiled = CompiledModules::open(&options, compilers).map_err(LaunchError::Cache)?;
        Ok(Self(Arc::new(Shared { missing, sealed: SealedBlobs::new(), compiled, options, pool })))
    }

    /// What workers can execute.
    pub fn profiles(&self) -> Vec<(DeterminismClass, Hash)> {
        self.0.pool.greeting().profiles.clone()
    }

    /// Layers of isolation that this machine does not give.
    pub fn missing(&self) -> &[Missing] {
        &self.0.missing
    }

    /// Why workers cannot run models, if they were to.
    pub fn no_models(&self) -> Option<&str> {
        self.0.pool.greeting().no_models.as_deref()
    }

    /// Modules that were compiled so far; those that were refused, or took too much, included.
    pub fn compilations(&self) -> u64 {
        self.0.compiled.compilations()
    }
}

impl WorkerLauncher for ProcessLauncher {
    fn launch(&self) -> Result<Box<dyn Worker>, HostFault> {
        let process = self.0.pool.take()?;
        Ok(Box::new(ProcessWorker::new(self.0.clone(), process)))
    }
}

/// What all workers of a launcher share.
pub(crate) struct Shared {
    pub(crate) options: WorkerOptions,
    pub(crate) sealed: SealedBlobs,
    pub(crate) compiled: CompiledModules,
    pub(crate) pool: Pool,
    missing: Vec<Missing>,
}
