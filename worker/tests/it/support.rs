//! What the tests share.

use bytes::Bytes;
use depx_protocol::{
    Address, Blob, Canonical, Consistency, DeterminismClass, Hash, InputFile, ItemPack, JobInput, JobSpec, Limits,
    ModelRef, Program, VERSION,
};
use depx_runtime::{Blobs, Cancel, HostFault, Job, JobResult, Worker, WorkerLauncher};
use depx_worker::{LaunchError, ProcessLauncher, WorkerOptions};
use std::process::Command;
use std::time::{Duration, Instant};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_depx-probe-worker");

/// Workers that can be asked to break out.
pub(crate) fn options() -> WorkerOptions {
    WorkerOptions::new(PROGRAM)
}

/// A launcher with every layer, or `None` where the machine does not give them all and root would not help.
pub(crate) fn isolated(options: WorkerOptions) -> Option<ProcessLauncher> {
    match ProcessLauncher::new(options) {
        Ok(launcher) => Some(launcher),
        Err(error @ LaunchError::Weak { .. }) if !rustix::process::getuid().is_root() => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
    }
}

/// A launcher, isolated as far as the machine allows.
pub(crate) fn launcher(options: WorkerOptions) -> ProcessLauncher {
    ProcessLauncher::new(WorkerOptions { allow_missing: true, ..options })
        .unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)))
}

/// The same, without isolation.
pub(crate) fn control(probe: &[&str]) -> String {
    let output = Command::new(PROGRAM).arg("control").args(probe).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Limits that are easy to reach.
pub(crate) const LIMITS: Limits =
    Limits { fuel: 10_000_000_000_000, memory_pages: 64, output_bytes: 1 << 20, wall_ms: 20_000, ..Limits::DEFAULT };

/// Copies standard input to standard output.
pub(crate) const ECHO: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 20)
    (func (export "_start")
      (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 1048576))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
      (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
      (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 120)) (then (call $exit (i32.const 7))))
      (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 33)) (then unreachable))))"#;

/// Does nothing.
pub(crate) const NOTHING: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;

/// Never ends by itself and calls nobody.
pub(crate) const SPIN: &str = r#"(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))"#;

/// A job with its blobs.
#[derive(Clone)]
pub(crate) struct JobBuilder {
    pub(crate) spec: JobSpec,
    blobs: Blobs,
}

impl JobBuilder {
    pub(crate) fn wat(text: &str) -> Self {
        Self::of(&wat::parse_str(text).unwrap())
    }

    pub(crate) fn of(wasm: &[u8]) -> Self {
        let mut blobs = Blobs::new();
        let module = add(&mut blobs, wasm);
        let input = JobInput::Compute(add(&mut blobs, b""));
        let spec = JobSpec {
            version: VERSION,
            client: Address([1; 20]),
            nonce: [2; 16],
            created_ms: 1_700_000_000_000,
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

    /// A job in which the worker does what the words say.
    pub(crate) fn probe(words: &[&str]) -> Self {
        let mut job = Self::wat(NOTHING);
        job.spec.args = std::iter::once("probe").chain(words.iter().copied()).map(str::to_owned).collect();
        job
    }

    /// A job for whose module the compiler does what the words say.
    pub(crate) fn compiling(words: &[&str]) -> Self {
        Self::of(format!("probe {}", words.join(" ")).as_bytes())
    }

    pub(crate) fn input(mut self, content: &[u8]) -> Self {
        self.spec.input = JobInput::Compute(add(&mut self.blobs, content));
        self
    }

    pub(crate) fn batch<T: Into<Vec<u8>>>(mut self, items: impl IntoIterator<Item = T>) -> Self {
        let pack = ItemPack::new(items);
        let blob = add(&mut self.blobs, &pack.to_bytes());
        self.spec.input = JobInput::Batch { pack: blob, items: pack.0.len() as u64 };
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

    pub(crate) fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.spec.limits);
        self
    }

    pub(crate) fn build(self, profiles: &[(DeterminismClass, Hash)]) -> Job {
        let profile =
            profiles.iter().find(|(class, _)| *class == self.spec.class).map_or(Hash::ZERO, |(_, profile)| *profile);
        Job { id: self.spec.id(), spec: self.spec, profile, blobs: self.blobs }
    }
}

fn add(blobs: &mut Blobs, content: &[u8]) -> Blob {
    let blob = Blob::of(content);
    blobs.insert(blob.hash, Bytes::copy_from_slice(content));
    blob
}

/// A worker and what it offers.
pub(crate) struct Subject {
    pub(crate) launcher: ProcessLauncher,
    pub(crate) worker: Box<dyn Worker>,
}

impl Subject {
    pub(crate) fn of(launcher: ProcessLauncher) -> Self {
        let worker = launcher.launch().unwrap_or_else(|fault| panic!("{fault}"));
        Self { launcher, worker }
    }

    pub(crate) fn run(&mut self, job: JobBuilder) -> Result<JobResult, HostFault> {
        self.worker.run(&job.build(&self.launcher.profiles()), &Cancel::default())
    }

    /// What the worker says about a probe.
    pub(crate) fn probe(&mut self, words: &[&str]) -> String {
        let result = self.run(JobBuilder::probe(words)).unwrap_or_else(|fault| panic!("{words:?}: {fault}"));
        String::from_utf8(result.output.items[0].stdout.to_vec()).unwrap()
    }

    pub(crate) fn pid(&mut self) -> u32 {
        self.probe(&["pid"]).parse().unwrap()
    }

    /// Memory that the worker holds, in KiB.
    pub(crate) fn resident_kib(&mut self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        resident.unwrap().parse().unwrap()
    }

    /// Why the worker died of this job.
    pub(crate) fn death(&mut self, job: JobBuilder) -> String {
        match self.run(job) {
            Err(HostFault::WorkerDied { reason }) => reason,
            other => panic!("{other:?}"),
        }
    }

    /// Why the module of this job was not compiled.
    pub(crate) fn uncompiled(&mut self, job: JobBuilder) -> String {
        match self.run(job) {
            Err(HostFault::Compile { reason }) => reason,
            other => panic!("{other:?}"),
        }
    }

    /// The next job is executed.
    pub(crate) fn works(&mut self) {
        let result = self.run(JobBuilder::wat(ECHO).input(b"still here")).unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(&result.output.items[0].stdout[..], b"still here");
    }
}

/// Waits until `condition` holds, for ten seconds at most.
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
