//! What is executed: a command that does nothing, and jobs around commands.

use anyhow::{Context, Result};
use bytes::Bytes;
use depx_protocol::{
    Blob, Consistency, DeterminismClass, Hash, JobInput, JobSpec, Limits, ModelRef, Program, SecretKey, VERSION,
};
use depx_runtime::{Blobs, Job, JobResult, Runtime, Setting, Task, Volume};
use depx_transport::{random, unix_ms};
use std::sync::Arc;

/// More than any kernel uses.
const LIMITS: Limits = Limits { fuel: 1 << 50, wall_ms: 600_000, ..Limits::DEFAULT };

/// A WASI command that returns at once.
pub(crate) fn noop() -> Result<Bytes> {
    Ok(wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#)?.into())
}

/// A WASI command that never returns.
pub(crate) fn spin() -> Result<Bytes> {
    let spin = r#"(module (memory (export "memory") 1) (func (export "_start") (loop $again (br $again))))"#;
    Ok(wat::parse_str(spin)?.into())
}

/// A run with nothing to read.
pub(crate) fn empty_task() -> Task {
    let setting = Setting {
        args: Vec::new(),
        env: Vec::new(),
        files: Volume::default(),
        models: Vec::new(),
        created_ms: 0,
        limits: LIMITS,
    };
    Task { setting: Arc::new(setting), input: Bytes::new(), seed: Hash::ZERO }
}

/// The spec of a 1-of-1 job without models, new each time.
pub(crate) fn spec(client: &SecretKey, module: &[u8], input: JobInput) -> JobSpec {
    JobSpec {
        version: VERSION,
        client: client.address(),
        nonce: random(),
        created_ms: unix_ms(),
        program: Program::Command(Blob::of(module)),
        args: Vec::new(),
        env: Vec::new(),
        files: Vec::new(),
        models: Vec::new(),
        input,
        class: DeterminismClass::Exact,
        consistency: Consistency::Eventual,
        limits: Limits::DEFAULT,
    }
}

/// A job over `module` that `runtime` executes, with `input` and, if there is one, a model of this name and content.
pub(crate) fn job(
    runtime: &Runtime,
    module: &Bytes,
    input: JobInput,
    content: &Bytes,
    model: Option<(&str, &Bytes)>,
) -> Result<Job> {
    let mut spec = spec(&key(1)?, module, input);
    let mut blobs: Blobs = [module, content].map(|content| (Blob::of(content).hash, content.clone())).into();
    if let Some((name, onnx)) = model {
        let blob = Blob::of(onnx);
        spec.class = DeterminismClass::Pinned;
        spec.models = vec![ModelRef { name: name.to_owned(), blob }];
        blobs.insert(blob.hash, onnx.clone());
    }
    of(runtime, spec, blobs)
}

/// A job that runs a model alone, on one item.
pub(crate) fn model_job(runtime: &Runtime, onnx: &Bytes, item: &Bytes) -> Result<Job> {
    let spec = spec(&key(1)?, onnx, JobInput::Compute(Blob::of(item)));
    let spec = JobSpec { program: Program::Model(Blob::of(onnx)), class: DeterminismClass::Pinned, ..spec };
    of(runtime, spec, [onnx, item].map(|content| (Blob::of(content).hash, content.clone())).into())
}

fn of(runtime: &Runtime, spec: JobSpec, blobs: Blobs) -> Result<Job> {
    let profile = runtime.profiles().into_iter().find(|(class, _)| *class == spec.class);
    let (_, profile) = profile.context("the runtime does not offer the job's class")?;
    Ok(Job { id: spec.id(), spec, profile, blobs })
}

/// Fails unless every item of a job succeeded: a figure over failures would mean nothing.
pub(crate) fn ensure_success(result: &JobResult) -> Result<()> {
    let detail = result.detail.as_deref().unwrap_or("without a reason");
    anyhow::ensure!(result.core.status == depx_protocol::Status::Success, "the job did not succeed: {detail}");
    Ok(())
}

/// A key that is the same in every run.
pub(crate) fn key(number: u8) -> Result<SecretKey> {
    Ok(SecretKey::from_bytes(&[number; 32])?)
}
