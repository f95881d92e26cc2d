//! A result from a worker process is, byte for byte, that of a thread.

use crate::support::{ECHO, JobBuilder, NOTHING, Subject, launcher, options};
use depx_models::{OnnxRuntime, OpenError};
use depx_protocol::{Blob, Canonical, DeterminismClass, JobInput, Program, RawTensor, Status, TensorPack, TensorType};
use depx_runtime::{Allocation, Cancel, EngineOptions, HostFault, JobResult, Optimize, Runtime, RuntimeOptions};
use depx_worker::WorkerOptions;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

fn assert_same(a: &JobResult, b: &JobResult, what: &str) {
    assert_eq!(a.core.to_bytes(), b.core.to_bytes(), "{what}");
    assert_eq!(a.output.to_bytes(), b.output.to_bytes(), "{what}");
    assert_eq!((&a.logs, &a.detail), (&b.logs, &b.detail), "{what}");
    assert_eq!(a.times.len(), b.times.len(), "{what}");
}

fn corpus() -> Vec<(&'static str, JobBuilder)> {
    let large: Vec<u8> = (0..900_000_u32).map(|number| (number >> 3) as u8).collect();
    let grow = r#"(module (memory (export "memory") 1 60)
        (func (export "_start") (drop (memory.grow (i32.const 40))) (memory.fill (i32.const 0) (i32.const 7) (i32.const 2000000))))"#;
    let table = r#"(module (memory (export "memory") 1) (table 100 funcref) (func (export "_start")))"#;
    let recursion = r#"(module (memory (export "memory") 1) (func $f (export "_start") (call $f)))"#;
    let data = format!(
        r#"(module (memory (export "memory") 4) (data (i32.const 0) "{}") (func (export "_start")))"#,
        "x".repeat(100_000)
    );
    let initialised = r#"(module (memory (export "memory") 1)
        (func (export "wizer-initialize") (i32.store (memory.grow (i32.const 1)) (i32.const 7)))
        (func (export "_start") (if (i32.ne (i32.load (i32.const 1)) (i32.const 7)) (then unreachable))))"#;
    let uninitialised =
        initialised.replace("(i32.const 1)) (i32.const 7)))", "(i32.const 1)) (i32.const 7)) unreachable)");
    let unpacked = JobBuilder::wat(ECHO).input(b"no pack");
    let pack = *unpacked.spec.input.blob();
    let mut malformed = unpacked;
    malformed.spec.input = JobInput::Batch { pack, items: 2 };
    let mut many_files = JobBuilder::wat(NOTHING);
    for number in 0..300 {
        many_files = many_files.file(&format!("file-{number}"), &vec![number as u8; 70_000 + number]);
    }
    vec![
        ("nothing", JobBuilder::wat(NOTHING)),
        ("echo", JobBuilder::wat(ECHO).input(b"content")),
        ("large input", JobBuilder::wat(ECHO).input(&large)),
        ("exit code", JobBuilder::wat(ECHO).input(b"x")),
        ("trap", JobBuilder::wat(ECHO).input(b"!")),
        ("batch", JobBuilder::wat(ECHO).batch(["one", "x", "", "!", "five"])),
        ("large batch", JobBuilder::wat(ECHO).batch((0..40).map(|item| vec![item; 20_000]))),
        ("memory", JobBuilder::wat(grow)),
        ("recursion", JobBuilder::wat(recursion)),
        ("data", JobBuilder::wat(&data)),
        ("initialised", JobBuilder::wat(initialised).batch(["one", "two"])),
        ("not to be initialised", JobBuilder::wat(&uninitialised)),
        ("out of fuel", JobBuilder::wat(ECHO).limits(|limits| limits.fuel = 10)),
        ("over its output", JobBuilder::wat(ECHO).input(&large).limits(|limits| limits.output_bytes = 1000)),
        ("over its memory", JobBuilder::wat(ECHO).limits(|limits| limits.memory_pages = 10)),
        ("over its tables", JobBuilder::wat(table).limits(|limits| limits.table_elements = 10)),
        ("over its log", JobBuilder::wat(ECHO).input(&large).limits(|limits| limits.log_bytes = 10)),
        ("no module", JobBuilder::of(b"not wasm")),
        ("no pack", malformed),
        ("many files in descriptors", many_files),
    ]
}

#[test]
fn results_are_those_of_a_thread() {
    let runtime = Runtime::new(RuntimeOptions::default()).unwrap();
    for threads in [1, 2] {
        let mut subject =
            Subject::of(launcher(WorkerOptions { threads: NonZeroU32::new(threads).unwrap(), ..options() }));
        assert_eq!(subject.launcher.profiles(), runtime.profiles());
        for (name, job) in corpus() {
            let expected = runtime.run_job(&job.clone().build(&runtime.profiles()), &Cancel::default()).unwrap();
            // Twice: compiled for the first time, and from the worker's memory.
            for _ in 0..2 {
                let result = subject.run(job.clone()).unwrap_or_else(|fault| panic!("{name}: {fault}"));
                assert_same(&result, &expected, name);
            }
        }
    }
}

#[test]
fn every_engine_works_in_a_worker() {
    let runtime = Runtime::new(RuntimeOptions::default()).unwrap();
    let job = JobBuilder::wat(ECHO).batch((0..20).map(|item| vec![item; 100]));
    let expected = runtime.run_job(&job.clone().build(&runtime.profiles()), &Cancel::default()).unwrap();
    let engines = [
        EngineOptions { optimize: Optimize::None, ..EngineOptions::default() },
        EngineOptions { allocation: Allocation::Pooling { slots: 4 }, ..EngineOptions::default() },
        EngineOptions { interpreter: true, ..EngineOptions::default() },
    ];
    for engine in engines {
        let mut subject = Subject::of(launcher(WorkerOptions { engine, ..options() }));
        for _ in 0..2 {
            let result = subject.run(job.clone()).unwrap_or_else(|fault| panic!("{engine:?}: {fault}"));
            assert_same(&result, &expected, &format!("{engine:?}"));
        }
    }
}

#[test]
fn faults_are_told_as_they_are() {
    let mut subject = Subject::of(launcher(options()));
    let mut job = JobBuilder::wat(ECHO).build(&subject.launcher.profiles());
    job.profile = depx_protocol::Hash([3; 32]);
    let fault = subject.worker.run(&job, &Cancel::default()).unwrap_err();
    assert!(matches!(fault, HostFault::Profile { profile } if profile == job.profile), "{fault}");
    let mut job = JobBuilder::wat(ECHO).build(&subject.launcher.profiles());
    let missing = job.spec.program.blob().hash;
    job.blobs.remove(&missing);
    let fault = subject.worker.run(&job, &Cancel::default()).unwrap_err();
    assert!(matches!(fault, HostFault::MissingBlob { hash } if hash == missing), "{fault}");
    let mut job = JobBuilder::wat(ECHO).build(&subject.launcher.profiles());
    job.spec.version = 9;
    let fault = subject.worker.run(&job, &Cancel::default()).unwrap_err();
    assert!(matches!(fault, HostFault::Spec(_)), "{fault}");
    let cancel = Cancel::default();
    cancel.cancel();
    let job = JobBuilder::wat(crate::support::SPIN).build(&subject.launcher.profiles());
    assert!(matches!(subject.worker.run(&job, &cancel), Err(HostFault::Cancelled)));
    subject.works();
}

/// The real library, in a thread and in a worker.
#[test]
fn models_run_in_a_worker_as_in_a_thread() {
    let backend = match OnnxRuntime::open(None) {
        Ok(backend) => backend,
        Err(error @ OpenError::NotFound { .. })
            if std::env::var_os("DEPX_REQUIRE_ORT").is_none_or(|value| value != "1") =>
        {
            eprintln!("skipped: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let runtime = Runtime::new(RuntimeOptions::default().with_library(backend)).unwrap();
    let engine = EngineOptions { allocation: Allocation::Pooling { slots: 2 }, ..EngineOptions::default() };
    let started = Instant::now();
    let mut subject = Subject::of(launcher(WorkerOptions { models: true, engine, ..options() }));
    let (start, idle) = (started.elapsed(), subject.resident_kib());
    assert_eq!(subject.launcher.no_models(), None);
    assert_eq!(subject.launcher.profiles(), runtime.profiles());
    let mut times = Vec::new();
    for class in [DeterminismClass::Reproducible, DeterminismClass::Pinned] {
        let mut job = digits();
        job.spec.class = class;
        let expected = runtime.run_job(&job.clone().build(&runtime.profiles()), &Cancel::default()).unwrap();
        assert_eq!(expected.core.status, Status::Success, "{:?}", expected.detail);
        let images = IMAGES.as_chunks::<64>().0[..10].iter().map(|image| {
            let pixels: Vec<u8> = image.iter().flat_map(|pixel| (f32::from(*pixel) / 16.0).to_le_bytes()).collect();
            let shape = vec![1, 1, 8, 8];
            TensorPack(vec![RawTensor { element_type: TensorType::F32, shape, data: pixels.into() }]).to_bytes()
        });
        let mut alone = JobBuilder::of(MODEL).batch(images.chain([b"no tensors".to_vec()]));
        alone.spec.program = Program::Model(Blob::of(MODEL));
        alone.spec.class = class;
        let inferred = runtime.run_job(&alone.clone().build(&runtime.profiles()), &Cancel::default()).unwrap();
        assert_eq!(
            (inferred.core.status, inferred.core.item_count),
            (Status::InvalidItem, 11),
            "{:?}",
            inferred.detail
        );
        let called = |result: &JobResult| -> Vec<_> {
            result
                .output
                .inferences
                .iter()
                .map(|leaf| (leaf.item, leaf.model, leaf.input, leaf.output, leaf.fuel))
                .collect()
        };
        assert_eq!(called(&inferred), called(&expected), "a model gives the same with a module around it and without");
        assert_same(&subject.run(alone).unwrap_or_else(|fault| panic!("{fault}")), &inferred, "a model alone");
        for _ in 0..3 {
            let started = Instant::now();
            let result = subject.run(job.clone()).unwrap_or_else(|fault| panic!("{fault}"));
            times.push(started.elapsed());
            assert_same(&result, &expected, "digits");
        }
    }
    let after = subject.resident_kib();
    eprintln!("with models: start {start:?}, resident {idle} KiB; jobs {times:?}, then {after} KiB");
}

#[test]
fn what_a_job_through_a_worker_costs() {
    let started = Instant::now();
    let mut subject = Subject::of(launcher(options()));
    let start = started.elapsed();
    let job = JobBuilder::wat(NOTHING).build(&subject.launcher.profiles());
    let run = |subject: &mut Subject| drop(subject.worker.run(&job, &Cancel::default()).unwrap());
    (0..200).for_each(|_| run(&mut subject));
    let mut times: Vec<Duration> = (0..500)
        .map(|_| {
            let started = Instant::now();
            run(&mut subject);
            started.elapsed()
        })
        .collect();
    times.sort();
    let resident = subject.resident_kib();
    eprintln!("start {start:?}; job median {:?}, fastest {:?}; resident {resident} KiB", times[250], times[0]);
    assert!(resident < 40 << 10, "{resident} KiB");
    // The figure for an optimised build is far below; this catches a wait that nobody needs.
    assert!(times[0] < Duration::from_millis(2), "{:?}", times[0]);
}

const MODEL: &[u8] = include_bytes!("../../../models/zoo/digits/digits.onnx");
const IMAGES: &[u8] = include_bytes!("../../../models/zoo/digits/heldout.images");

/// Handwritten digits, ten of them, and the model that reads them.
fn digits() -> JobBuilder {
    const MODULE: &[u8] = include_bytes!("../../../guest-sdk/examples/digits/digits.wasm");
    JobBuilder::of(MODULE).model("digits", MODEL).batch(IMAGES.chunks(64).take(10)).limits(|limits| {
        limits.memory_pages = 1024;
    })
}
