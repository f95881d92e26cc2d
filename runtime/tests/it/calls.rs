//! The log of host calls: what it says, and that nothing can change without its root.

use crate::support::{Guest, LIMITS, RUNTIME, engines};
use depx_host_abi::fuel::{HOST_CALL, HostWork};
use depx_protocol::{Canonical, Hash, HostCallLeaf, HostCallLog, Status, Tag, merkle};
use depx_runtime::{Cancel, EngineOptions, Outcome, Runtime, RuntimeOptions};
use std::sync::LazyLock;

/// Keeps the calls.
static KEEPING: LazyLock<Runtime> = LazyLock::new(|| keeping(EngineOptions::default(), 100));

fn keeping(engine: EngineOptions, kept_host_calls: usize) -> Runtime {
    Runtime::new(RuntimeOptions { engine, kept_host_calls, ..RuntimeOptions::default() }).unwrap()
}

/// A guest that calls `body`, with a buffer list at 0 that names the six bytes at 64.
fn text(body: &str) -> String {
    format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_seek" (func $seek (param i32 i64 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
            (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
            (import "wasi_ephemeral_nn" "load" (func $load (param i32 i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\40\00\00\00\06\00\00\00") (data (i32.const 64) "a text")
            (func (export "_start") {body}))"#
    )
}

fn run_in(runtime: &Runtime, text: &str, change: impl FnOnce(&mut Guest)) -> Outcome {
    let mut guest = Guest::new(text);
    change(&mut guest);
    runtime.execute(&guest.executable_in(runtime, text), &guest.task(), &Cancel::default()).unwrap()
}

fn run(body: &str) -> Outcome {
    run_in(&KEEPING, &text(body), |_| ())
}

const WRITE: &str = "(drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))";
const SEEK: &str = "(drop (call $seek (i32.const 1) (i64.const -10) (i32.const 1) (i32.const 32)))";
const YIELD: &str = "(drop (call $yield))";
const RANDOM: &str = "(drop (call $random (i32.const 128) (i32.const 8)))";
const LOAD: &str = "(drop (call $load (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0)))";

#[test]
fn a_leaf_says_what_was_called_with_what_and_what_came_of_it() {
    let outcome = run(&[WRITE, SEEK, YIELD, LOAD, "(call $exit (i32.const 3))"].concat());
    assert_eq!((outcome.status, outcome.code, &*outcome.stdout), (Status::ExitCode, 3, &b"a text"[..]));
    let memory = [
        &b"\0\0\0\0\0\0\0\0\x08\x40\0\0\0\x06\0\0\0"[..],
        b"\0\0\0\0\x40\0\0\0\x06a text",
        b"\x01\0\0\0\x20\0\0\0\x04\x06\0\0\0",
    ];
    let memory = blake3::keyed_hash(Tag::HostMemory.digest(), &memory.concat());
    let called: Vec<_> = outcome.kept_calls.iter().map(|call| (call.function, &*call.arguments, call.result)).collect();
    let expected: [(u16, &[u64], Option<u32>); 5] = [
        (27, &[1, 0, 1, 32], Some(0)),
        // A stream cannot be moved: `spipe`; the offset's bits are those of -10.
        (24, &[1, 10u64.wrapping_neg(), 1, 32], Some(70)),
        (42, &[], Some(0)),
        (67, &[0, 0, 1, 0, 0], Some(6)),
        (39, &[3], None),
    ];
    assert_eq!(called, expected);
    let touched: Vec<_> = outcome.kept_calls.iter().map(|call| call.memory).collect();
    assert_eq!(touched, [Some(Hash(memory.into())), None, None, None, None]);
    let mut left = LIMITS.fuel;
    for (index, call) in (0..).zip(&outcome.kept_calls) {
        // Six bytes and one buffer are paid for beyond the call itself.
        let cost = HOST_CALL + if index == 0 { 6 + HostWork::Entry.rate() } else { 0 };
        assert_eq!((call.index, call.fuel_before - call.fuel_after), (index, cost));
        assert!(call.fuel_before <= left);
        left = call.fuel_after;
    }
    assert_eq!(LIMITS.fuel - left, outcome.fuel_used);
}

#[test]
fn every_leaf_has_its_proof_and_the_root_needs_none_of_them_kept() {
    let body = [WRITE, SEEK, YIELD, RANDOM, WRITE, LOAD, YIELD].concat();
    let outcome = run(&body);
    assert_eq!((outcome.host_calls.count, outcome.kept_calls.len()), (7, 7));
    let leaves: Vec<_> = outcome.kept_calls.iter().map(Canonical::to_bytes).collect();
    assert_eq!(merkle::root(&leaves), outcome.host_calls.root);
    for (leaf, proof) in leaves.iter().zip(merkle::proofs(&leaves)) {
        assert_eq!(proof.root(leaf), Some(outcome.host_calls.root));
    }
    for keep in [0, 2] {
        let fewer = run_in(&keeping(EngineOptions::default(), keep), &text(&body), |_| ());
        assert_eq!((fewer.host_calls, &*fewer.kept_calls), (outcome.host_calls, &outcome.kept_calls[..keep]));
    }
}

#[test]
fn a_run_without_calls_has_the_empty_log() {
    let outcome = run("");
    assert_eq!(outcome.host_calls, HostCallLog { count: 0, root: merkle::TreeBuilder::new().root() });
    assert_eq!(outcome.host_calls, HostCallLog::default());
}

#[test]
fn any_change_of_a_call_changes_the_root() {
    let base = [WRITE, YIELD, SEEK, RANDOM].concat();
    let with = |from: &str, to: &str| text(&base).replacen(from, to, 1);
    let variants = [
        ("nothing", text(&base)),
        ("an argument that has no effect", with("(i64.const -10)", "(i64.const -11)")),
        ("an argument that has one", with("(i32.const 128)", "(i32.const 136)")),
        ("a byte that is written to standard output", with("a text", "b text")),
        ("an address of the same bytes", with(r#""\40"#, r#""\50"#).replace("(i32.const 64) \"", "(i32.const 80) \"")),
        ("a result", with("$seek (i32.const 1)", "$seek (i32.const 9)")),
        ("the order", text(&[YIELD, WRITE, SEEK, RANDOM].concat())),
        ("a call more", text(&[&base, YIELD].concat())),
        ("a call less", text(&[WRITE, YIELD, SEEK].concat())),
        (
            "fuel in between",
            text(&[WRITE, "(drop (i32.mul (i32.const 1) (i32.const 1)))", YIELD, SEEK, RANDOM].concat()),
        ),
        ("another function", text(&[WRITE, "(drop (call $close (i32.const 1)))", SEEK, RANDOM].concat())),
    ];
    let logs = variants.each_ref().map(|(what, text)| (what, run_in(&RUNTIME, text, |_| ()).host_calls));
    for (position, (what, log)) in logs.iter().enumerate() {
        assert!(logs[..position].iter().all(|(_, other)| other.root != log.root), "{what}");
    }
    // What the guest is given counts as well.
    let seeded = run_in(&RUNTIME, &text(&base), |guest| guest.seed = Hash([8; 32]));
    assert!(logs.iter().all(|(_, log)| log.root != seeded.host_calls.root));
    let again = run_in(&RUNTIME, &text(&base), |_| ());
    assert_eq!(again.host_calls, logs[0].1);
}

#[test]
fn logs_are_the_same_on_every_engine() {
    let text = text(&[WRITE, SEEK, RANDOM, LOAD, "(call $exit (i32.const 3))"].concat());
    let expected = run_in(&KEEPING, &text, |_| ());
    let interpreted = EngineOptions { interpreter: true, ..EngineOptions::default() };
    for engine in engines().chain([interpreted]) {
        assert_eq!(run_in(&keeping(engine, 100), &text, |_| ()), expected, "{engine:?}");
    }
}

#[test]
fn a_call_that_uses_up_the_fuel_is_the_last_one() {
    let body = [YIELD, RANDOM].concat();
    let whole = run(&body);
    let fuel_before = |call: &HostCallLeaf| call.fuel_before;
    let until = LIMITS.fuel - whole.kept_calls.last().map(fuel_before).unwrap();
    // Enough for the call itself, or not even for that, and not for the bytes.
    for more in [0, HOST_CALL - 1, HOST_CALL, HOST_CALL + 8 * 4 - 1] {
        let outcome = run_in(&KEEPING, &text(&body), |guest| guest.setting.limits.fuel = until + more);
        assert_eq!((outcome.status, outcome.host_calls.count), (Status::OutOfFuel, 2), "{more}");
        let last = outcome.kept_calls.last().unwrap();
        assert_eq!((last.result, last.fuel_before, last.fuel_after, last.memory), (None, more, 0, None), "{more}");
    }
}

/// Bytes are hashed only once they are paid for: a guest cannot have gigabytes hashed at the price of a call.
#[test]
fn what_is_not_paid_for_is_not_read() {
    let path = r#"(module
        (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
        (memory (export "memory") 16)
        (func (export "_start") (drop (call $unlink (i32.const 3) (i32.const 0) (i32.const 1000000)))))"#;
    let outcome = run_in(&KEEPING, path, |_| ());
    let [call] = &outcome.kept_calls[..] else { panic!("{:?}", outcome.kept_calls) };
    assert_eq!((call.result, call.memory), (Some(37), None));
}
