//! What a job adds to a call of its model.

use crate::Plan;
use crate::figure::{Entry, Figure, Goal};
use crate::measure::{take_turns, wall_time};
use crate::task::{ensure_success, job, model_job};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use depx_models::{Backend, ElementType, OnnxRuntime, Tensor};
use depx_protocol::{Blob, Canonical, DeterminismClass, JobInput, RawTensor, TensorPack, TensorType};
use depx_runtime::{Allocation, Cancel, EngineOptions, Runtime, RuntimeOptions, with_execution_stack};
use std::sync::Arc;

pub(crate) const ENTRIES: &[Entry] = &[
    Entry {
        name: "inference.job_overhead",
        unit: "µs",
        goal: Goal::AtMost(30.0),
        baseline: "the call of the model, µs",
        method: "Wall time of a job whose program is a model and whose item is one handwritten digit (`models/zoo/digits`), unsigned, minus \
                 that of the same ONNX Runtime call through `depx-models`. Median difference of blocks of 100.",
    },
    Entry {
        name: "inference.guest_overhead",
        unit: "µs",
        goal: Goal::None,
        baseline: "the call of the model, µs",
        method: "The same for a job whose program is a command that calls the model through wasi-nn (the SDK's example task).",
    },
];

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
    let pixels: Vec<u8> = image.iter().flat_map(|pixel| (f32::from(*pixel) / INK).to_le_bytes()).collect();
    let guest = job(&runtime, &module, JobInput::Compute(Blob::of(&image)), &image, Some(("digits", &onnx)))?;
    let alone = {
        let shape = vec![1, 1, 8, 8];
        let raw = RawTensor { element_type: TensorType::F32, shape, data: pixels.clone().into() };
        model_job(&runtime, &onnx, &TensorPack(vec![raw]).to_bytes().into())?
    };

    let tensor = [Tensor::new(ElementType::F32, vec![1, 1, 8, 8], pixels)?];
    let run = |job| block(|| ensure_success(&runtime.run_job(job, &Cancel::default())?));
    let (mut whole_job, mut whole_guest) = (|| run(&alone), || run(&guest));
    let mut call = || {
        block(|| {
            ensure!(model.run(&tensor)?.len() == 1, "the model gave no scores");
            Ok(())
        })
    };
    let turns = plan.turns(200, 50);
    let turns = with_execution_stack(|| take_turns(turns, [&mut whole_job, &mut whole_guest, &mut call]))?;
    let overhead = |entry: usize, of| ENTRIES[entry].figure(turns.difference(of, 2) * 1e6, Some(turns.time(2) * 1e6));
    Ok(vec![overhead(0, 0), overhead(1, 1)])
}

/// Does `work` many times; gives the wall time of one, in seconds.
fn block(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    Ok(wall_time(|| (0..BLOCK).try_for_each(|_| work()))? / BLOCK as f64)
}
