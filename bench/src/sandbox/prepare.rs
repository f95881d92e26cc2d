//! How fast modules are validated and instrumented.

use crate::Plan;
use crate::figure::{Entry, Figure, Goal};
use crate::kernels::{APPLICATION, Kernels};
use crate::measure::{processor_time, take_turns};
use anyhow::Result;
use depx_protocol::blob_hash;
use depx_runtime::instrumented;

pub(crate) const ENTRIES: &[Entry] = &[Entry {
    name: "sandbox.prepare",
    unit: "MB/s",
    goal: Goal::AtLeast(100.0),
    baseline: "BLAKE3 of the same module, MB/s",
    method: "Validation and instrumentation, without compilation, of a module of about 1.2 MB (`bench/kernels/src/bin/application.rs`), in \
             processor time of one thread.",
}];

pub(crate) fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let wasm = Kernels::find_or_build()?.module(APPLICATION)?;
    let mut prepare = || processor_time(|| Ok(std::hint::black_box(instrumented(&wasm)?)));
    let mut hash = || processor_time(|| Ok(std::hint::black_box(blob_hash(&wasm))));
    let turns = take_turns(plan.turns(100, 30), [&mut prepare, &mut hash])?;
    let rate = |time: f64| wasm.len() as f64 / time / 1e6;
    Ok(vec![ENTRIES[0].figure(rate(turns.time(0)), Some(rate(turns.time(1))))])
}
