//! One job in a worker process: hand it over, watch, take and check the result.

use crate::compile::Compiled;
use crate::launcher::Shared;
use crate::message::{Answer, Content, Done, JobMessage, MAX_INLINE, MAX_INLINE_TOTAL, Module, Refused};
use crate::process::{Process, Stop, unasked};
use crate::sealed::SealedBlobs;
use crate::watch::Watch;
use crate::{WorkerOptions, verify};
use bytes::Bytes;
use depx_protocol::{Blob, Hash, Program};
use depx_runtime::{Cancel, HostFault, Job, JobResult, Worker};
use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Executes jobs in worker processes, one after the other, in the same process as long as it does well.
pub(crate) struct ProcessWorker {
    shared: Arc<Shared>,
    process: Option<Process>,
}

impl ProcessWorker {
    pub(crate) fn new(shared: Arc<Shared>, process: Process) -> Self {
        Self { shared, process: Some(process) }
    }
}

impl Worker for ProcessWorker {
    fn run(&mut self, job: &Job, cancel: &Cancel) -> Result<JobResult, HostFault> {
        job.spec.validate().map_err(HostFault::Spec)?;
        let limit = self.shared.options.jobs_per_process;
        let memory = memory_for(job, &self.shared.options);
        let mut usable = self.process.take().filter(|process| process.jobs < limit);
        // One that holds more memory than this job may have cannot be limited to that.
        let mut process = match usable.take_if(|process| process.is_alive() && process.limit_memory(memory).is_ok()) {
            Some(process) => process,
            None => {
                let mut process = self.shared.pool.take()?;
                process.limit_memory(memory)?;
                process
            }
        };
        // After a fault the process is dropped here, and with that killed.
        let result = execute(&mut process, &self.shared, job, cancel)?;
        process.jobs += 1;
        self.process = Some(process);
        Ok(result)
    }
}

fn execute(process: &mut Process, shared: &Shared, job: &Job, cancel: &Cancel) -> Result<JobResult, HostFault> {
    let watch = Watch::start(job, cancel);
    let (compiled, forget) = match job.spec.program {
        Program::Command(module) => {
            let wasm = content(job, &module)?;
            let known = process.knows(&module.hash);
            let compiled = if known { None } else { Some(shared.compiled.get(&module, wasm, &watch)?) };
            (compiled, process.learn(module.hash))
        }
        Program::Model(_) => (None, None),
    };
    let parcel = Parcel::pack(job, compiled, forget, &shared.sealed)?;
    converse(process, &parcel, job, &watch, &shared.options).map_err(|stop| process.fault(stop))
}

fn converse(
    process: &mut Process,
    parcel: &Parcel,
    job: &Job,
    watch: &Watch<'_>,
    options: &WorkerOptions,
) -> Result<JobResult, Stop> {
    let mut glance = || Ok::<(), Stop>(watch.check()?);
    process.link.send(&parcel.message, &mut glance)?;
    let descriptors: Vec<_> = parcel.descriptors.iter().map(|descriptor| descriptor.as_fd()).collect();
    process.link.send_descriptors(&descriptors, &mut glance)?;
    let done = match process.link.receive(Done::max_frame(job), &mut glance)? {
        Answer::Done(done) => *done,
        Answer::Failed(failure) => return Err(Stop::Fault(failure.into_fault(watch.limit_ms()))),
        _ => return Err(Stop::Fault(HostFault::WorkerDied { reason: unasked() })),
    };
    let liar = |error: verify::Mismatch| Stop::Fault(HostFault::WorkerDied { reason: error.to_string() });
    verify::announced(&done, job).map_err(liar)?;
    let output = process.link.receive_bytes(done.output_len, verify::max_output(job, options), &mut glance)?;
    let mut logs = Vec::with_capacity(done.log_lens.len());
    for len in &done.log_lens {
        logs.push(Bytes::from(process.link.receive_bytes(*len, job.spec.limits.log_bytes, &mut glance)?));
    }
    verify::result(done, &output, logs, job).map_err(liar)
}

/// A job, made ready to travel.
struct Parcel {
    message: JobMessage,
    descriptors: Vec<Arc<OwnedFd>>,
}

impl Parcel {
    /// `compiled` is what the worker is to know of the job's module, if there is one that it does not know yet; it gets nothing else of it.
    fn pack(
        job: &Job,
        compiled: Option<Compiled>,
        forget: Option<Hash>,
        sealed: &SealedBlobs,
    ) -> Result<Self, HostFault> {
        let (mut contents, mut descriptors, mut inline, mut seen) = (Vec::new(), Vec::new(), 0, HashSet::new());
        let module = match compiled {
            None => Module::Known,
            Some(Compiled::Refused(refusal)) => Module::Refused(Refused::of(&refusal)),
            Some(Compiled::Artifact(file)) => {
                descriptors.push(Arc::new(file.into()));
                Module::Compiled
            }
        };
        let spec = &job.spec;
        let files = spec.files.iter().map(|file| file.blob).chain(spec.model_blobs().copied());
        for blob in std::iter::once(*spec.input.blob()).chain(files).filter(|blob| seen.insert(blob.hash)) {
            let content = content(job, &blob)?;
            if content.len() <= MAX_INLINE && inline + content.len() <= MAX_INLINE_TOTAL {
                inline += content.len();
                contents.push(Content::Inline { hash: blob.hash, bytes: content.to_vec().into() });
            } else {
                let sealed = sealed.get(&blob, content).map_err(|error| {
                    tracing::warn!(%error, "a blob cannot be handed to a worker");
                    HostFault::Resources { resource: "memory or descriptors for a job's blobs" }
                })?;
                contents.push(Content::Sealed(blob));
                descriptors.push(sealed);
            }
        }
        let message = JobMessage { id: job.id, spec: job.spec.clone(), profile: job.profile, contents, module, forget };
        Ok(Self { message, descriptors })
    }
}

/// The content of a blob that the spec names.
fn content<'j>(job: &'j Job, blob: &Blob) -> Result<&'j Bytes, HostFault> {
    let content = job.blobs.get(&blob.hash).filter(|content| content.len() as u64 == blob.len);
    content.ok_or(HostFault::MissingBlob { hash: blob.hash })
}

/// Bytes that a worker may hold while it executes `job`: what the job's limits add up to, its models, and the overhead.
fn memory_for(job: &Job, options: &WorkerOptions) -> u64 {
    /// Bytes of a page of a guest's memory.
    const PAGE: u64 = 65536;
    let limits = &job.spec.limits;
    let running = u64::from(options.threads.get()).min(job.spec.input.items());
    let item = u64::from(limits.memory_pages).saturating_mul(PAGE).saturating_add(limits.file_bytes);
    let kept = limits.output_bytes.saturating_add(limits.log_bytes).saturating_mul(job.spec.input.items());
    // Outputs are held twice while they are encoded, and so is an input while it is unpacked.
    let twice = kept.min(options.max_job_output).saturating_add(job.spec.input.blob().len).saturating_mul(2);
    // A library holds a model's weights, and may hold them once more in an order that suits the processor.
    let models = job.spec.model_blobs().fold(0_u64, |all, model| all.saturating_add(model.len)).saturating_mul(2);
    // What the kernel takes as a limit is a signed number of bytes.
    let all =
        item.saturating_mul(running).saturating_add(twice).saturating_add(models).saturating_add(options.overhead);
    all.min(i64::MAX.unsigned_abs() / 2)
}
