//! What a guest may use, and what happens when it wants more.

use crate::script::Arg::{I, L, P};
use crate::script::{Script, words};
use crate::support::{Guest, engines, wat};
use depx_host_abi::limit::LimitCode;
use depx_protocol::Status::{LimitExceeded, Success};
use depx_runtime::{Cancel, HostFault, Runtime, RuntimeOptions, Task};
use std::sync::Arc;

const NOSPC: u8 = 51;
const ALL: u64 = (1 << 30) - 1;

/// Growth beyond the job's limit, the module's own and what any memory can have fails inside the guest, in the same way
/// everywhere, and below them always succeeds.
#[test]
fn growth_within_the_limits_succeeds_and_beyond_them_fails_everywhere() {
    let grow = |pages: i64| format!("(call $tell (memory.grow (i32.const {pages})))");
    let grow_table = |elements: i64| format!("(call $tell (table.grow 0 (ref.null func) (i32.const {elements})))");
    let steps = [
        grow(8),
        grow(8),
        grow(0),
        grow(3),
        grow(65527),
        grow(-1),
        grow_table(5000),
        grow_table(1),
        grow_table(1_000_000),
        grow_table(-1),
        "(call $tell (table.grow 1 (ref.null func) (i32.const 100)))".into(),
        "(call $tell (table.grow 1 (ref.null func) (i32.const 95000)))".into(),
    ];
    let expected = [0, 8, 16, -1, -1, -1, 0, 5000, -1, -1, 0, -1];
    let text = format!(
        r#"(module (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
           (memory (export "memory") 0) (table 0 funcref) (table 0 200 funcref)
           (func $tell (param i32)
             (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 4))
             (i32.store (i32.const 16) (local.get 0))
             (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
           (func (export "_start") {}))"#,
        steps.concat()
    );
    // The first growth makes the memory that `$tell` writes to.
    let mut outcomes = Vec::new();
    for options in engines() {
        let runtime = Runtime::new(RuntimeOptions { engine: options, ..RuntimeOptions::default() }).unwrap();
        let guest = Guest::new(&text).limits(|limits| (limits.memory_pages, limits.fuel) = (18, 1 << 40));
        let executable = runtime.prepare(&wat(&text)).unwrap();
        let outcome = runtime.execute(&executable, &guest.task(), &Cancel::default()).unwrap();
        let told: Vec<i32> =
            outcome.stdout.chunks(4).map(|word| i32::from_le_bytes(word.try_into().unwrap())).collect();
        assert_eq!(told, expected, "{options:?}");
        assert_eq!((outcome.status, outcome.peak_memory_pages), (Success, 16), "{options:?}");
        outcomes.push(outcome);
    }
    assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn output_ends_at_its_limit_and_the_run_with_it() {
    let write = |times: usize| {
        let mut script = Script::new().put_text(16, "12345");
        for _ in 0..times {
            script = script.call("fd_write", &[I(1), I(16), I(1), I(24)], 0);
        }
        script.module()
    };
    let outcome = Guest::new(&write(3)).limits(|limits| limits.output_bytes = 12).run();
    assert_eq!((outcome.status, outcome.code), (LimitExceeded, LimitCode::OutputBytes.number()));
    assert_eq!(outcome.stdout, b"1234512345");
}

/// A script that makes files below `out`, a guest that runs it within `limit` bytes of output, and what is there at the end.
fn with_output(script: &Script, limit: u64, files: &[(&str, &str)]) -> (depx_protocol::Status, Vec<(String, String)>) {
    let outcome = Guest::new(&script.module()).files(files).limits(|limits| limits.output_bytes = limit).run();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (outcome.status, outcome.files.iter().map(|file| (file.path.clone(), text(&file.content))).collect())
}

fn create(script: Script, path: &'static str, fd: u32, content: &str) -> Script {
    script.call("path_open", &[I(3), I(0), P(path), I(1), L(ALL), L(0), I(0), I(64)], 0).put_text(16, content).call(
        "fd_write",
        &[I(fd), I(16), I(1), I(24)],
        0,
    )
}

fn rename(script: Script, from: &'static str, to: &'static str) -> Script {
    script.call("path_rename", &[I(3), P(from), I(3), P(to)], 0)
}

#[test]
fn files_below_out_are_output_however_they_got_there() {
    let mut script = create(Script::new(), "out/b", 4, "bb");
    script = script.call("path_create_directory", &[I(3), P("out/a")], 0);
    script = script.call("path_create_directory", &[I(3), P("out/a.d")], 0);
    script = create(script, "out/a/z", 5, "z");
    script = create(script, "out/a.d/y", 6, "y");
    script = create(script, "made", 7, "made");
    script = rename(script, "made", "out/moved");
    script = rename(script, "data", "out/data");
    script = script.call("path_link", &[I(3), I(0), P("out/b"), I(3), P("out/c")], 0);
    script = script.call("path_symlink", &[P("b"), I(3), P("out/link")], 0);
    script = create(script, "out/gone", 8, "gone");
    script = script.call("path_unlink_file", &[I(3), P("out/gone")], 0);
    // Written after it had two names: both are longer.
    script = script.put_text(16, "!").call("fd_write", &[I(4), I(16), I(1), I(24)], 0);
    let (status, files) = with_output(&script, 1000, &[("data/in", "in")]);
    let expected = [
        // Sorted by path, bytewise: `.` comes before `/`.
        ("a.d/y", "y"),
        ("a/z", "z"),
        ("b", "bb!"),
        ("c", "bb!"),
        ("data/in", "in"),
        ("moved", "made"),
    ];
    assert_eq!(status, Success);
    assert_eq!(files, expected.map(|(path, content)| (path.to_owned(), content.to_owned())));
    // The transcript of the steps is output too; to the byte, this much is needed.
    let bytes: usize = expected.iter().map(|(_, content)| content.len()).sum();
    let steps = script.transcript_len() as u64;
    // The file that was removed had 4 bytes at a time when 11 others were there, less than the transcript adds later.
    let needed = bytes as u64 + steps;
    assert_eq!(with_output(&script, needed, &[("data/in", "in")]).0, Success);
    assert_eq!(with_output(&script, needed - 1, &[("data/in", "in")]).0, LimitExceeded);
}

#[test]
fn what_leaves_out_or_is_replaced_counts_no_more() {
    let mut script = create(Script::new(), "out/a", 4, "0123456789");
    script = rename(script, "out/a", "a");
    script = create(script, "out/a", 5, "0123456789");
    script = create(script, "b", 6, "abcdefghij");
    script = rename(script, "b", "out/a");
    script = rename(script, "out", "elsewhere");
    script = script.call("path_create_directory", &[I(3), P("out")], 0);
    script = create(script, "out/last", 7, "last");
    let steps = script.transcript_len() as u64;
    let (status, files) = with_output(&script, 10 + steps - 6, &[]);
    assert_eq!(files, [("last".to_owned(), "last".to_owned())]);
    assert_eq!(status, Success);
}

#[test]
fn a_file_that_outgrows_the_output_limit_ends_the_run() {
    let script = create(create(Script::new(), "out/a", 4, "0123456789"), "out/b", 5, "0123456789");
    let (status, files) = with_output(&script, 19, &[]);
    assert_eq!(status, LimitExceeded);
    assert_eq!(files, [("a".to_owned(), "0123456789".to_owned()), ("b".to_owned(), String::new())]);
}

#[test]
fn what_the_job_brings_must_be_within_its_limits() {
    let guest = || Guest::new(r#"(module (memory (export "memory") 1) (func (export "_start")))"#);
    let files = &[("a/b", "b"), ("a/c", "c"), ("out/d", "dd")];
    for (names, output, expected) in
        [(4, 2, (Success, 0)), (3, 2, (LimitExceeded, LimitCode::Files.number())), (4, 1, (LimitExceeded, 3))]
    {
        let run = guest().files(files).limits(|limits| (limits.files, limits.output_bytes) = (names, output)).run();
        assert_eq!((run.status, run.code), expected);
    }
}

#[test]
fn files_and_their_bytes_are_bounded() {
    let script = create(Script::new(), "a", 4, "12345678")
        .put_text(16, "123")
        .call("fd_write", &[I(4), I(16), I(1), I(24)], NOSPC)
        .call("fd_filestat_set_size", &[I(4), L(11)], NOSPC)
        .call("fd_filestat_set_size", &[I(4), L(10)], 0)
        .call("path_symlink", &[P("x"), I(3), P("link")], NOSPC)
        // A copy of what the job brought counts, cutting it does not.
        .call("path_open", &[I(3), I(0), P("job"), I(0), L(ALL), L(0), I(0), I(64)], 0)
        .call("fd_filestat_set_size", &[I(5), L(2)], 0)
        .put_text(16, "J")
        .call("fd_write", &[I(5), I(16), I(1), I(24)], NOSPC)
        // `job`, `a`, and one more.
        .call("path_create_directory", &[I(3), P("b")], 0)
        .call("path_create_directory", &[I(3), P("c")], NOSPC)
        .call("path_link", &[I(3), I(0), P("a"), I(3), P("c")], NOSPC)
        .call("path_open", &[I(3), I(0), P("c"), I(1), L(ALL), L(0), I(0), I(64)], NOSPC)
        // What is removed makes room: a file's bytes, once nobody has it open.
        .call("path_unlink_file", &[I(3), P("a")], 0)
        .call("path_create_directory", &[I(3), P("c")], 0)
        .put_text(16, "J")
        .call("fd_write", &[I(5), I(16), I(1), I(24)], NOSPC)
        .call("fd_close", &[I(4)], 0)
        .call("fd_write", &[I(5), I(16), I(1), I(24)], 0);
    script.check(|guest| guest.files(&[("job", "job")]).limits(|limits| (limits.files, limits.file_bytes) = (3, 10)));
}

#[test]
fn the_log_is_cut_and_counted() {
    let script = Script::new()
        .put_text(16, "0123456789")
        .call("fd_write", &[I(2), I(16), I(1), I(24)], 0)
        .call("fd_write", &[I(2), I(16), I(1), I(24)], 0)
        .holds(24, words(&[10]));
    let outcome = Guest::new(&script.module()).limits(|limits| limits.log_bytes = 13).run();
    assert_eq!((&outcome.log[..], outcome.log_len), (&b"0123456789012"[..], 20));
    assert_eq!(outcome.status, Success);
}

const SLOW: &str = r#"(module
    (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
    (memory (export "memory") 1)
    (func (export "_start") (loop $l (drop (call $yield)) (br $l))))"#;

#[test]
fn time_and_cancellation_are_faults_and_never_results() {
    let guest = Guest::new(SLOW).limits(|limits| (limits.fuel, limits.wall_ms) = (u64::MAX, 50));
    let runtime = Runtime::new(RuntimeOptions::default()).unwrap();
    let fault = runtime.execute(&guest.executable_in(&runtime, SLOW), &guest.task(), &Cancel::default());
    assert!(matches!(fault, Err(HostFault::Timeout { limit_ms: 50 })), "{fault:?}");
    let guest = Guest::new(SLOW).limits(|limits| limits.fuel = u64::MAX);
    let (cancel, task): (Cancel, Task) = (Cancel::default(), guest.task());
    let executable = Arc::new(guest.executable_in(&runtime, SLOW));
    let running = std::thread::spawn({
        let (runtime, cancel, executable) = (runtime.clone(), cancel.clone(), executable.clone());
        move || runtime.execute(&executable, &task, &cancel)
    });
    std::thread::sleep(std::time::Duration::from_millis(20));
    cancel.cancel();
    assert!(matches!(running.join().unwrap(), Err(HostFault::Cancelled)));
}

#[test]
fn a_pool_that_is_used_up_is_this_machines_fault() {
    let options = depx_runtime::EngineOptions {
        allocation: depx_runtime::Allocation::Pooling { slots: 1 },
        ..depx_runtime::EngineOptions::default()
    };
    let runtime = Runtime::new(RuntimeOptions { engine: options, ..RuntimeOptions::default() }).unwrap();
    let guest = Guest::new(SLOW).limits(|limits| limits.fuel = u64::MAX);
    let executable = guest.executable_in(&runtime, SLOW);
    let cancel = Cancel::default();
    std::thread::scope(|scope| {
        scope.spawn(|| runtime.execute(&executable, &guest.task(), &cancel));
        std::thread::sleep(std::time::Duration::from_millis(50));
        let second = runtime.execute(&executable, &guest.task(), &cancel);
        assert!(matches!(second, Err(HostFault::Resources { resource: "instance slots" })), "{second:?}");
        cancel.cancel();
    });
}
