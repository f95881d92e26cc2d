//! How long a module takes that was compiled earlier, by another process.

use super::runtime;
use crate::Plan;
use crate::figure::{Entry, Figure, Goal};
use crate::kernels::{APPLICATION, Kernels};
use crate::measure::{take_turns, wall_time};
use crate::task::{ensure_success, job};
use anyhow::{Context, Result};
use bytes::Bytes;
use depx_protocol::{Blob, JobInput, blob_hash};
use depx_runtime::{Cancel, with_execution_stack};

pub(crate) const ENTRIES: &[Entry] = &[Entry {
    name: "sandbox.cold_start",
    unit: "ms",
    goal: Goal::AtMost(1.0),
    baseline: "BLAKE3 of the module alone, ms",
    method: "A job whose module of about 1.2 MB (`bench/kernels/src/bin/application.rs`: a real program with its libraries) has its artifact \
             on disk, in the page cache, and a `_start` that returns at once, in a runtime that has not seen it: read, verify, load, \
             link, instantiate, run, derive the result. The module's hash is known from its transfer.",
}];

pub(crate) fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let wasm = Kernels::find_or_build()?.module(APPLICATION)?;
    let directory = tempfile::tempdir().context("a temporary folder cannot be made")?;
    let fresh = || runtime(Some(directory.path().to_owned()));
    // Compiles it.
    fresh()?.prepare(&wasm)?;
    let wasm = Bytes::from(wasm);

    let input = JobInput::Compute(Blob::of(b""));
    let job = job(&fresh()?, &wasm, input, &Bytes::new(), None)?;
    let mut cold_start = || {
        let runtime = fresh()?;
        wall_time(|| ensure_success(&runtime.run_job(&job, &Cancel::default())?))
    };
    let mut hash = || wall_time(|| Ok(std::hint::black_box(blob_hash(&wasm))));
    let turns = plan.turns(200, 30);
    let turns = with_execution_stack(|| take_turns(turns, [&mut cold_start, &mut hash]))?;
    Ok(vec![ENTRIES[0].figure(turns.time(0) * 1e3, Some(turns.time(1) * 1e3))])
}
