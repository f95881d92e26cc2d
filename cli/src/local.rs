//! Execution on this machine.

use crate::Global;
use anyhow::{Context, Result};
use depx_models::OnnxRuntime;
use depx_protocol::{DeterminismClass, Hash};
use depx_runtime::{Runtime, RuntimeOptions};
#[cfg(target_os = "linux")]
use depx_worker::{LaunchError, ProcessLauncher, WorkerOptions};
use std::num::NonZeroUsize;
#[cfg(target_os = "linux")]
use std::path::Path;
#[cfg(target_os = "linux")]
use std::time::Duration;

/// How to execute. None of it changes a result.
#[derive(clap::Args, Clone)]
pub(crate) struct EngineArgs {
    /// How hard the compiler tries
    #[arg(long, value_enum, default_value_t = Optimize::Speed, help_heading = "Engine")]
    optimize: Optimize,
    /// How instances get their memory
    #[arg(long, value_enum, default_value_t = Allocation::OnDemand, help_heading = "Engine")]
    allocation: Allocation,
    /// Interpret instead of compiling
    #[arg(long, help_heading = "Engine")]
    interpret: bool,
    /// Threads on which the items of a batch are executed, or one reproducible inference
    #[arg(long, value_name = "N", default_value_t = NonZeroUsize::MIN, help_heading = "Engine")]
    threads: NonZeroUsize,
}

#[derive(clap::ValueEnum, Clone, Copy)]
enum Optimize {
    None,
    Speed,
}

#[derive(clap::ValueEnum, Clone, Copy)]
enum Allocation {
    Pooling,
    OnDemand,
}

/// Instances that the pool of `--allocation pooling` holds.
const POOL_SLOTS: u32 = 64;

impl EngineArgs {
    /// A runtime with these options, that runs models if `models` is set, that keeps so many of each item's host calls.
    pub(crate) fn runtime(&self, global: &Global, models: bool, kept_host_calls: usize) -> Result<Runtime> {
        let engine = depx_runtime::EngineOptions {
            optimize: match self.optimize {
                Optimize::None => depx_runtime::Optimize::None,
                Optimize::Speed => depx_runtime::Optimize::Speed,
            },
            allocation: match self.allocation {
                Allocation::Pooling => depx_runtime::Allocation::Pooling { slots: POOL_SLOTS },
                Allocation::OnDemand => depx_runtime::Allocation::OnDemand,
            },
            interpreter: self.interpret,
        };
        let mut options = RuntimeOptions {
            engine,
            cache_dir: Some(global.home.join("artifacts")),
            parallelism: self.threads,
            kept_host_calls,
            ..RuntimeOptions::default()
        };
        if models {
            options = options.with_library(library(global)?);
        }
        Runtime::new(options).context("cannot set up the runtime")
    }
}

/// What compiling one module may take.
#[cfg(target_os = "linux")]
pub(crate) struct CompileLimits {
    /// Processor time.
    pub(crate) time: Duration,
    /// Bytes.
    pub(crate) memory: u64,
}

/// The workers of a node, each a process that executes one job at a time: compiled for speed, instances from a pool. Compiled
/// modules are kept in `data`, apart from those of `depx run`, which executes what it finds without a worker's isolation.
///
/// `allow_weak`: also where this machine lacks a layer of their isolation.
#[cfg(target_os = "linux")]
pub(crate) fn workers(
    global: &Global,
    data: &Path,
    compile: CompileLimits,
    allow_weak: bool,
) -> Result<ProcessLauncher> {
    let options = WorkerOptions {
        cache_dir: Some(data.join("artifacts")),
        allow_missing: allow_weak,
        ..worker_options(global, compile)?
    };
    let workers = ProcessLauncher::new(options).map_err(|error| match error {
        LaunchError::Weak { .. } => anyhow::Error::new(error).context(
            "this node does not execute strangers' jobs; --allow-weak-sandbox lets it, with the layers that there are",
        ),
        LaunchError::Worker(_) | LaunchError::Cache(_) => anyhow::Error::new(error),
    })?;
    for missing in workers.missing() {
        tracing::warn!("the sandbox is weak: missing is {missing}");
    }
    if let Some(reason) = workers.no_models() {
        tracing::warn!("models cannot be run on this machine: {reason}; this node offers jobs without models only");
    }
    Ok(workers)
}

/// Workers like a node's that keep nothing, whatever isolates them. A node may run beside them.
#[cfg(target_os = "linux")]
pub(crate) fn passing_workers(global: &Global, compile: CompileLimits) -> Result<ProcessLauncher> {
    let options = WorkerOptions { allow_missing: true, ..worker_options(global, compile)? };
    Ok(ProcessLauncher::new(options)?)
}

#[cfg(target_os = "linux")]
fn worker_options(global: &Global, compile: CompileLimits) -> Result<WorkerOptions> {
    let engine = depx_runtime::EngineOptions {
        optimize: depx_runtime::Optimize::Speed,
        // One that runs, and one whose memory is being given back.
        allocation: depx_runtime::Allocation::Pooling { slots: 2 },
        interpreter: false,
    };
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let home = std::path::absolute(&global.home).context("cannot tell where the data directory is")?;
    Ok(WorkerOptions {
        arguments: vec!["worker".into()],
        engine,
        models: true,
        library_folder: Some(home),
        compile_time: compile.time,
        compile_memory: compile.memory,
        ..WorkerOptions::new(program)
    })
}

/// The profile in which `runtime` executes jobs of `class`.
pub(crate) fn profile(runtime: &Runtime, class: DeterminismClass) -> Result<Hash> {
    let offered = runtime.profiles().into_iter().find(|(offered, _)| *offered == class);
    let (_, profile) =
        offered.with_context(|| format!("this machine cannot execute jobs of class {}", class.name()))?;
    Ok(profile)
}

/// ONNX Runtime, from wherever it is installed.
pub(crate) fn library(global: &Global) -> Result<OnnxRuntime> {
    OnnxRuntime::open(Some(&global.home)).context("models cannot be run on this machine")
}
