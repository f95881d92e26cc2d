//! The same program on the same input gives the same result, to the last bit, however and wherever it is run.

use crate::support::{DIGITS, IMAGES, MODEL, Machine, array, built_guest, finish, has_onnx_runtime};
use depx_protocol::Canonical;
use serde_json::Value;

/// Everything that could differ between two runs: clocks, sleeping, randomness, files, a directory listing, NaN bits, growth.
/// Writes all of it to standard output, and some to standard error and to a file.
const EVERYTHING: &str = r#"(module
    (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_readdir" (func $list (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (data (i32.const 600) "out/copy")
    (func $divide (param f64 f64) (result f64) (f64.div (local.get 0) (local.get 1)))
    (func (export "_start")
      ;; Buffer list at 0: 512 bytes at 1024, where everything is collected.
      (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 512))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)))
      (drop (call $time (i32.const 0) (i64.const 1) (i32.const 1400)))
      ;; Sleep for a second on the monotonic clock: subscription at 512, event at 560.
      (i32.store (i32.const 528) (i32.const 1)) (i64.store (i32.const 536) (i64.const 1000000000))
      (drop (call $poll (i32.const 512) (i32.const 560) (i32.const 1) (i32.const 16)))
      (drop (call $time (i32.const 1) (i64.const 1) (i32.const 1408)))
      (drop (call $random (i32.const 1416) (i32.const 32)))
      (drop (call $list (i32.const 3) (i32.const 1200) (i32.const 160) (i64.const 0) (i32.const 16)))
      (f64.store (i32.const 1448) (call $divide (f64.const 0) (f64.const 0)))
      (i32.store (i32.const 1456) (memory.grow (i32.const 7)))
      (i32.store (i32.const 1460)
        (call $open (i32.const 3) (i32.const 0) (i32.const 600) (i32.const 8) (i32.const 1)
          (i64.const 0x1fffffff) (i64.const 0) (i32.const 0) (i32.const 1464)))
      (drop (call $write (i32.load (i32.const 1464)) (i32.const 0) (i32.const 1) (i32.const 16)))
      (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 16)))
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#;

/// Every way to execute: compiler's effort, where memory comes from, compiler or interpreter, threads.
fn engines() -> impl Iterator<Item = Vec<&'static str>> {
    let choices = |index: u32| {
        let bit = |place: u32| index >> place & 1 == 1;
        let mut options = vec!["--optimize", if bit(0) { "none" } else { "speed" }];
        options.extend(["--allocation", if bit(1) { "pooling" } else { "on-demand" }]);
        options.extend(["--threads", if bit(2) { "2" } else { "1" }]);
        if bit(3) {
            options.push("--interpret");
        }
        options
    };
    (0..16).map(choices)
}

/// One run: all that `--json` tells but the time it took, and the encoded result in the receipt.
fn observe(machine: &Machine, engine: &[&str], job: &[&str], input: &[u8]) -> (Value, Vec<u8>) {
    let mut command = machine.depx(["run", "--json", "--receipt", "receipt"]);
    command.args(engine).args(job);
    let done = finish(command, input);
    let mut told = done.lines().pop().unwrap_or_else(|| panic!("{engine:?} {job:?}: {done:?}"));
    assert!(told.as_object_mut().is_some_and(|told| told.remove("seconds").is_some()));
    (told, machine.receipt("receipt").result.to_bytes())
}

/// Runs a job in every way, once more, and on another machine; gives what is told of it.
fn check(job: &[&str], input: &[u8]) -> Value {
    let machine = Machine::new();
    let expected = observe(&machine, &[], job, input);
    for engine in engines() {
        assert_eq!(observe(&machine, &engine, job, input), expected, "{engine:?} {job:?}");
    }
    assert_eq!(observe(&machine, &[], job, input), expected, "the second time: {job:?}");
    assert_eq!(observe(&Machine::new(), &[], job, input), expected, "on another machine: {job:?}");
    expected.0
}

#[test]
fn clocks_sleep_randomness_files_and_floats() {
    let machine = Machine::new();
    let (guest, items) = (machine.guest("everything.wasm", EVERYTHING), machine.write("items", "one\ntwo\nthree\n"));
    let data = machine.write("data", "data");
    let [guest, items] = [&guest, &items].map(|path| path.to_str().expect("a plain path"));
    let file = format!("data/in={}", data.display());
    let told = check(&["--batch", items, "--file", &file, guest], b"");
    assert_eq!(told["status"], "Success", "{told}");
    // What it collected is there: it is not the same because it is empty.
    let collected = |item: usize| {
        let hex = told["output"][item]["stdout"]["hex"].as_str().unwrap_or_else(|| panic!("{told}"));
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect::<Vec<u8>>()
    };
    let (one, two) = (collected(0), collected(1));
    assert!(one.starts_with(b"one\n") && two.starts_with(b"two\n"));
    let word = |at: usize| u64::from_le_bytes(one[at..at + 8].try_into().expect("eight"));
    assert_eq!(word(376) / 1_000_000_000, 1_767_225_600, "the clock starts in 2026");
    assert!((1_000_000_000..1_010_000_000).contains(&word(384)), "it slept for a second: {}", word(384));
    assert_ne!(one[392..424], two[392..424], "each item has randomness of its own");
    assert!(one[392..424].iter().any(|byte| *byte != 0));
    assert!(one[176..336].windows(4).any(|name| name == b"data"), "the directory is listed");
    assert_eq!(word(424), 0x7ff8 << 48, "NaN has its canonical bits");
    assert_eq!((word(432), told["peak_memory_pages"].as_u64()), (2, Some(9)), "growth succeeds, and so does opening");
}

#[test]
fn endings_other_than_success() {
    let endings = [
        ("Trap", r#"(module (memory (export "memory") 1) (func (export "_start") unreachable))"#),
        ("Trap", r#"(module (memory (export "memory") 1) (func $deeper (export "_start") (call $deeper)))"#),
        ("OutOfFuel", r#"(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))"#),
        ("InvalidModule", r#"(module (memory (export "memory") 1))"#),
    ];
    for (status, text) in endings {
        let machine = Machine::new();
        let guest = machine.guest("guest.wasm", text);
        let told = check(&["--fuel", "5000000", guest.to_str().expect("a plain path")], b"");
        assert_eq!(told["status"], status, "{told}");
    }
}

#[test]
fn inference() {
    if !has_onnx_runtime() {
        return;
    }
    let machine = Machine::new();
    let images = std::fs::read(IMAGES).expect("it is there");
    let images = machine.write("images", &images[..24 * 64]);
    let (images, model) = (images.to_str().expect("a plain path"), format!("digits={MODEL}"));
    let told = check(&["--model", &model, "--batch", images, "--record-bytes", "64", DIGITS], b"");
    assert_eq!((told["status"].as_str(), told["class"].as_str()), (Some("Success"), Some("D2")), "{told}");
}

#[test]
fn a_model_alone() {
    if !has_onnx_runtime() {
        return;
    }
    let machine = Machine::new();
    let images = std::fs::read(IMAGES).expect("it is there");
    let images = machine.write("images.npy", array("24, 1, 8, 8", &images[..24 * 64]));
    let images = images.to_str().expect("a plain path");
    let told = check(&["--class", "d1", "--batch", images, MODEL], b"");
    assert_eq!((told["status"].as_str(), told["class"].as_str()), (Some("Success"), Some("D1")), "{told}");
}

#[test]
fn a_c_program() {
    let Some(guest) = built_guest("DEPX_C_GUESTS", "ordinary.wasm") else { return };
    let machine = Machine::new();
    let text = format!("in={}", machine.write("text", "some words\nmore words\n").display());
    let guest = guest.to_str().expect("a plain path");
    let told = check(&["--env", "GREETING=hello", "--file", &text, guest, "in", "out/copy"], b"a line\n");
    assert_eq!((told["status"].as_str(), told["code"].as_u64()), (Some("ExitCode"), Some(4)), "{told}");
}

#[test]
fn seed_and_timestamp_are_the_users_choice() {
    let machine = Machine::new();
    let guest = machine.guest("everything.wasm", EVERYTHING);
    let result = |options: &[&str]| {
        let told = machine.json([&["run"], options, &[guest.to_str().expect("a plain path")]].concat());
        told["result"].as_str().expect("a hash").to_owned()
    };
    let default = result(&[]);
    assert_eq!(default, result(&["--seed", "00", "--timestamp", "1767225600000"]));
    assert_eq!(result(&["--seed", "ff"]), result(&["--seed", "00FF"]));
    let others =
        [["--seed", "ff"], ["--timestamp", "0"], ["--seed", "random"], ["--seed", "random"], ["--timestamp", "now"]];
    let mut results = vec![default];
    results.extend(others.iter().map(|options| result(options)));
    results.sort();
    results.dedup();
    assert_eq!(results.len(), others.len() + 1, "each gives another result");
}
