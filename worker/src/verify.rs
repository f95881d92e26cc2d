//! What a worker says is checked before anything is made of it: a worker whose guest has broken out says what the guest wants.
//!
//! A wrong result that is consistent in itself passes, as it would from a node that lies: that is what other nodes are for.

use crate::WorkerOptions;
use crate::layer::bounded;
use crate::message::Done;
use bytes::Bytes;
use depx_protocol::{JobOutput, OutputError, ResultCore, VERSION};
use depx_runtime::{Job, JobResult};
use std::time::Duration;

/// Bytes that an item takes in an encoded output beyond what it produced.
const ITEM: u64 = 512;
/// Bytes that a file takes in an encoded output beyond its content: the longest path, and lengths.
const FILE: u64 = 4096 + 32;
/// Bytes of an encoded output beyond its items.
const FRAME: u64 = 1 << 16;

/// What is wrong with a worker's result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Mismatch {
    #[error("its result is for another job, class or profile than it was given")]
    Job,
    #[error("its result has {found} items where the job has {expected}")]
    Items { found: u64, expected: u64 },
    #[error("item {item} of its result is over the job's limits")]
    Limits { item: u64 },
    #[error("its result says that initialising the module took {fuel} units of fuel, more than there are")]
    Snapshot { fuel: u64 },
    #[error("its output does not belong to its result: {0}")]
    Output(OutputError),
}

/// The longest encoded output of `job`.
pub(crate) fn max_output(job: &Job, options: &WorkerOptions) -> u64 {
    let (limits, items) = (&job.spec.limits, job.spec.input.items());
    let overhead = items.saturating_mul(ITEM).saturating_add(FRAME);
    // What the worker holds of it is bounded; small parts take more room encoded than held, but not twice.
    let held = options.max_job_output.saturating_mul(2).saturating_add(overhead);
    if !job.spec.models.is_empty() {
        // How often a guest calls a model is bounded by its fuel alone.
        return held;
    }
    let item = limits.output_bytes.saturating_add(u64::from(limits.files).saturating_mul(FILE));
    held.min(items.saturating_mul(item).saturating_add(overhead))
}

/// Checks what a result says before its output has come.
pub(crate) fn announced(done: &Done, job: &Job) -> Result<(), Mismatch> {
    let ResultCore { version, job: id, class, profile, status, item_count, snapshot_fuel, .. } = &done.core;
    if (*version, *id, *class, *profile) != (VERSION, job.id, job.spec.class, job.profile) {
        return Err(Mismatch::Job);
    }
    if *snapshot_fuel > depx_host_abi::snapshot::FUEL {
        return Err(Mismatch::Snapshot { fuel: *snapshot_fuel });
    }
    let expected = if status.is_refusal() { 0 } else { job.spec.input.items() };
    let counts = [*item_count, done.log_lens.len() as u64, done.times_ns.len() as u64];
    match counts.into_iter().find(|found| *found != expected) {
        Some(found) => Err(Mismatch::Items { found, expected }),
        None => Ok(()),
    }
}

/// Puts a result together if its parts belong together.
pub(crate) fn result(done: Done, output: &[u8], logs: Vec<Bytes>, job: &Job) -> Result<JobResult, Mismatch> {
    let output = JobOutput::verified(output, &done.core).map_err(Mismatch::Output)?;
    let limits = &job.spec.limits;
    let over = output.items.iter().zip(&logs).find(|(item, log)| {
        item.leaf.fuel_used > limits.fuel
            || item.leaf.peak_memory_pages > limits.memory_pages
            || item.leaf.output_len > limits.output_bytes
            || (log.len() as u64) != item.leaf.log_len.min(limits.log_bytes)
    });
    if let Some((item, _)) = over {
        return Err(Mismatch::Limits { item: item.leaf.index });
    }
    let times = done.times_ns.into_iter().map(Duration::from_nanos).collect();
    let detail = done.detail.map(|detail| bounded(&detail));
    Ok(JobResult { core: done.core, output, logs, host_calls: Vec::new(), times, detail })
}
