//! The runtime of one machine, and the life of a job in it.

use crate::engine::{EXECUTION_STACK, EngineOptions};
use crate::fault::bounded;
use crate::host::Host;
use crate::job::{INPUT_ITEM_COUNT, INPUT_MALFORMED, MODEL_NOT_LOADABLE, MODEL_NOT_OFFERED};
use crate::loaded::{LoadFailure, LoadedModels};
use crate::prepare::{PrepareError, Prepared, Preparer};
use crate::profile::Profile;
use crate::prove::{self, Refused};
use crate::watch::Watch;
use crate::{
    Cancel, Executable, HostFault, Inference, Job, JobResult, NamedModel, Outcome, Setting, Task, Volume, nn, wasi,
};
use bytes::Bytes;
use depx_models::Backend;
use depx_protocol::{Blob, DecodeError, DeterminismClass, Hash, HostCallLeaf, JobInput, JobSpec, Status, merkle};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use wasmtime::{Linker, Store};

/// How to set up a [`Runtime`].
#[derive(Clone)]
pub struct RuntimeOptions {
    /// How modules are compiled and instantiated. Never changes a result.
    pub engine: EngineOptions,
    /// Where compiled modules are kept between processes; `None` keeps them in memory only.
    pub cache_dir: Option<PathBuf>,
    /// Runs the models of pinned jobs; without one, only exact jobs are offered.
    pub backend: Option<Arc<dyn Backend>>,
    /// Threads on which the items of one job are executed. Never changes a result.
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
            backend: None,
            parallelism: NonZeroUsize::MIN,
            max_job_output: 1 << 30,
            kept_host_calls: 0,
        }
    }
}

/// Executes jobs. Cheap to clone; clones share compiled modules and loaded models.
#[derive(Clone)]
pub struct Runtime(Arc<Shared>);

struct Shared {
    preparer: Preparer,
    linker: Linker<Host>,
    models: Option<LoadedModels>,
    profiles: Vec<(DeterminismClass, Hash)>,
    parallelism: NonZeroUsize,
    max_job_output: u64,
    kept_host_calls: usize,
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
        let preparer = Preparer::new(options.engine, options.cache_dir)?;
        let mut linker = Linker::new(preparer.engine());
        wasi::link(&mut linker).and_then(|()| nn::link(&mut linker)).map_err(HostFault::engine)?;
        let mut profiles = vec![(DeterminismClass::Exact, Profile::exact().hash())];
        if let Some(backend) = &options.backend {
            profiles.push((DeterminismClass::Pinned, Profile::pinned(&backend.profile()).hash()));
        }
        Ok(Self(Arc::new(Shared {
            preparer,
            linker,
            models: options.backend.map(LoadedModels::new),
            profiles,
            parallelism: options.parallelism,
            max_job_output: options.max_job_output,
            kept_host_calls: options.kept_host_calls,
        })))
    }

    /// What this runtime can execute: exact jobs always, pinned ones when there is a backend.
    pub fn profiles(&self) -> Vec<(DeterminismClass, Hash)> {
        self.0.profiles.clone()
    }

    /// Validates, instruments and compiles a module, or finds it in the cache.
    pub fn prepare(&self, wasm: &[u8]) -> Result<Executable, PrepareError> {
        let prepared = self.0.preparer.prepare(wasm)?;
        self.link(&prepared)
    }

    fn link(&self, prepared: &Prepared) -> Result<Executable, PrepareError> {
        Ok(Executable::link(&self.0.linker, prepared)?)
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

    /// Like [`Runtime::run_job`]. `progress` is called with the number of items done so far, from whichever thread has done one;
    /// numbers may arrive out of order.
    pub fn run_job_with(
        &self,
        job: &Job,
        cancel: &Cancel,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<JobResult, HostFault> {
        let watch = Watch::start(cancel, job.spec.limits.wall_ms);
        match with_execution_stack(|| self.stages(job, &watch, progress)) {
            Ok(result) => Ok(result),
            Err(Halt::Refused(reason)) => Ok(prove::refused(job, reason)),
            Err(Halt::Fault(fault)) => Err(fault),
        }
    }

    fn stages(&self, job: &Job, watch: &Watch, progress: &(dyn Fn(u64) + Sync)) -> Result<JobResult, Halt> {
        job.spec.validate().map_err(HostFault::Spec)?;
        self.check_profile(job)?;
        let items = Items::of(job)?;
        let executable = self.prepare_module(job, &items)?;
        watch.check()?;
        let models = self.load_models(job, &items)?;
        let setting = Arc::new(setting(job, models)?);
        let outcomes = self.run_items(&executable, &setting, job, &items, watch, progress)?;
        Ok(prove::executed(job, items.root, outcomes, executable.starts_from()))
    }

    fn check_profile(&self, job: &Job) -> Result<(), HostFault> {
        let asked = (job.spec.class, job.profile);
        if self.0.profiles.contains(&asked) { Ok(()) } else { Err(HostFault::Profile { profile: job.profile }) }
    }

    fn prepare_module(&self, job: &Job, items: &Items) -> Result<Executable, Halt> {
        let wasm = blob(job, &job.spec.module)?;
        // Whoever filled the blobs has verified their hashes.
        let prepared = self.0.preparer.prepare_named(job.spec.module.hash, wasm);
        prepared.and_then(|prepared| self.link(&prepared)).map_err(|error| match error {
            PrepareError::Refused(refusal) => {
                items.refuse(Status::InvalidModule, refusal.code.number(), refusal.reason)
            }
            PrepareError::Fault(fault) => Halt::Fault(fault),
        })
    }

    fn load_models(&self, job: &Job, items: &Items) -> Result<Vec<NamedModel>, Halt> {
        let mut loaded = Vec::with_capacity(job.spec.models.len());
        for declared in &job.spec.models {
            let onnx = blob(job, &declared.blob)?;
            let (DeterminismClass::Pinned, Some(models)) = (job.spec.class, &self.0.models) else {
                let detail = format!("jobs of class {} cannot use models; ask for D2", job.spec.class.name());
                return Err(items.refuse(Status::InvalidModel, MODEL_NOT_OFFERED, detail));
            };
            let hash = declared.blob.hash;
            let model = models.load(hash, onnx).map_err(|failure| match failure {
                LoadFailure::Invalid { reason } => {
                    let detail = bounded(&format!("model {:?}: {reason}", declared.name));
                    items.refuse(Status::InvalidModel, MODEL_NOT_LOADABLE, detail)
                }
                LoadFailure::Fault(fault) => Halt::Fault(fault),
            })?;
            loaded.push(NamedModel { name: declared.name.clone(), hash, model });
        }
        Ok(loaded)
    }

    /// Runs every item, on as many threads as the options say, and gives what they came to in the items' order.
    fn run_items(
        &self,
        executable: &Executable,
        setting: &Arc<Setting>,
        job: &Job,
        items: &Items,
        watch: &Watch,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<(Outcome, Duration)>, HostFault> {
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (done, held) = (AtomicU64::new(0), AtomicU64::new(0));
        let run_one = |index: usize, input: &Bytes| {
            let started = Instant::now();
            let seed = JobSpec::seed(&job.id, index as u64);
            let task = Task { setting: setting.clone(), input: input.clone(), seed };
            let outcome = executable.run(&task, watch, self.0.kept_host_calls)?;
            let size = held_len(&outcome);
            if held.fetch_add(size, Ordering::Relaxed).saturating_add(size) > self.0.max_job_output {
                return Err(HostFault::Resources { resource: "memory for the output of a job" });
            }
            Ok((index, outcome, started.elapsed()))
        };
        let run_some = || {
            let mut finished = Vec::new();
            while !failed.load(Ordering::Relaxed) {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(input) = items.inputs.get(index) else { break };
                finished.push(run_one(index, input).inspect_err(|_| failed.store(true, Ordering::Relaxed))?);
                progress(done.fetch_add(1, Ordering::Relaxed) + 1);
            }
            Ok(finished)
        };
        let mut finished = on_threads(self.0.parallelism.get().min(items.inputs.len()), run_some)?;
        finished.sort_unstable_by_key(|(index, ..)| *index);
        Ok(finished.into_iter().map(|(_, outcome, time)| (outcome, time)).collect())
    }
}

/// Runs `work` on `count` threads with stacks for guests, on this one alone if that is enough, and collects what they did.
fn on_threads<T: Send>(count: usize, work: impl Fn() -> Result<Vec<T>, HostFault> + Sync) -> Result<Vec<T>, HostFault> {
    if count <= 1 {
        return work();
    }
    std::thread::scope(|scope| {
        let spawn = |_| {
            let builder =
                std::thread::Builder::new().name("depx-item".into()).stack_size(EXECUTION_STACK + STACK_MARGIN);
            builder.spawn_scoped(scope, || with_execution_stack(&work))
        };
        let threads = (0..count).map(spawn).collect::<Result<Vec<_>, _>>();
        let threads = threads.map_err(|_| HostFault::Resources { resource: "threads" })?;
        let died = |_| HostFault::WorkerDied { reason: "a thread that ran an item panicked".into() };
        // All are joined before the first failure is given.
        let done: Vec<_> = threads.into_iter().map(|thread| thread.join().map_err(died).flatten()).collect();
        let done = done.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(done.into_iter().flatten().collect())
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

/// The inputs of a job's items.
struct Items {
    inputs: Vec<Bytes>,
    root: Hash,
}

impl Items {
    fn of(job: &Job) -> Result<Self, Halt> {
        let input = &job.spec.input;
        let content = blob(job, input.blob())?;
        let inputs = match input {
            // The content itself, not a copy.
            JobInput::Compute(_) => vec![content.clone()],
            JobInput::Batch { .. } => {
                let pack = input.unpack(content).map_err(|error| {
                    let code = match error {
                        DecodeError::ItemCount { .. } => INPUT_ITEM_COUNT,
                        _ => INPUT_MALFORMED,
                    };
                    let detail = bounded(&format!("the input: {error}"));
                    Halt::Refused(Refused { status: Status::InvalidInput, code, input_root: None, detail })
                })?;
                pack.0.into_iter().map(|item| Bytes::from(Vec::from(item))).collect()
            }
        };
        let root = merkle::root(&inputs);
        Ok(Self { inputs, root })
    }

    fn refuse(&self, status: Status, code: u32, detail: String) -> Halt {
        Halt::Refused(Refused { status, code, input_root: Some(self.root), detail })
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

/// Bytes of memory that an outcome takes, about.
fn held_len(outcome: &Outcome) -> u64 {
    let files = outcome.files.iter().map(|file| file.path.len() + file.content.len()).sum::<usize>();
    let inferences = outcome.inferences.len() * size_of::<Inference>();
    let calls = outcome.kept_calls.len() * size_of::<HostCallLeaf>();
    (size_of::<Outcome>() + outcome.stdout.len() + outcome.log.len() + files + inferences + calls) as u64
}
