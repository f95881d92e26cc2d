//! What a job adds to a call of its model.

use crate::Plan;
use crate::figure::{Entry, Figure, Goal};
use crate::measure::{take_turns, wall_time};
use crate::task::{ensure_success, job};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use depx_models::{Backend, ElementType, OnnxRuntime, Tensor};
use depx_protocol::{Blob, DeterminismClass, JobInput};
use depx_runtime::{Allocation, Cancel, EngineOptions, Runtime, RuntimeOptions, with_execution_stack};
use std::sync::Arc;

pub(crate) const ENTRIES: &[Entry] = &[Entry {
    name: "inference.job_overhead",
    unit: "µs",
    goal: Goal::AtMost(30.0),
    baseline: "the call of the model, µs",
    method: "Wall time of a job that classifies one handwritten digit (the SDK's example task and `models/zoo/digits`), unsigned, minus \
             that of the same ONNX Runtime call through `depx-models`. Median difference of blocks of 100.",
}];

const MODULE: &[u8] = include_bytes!("../../guest-sdk/examples/digits/digits.wasm");
const MODEL: &[u8] = include_bytes!("../../models/zoo/digits/digits.onnx");
const IMAGES: &[u8] = include_bytes!("../../models/zoo/digits/heldout.images");
/// Eight rows of eight pixels, each from 0 to 16.
const PIXELS: usize = 64;
const INK: f32 = 16.0;
/// Runs in one turn, so that the clock's own cost does not show.
const BLOCK: usize = 100;

pub(crate) fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let backend: Arc<dyn Backend> = Arc::new(OnnxRuntime::open(None)?);
    let model = backend.load(MODEL)?;
    let engine = EngineOptions { allocation: Allocation::Pooling { slots: 2 }, ..EngineOptions::default() };
    let runtime = Runtime::new(RuntimeOptions {
        engine,
        backends: vec![(DeterminismClass::Pinned, backend)],
        ..RuntimeOptions::default()
    })?;
    let (module, onnx) = (Bytes::from_static(MODULE), Bytes::from_static(MODEL));
    let image = Bytes::from_static(IMAGES.get(..PIXELS).context("there is no image")?);
    let job = job(&runtime, &module, JobInput::Compute(Blob::of(&image)), &image, Some(("digits", &onnx)))?;

    let pixels = image.iter().flat_map(|pixel| (f32::from(*pixel) / INK).to_le_bytes()).collect();
    let tensor = [Tensor::new(ElementType::F32, vec![1, 1, 8, 8], pixels)?];
    let mut whole_job = || block(|| ensure_success(&runtime.run_job(&job, &Cancel::default())?));
    let mut call = || {
        block(|| {
            ensure!(model.run(&tensor)?.len() == 1, "the model gave no scores");
            Ok(())
        })
    };
    let turns = plan.turns(200, 50);
    let turns = with_execution_stack(|| take_turns(turns, [&mut whole_job, &mut call]))?;
    Ok(vec![ENTRIES[0].figure(turns.difference(0, 1) * 1e6, Some(turns.time(1) * 1e6))])
}

/// Does `work` many times; gives the wall time of one, in seconds.
fn block(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    Ok(wall_time(|| (0..BLOCK).try_for_each(|_| work()))? / BLOCK as f64)
}
