//! What a run costs that does nothing.

use super::runtime;
use crate::Plan;
use crate::bare::{Bare, Memory, Metering};
use crate::figure::{Entry, Figure, Goal};
use crate::measure::{processor_time, take_turns};
use crate::task::{empty_task, ensure_success, job, noop};
use anyhow::{Result, ensure};
use bytes::Bytes;
use depx_protocol::{Blob, JobInput, Status};
use depx_runtime::{Cancel, with_execution_stack};

pub(crate) const ENTRIES: &[Entry] = &[
    Entry {
        name: "sandbox.noop",
        unit: "µs",
        goal: Goal::AtMost(5.0),
        baseline: "instantiating and calling the same module on the bare engine, pooled, µs",
        method: "Processor time of one execution of a prepared module whose `_start` returns at once: a pooled instance with its WASI \
                 context, from call to outcome. Median of blocks of 1,000.",
    },
    Entry {
        name: "sandbox.noop_job",
        unit: "µs",
        goal: Goal::None,
        baseline: "`sandbox.noop`, µs",
        method: "Processor time of the whole job around it: spec checked, module found by hash, item hashed, result derived; unsigned.",
    },
];

/// Runs in one turn, so that the clock's own cost does not show.
const BLOCK: usize = 1000;

pub(crate) fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let wasm = noop()?;
    let runtime = runtime(None)?;
    let executable = runtime.prepare(&wasm)?;
    let bare = Bare::compile(&wasm, Metering::None, Memory::Pooled)?;
    let (task, cancel) = (empty_task(), Cancel::default());
    let job = job(&runtime, &wasm, JobInput::Compute(Blob::of(b"")), &Bytes::new(), None)?;

    let mut sandbox = || {
        block(|| {
            let outcome = runtime.execute(&executable, &task, &cancel)?;
            ensure!(outcome.status == Status::Success, "the run ended with {:?}", outcome.status);
            Ok(())
        })
    };
    let mut engine = || block(|| bare.run().map(drop));
    let mut whole_job = || block(|| ensure_success(&runtime.run_job(&job, &cancel)?));
    let turns = plan.turns(200, 50);
    let turns = with_execution_stack(|| take_turns(turns, [&mut sandbox, &mut engine, &mut whole_job]))?;
    let [sandbox, engine, whole_job] = [0, 1, 2].map(|contender| turns.time(contender) * 1e6);
    Ok(vec![ENTRIES[0].figure(sandbox, Some(engine)), ENTRIES[1].figure(whole_job, Some(sandbox))])
}

/// Does `work` many times; gives the processor time of one, in seconds.
fn block(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    Ok(processor_time(|| (0..BLOCK).try_for_each(|_| work()))? / BLOCK as f64)
}
