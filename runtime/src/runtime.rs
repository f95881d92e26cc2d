//! The runtime of one machine, and the life of a job in it.

use crate::engine::{EXECUTION_STACK, EngineOptions};
use crate::fault::bounded;
use crate::given::{Executor, GivenModules};
use crate::host::Host;
use crate::job::{INPUT_ITEM_COUNT, INPUT_MALFORMED, MODEL_NOT_LOADABLE, MODEL_NOT_OFFERED};
use crate::loaded::{LoadFailure, LoadedModels};
use crate::prepare::{PrepareError, Preparer};
use crate::profile::Profile;
use crate::prove::{self, Refused};
use crate::stream::{Delivered, Feed, Finished, Ready, Run, StreamError, Streamed, held_len};
use crate::watch::Watch;
use crate::{
    Cancel, Executable, HostFault, Job, JobResult, NamedModel, Outcome, Setting, StartsFrom, Task, Volume, nn, wasi,
};
use bytes::Bytes;
use depx_models::{Backend, OnnxRuntime, Reproducible};
use depx_protocol::merkle::TreeBuilder;
use depx_protocol::{
    Blob, DecodeError, DeterminismClass, Hash, HostCallLeaf, JobInput, JobOutput, ModelRef, Program, Status, blob_hash,
};
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::{Engine, Linker, Store};

/// How to set up a [`Runtime`].
#[derive(Clone)]
pub struct RuntimeOptions {
    /// How modules are compiled and instantiated. Never changes a result.
    pub engine: EngineOptions,
    /// Where compiled modules are kept between processes; `None` keeps them in memory only.
    pub cache_dir: Option<PathBuf>,
    /// If set, nothing is compiled here: modules that were compiled elsewhere are executed, and no others.
    pub given: Option<GivenModules>,
    /// What runs the models of jobs of a class, one for each that is offered; without any, only exact jobs are.
    pub backends: Vec<(DeterminismClass, Arc<dyn Backend>)>,
    /// Threads on which the items of one job are executed, or those of one reproducible inference. Never changes a result.
    pub parallelism: NonZeroUsize,
    /// Bytes of output and logs of all items of one job that this machine holds; a job that writes more is given up.
    pub max_job_output: u64,
    /// Host calls of each item that are kept to be read, the first ones; all are counted and hashed in any case.
    pub kept_host_calls: usize,
}

impl Default for RuntimeOptions {
    /// One thread, nothing on disk, no inference, 1 GiB of output, no host calls kept.
    fn default() -> Self {
        Self {
            engine: EngineOptions::default(),
            cache_dir: None,
            given: None,
            backends: Vec::new(),
            parallelism: NonZeroUsize::MIN,
            max_job_output: 1 << 30,
            kept_host_calls: 0,
        }
    }
}

impl RuntimeOptions {
    /// With the jobs that ONNX Runtime makes possible: reproducible ones, on the threads of [`RuntimeOptions::parallelism`], and those
    /// pinned to its own kernels, on one.
    pub fn with_library(mut self, library: OnnxRuntime) -> Self {
        let reproducible = Arc::new(Reproducible::new(library.clone()).with_threads(self.parallelism.get()));
        self.backends.push((DeterminismClass::Reproducible, reproducible));
        self.backends.push((DeterminismClass::Pinned, Arc::new(library)));
        self
    }
}

/// Executes jobs. Cheap to clone; clones share compiled modules and loaded models.
#[derive(Clone)]
pub struct Runtime(Arc<Shared>);

struct Shared {
    modules: Modules,
    linker: Linker<Host>,
    models: Vec<(DeterminismClass, LoadedModels)>,
    profiles: Vec<(DeterminismClass, Hash)>,
    parallelism: NonZeroUsize,
    max_job_output: u64,
    kept_host_calls: usize,
}

/// Where modules that can be executed come from.
enum Modules {
    /// From this process.
    Prepared(Preparer),
    /// From another.
    Given(Executor),
}

impl Modules {
    fn engine(&self) -> &Engine {
        match self {
            Self::Prepared(preparer) => preparer.engine(),
            Self::Given(executor) => executor.engine(),
        }
    }
}

/// Why a job's life ends early: for a reason that is its result, or for one that is not.
enum Halt {
    Refused(Refused),
    Fault(HostFault),
}

impl From<HostFault> for Halt {
    fn from(fault: HostFault) -> Self {
        Self::Fault(fault)
    }
}

impl Runtime {
    /// A runtime with these options.
    pub fn new(options: RuntimeOptions) -> Result<Self, HostFault> {
        let modules = match options.given {
            Some(given) => Modules::Given(Executor::new(&options.engine, given)?),
            None => Modules::Prepared(Preparer::new(options.engine, options.cache_dir)?),
        };
        let mut linker = Linker::new(modules.engine());
        wasi::link(&mut linker).and_then(|()| nn::link(&mut linker)).map_err(HostFault::engine)?;
        let mut profiles = vec![(DeterminismClass::Exact, Profile::exact().hash())];
        for (class, backend) in &options.backends {
            profiles.push((*class, Profile::with_models(*class, &backend.profile()).hash()));
        }
        Ok(Self(Arc::new(Shared {
            modules,
            linker,
            models: options.backends.into_iter().map(|(class, backend)| (class, LoadedModels::new(backend))).collect(),
            profiles,
            parallelism: options.parallelism,
            max_job_output: options.max_job_output,
            kept_host_calls: options.kept_host_calls,
        })))
    }

    /// What this runtime can execute: exact jobs always, others where there is a backend.
    pub fn profiles(&self) -> Vec<(DeterminismClass, Hash)> {
        self.0.profiles.clone()
    }

    /// What the artifacts that this runtime can execute are compatible with; see [`crate::Compiler::compatibility`].
    pub fn compatibility(&self) -> Hash {
        match &self.0.modules {
            Modules::Prepared(preparer) => preparer.compatibility(),
            Modules::Given(executor) => executor.compatibility(),
        }
    }

    /// Validates, instruments and compiles a module, or finds it in the cache.
    pub fn prepare(&self, wasm: &[u8]) -> Result<Executable, PrepareError> {
        self.prepare_named(blob_hash(wasm), || Ok(wasm))
    }

    /// The same where the hash is known. Where modules are given, `wasm` is not asked for.
    fn prepare_named<'w>(
        &self,
        module: Hash,
        wasm: impl FnOnce() -> Result<&'w [u8], HostFault>,
    ) -> Result<Executable, PrepareError> {
        match &self.0.modules {
            Modules::Prepared(preparer) => {
                let prepared = preparer.prepare_named(module, wasm()?)?;
                Ok(Executable::link(&self.0.linker, &prepared)?)
            }
            Modules::Given(executor) => executor.find(&self.0.linker, &module),
        }
    }

    /// Runs a module once in a fresh instance. The run's wall-clock limit starts now.
    ///
    /// Guests need a large stack. Where the calling thread has less, one is made for the call; see
    /// [`with_execution_stack`] for many calls in a row.
    pub fn execute(&self, executable: &Executable, task: &Task, cancel: &Cancel) -> Result<Outcome, HostFault> {
        let watch = Watch::start(cancel, task.setting.limits.wall_ms);
        with_execution_stack(|| executable.run(task, &watch, self.0.kept_host_calls))
    }

    /// Like [`Runtime::execute`]; `look` is shown the memory that the run leaves. For tests: no result depends on it.
    #[doc(hidden)]
    pub fn execute_and_look(
        &self,
        executable: &Executable,
        task: &Task,
        look: impl FnOnce(&[u8]),
    ) -> Result<Outcome, HostFault> {
        let watch = Watch::start(&Cancel::default(), task.setting.limits.wall_ms);
        let look = |store: &mut Store<Host>, _, _: &_| {
            if let Some(handles) = store.data().handles {
                look(handles.memory.data(&*store));
            }
        };
        with_execution_stack(|| executable.run_then(task, &watch, 0, look))
    }

    /// Executes a job: unpacks its items, prepares its module, loads its models, runs each item in a fresh instance, and derives
    /// the result that all honest nodes agree on.
    pub fn run_job(&self, job: &Job, cancel: &Cancel) -> Result<JobResult, HostFault> {
        self.run_job_with(job, cancel, &|_| ())
    }

    /// Like [`Runtime::run_job`]. `progress` is called with the number of items done so far, as they are done in order.
    pub fn run_job_with(
        &self,
        job: &Job,
        cancel: &Cancel,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<JobResult, HostFault> {
        let mut collected = Collected::new(self.0.max_job_output);
        let sink = |finished| {
            collected.add(finished)?;
            progress(collected.output.items.len() as u64);
            Ok(())
        };
        let open = || Ok(Feed::checked(&job.spec.input, unpack(job)?.into_iter().map(Ok)));
        match self.stream(job, open, sink, cancel) {
            Ok(streamed) => Ok(collected.into_result(streamed)),
            Err(StreamError::Fault(fault)) => Err(fault),
            // Neither source nor sink is a file or a connection.
            Err(StreamError::Items(error) | StreamError::Sink(error)) => Err(HostFault::engine(error)),
        }
    }

    /// Like [`Runtime::run_job`] for a job of any length: its items come from `items`, one by one, and what they came to goes to
    /// `sink`, in order. `job` need not hold the blob of its input; that the items are those which it names is found out at their
    /// end, so that what the sink was given counts for nothing until there is a result. No more items are held at a time than a few
    /// for each thread, and finished ones of 64 MiB together.
    ///
    /// An error of either ends the job; a source that blocks is not interrupted.
    pub fn run_stream(
        &self,
        job: &Job,
        items: impl Iterator<Item = io::Result<Bytes>> + Send,
        mut sink: impl FnMut(Finished) -> io::Result<()> + Send,
        cancel: &Cancel,
    ) -> Result<Streamed, StreamError> {
        let open = || Ok(Feed::unchecked(&job.spec.input, items));
        self.stream(job, open, |finished| sink(finished).map_err(StreamError::Sink), cancel)
    }

    fn stream<I, S>(
        &self,
        job: &Job,
        open: impl FnOnce() -> Result<Feed<I>, Halt>,
        sink: S,
        cancel: &Cancel,
    ) -> Result<Streamed, StreamError>
    where
        I: Iterator<Item = io::Result<Bytes>> + Send,
        S: FnMut(Finished) -> Result<(), StreamError> + Send,
    {
        let watch = Watch::start(cancel, job.spec.limits.wall_ms);
        with_execution_stack(|| self.stages(job, open, sink, &watch))
    }

    fn stages<I, S>(
        &self,
        job: &Job,
        open: impl FnOnce() -> Result<Feed<I>, Halt>,
        sink: S,
        watch: &Watch,
    ) -> Result<Streamed, StreamError>
    where
        I: Iterator<Item = io::Result<Bytes>> + Send,
        S: FnMut(Finished) -> Result<(), StreamError> + Send,
    {
        job.spec.validate().map_err(HostFault::Spec)?;
        self.check_profile(job)?;
        let mut feed = match open() {
            Ok(feed) => feed,
            Err(Halt::Refused(reason)) => return Ok(prove::refused(job, reason, TreeBuilder::new().root())),
            Err(Halt::Fault(fault)) => return Err(fault.into()),
        };
        let ready = match self.ready(job, watch) {
            Ok(ready) => ready,
            Err(Halt::Refused(reason)) => return Ok(prove::refused(job, reason, feed.finish(&job.spec.input)?)),
            Err(Halt::Fault(fault)) => return Err(fault.into()),
        };
        let run = Run { ready: &ready, job, watch, kept_host_calls: self.0.kept_host_calls };
        let threads = usize::try_from(job.spec.input.items()).unwrap_or(usize::MAX).min(self.0.parallelism.get());
        let Delivered { result, detail } = run.all(threads, &mut feed, sink)?;
        let input_root = feed.finish(&job.spec.input)?;
        let core = result.finish(job.id, job.spec.class, job.profile, input_root);
        // The initialisation is paid for once, whoever ran it.
        let core = match &ready {
            Ready::Command(executable, _) => match executable.starts_from() {
                Some(StartsFrom { snapshot, fuel }) => core.starting_from(snapshot, fuel),
                None => core,
            },
            Ready::Model(_) => core,
        };
        Ok(Streamed { core, detail })
    }

    /// Everything that the items of a job need.
    fn ready(&self, job: &Job, watch: &Watch) -> Result<Ready, Halt> {
        match job.spec.program {
            Program::Command(module) => {
                let executable = self.prepare_module(job, &module)?;
                watch.check()?;
                let models = job.spec.models.iter().map(|ModelRef { name, blob }| self.load_model(job, name, blob));
                Ok(Ready::Command(executable, Arc::new(setting(job, models.collect::<Result<_, _>>()?)?)))
            }
            Program::Model(onnx) => Ok(Ready::Model(self.load_model(job, "the program", &onnx)?)),
        }
    }

    fn check_profile(&self, job: &Job) -> Result<(), HostFault> {
        let asked = (job.spec.class, job.profile);
        if self.0.profiles.contains(&asked) { Ok(()) } else { Err(HostFault::Profile { profile: job.profile }) }
    }

    fn prepare_module(&self, job: &Job, module: &Blob) -> Result<Executable, Halt> {
        // Whoever filled the blobs has verified their hashes.
        let wasm = || blob(job, module).map(|wasm| &wasm[..]);
        self.prepare_named(module.hash, wasm).map_err(|error| match error {
            PrepareError::Refused(refusal) => refuse(Status::InvalidModule, refusal.code.number(), refusal.reason),
            PrepareError::Fault(fault) => Halt::Fault(fault),
        })
    }

    fn load_model(&self, job: &Job, name: &str, declared: &Blob) -> Result<NamedModel, Halt> {
        let onnx = blob(job, declared)?;
        let Some((_, models)) = self.0.models.iter().find(|(class, _)| *class == job.spec.class) else {
            let detail = format!("jobs of class {} cannot use models; ask for D1 or D2", job.spec.class.name());
            return Err(refuse(Status::InvalidModel, MODEL_NOT_OFFERED, detail));
        };
        let model = models.load(declared.hash, onnx).map_err(|failure| match failure {
            LoadFailure::Invalid { reason } => {
                let detail = bounded(&format!("model {name:?}: {reason}"));
                refuse(Status::InvalidModel, MODEL_NOT_LOADABLE, detail)
            }
            LoadFailure::Fault(fault) => Halt::Fault(fault),
        })?;
        Ok(NamedModel { name: name.to_owned(), hash: declared.hash, model })
    }
}

/// Runs `work` on `count` threads with stacks for guests, on this one alone if that is enough.
pub(crate) fn on_threads(count: usize, work: impl Fn() + Sync) -> Result<(), HostFault> {
    if count <= 1 {
        work();
        return Ok(());
    }
    std::thread::scope(|scope| {
        let spawn = |_| {
            let builder =
                std::thread::Builder::new().name("depx-item".into()).stack_size(EXECUTION_STACK + STACK_MARGIN);
            builder.spawn_scoped(scope, || with_execution_stack(&work))
        };
        let threads = (0..count).map(spawn).collect::<Result<Vec<_>, _>>();
        let threads = threads.map_err(|_| HostFault::Resources { resource: "threads" })?;
        // All are joined before the first failure is given.
        let joined: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        let died = |_| HostFault::WorkerDied { reason: "a thread that ran an item panicked".into() };
        joined.into_iter().collect::<Result<(), _>>().map_err(died)
    })
}

/// What a thread uses of its stack before a guest runs on it.
const STACK_MARGIN: usize = 1 << 20;

/// A thread with a stack of so many bytes can execute guests on it as it is. Only what is used of it takes memory.
pub const THREAD_STACK: usize = EXECUTION_STACK + 2 * STACK_MARGIN;

/// Runs `work` on a stack that is large enough for guests: this thread's, if it is, else one made for the occasion. Calls of
/// [`Runtime::execute`] within `work` then need not make one each.
pub fn with_execution_stack<R>(work: impl FnOnce() -> R) -> R {
    stacker::maybe_grow(EXECUTION_STACK, EXECUTION_STACK + STACK_MARGIN, work)
}

/// The inputs of a job's items, from its blobs.
fn unpack(job: &Job) -> Result<Vec<Bytes>, Halt> {
    let input = &job.spec.input;
    let content = blob(job, input.blob())?;
    match input {
        // The content itself, not a copy.
        JobInput::Compute(_) => Ok(vec![content.clone()]),
        JobInput::Batch { .. } => {
            let pack = input.unpack(content).map_err(|error| {
                let code = match error {
                    DecodeError::ItemCount { .. } => INPUT_ITEM_COUNT,
                    _ => INPUT_MALFORMED,
                };
                refuse(Status::InvalidInput, code, bounded(&format!("the input: {error}")))
            })?;
            Ok(pack.0.into_iter().map(|item| Bytes::from(Vec::from(item))).collect())
        }
    }
}

fn refuse(status: Status, code: u32, detail: String) -> Halt {
    Halt::Refused(Refused { status, code, detail })
}

/// What all items of a job came to, held in memory.
struct Collected {
    output: JobOutput,
    logs: Vec<Bytes>,
    host_calls: Vec<Vec<HostCallLeaf>>,
    times: Vec<Duration>,
    held: u64,
    max_held: u64,
}

impl Collected {
    fn new(max_held: u64) -> Self {
        let (logs, host_calls, times) = (Vec::new(), Vec::new(), Vec::new());
        Self { output: JobOutput::default(), logs, host_calls, times, held: 0, max_held }
    }

    fn add(&mut self, finished: Finished) -> Result<(), HostFault> {
        self.held = self.held.saturating_add(held_len(&finished));
        if self.held > self.max_held {
            return Err(HostFault::Resources { resource: "memory for the output of a job" });
        }
        self.output.items.push(finished.output);
        self.output.inferences.extend(finished.inferences);
        self.logs.push(finished.log);
        self.host_calls.push(finished.host_calls);
        self.times.push(finished.time);
        Ok(())
    }

    fn into_result(self, Streamed { core, detail }: Streamed) -> JobResult {
        let Self { output, logs, host_calls, times, .. } = self;
        JobResult { core, output, logs, host_calls, times, detail }
    }
}

fn setting(job: &Job, models: Vec<NamedModel>) -> Result<Setting, HostFault> {
    let spec = &job.spec;
    let file = |file: &depx_protocol::InputFile| Ok((file.path.clone(), blob(job, &file.blob)?.clone()));
    let files = spec.files.iter().map(file).collect::<Result<Vec<_>, HostFault>>()?;
    let path = |error: crate::VolumeError| HostFault::Spec(depx_protocol::SpecError::Path { path: error.path });
    Ok(Setting {
        args: spec.args.clone(),
        env: spec.env.clone(),
        files: Volume::new(files).map_err(path)?,
        models,
        created_ms: spec.created_ms,
        limits: spec.limits,
    })
}

/// The content that the spec names, as it was handed over.
fn blob<'j>(job: &'j Job, blob: &Blob) -> Result<&'j Bytes, HostFault> {
    let content = job.blobs.get(&blob.hash).filter(|content| content.len() as u64 == blob.len);
    content.ok_or(HostFault::MissingBlob { hash: blob.hash })
}
