//! One job in a worker process: hand it over, watch, take and check the result.

use crate::launcher::Shared;
use crate::message::{Answer, Content, Done, JobMessage, MAX_INLINE, MAX_INLINE_TOTAL};
use crate::process::{Process, Stop, unasked};
use crate::sealed::SealedBlobs;
use crate::{WorkerOptions, verify};
use bytes::Bytes;
use depx_runtime::{Cancel, HostFault, Job, JobResult, Worker};
use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How much longer than a job's limit a worker gets. It watches the limit itself, and stops a guest that calls the host.
const GRACE: Duration = Duration::from_millis(100);

/// How often the processor time of a compiling worker is looked at.
const PROCESSOR_GLANCE: Duration = Duration::from_millis(50);

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
                let mut process = self.shared.take()?;
                process.limit_memory(memory)?;
                process
            }
        };
        // After a fault the process is dropped here, and with that killed.
        let result = execute(&mut process, &self.shared, job, cancel)?;
        process.jobs += 1;
        process.prepared.insert(job.spec.module.hash);
        self.process = Some(process);
        Ok(result)
    }
}

fn execute(process: &mut Process, shared: &Shared, job: &Job, cancel: &Cancel) -> Result<JobResult, HostFault> {
    let options = &shared.options;
    let parcel = Parcel::pack(job, !process.prepared.contains(&job.spec.module.hash), &shared.sealed)?;
    let watch = Watch::start(job, cancel);
    converse(process, &parcel, job, &watch, options).map_err(|stop| process.fault(stop))
}

fn converse(
    process: &mut Process,
    parcel: &Parcel,
    job: &Job,
    watch: &Watch<'_>,
    options: &WorkerOptions,
) -> Result<JobResult, Stop> {
    let mut glance = || watch.check();
    process.link.send(&parcel.message, &mut glance)?;
    let descriptors: Vec<_> = parcel.descriptors.iter().map(|descriptor| descriptor.as_fd()).collect();
    process.link.send_descriptors(&descriptors, &mut glance)?;
    let max = Done::max_frame(job);
    let mut answer = if parcel.message.prepare {
        await_compiler(process, max, watch, options)?
    } else {
        process.link.receive(max, &mut glance)?
    };
    if parcel.message.prepare && answer == Answer::Prepared {
        answer = process.link.receive(max, &mut glance)?;
    }
    let done = match answer {
        Answer::Done(done) => *done,
        Answer::Failed(failure) => return Err(Stop::Fault(failure.into_fault(job))),
        Answer::Ready { .. } | Answer::NotReady(_) | Answer::Prepared => {
            return Err(Stop::Fault(HostFault::WorkerDied { reason: unasked() }));
        }
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

/// Receives the first answer to a job with a new module, and gives up if compiling takes too much of a processor.
fn await_compiler(
    process: &mut Process,
    max: usize,
    watch: &Watch<'_>,
    options: &WorkerOptions,
) -> Result<Answer, Stop> {
    let clock = process.clock();
    let before = clock.used();
    let mut next = Instant::now() + PROCESSOR_GLANCE;
    let mut glance = || {
        watch.check()?;
        if Instant::now() < next {
            return Ok(());
        }
        next = Instant::now() + PROCESSOR_GLANCE;
        if clock.used().saturating_sub(before) <= options.compile_time {
            return Ok(());
        }
        let reason = format!("compiling the module took more than {:?} of processor time", options.compile_time);
        Err(Stop::Fault(HostFault::WorkerDied { reason }))
    };
    process.link.receive(max, &mut glance)
}

/// When to stop waiting.
struct Watch<'c> {
    cancel: &'c Cancel,
    /// `None` when the limit lies beyond what this machine's clock can count.
    deadline: Option<Instant>,
    limit_ms: u64,
}

impl<'c> Watch<'c> {
    fn start(job: &Job, cancel: &'c Cancel) -> Self {
        let limit_ms = job.spec.limits.wall_ms;
        let deadline = Instant::now().checked_add(Duration::from_millis(limit_ms).saturating_add(GRACE));
        Self { cancel, deadline, limit_ms }
    }

    fn check(&self) -> Result<(), Stop> {
        if self.cancel.is_cancelled() {
            return Err(Stop::Fault(HostFault::Cancelled));
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Stop::Fault(HostFault::Timeout { limit_ms: self.limit_ms }));
        }
        Ok(())
    }
}

/// A job, made ready to travel.
struct Parcel {
    message: JobMessage,
    descriptors: Vec<Arc<OwnedFd>>,
}

impl Parcel {
    fn pack(job: &Job, prepare: bool, sealed: &SealedBlobs) -> Result<Self, HostFault> {
        let (mut contents, mut descriptors, mut inline, mut seen) = (Vec::new(), Vec::new(), 0, HashSet::new());
        for blob in job.spec.blobs().filter(|blob| seen.insert(blob.hash)) {
            let content = job.blobs.get(&blob.hash).filter(|content| content.len() as u64 == blob.len);
            let content = content.ok_or(HostFault::MissingBlob { hash: blob.hash })?;
            if content.len() <= MAX_INLINE && inline + content.len() <= MAX_INLINE_TOTAL {
                inline += content.len();
                contents.push(Content::Inline { hash: blob.hash, bytes: content.to_vec().into() });
            } else {
                let sealed = sealed.get(blob, content).map_err(|error| {
                    tracing::warn!(%error, "a blob cannot be handed to a worker");
                    HostFault::Resources { resource: "memory or descriptors for a job's blobs" }
                })?;
                contents.push(Content::Sealed(*blob));
                descriptors.push(sealed);
            }
        }
        let message = JobMessage { id: job.id, spec: job.spec.clone(), profile: job.profile, contents, prepare };
        Ok(Self { message, descriptors })
    }
}

/// Bytes that a worker may hold while it executes `job`: what the job's limits add up to, and the overhead.
fn memory_for(job: &Job, options: &WorkerOptions) -> u64 {
    /// Bytes of a page of a guest's memory.
    const PAGE: u64 = 65536;
    let limits = &job.spec.limits;
    let running = u64::from(options.threads.get()).min(job.spec.input.items());
    let item = u64::from(limits.memory_pages).saturating_mul(PAGE).saturating_add(limits.file_bytes);
    let kept = limits.output_bytes.saturating_add(limits.log_bytes).saturating_mul(job.spec.input.items());
    // Outputs are held twice while they are encoded, and so is an input while it is unpacked.
    let twice = kept.min(options.max_job_output).saturating_add(job.spec.input.blob().len).saturating_mul(2);
    // What the kernel takes as a limit is a signed number of bytes.
    let all = item.saturating_mul(running).saturating_add(twice).saturating_add(options.overhead);
    all.min(i64::MAX.unsigned_abs() / 2)
}
