//! Jobs from beginning to end: items, results, and what is wrong with them.

use crate::script::Arg::{I, L, P};
use crate::script::Script;
use crate::support::{JobBuilder, RUNTIME, engines, wat};
use depx_host_abi::refusal::RefusalCode;
use depx_protocol::{Blob, Canonical, ItemOutput, JobInput, JobOutput, JobSpec, Program, Status, blob_hash, merkle};
use depx_runtime::{Cancel, EngineOptions, HostFault, InProcess, Job, Runtime, RuntimeOptions, WorkerLauncher};
use std::num::NonZeroUsize;
use std::sync::Mutex;

/// Copies standard input to standard output; exits with code 7 if it begins with `x`, and traps if it begins with `!`.
const ECHO: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 2)
    (func (export "_start")
      (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 65536))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
      (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 120)) (then (call $exit (i32.const 7))))
      (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 33)) (then unreachable))))"#;

/// A little of everything that could differ: floats, memory, tables, clocks, randomness, files, directories, logs.
fn everything() -> Vec<u8> {
    let script = Script::new()
        .call("clock_time_get", &[I(0), L(0), I(100)], 0)
        .call("clock_time_get", &[I(2), L(0), I(108)], 0)
        .call("random_get", &[I(116), I(20)], 0)
        .call("path_open", &[I(3), I(0), P("out/file"), I(1), L((1 << 30) - 1), L(0), I(0), I(64)], 0)
        .put(16, &[100, 36])
        .call("fd_write", &[I(4), I(16), I(1), I(24)], 0)
        .call("fd_write", &[I(1), I(16), I(1), I(24)], 0)
        .call("fd_write", &[I(2), I(16), I(1), I(24)], 0)
        .call("fd_readdir", &[I(3), I(1024), I(512), L(0), I(0)], 0)
        .put(16, &[1024, 200])
        .call("fd_write", &[I(1), I(16), I(1), I(24)], 0)
        .call("path_filestat_get", &[I(3), I(0), P("out/file"), I(1024)], 0)
        .call("fd_write", &[I(1), I(16), I(1), I(24)], 0);
    // Float results whose NaN bits differ between processors, and a memory that grows.
    let more = r#"
        (func $floats (export "floats") (param $x f64)
          (i64.store (i32.const 100) (i64.reinterpret_f64 (f64.div (local.get $x) (local.get $x))))
          (f32.store (i32.const 108) (f32.sqrt (f32.demote_f64 (f64.sub (local.get $x) (f64.const 1)))))
          (i32.store (i32.const 112) (memory.grow (i32.const 3)))
          (memory.fill (i32.const 131072) (i32.const 65) (i32.const 1000))
          (memory.copy (i32.const 116) (i32.const 131080) (i32.const 5)))
        (func (export "_start") (call $floats (f64.const 0))"#;
    wat(&script.module().replace("(func (export \"_start\")", more))
}

fn run(job: &Job) -> depx_runtime::JobResult {
    RUNTIME.run_job(job, &Cancel::default()).unwrap_or_else(|fault| panic!("{fault}"))
}

#[test]
fn a_batch_runs_each_item_in_a_fresh_instance() {
    let items = ["first", "x", "", "!", "last"];
    let job = JobBuilder::new(&wat(ECHO)).batch(items).build(&RUNTIME);
    let result = run(&job);
    let ended: Vec<_> = result.output.items.iter().map(|item| (item.leaf.status, item.leaf.code)).collect();
    let success = (Status::Success, 0);
    assert_eq!(ended, [success, (Status::ExitCode, 7), success, (Status::Trap, 1), success]);
    for (index, (item, input)) in result.output.items.iter().zip(items).enumerate() {
        assert_eq!(item.leaf.index, index as u64);
        assert_eq!(&item.stdout[..], input.as_bytes());
        assert_eq!(item.leaf.output, ItemOutput::output_hash(input.as_bytes(), &[]));
    }
    // Of the first that did not succeed.
    assert_eq!((result.core.status, result.core.code, result.core.item_count), (Status::ExitCode, 7, 5));
    assert_eq!(result.detail.as_deref(), Some("item 1: the guest exited with code 7"));
    assert_eq!(result.core.input_root, merkle::root(items));
    assert_eq!(result.core.job, job.id);
    assert_eq!((result.logs.len(), result.times.len()), (5, 5));
    assert_eq!(JobOutput::verified(&result.output.to_bytes(), &result.core).unwrap(), result.output);
}

#[test]
fn a_compute_job_is_one_item() {
    let result = run(&JobBuilder::new(&wat(ECHO)).input(b"content").build(&RUNTIME));
    assert_eq!((result.core.status, result.core.item_count), (Status::Success, 1));
    assert_eq!(result.core.input_root, merkle::root(["content"]));
    assert_eq!(&result.output.items[0].stdout[..], b"content");
    assert_eq!(result.detail, None);
}

#[test]
fn each_item_has_its_own_randomness_and_the_same_files() {
    let job = JobBuilder::new(&everything()).file("data/in", b"data").batch(["", ""]).build(&RUNTIME);
    let result = run(&job);
    assert_eq!(result.core.status, Status::Success, "{:?}", result.detail);
    let [first, second] = &result.output.items[..] else { panic!() };
    assert_ne!(first.stdout[16..36], second.stdout[16..36]);
    assert_eq!(first.stdout[36..], second.stdout[36..]);
    assert_eq!(first.leaf.fuel_used, second.leaf.fuel_used);
}

/// The promise: nothing about the machine or how it is set up shows in a result.
#[test]
fn results_are_the_same_whatever_the_engine_and_the_number_of_threads() {
    let build = |runtime: &Runtime| {
        let items = (0..6).map(|item| vec![item; 10]);
        JobBuilder::new(&everything()).file("data/in", b"data").file("b", b"").batch(items).build(runtime)
    };
    let expected = run(&build(&RUNTIME));
    assert_eq!(expected.core.status, Status::Success);
    let interpreted = EngineOptions { interpreter: true, ..EngineOptions::default() };
    for engine in engines().chain([interpreted]) {
        for threads in [1, 2, 4] {
            let parallelism = NonZeroUsize::new(threads).unwrap();
            let runtime = Runtime::new(RuntimeOptions { engine, parallelism, ..RuntimeOptions::default() }).unwrap();
            for _ in 0..2 {
                let result = runtime.run_job(&build(&runtime), &Cancel::default()).unwrap();
                assert_eq!(result.core.to_bytes(), expected.core.to_bytes(), "{engine:?} {threads}");
                assert_eq!(result.output, expected.output, "{engine:?} {threads}");
                assert_eq!(result.logs, expected.logs, "{engine:?} {threads}");
            }
        }
    }
}

/// A change of any of these numbers is a change of the profile: other nodes would disagree.
#[test]
fn results_never_change() {
    let job = JobBuilder::new(&everything()).file("data/in", b"data").batch(["one", "two"]).build(&RUNTIME);
    let core = run(&job).core;
    let summary = format!(
        "profile {}\nfuel {}\npages {}\noutput {} bytes, {}\nitems {}\nresult {}\n",
        core.profile,
        core.fuel_used,
        core.peak_memory_pages,
        core.output_len,
        core.output_root,
        core.items_root,
        core.hash()
    );
    expect_test::expect![[r#"
        profile 244a0b6af9fb89a6d3cadfdf86b435b4d93c7d40c63c62b15153a9802a4ca97e
        fuel 430458
        pages 5
        output 966 bytes, 0ab8e398af0591163a531f4f2574509220fd3fb20ecb64baded3c64a4a39c025
        items 0460ccfe1c9af4b61a5570f1919f668bf01af7ce469ffbf688d9a7b9fa9eb37c
        result 2177f2d85bb878787c98481490f18ae92a638bcc24901749ca76cc6107009bca
    "#]]
    .assert_eq(&summary);
}

#[test]
fn modules_that_cannot_be_executed_are_results() {
    let cases = [
        (b"not wasm".to_vec(), RefusalCode::Malformed),
        (wat(ECHO)[..100].to_vec(), RefusalCode::Malformed),
        (
            wat(r#"(module (import "env" "system" (func)) (memory (export "memory") 1) (func (export "_start")))"#),
            RefusalCode::UnknownImport,
        ),
        (wat(r#"(module (memory (export "memory") 1))"#), RefusalCode::MissingStart),
    ];
    for (wasm, code) in cases {
        let result = run(&JobBuilder::new(&wasm).batch(["a", "b"]).build(&RUNTIME));
        assert_eq!((result.core.status, result.core.code), (Status::InvalidModule, code.number()));
        assert_eq!((result.core.item_count, result.core.fuel_used), (0, 0));
        assert_eq!(result.core.input_root, merkle::root(["a", "b"]));
        assert!(result.detail.as_ref().is_some_and(|detail| !detail.is_empty()));
        assert!(JobOutput::verified(&result.output.to_bytes(), &result.core).is_ok());
    }
}

#[test]
fn inputs_that_are_not_what_the_spec_says_are_results() {
    let malformed = JobBuilder::new(&wat(ECHO)).input(b"\xff not a pack").spec(|spec| {
        let pack = *spec.input.blob();
        spec.input = JobInput::Batch { pack, items: 1 };
    });
    let miscounted = JobBuilder::new(&wat(ECHO)).batch(["a", "b"]).spec(|spec| {
        let pack = *spec.input.blob();
        spec.input = JobInput::Batch { pack, items: 3 };
    });
    for (job, code, detail) in [
        (malformed, 1, "the input: not the expected CBOR structure"),
        (miscounted, 2, "the input: the pack holds 2 items where the job states 3"),
    ] {
        let result = run(&job.build(&RUNTIME));
        assert_eq!((result.core.status, result.core.code), (Status::InvalidInput, code));
        assert_eq!(result.core.input_root, merkle::TreeBuilder::new().root());
        assert_eq!(result.detail.as_deref(), Some(detail));
        assert!(JobOutput::verified(&result.output.to_bytes(), &result.core).is_ok());
    }
}

#[test]
fn what_the_node_got_wrong_is_a_fault() {
    let run = |job: &Job| RUNTIME.run_job(job, &Cancel::default()).map(|result| result.core);
    let good = || JobBuilder::new(&wat(ECHO)).input(b"input").file("file", b"file").build(&RUNTIME);
    for hash in good().spec.blobs().map(|blob| blob.hash) {
        let mut job = good();
        job.blobs.remove(&hash);
        assert!(matches!(run(&job), Err(HostFault::MissingBlob { hash: missing }) if missing == hash));
    }
    // A hash and a length that do not belong together.
    let mut job = good();
    let module = *job.spec.program.blob();
    job.spec.program = Program::Command(Blob { len: module.len + 1, ..module });
    assert!(matches!(run(&job), Err(HostFault::MissingBlob { .. })));
    let mut job = good();
    job.profile = blob_hash(b"another profile");
    assert!(matches!(run(&job), Err(HostFault::Profile { profile }) if profile == job.profile));
    let mut job = good();
    job.spec.class = depx_protocol::DeterminismClass::Pinned;
    assert!(matches!(run(&job), Err(HostFault::Profile { .. })));
    let mut job = good();
    job.spec.files[0].path = "../file".into();
    assert!(matches!(run(&job), Err(HostFault::Spec(_))));
    let cancel = Cancel::default();
    cancel.cancel();
    assert!(matches!(RUNTIME.run_job(&good(), &cancel), Err(HostFault::Cancelled)));
    // The runtime goes on.
    assert!(run(&good()).is_ok());
}

#[test]
fn a_fault_in_one_item_is_the_jobs_on_any_number_of_threads() {
    for threads in [1, 3] {
        let options = RuntimeOptions {
            parallelism: NonZeroUsize::new(threads).unwrap(),
            max_job_output: 10_000,
            ..RuntimeOptions::default()
        };
        let runtime = Runtime::new(options).unwrap();
        let small = JobBuilder::new(&wat(ECHO)).batch(vec![vec![b'a'; 10]; 5]).build(&runtime);
        assert!(runtime.run_job(&small, &Cancel::default()).is_ok());
        let large = JobBuilder::new(&wat(ECHO)).batch(vec![vec![b'a'; 1000]; 20]).build(&runtime);
        let fault = runtime.run_job(&large, &Cancel::default());
        assert!(matches!(fault, Err(HostFault::Resources { .. })), "{threads}: {fault:?}");
    }
}

#[test]
fn progress_counts_every_item_once() {
    let parallelism = NonZeroUsize::new(3).unwrap();
    let runtime = Runtime::new(RuntimeOptions { parallelism, ..RuntimeOptions::default() }).unwrap();
    let job = JobBuilder::new(&wat(ECHO)).batch(vec!["item"; 20]).build(&runtime);
    let seen = Mutex::new(Vec::new());
    runtime.run_job_with(&job, &Cancel::default(), &|done| seen.lock().unwrap().push(done)).unwrap();
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    assert_eq!(seen, (1..=20).collect::<Vec<u64>>());
}

#[test]
fn workers_in_this_process_give_the_same_results() {
    let job = JobBuilder::new(&wat(ECHO)).batch(["a", "b"]).build(&RUNTIME);
    let launcher: Box<dyn WorkerLauncher> = Box::new(InProcess(RUNTIME.clone()));
    let mut worker = launcher.launch().unwrap();
    let result = worker.run(&job, &Cancel::default()).unwrap();
    assert_eq!(result.core, run(&job).core);
}

#[test]
fn seeds_follow_from_job_and_item() {
    let job = JobBuilder::new(&everything()).file("data/in", b"data").build(&RUNTIME);
    let other =
        JobBuilder::new(&everything()).file("data/in", b"data").spec(|spec| spec.nonce = [3; 16]).build(&RUNTIME);
    assert_ne!(JobSpec::seed(&job.id, 0), JobSpec::seed(&other.id, 0));
    assert_ne!(run(&job).output.items[0].stdout, run(&other).output.items[0].stdout);
}
