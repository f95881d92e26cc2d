//! Modules that are initialised once.

use crate::support::{JobBuilder, RUNTIME, engines, wat};
use depx_host_abi::refusal::RefusalCode::{self, *};
use depx_host_abi::snapshot;
use depx_protocol::{Canonical, Hash, JobOutput, Snapshot, SnapshotGlobal, Status, blob_hash};
use depx_runtime::{Cancel, EngineOptions, Job, JobResult, PrepareError, Runtime, RuntimeOptions};

/// Builds a table of 1 MiB, and gives the entries that its input names and what the table begins and ends with. With
/// `initializer` as the name of the builder's export; without one, the program builds it each time.
fn table(initializer: Option<&str>) -> Vec<u8> {
    let (exported, built) = match initializer {
        Some(name) => (format!("(export {name:?})"), ""),
        None => (String::new(), "(call $build)"),
    };
    wat(&format!(
        r#"(module
        (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (global $table (mut i32) (i32.const 0))
        (data (i32.const 0) "\40\00\00\00\04\00\00\00")
        (func $build {exported} (local $at i32) (local $value i32)
          (global.set $table (i32.mul (memory.grow (i32.const 16)) (i32.const 65536)))
          (local.set $value (i32.const 12345))
          (loop $more
            (local.set $value (i32.add (i32.mul (local.get $value) (i32.const 1664525)) (i32.const 1013904223)))
            (i32.store (i32.add (global.get $table) (local.get $at)) (local.get $value))
            (br_if $more (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4))) (i32.const 1048576)))))
        (func (export "_start") {built}
          (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
          (i32.store (i32.const 16)
            (i32.add (global.get $table) (i32.and (i32.load (i32.const 64)) (i32.const 0xffffc))))
          (i32.store (i32.const 20) (i32.const 4))
          (i32.store (i32.const 24) (i32.add (global.get $table) (i32.const 1048568)))
          (i32.store (i32.const 28) (i32.const 8))
          (drop (call $write (i32.const 1) (i32.const 16) (i32.const 2) (i32.const 8)))))"#
    ))
}

/// A little of everything that a state is made of: globals of every type, NaNs, memory that grows, passive data, calls through a
/// table, clocks and randomness; and a start function, which runs first.
const EVERYTHING: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
    (type $unit (func (result i32)))
    (memory (export "memory") 1 5)
    (table 2 funcref)
    (elem (i32.const 0) $seven $nine)
    (global $a (mut i32) (i32.const 1)) (global $b (mut i64) (i64.const 2)) (global $constant i32 (i32.const 3))
    (global $c (mut f32) (f32.const 4)) (global $d (mut f64) (f64.const 5))
    (global $e (mut v128) (v128.const i32x4 0 0 0 0))
    (data (i32.const 100) "active")
    (data $passive "passive data")
    (start $first)
    (func $seven (result i32) (i32.const 7))
    (func $nine (result i32) (i32.const 9))
    (func $first (i32.store (i32.const 200) (global.get $a)) (global.set $a (i32.const 10)))
    (func $quotient (param f64) (result f64) (f64.div (local.get 0) (local.get 0)))
    (func (export "wizer-initialize")
      ;; What the start function left, twice of it.
      (global.set $a (i32.mul (global.get $a) (i32.const 2)))
      (global.set $b (i64.reinterpret_f64 (call $quotient (f64.const 0))))
      (global.set $c (f32.demote_f64 (call $quotient (f64.const 0))))
      (global.set $d (f64.const -0.5))
      (global.set $e (i32x4.splat (call_indirect (type $unit) (i32.const 1))))
      (f64.store (i32.const 208) (call $quotient (f64.const 0)))
      (drop (memory.grow (i32.const 2)))
      (memory.init $passive (i32.const 70000) (i32.const 0) (i32.const 7))
      (memory.fill (i32.const 131072) (i32.const 90) (i32.const 3))
      (memory.copy (i32.const 131080) (i32.const 100) (i32.const 6))
      (drop (call $random (i32.const 300) (i32.const 16)))
      (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 320))))
    (func $put (param $at i32) (param $len i32)
      (i32.store (i32.const 16) (local.get $at)) (i32.store (i32.const 20) (local.get $len))
      (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24))))
    (func (export "_start")
      (i32.store (i32.const 400) (global.get $a)) (i64.store (i32.const 404) (global.get $b))
      (f32.store (i32.const 412) (global.get $c)) (f64.store (i32.const 416) (global.get $d))
      (v128.store (i32.const 424) (global.get $e)) (i32.store (i32.const 440) (global.get $constant))
      (i32.store (i32.const 444) (call_indirect (type $unit) (i32.const 0)))
      (i32.store (i32.const 448) (memory.size)) (i32.store (i32.const 452) (memory.grow (i32.const 9)))
      (memory.init $passive (i32.const 456) (i32.const 8) (i32.const 4))
      (call $put (i32.const 400) (i32.const 60))
      (call $put (i32.const 100) (i32.const 6)) (call $put (i32.const 200) (i32.const 16))
      (call $put (i32.const 300) (i32.const 28)) (call $put (i32.const 70000) (i32.const 8))
      (call $put (i32.const 131072) (i32.const 16))))"#;

fn run(runtime: &Runtime, job: JobBuilder) -> JobResult {
    let job: Job = job.build(runtime);
    runtime.run_job(&job, &Cancel::default()).unwrap_or_else(|fault| panic!("{fault}"))
}

fn items() -> impl Iterator<Item = Vec<u8>> {
    (0..5u32).map(|item| (item * 200_003).to_le_bytes().to_vec())
}

#[test]
fn a_table_is_built_once_and_gives_the_same_outputs() {
    let each = run(&RUNTIME, JobBuilder::new(&table(None)).batch(items()));
    let each_fuel = each.output.items[0].leaf.fuel_used;
    assert_eq!((each.core.status, each.core.snapshot, each.core.snapshot_fuel), (Status::Success, Hash::ZERO, 0));
    for name in snapshot::INITIALIZE {
        let once = run(&RUNTIME, JobBuilder::new(&table(Some(name))).batch(items()));
        for (item, other) in once.output.items.iter().zip(&each.output.items) {
            assert_eq!(item.stdout, other.stdout);
            assert_eq!(item.leaf.peak_memory_pages, 17);
            assert!(item.leaf.fuel_used * 1000 < each_fuel, "{} of {each_fuel}", item.leaf.fuel_used);
        }
        let used: u64 = once.output.items.iter().map(|item| item.leaf.fuel_used).sum();
        assert_eq!(once.core.fuel_used, used + once.core.snapshot_fuel);
        assert!(once.core.snapshot_fuel > each_fuel * 9 / 10 && once.core.snapshot != Hash::ZERO);
        assert_eq!(JobOutput::verified(&once.output.to_bytes(), &once.core).unwrap(), once.output);
        // The second time nothing is initialised, and all the same it is paid for.
        assert_eq!(run(&RUNTIME, JobBuilder::new(&table(Some(name))).batch(items())).core, once.core);
    }
}

#[test]
fn the_state_is_everything_that_the_initialisation_left() {
    let result = run(&RUNTIME, JobBuilder::new(&wat(EVERYTHING)));
    assert_eq!(result.core.status, Status::Success, "{:?}", result.detail);
    let out = &result.output.items[0].stdout;
    let word = |at: usize| u32::from_le_bytes(out[at..at + 4].try_into().unwrap());
    let long = |at: usize| u64::from_le_bytes(out[at..at + 8].try_into().unwrap());
    const NAN: u64 = 0x7ff8_0000_0000_0000;
    // The globals, the constant one too; NaNs are canonical.
    assert_eq!((word(0), long(4), word(12), f64::from_bits(long(16))), (20, NAN, 0x7fc0_0000, -0.5));
    assert_eq!(((24..40).step_by(4).map(word).collect::<Vec<_>>(), word(40)), (vec![9; 4], 3));
    // The table, the memory's size and its limit, passive data that is still there.
    assert_eq!((word(44), word(48), word(52), &out[56..60]), (7, 3, u32::MAX, &b"data"[..]));
    // Active data, what the start function saw, and a NaN.
    assert_eq!((&out[60..66], word(66), long(74)), (&b"active"[..], 1, NAN));
    // Randomness, and a clock that started at 0: less than a millisecond.
    assert!(out[82..98].iter().any(|byte| *byte != 0) && (1..1_000_000).contains(&long(102)), "{}", long(102));
    assert_eq!((&out[110..118], &out[118..134]), (&b"passive\0"[..], &b"ZZZ\0\0\0\0\0active\0\0"[..]));
    assert_eq!(result.core.peak_memory_pages, 3);
}

#[test]
fn snapshots_are_the_same_whatever_the_engine_and_the_cache() {
    let interpreted = EngineOptions { interpreter: true, ..EngineOptions::default() };
    for wasm in [wat(EVERYTHING), table(Some(snapshot::INITIALIZE[0]))] {
        let expected = run(&RUNTIME, JobBuilder::new(&wasm).batch(items()));
        for engine in engines().chain([interpreted]) {
            let directory = tempfile::tempdir().unwrap();
            // Made, and found by another process.
            for _ in 0..2 {
                let cache_dir = Some(directory.path().to_owned());
                let runtime = Runtime::new(RuntimeOptions { engine, cache_dir, ..RuntimeOptions::default() }).unwrap();
                let result = run(&runtime, JobBuilder::new(&wasm).batch(items()));
                assert_eq!(result.core.to_bytes(), expected.core.to_bytes(), "{engine:?}");
                assert_eq!(result.output, expected.output, "{engine:?}");
            }
        }
    }
}

/// A snapshot's hash from its definition alone.
#[test]
fn the_hash_is_over_module_memory_and_globals() {
    let wasm = wat(r#"(module (memory (export "memory") 1) (global (mut i64) (i64.const 1)) (global i32 (i32.const 2))
        (func (export "wizer-initialize") (global.set 0 (i64.const -2)) (i32.store (i32.const 5) (i32.const 6))
          (drop (memory.grow (i32.const 1))))
        (func (export "_start")))"#);
    let mut memory = vec![0; 2 << 16];
    memory[5] = 6;
    let snapshot = Snapshot {
        module: blob_hash(&wasm),
        memory_pages: 2,
        memory_root: Snapshot::memory_root(&memory),
        globals: vec![SnapshotGlobal { index: 0, bits: (-2i64).to_le_bytes().to_vec().into() }],
    };
    let result = run(&RUNTIME, JobBuilder::new(&wasm));
    assert_eq!(result.core.snapshot, snapshot.hash());
    assert_eq!(RUNTIME.prepare(&wasm).unwrap().starts_from().unwrap().fuel, result.core.snapshot_fuel);
}

/// A change of any of these is a change of the profile.
#[test]
fn snapshots_never_change() {
    let core = run(&RUNTIME, JobBuilder::new(&wat(EVERYTHING)).batch(["one", "two"])).core;
    expect_test::expect![[r#"
        snapshot 4e4bf7c50d56833278ff4865ef0c591a2f3f1832f513375862610fcbbd884a5d
        snapshot fuel 133706
        fuel 1330128
        result c23933f36e18fb28fef82ea96b53611cd321de29d89dea899854c34de6762e82
    "#]]
    .assert_eq(&format!(
        "snapshot {}\nsnapshot fuel {}\nfuel {}\nresult {}\n",
        core.snapshot,
        core.snapshot_fuel,
        core.fuel_used,
        core.hash()
    ));
}

#[test]
fn items_do_not_see_each_other() {
    let wasm = wat(r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1) (global $runs (mut i32) (i32.const 0))
        (func $count (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
          (global.set $runs (i32.add (global.get $runs) (i32.const 1))))
        (func (export "wizer-initialize") (call $count))
        (func (export "_start") (call $count) (call $exit (i32.mul (i32.load (i32.const 0)) (global.get $runs)))))"#);
    let result = run(&RUNTIME, JobBuilder::new(&wasm).batch(["a", "b", "c"]));
    let codes: Vec<_> = result.output.items.iter().map(|item| item.leaf.code).collect();
    assert_eq!(codes, [4, 4, 4]);
}

/// What `wizer.h` makes of a C++ program: constructors run in the initialisation, and runs resume behind them.
#[test]
fn runs_resume_where_the_module_says() {
    let module = |resume: &str| {
        wat(&format!(
            r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (func (export "wizer-initialize")) {resume}
            (func (export "_start") (call $exit (i32.const 1))))"#
        ))
    };
    let code = |resume: &str| run(&RUNTIME, JobBuilder::new(&module(resume))).core.code;
    assert_eq!(code(""), 1);
    assert_eq!(code(r#"(func (export "wizer.resume") (call $exit (i32.const 2)))"#), 2);
}

#[test]
fn what_cannot_be_kept_is_refused_alike_everywhere() {
    let module = |rest: &str, body: &str| {
        wat(&format!(
            r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            {rest} (func (export "wizer-initialize") {body}) (func (export "_start")))"#
        ))
    };
    let memory = r#"(memory (export "memory") 1)"#;
    let table = r#"(memory (export "memory") 1) (table 2 funcref) (elem $e func $f) (func $f)"#;
    let data = r#"(memory (export "memory") 1) (data $d "x")"#;
    let grown = "(table.grow 0 (ref.null func) (i32.const 1))";
    let cases: &[(&str, &str, RefusalCode)] = &[
        (memory, "(param i32)", InitializerSignature),
        (memory, "(result i32) (i32.const 1)", InitializerSignature),
        (table, "(table.set (i32.const 0) (ref.func $f))", SnapshotUnsupported),
        (table, &format!("(drop {grown})"), SnapshotUnsupported),
        (table, "(table.fill (i32.const 0) (ref.null func) (i32.const 1))", SnapshotUnsupported),
        (table, "(table.copy (i32.const 0) (i32.const 1) (i32.const 1))", SnapshotUnsupported),
        (table, "(table.init $e (i32.const 0) (i32.const 0) (i32.const 1))", SnapshotUnsupported),
        (table, "(elem.drop $e)", SnapshotUnsupported),
        (data, "(data.drop $d)", SnapshotUnsupported),
        (r#"(memory (export "memory") 1) (global (mut funcref) (ref.null func))"#, "", SnapshotUnsupported),
        (memory, "unreachable", InitializerTrapped),
        (r#"(memory (export "memory") 1) (start $s) (func $s unreachable)"#, "", InitializerTrapped),
        (r#"(memory (export "memory") 1) (data (i32.const 65536) "x")"#, "", InitializerTrapped),
        (r#"(memory (export "memory") 1) (func $r (call $r))"#, "(call $r)", InitializerTrapped),
        (memory, "(loop $l (br $l))", InitializerOutOfFuel),
        (memory, "(call $exit (i32.const 0))", InitializerExited),
        (memory, "(call $exit (i32.const 3))", InitializerExited),
        (
            r#"(memory (export "memory") 1) (data (i32.const 4) "\01")"#,
            "(drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))",
            InitializerOverLimits,
        ),
        (&format!(r#"(memory (export "memory") {})"#, snapshot::MEMORY_PAGES + 1), "", InitializerOverLimits),
    ];
    let slow = EngineOptions { optimize: depx_runtime::Optimize::None, ..EngineOptions::default() };
    let other = Runtime::new(RuntimeOptions { engine: slow, ..RuntimeOptions::default() }).unwrap();
    for (rest, body, code) in cases {
        let wasm = module(rest, body);
        let Err(PrepareError::Refused(refusal)) = RUNTIME.prepare(&wasm) else { panic!("{rest} {body}") };
        assert_eq!(refusal.code, *code, "{rest} {body}: {refusal}");
        let [first, second] = [&*RUNTIME, &other].map(|runtime| run(runtime, JobBuilder::new(&wasm)));
        assert_eq!((first.core.status, first.core.code), (Status::InvalidModule, code.number()), "{rest} {body}");
        assert_eq!((first.core.fuel_used, first.core.snapshot), (0, Hash::ZERO), "{rest} {body}");
        assert_eq!((&first.core, first.detail), (&second.core, second.detail), "{rest} {body}");
    }
}

#[test]
fn memory_up_to_the_limit_can_be_kept_and_growth_beyond_it_fails() {
    let wasm = wat(&format!(
        r#"(module (memory (export "memory") 1)
        (func (export "wizer-initialize")
          (drop (memory.grow (i32.const {0}))) (i32.store (i32.const 0) (memory.grow (i32.const 1)))
          (i32.store8 (i32.const {1}) (i32.const 1)))
        (func (export "_start")
          (if (i32.ne (i32.load (i32.const 0)) (i32.const -1)) (then unreachable))
          (if (i32.ne (i32.load8_u (i32.const {1})) (i32.const 1)) (then unreachable))))"#,
        snapshot::MEMORY_PAGES - 1,
        (snapshot::MEMORY_PAGES << 16) - 1,
    ));
    let limits = |pages| {
        JobBuilder::new(&wasm).spec(move |spec| {
            (spec.limits.memory_pages, spec.limits.wall_ms) = (pages, 600_000);
        })
    };
    let result = run(&RUNTIME, limits(snapshot::MEMORY_PAGES));
    assert_eq!((result.core.status, result.core.peak_memory_pages), (Status::Success, snapshot::MEMORY_PAGES));
    // The state is the module's; what a job allows is a matter of its items.
    assert_eq!(run(&RUNTIME, limits(100)).core.status, Status::LimitExceeded);
}
