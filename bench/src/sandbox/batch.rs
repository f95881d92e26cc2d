//! How fast a batch of small items goes.

use super::runtime;
use crate::Plan;
use crate::figure::{Entry, Figure, Goal};
use crate::measure::{take_turns, wall_time};
use crate::task::{ensure_success, job, noop};
use anyhow::Result;
use bytes::Bytes;
use depx_protocol::{Blob, Canonical, ItemPack, JobInput};
use depx_runtime::Cancel;

pub(crate) const ENTRIES: &[Entry] = &[Entry {
    name: "sandbox.batch_items",
    unit: "items/s",
    goal: Goal::AtLeast(300_000.0),
    baseline: "a batch of one item, ms",
    method: "Items of one batch job of 100,000 eight-byte items per second of wall time, each run in a fresh pooled instance of a \
             module that returns at once, on all cores: input unpacked, leaves hashed, result derived; unsigned.",
}];

const ITEMS: u64 = 100_000;

pub(crate) fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let runtime = runtime(None)?;
    let (many, one) = (batch(&runtime, ITEMS)?, batch(&runtime, 1)?);
    let run = |job| wall_time(|| ensure_success(&runtime.run_job(job, &Cancel::default())?));
    let turns = take_turns(plan.turns(15, 4), [&mut || run(&many), &mut || run(&one)])?;
    Ok(vec![ENTRIES[0].figure(ITEMS as f64 / turns.time(0), Some(turns.time(1) * 1e3))])
}

fn batch(runtime: &depx_runtime::Runtime, items: u64) -> Result<depx_runtime::Job> {
    let pack = Bytes::from(ItemPack::new((0..items).map(|index| index.to_be_bytes())).to_bytes());
    job(runtime, &noop()?, JobInput::Batch { pack: Blob::of(&pack), items }, &pack, None)
}
