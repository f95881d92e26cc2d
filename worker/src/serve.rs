//! What a worker process does: shut itself in, then execute or compile what it is given.

use crate::isolate::{descriptors, isolate};
use crate::layer::{Layer, Role, bounded};
use crate::link::{Link, LinkError};
use crate::message::{
    Answer, CompileMessage, Content, Done, Failure, JobMessage, MAX_GREETING, MAX_JOB, Module, Refused, Start,
};
use crate::sealed;
use bytes::Bytes;
use depx_models::OnnxRuntime;
use depx_protocol::{Canonical, Hash};
use depx_runtime::{
    Blobs, Cancel, Compiler, GivenModules, HostFault, Job, JobResult, PrepareError, Runtime, RuntimeOptions,
    with_execution_stack,
};
use std::collections::VecDeque;
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;

/// The whole life of a worker process, whose standard input is the socket to its supervisor. To be called before anything else
/// is done in the process; ends when the supervisor closes its end.
pub fn serve() -> ExitCode {
    serve_with(|runtime, job| runtime.run_job(job, &Cancel::default()), Compiler::compile)
}

/// Like [`serve`], with other ways to execute jobs and to compile modules.
pub fn serve_with(
    mut execute: impl FnMut(&Runtime, &Job) -> Result<JobResult, HostFault>,
    mut compile: impl FnMut(&Compiler, Hash, &[u8]) -> Result<Vec<u8>, PrepareError>,
) -> ExitCode {
    let socket = match descriptors::claim_socket() {
        Ok(socket) => socket,
        Err(error) => {
            eprintln!("error: a worker cannot take the socket from its node: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut link = Link::of_worker(socket);
    // Made once, here: guests then need no stack of their own for each job.
    match with_execution_stack(|| work(&mut link, &mut execute, &mut compile)) {
        Ok(()) | Err(LinkError::Closed) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: a worker is started by a node, with a socket as its standard input: {error}");
            ExitCode::FAILURE
        }
    }
}

type Execute<'e> = &'e mut dyn FnMut(&Runtime, &Job) -> Result<JobResult, HostFault>;
type Compile<'c> = &'c mut dyn FnMut(&Compiler, Hash, &[u8]) -> Result<Vec<u8>, PrepareError>;

fn work(link: &mut Link, execute: Execute<'_>, compile: Compile<'_>) -> Result<(), LinkError> {
    let start: Start = link.receive(MAX_GREETING, &mut patiently)?;
    let given = GivenModules::default();
    let ready = Ready::load(&start, &given).and_then(|ready| {
        descriptors::silence().map_err(|error| error.to_string())?;
        Ok((ready, isolate(&Layer::ALL, start.role)?))
    });
    let (ready, missing) = match ready {
        Ok(ready) => ready,
        Err(reason) => return link.send(&Answer::NotReady(bounded(&reason)), &mut patiently),
    };
    match ready {
        Ready::Execute { runtime, no_models } => {
            let (profiles, compatibility) = (runtime.profiles(), runtime.compatibility());
            link.send(&Answer::Ready { missing, profiles, no_models, compatibility }, &mut patiently)?;
            loop {
                execute_next(&runtime, &given, link, execute)?;
            }
        }
        Ready::Compile(compiler) => {
            let (profiles, compatibility) = (Vec::new(), compiler.compatibility());
            link.send(&Answer::Ready { missing, profiles, no_models: None, compatibility }, &mut patiently)?;
            compile_one(&compiler, link, compile)
        }
    }
}

/// A worker waits for its supervisor as long as that takes.
fn patiently() -> Result<(), LinkError> {
    Ok(())
}

/// What needs files is loaded. Nothing from outside has been seen yet.
enum Ready {
    Execute {
        runtime: Runtime,
        /// Why it cannot run models, if it was asked to.
        no_models: Option<String>,
    },
    Compile(Compiler),
}

impl Ready {
    fn load(start: &Start, given: &GivenModules) -> Result<Self, String> {
        match start.role {
            Role::Execute => Self::execute(start, given.clone()),
            Role::Compile { .. } => Compiler::new(&start.engine()).map(Self::Compile),
        }
        .map_err(|fault| fault.to_string())
    }

    fn execute(start: &Start, given: GivenModules) -> Result<Self, HostFault> {
        let mut options = RuntimeOptions {
            engine: start.engine(),
            given: Some(given),
            parallelism: NonZeroUsize::new(start.threads as usize).unwrap_or(NonZeroUsize::MIN),
            max_job_output: start.max_job_output,
            ..RuntimeOptions::default()
        };
        let mut no_models = None;
        if start.models {
            match OnnxRuntime::open(start.library_folder.as_deref().map(Path::new)) {
                Ok(library) => options = options.with_library(library),
                Err(error) => no_models = Some(bounded(&error.to_string())),
            }
        }
        Ok(Self::Execute { runtime: Runtime::new(options)?, no_models })
    }
}

/// Takes a job, executes it, and says what came of it.
fn execute_next(
    runtime: &Runtime,
    given: &GivenModules,
    link: &mut Link,
    execute: Execute<'_>,
) -> Result<(), LinkError> {
    let JobMessage { id, spec, profile, contents, module, forget } = link.receive(MAX_JOB, &mut patiently)?;
    let sealed = contents.iter().filter(|content| matches!(content, Content::Sealed(_))).count();
    let artifact = usize::from(module == Module::Compiled);
    let mut descriptors = link.receive_descriptors(sealed + artifact, &mut patiently)?;
    if let Some(forgotten) = forget {
        given.forget(&forgotten);
    }
    match module {
        Module::Known => {}
        Module::Compiled => given
            .give(spec.program.blob().hash, descriptors.pop_front().map(File::from).ok_or(LinkError::NoDescriptor)?),
        Module::Refused(refused) => {
            given.refuse(spec.program.blob().hash, refused.into_refusal().ok_or(LinkError::Closed)?)
        }
    }
    let result = unpack(contents, descriptors).map_err(engine_fault).and_then(|blobs| {
        let job = Job { id, spec, profile, blobs };
        catch_unwind(AssertUnwindSafe(|| execute(runtime, &job))).unwrap_or_else(|_| Err(panicked()))
    });
    match result {
        Ok(result) => give(link, result),
        Err(fault) => link.send(&Answer::Failed(Failure::of(&fault)), &mut patiently),
    }
}

/// Takes a module, compiles it, and says what came of it. That was all.
fn compile_one(compiler: &Compiler, link: &mut Link, compile: Compile<'_>) -> Result<(), LinkError> {
    let CompileMessage { module } = link.receive(MAX_JOB, &mut patiently)?;
    let sealed = usize::from(matches!(module, Content::Sealed(_)));
    let mut descriptors = link.receive_descriptors(sealed, &mut patiently)?;
    let compiled = open(module, &mut descriptors).map_err(engine_fault).map_err(PrepareError::Fault);
    let compiled = compiled.and_then(|(name, wasm)| {
        let compiled = catch_unwind(AssertUnwindSafe(|| compile(compiler, name, &wasm)));
        compiled.unwrap_or_else(|_| Err(PrepareError::Fault(panicked())))
    });
    let answer = match &compiled {
        Ok(artifact) => Answer::Compiled(artifact.len() as u64),
        Err(PrepareError::Refused(refusal)) => Answer::Refused(Refused::of(refusal)),
        Err(PrepareError::Fault(fault)) => Answer::Failed(Failure::of(fault)),
    };
    link.send(&answer, &mut patiently)?;
    link.send_bytes(&compiled.unwrap_or_default(), &mut patiently)
}

fn engine_fault(error: std::io::Error) -> HostFault {
    HostFault::Engine { reason: bounded(&error.to_string()) }
}

fn panicked() -> HostFault {
    HostFault::Engine { reason: "the worker panicked".to_owned() }
}

fn unpack(contents: Vec<Content>, mut descriptors: VecDeque<OwnedFd>) -> std::io::Result<Blobs> {
    contents.into_iter().map(|content| open(content, &mut descriptors)).collect()
}

fn open(content: Content, descriptors: &mut VecDeque<OwnedFd>) -> std::io::Result<(Hash, Bytes)> {
    match content {
        Content::Inline { hash, bytes } => Ok((hash, Bytes::from(Vec::from(bytes)))),
        Content::Sealed(blob) => {
            let descriptor = descriptors.pop_front().ok_or(std::io::ErrorKind::UnexpectedEof)?;
            Ok((blob.hash, sealed::open(descriptor, blob.len)?))
        }
    }
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
    let contents: Vec<&[u8]> = std::iter::once(&output[..]).chain(result.logs.iter().map(|log| &log[..])).collect();
    link.send_with(&Answer::Done(Box::new(done)), &contents, &mut patiently)
}
