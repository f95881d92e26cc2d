//! What the tests share: runtimes, jobs, and how to run a guest written as text.

use bytes::Bytes;
use depx_protocol::{
    Address, Blob, Consistency, DeterminismClass, Hash, InputFile, ItemPack, JobInput, JobSpec, Limits, ModelRef,
    Program, VERSION,
};
use depx_runtime::{
    Allocation, Cancel, EngineOptions, Executable, Job, Optimize, Outcome, Runtime, RuntimeOptions, Setting, Task,
    Volume,
};
use std::sync::{Arc, LazyLock};

/// One runtime for all tests that do not ask for another.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new(RuntimeOptions::default()).unwrap());

/// When all jobs here were made: 2023-11-14T22:13:20Z.
pub(crate) const CREATED_MS: u64 = 1_700_000_000_000;

/// Limits that are easy to reach.
pub(crate) const LIMITS: Limits = Limits { fuel: 100_000_000, ..Limits::DEFAULT };

/// Every way to compile and instantiate.
pub(crate) fn engines() -> impl Iterator<Item = EngineOptions> {
    let optimize = [Optimize::None, Optimize::Speed];
    let allocation = [Allocation::OnDemand, Allocation::Pooling { slots: 4 }];
    optimize.into_iter().flat_map(move |optimize| {
        allocation.map(|allocation| EngineOptions { optimize, allocation, interpreter: false })
    })
}

/// Compiles a module from text.
pub(crate) fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A guest and what it is given.
pub(crate) struct Guest {
    pub(crate) executable: Executable,
    pub(crate) setting: Setting,
    pub(crate) input: Bytes,
    pub(crate) seed: Hash,
}

impl Guest {
    pub(crate) fn new(text: &str) -> Self {
        Self::of(&wat(text))
    }

    pub(crate) fn of(wasm: &[u8]) -> Self {
        Self {
            executable: RUNTIME.prepare(wasm).unwrap_or_else(|error| panic!("{error}")),
            setting: Setting {
                args: Vec::new(),
                env: Vec::new(),
                files: Volume::default(),
                models: Vec::new(),
                created_ms: CREATED_MS,
                limits: LIMITS,
            },
            input: Bytes::new(),
            seed: Hash([7; 32]),
        }
    }

    pub(crate) fn files(mut self, files: &[(&str, &str)]) -> Self {
        let files =
            files.iter().map(|(path, content)| ((*path).to_owned(), Bytes::copy_from_slice(content.as_bytes())));
        self.setting.files = Volume::new(files).unwrap();
        self
    }

    pub(crate) fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.setting.limits);
        self
    }

    /// The same module, prepared by another runtime.
    pub(crate) fn executable_in(&self, runtime: &Runtime, text: &str) -> Executable {
        runtime.prepare(&wat(text)).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn task(&self) -> Task {
        Task { setting: Arc::new(self.setting.clone()), input: self.input.clone(), seed: self.seed }
    }

    pub(crate) fn run(&self) -> Outcome {
        RUNTIME.execute(&self.executable, &self.task(), &Cancel::default()).unwrap_or_else(|fault| panic!("{fault}"))
    }
}

/// A job with its blobs.
pub(crate) struct JobBuilder {
    spec: JobSpec,
    blobs: depx_runtime::Blobs,
}

impl JobBuilder {
    pub(crate) fn new(wasm: &[u8]) -> Self {
        let mut blobs = depx_runtime::Blobs::new();
        let module = add(&mut blobs, wasm);
        let input = JobInput::Compute(add(&mut blobs, b""));
        let spec = JobSpec {
            version: VERSION,
            client: Address([1; 20]),
            nonce: [2; 16],
            created_ms: CREATED_MS,
            program: Program::Command(module),
            args: Vec::new(),
            env: Vec::new(),
            files: Vec::new(),
            models: Vec::new(),
            input,
            class: DeterminismClass::Exact,
            consistency: Consistency::Eventual,
            limits: LIMITS,
        };
        Self { spec, blobs }
    }

    pub(crate) fn input(mut self, content: &[u8]) -> Self {
        self.spec.input = JobInput::Compute(add(&mut self.blobs, content));
        self
    }

    pub(crate) fn batch<T: Into<Vec<u8>>>(mut self, items: impl IntoIterator<Item = T>) -> Self {
        let pack = ItemPack::new(items);
        let bytes = depx_protocol::Canonical::to_bytes(&pack);
        self.spec.input = JobInput::Batch { pack: add(&mut self.blobs, &bytes), items: pack.0.len() as u64 };
        self
    }

    pub(crate) fn file(mut self, path: &str, content: &[u8]) -> Self {
        let blob = add(&mut self.blobs, content);
        self.spec.files.push(InputFile { path: path.to_owned(), blob });
        self
    }

    pub(crate) fn model(mut self, name: &str, onnx: &[u8]) -> Self {
        let blob = add(&mut self.blobs, onnx);
        self.spec.models.push(ModelRef { name: name.to_owned(), blob });
        self.spec.class = DeterminismClass::Pinned;
        self
    }

    pub(crate) fn spec(mut self, change: impl FnOnce(&mut JobSpec)) -> Self {
        change(&mut self.spec);
        self
    }

    /// For `runtime`, under its profile for the job's class.
    pub(crate) fn build(self, runtime: &Runtime) -> Job {
        let profiles = runtime.profiles();
        let profile =
            profiles.iter().find(|(class, _)| *class == self.spec.class).map_or(Hash::ZERO, |(_, hash)| *hash);
        Job { id: self.spec.id(), spec: self.spec, profile, blobs: self.blobs }
    }
}

fn add(blobs: &mut depx_runtime::Blobs, content: &[u8]) -> Blob {
    let blob = Blob::of(content);
    blobs.insert(blob.hash, Bytes::copy_from_slice(content));
    blob
}
