//! What a worker process does: shut itself in, then execute what it is given.

use crate::isolate::{descriptors, isolate};
use crate::layer::{Layer, bounded};
use crate::link::{Link, LinkError};
use crate::message::{Answer, Content, Done, Failure, JobMessage, MAX_GREETING, MAX_JOB, Start};
use crate::sealed;
use bytes::Bytes;
use depx_models::{Backend, OnnxRuntime};
use depx_protocol::{Canonical, Hash};
use depx_runtime::{Blobs, Cancel, HostFault, Job, JobResult, Runtime, RuntimeOptions, with_execution_stack};
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// The whole life of a worker process, whose standard input is the socket to its supervisor. To be called before anything else
/// is done in the process; ends when the supervisor closes its end.
pub fn serve() -> ExitCode {
    serve_with(|runtime, job| runtime.run_job(job, &Cancel::default()))
}

/// Like [`serve`], with another way to execute jobs.
pub fn serve_with(mut execute: impl FnMut(&Runtime, &Job) -> Result<JobResult, HostFault>) -> ExitCode {
    let socket = match descriptors::claim_socket() {
        Ok(socket) => socket,
        Err(error) => {
            eprintln!("error: a worker cannot take the socket from its node: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut link = Link::of_worker(socket);
    // Made once, here: guests then need no stack of their own for each job.
    match with_execution_stack(|| work(&mut link, &mut execute)) {
        Ok(()) | Err(LinkError::Closed) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: a worker is started by a node, with a socket as its standard input: {error}");
            ExitCode::FAILURE
        }
    }
}

type Execute<'e> = &'e mut dyn FnMut(&Runtime, &Job) -> Result<JobResult, HostFault>;

fn work(link: &mut Link, execute: Execute<'_>) -> Result<(), LinkError> {
    let start: Start = link.receive(MAX_GREETING, &mut patiently)?;
    let (runtime, no_models) = match set_up(&start) {
        Ok(runtime) => runtime,
        Err(reason) => return link.send(&Answer::NotReady(bounded(&reason)), &mut patiently),
    };
    let isolated = descriptors::silence().map_err(|error| error.to_string()).and_then(|()| isolate(&Layer::ALL));
    let missing = match isolated {
        Ok(missing) => missing,
        Err(reason) => return link.send(&Answer::NotReady(bounded(&reason)), &mut patiently),
    };
    link.send(&Answer::Ready { missing, profiles: runtime.profiles(), no_models }, &mut patiently)?;
    loop {
        let message: JobMessage = link.receive(MAX_JOB, &mut patiently)?;
        let sealed = message.contents.iter().filter(|content| matches!(content, Content::Sealed(_))).count();
        let descriptors = link.receive_descriptors(sealed, &mut patiently)?;
        match run(&runtime, message, descriptors, link, execute)? {
            Ok(result) => give(link, result)?,
            Err(fault) => link.send(&Answer::Failed(Failure::of(&fault)), &mut patiently)?,
        }
    }
}

/// A worker waits for its supervisor as long as that takes.
fn patiently() -> Result<(), LinkError> {
    Ok(())
}

/// Loads what needs files. Nothing from outside has been seen yet.
fn set_up(start: &Start) -> Result<(Runtime, Option<String>), String> {
    let (mut backend, mut no_models) = (None, None);
    if start.models {
        match OnnxRuntime::open(start.library_folder.as_deref().map(Path::new)) {
            Ok(library) => backend = Some(Arc::new(library) as Arc<dyn Backend>),
            Err(error) => no_models = Some(bounded(&error.to_string())),
        }
    }
    let options = RuntimeOptions {
        engine: start.engine(),
        // A worker is not trusted to write what others would execute, so each compiles for itself and keeps that in memory.
        cache_dir: None,
        backend,
        parallelism: NonZeroUsize::new(start.threads as usize).unwrap_or(NonZeroUsize::MIN),
        max_job_output: start.max_job_output,
        kept_host_calls: 0,
    };
    let runtime = Runtime::new(options).map_err(|fault| fault.to_string())?;
    Ok((runtime, no_models))
}

/// Unpacks and executes one job.
fn run(
    runtime: &Runtime,
    message: JobMessage,
    descriptors: VecDeque<OwnedFd>,
    link: &mut Link,
    execute: Execute<'_>,
) -> Result<Result<JobResult, HostFault>, LinkError> {
    let JobMessage { id, spec, profile, contents, prepare } = message;
    let blobs = match unpack(contents, descriptors) {
        Ok(blobs) => blobs,
        Err(error) => return Ok(Err(HostFault::Engine { reason: bounded(&error.to_string()) })),
    };
    let job = Job { id, spec, profile, blobs };
    if prepare {
        let module = job.blobs.get(&job.spec.module.hash);
        // What is wrong with the module is told by the execution, which finds it compiled, or refused, already.
        let _ = module.map(|module| catch_unwind(AssertUnwindSafe(|| runtime.prepare(module))));
        link.send(&Answer::Prepared, &mut patiently)?;
    }
    let panicked = |_| Err(HostFault::Engine { reason: "the worker panicked".to_owned() });
    Ok(catch_unwind(AssertUnwindSafe(|| execute(runtime, &job))).unwrap_or_else(panicked))
}

fn unpack(contents: Vec<Content>, mut descriptors: VecDeque<OwnedFd>) -> std::io::Result<Blobs> {
    let open = |content: Content| -> std::io::Result<(Hash, Bytes)> {
        match content {
            Content::Inline { hash, bytes } => Ok((hash, Bytes::from(Vec::from(bytes)))),
            Content::Sealed(blob) => {
                let descriptor = descriptors.pop_front().ok_or(std::io::ErrorKind::UnexpectedEof)?;
                Ok((blob.hash, sealed::open(descriptor, blob.len)?))
            }
        }
    };
    contents.into_iter().map(open).collect()
}

fn give(link: &mut Link, result: JobResult) -> Result<(), LinkError> {
    let output = result.output.to_bytes();
    let nanoseconds = |time: &std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let done = Done {
        core: result.core,
        output_len: output.len() as u64,
        log_lens: result.logs.iter().map(|log| log.len() as u64).collect(),
        times_ns: result.times.iter().map(nanoseconds).collect(),
        detail: result.detail.map(|detail| bounded(&detail)),
    };
    link.send(&Answer::Done(Box::new(done)), &mut patiently)?;
    link.send_bytes(&output, &mut patiently)?;
    for log in result.logs {
        link.send_bytes(&log, &mut patiently)?;
    }
    Ok(())
}
