//! What it is worth to initialise a module once for all items of a batch.

use super::runtime;
use crate::Plan;
use crate::figure::{Entry, Figure, Goal};
use crate::measure::{take_turns, wall_time};
use crate::task::{ensure_success, job};
use anyhow::Result;
use bytes::Bytes;
use depx_protocol::{Blob, Canonical, ItemPack, JobInput};
use depx_runtime::{Cancel, Job, Runtime};

pub(crate) const ENTRIES: &[Entry] = &[Entry {
    name: "sandbox.preinitialised",
    unit: "ratio",
    goal: Goal::None,
    baseline: "an item that builds its table itself, µs",
    method: "Wall time of a batch of 1,000 items that each read one entry of a table of 1 MiB, built once by `wizer-initialize`, over \
             that of the same batch in which each item builds the table in `_start`; on all cores, prepared before.",
}];

const ITEMS: u64 = 1000;

/// Fills 1 MiB with a generator's numbers, four bytes at a time.
const BUILD: &str = "(local $at i32) (local $value i32)
    (loop $more
      (local.set $value (i32.add (i32.mul (local.get $value) (i32.const 1664525)) (i32.const 1013904223)))
      (i32.store offset=65536 (local.get $at) (local.get $value))
      (br_if $more (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4))) (i32.const 1048576))))";

pub(crate) fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let runtime = runtime(None)?;
    let once = batch(&runtime, r#"(export "wizer-initialize")"#, "")?;
    let each = batch(&runtime, "", "(call $build)")?;
    let run = |job| wall_time(|| ensure_success(&runtime.run_job(job, &Cancel::default())?));
    let turns = take_turns(plan.turns(30, 5), [&mut || run(&once), &mut || run(&each)])?;
    Ok(vec![ENTRIES[0].figure(turns.ratio(0, 1), Some(turns.time(1) * 1e6 / ITEMS as f64))])
}

/// A batch over a program whose function that builds the table is `exported`, and which begins with `first`.
fn batch(runtime: &Runtime, exported: &str, first: &str) -> Result<Job> {
    let module = format!(
        r#"(module (memory (export "memory") 17) (func $build {exported} {BUILD})
        (func (export "_start") {first} (if (i32.eqz (i32.load offset=65536 (i32.const 4096))) (then unreachable))))"#
    );
    let pack = Bytes::from(ItemPack::new((0..ITEMS).map(|index| index.to_be_bytes())).to_bytes());
    let input = JobInput::Batch { pack: Blob::of(&pack), items: ITEMS };
    job(runtime, &wat::parse_str(module)?.into(), input, &pack, None)
}
