//! Execution on this machine: what metering costs, what a run costs that does nothing, how evenly fuel is priced, and how
//! `depx run` compares with `wasmtime run`.

pub(crate) mod batch;
pub(crate) mod cli;
pub(crate) mod cold_start;
pub(crate) mod fuel;
pub(crate) mod metering;
pub(crate) mod noop;
pub(crate) mod preinitialised;
pub(crate) mod prepare;
pub(crate) mod worker;

use anyhow::Result;
use depx_runtime::{Allocation, EngineOptions, Optimize, Runtime, RuntimeOptions};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;

/// A runtime as a node sets it up: compiled for speed, instances from a pool, items on all cores.
fn runtime(cache_dir: Option<PathBuf>) -> Result<Runtime> {
    let parallelism = available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let slots = 2 * u32::try_from(parallelism.get()).unwrap_or(u32::MAX / 2);
    let engine = EngineOptions {
        optimize: Optimize::Speed,
        allocation: Allocation::Pooling { slots },
        ..EngineOptions::default()
    };
    Ok(Runtime::new(RuntimeOptions { engine, cache_dir, parallelism, ..RuntimeOptions::default() })?)
}
