//! How guests end, and what the result says of it.

use crate::support::{Guest, LIMITS};
use depx_host_abi::fuel::HostWork;
use depx_host_abi::limit::LimitCode;
use depx_host_abi::trap::TrapCode;
use depx_protocol::Status::{self, ExitCode, LimitExceeded, OutOfFuel, Success, Trap};

/// A guest whose program is `body`, with a function `$exit` and whatever `extra` declares.
fn guest(extra: &str, body: &str) -> Guest {
    Guest::new(&format!(
        r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
           (memory (export "memory") 1) {extra} (func (export "_start") {body}))"#
    ))
}

#[test]
fn each_way_to_end_has_its_status_and_code() {
    let table = "(type $t (func)) (table 2 funcref) (elem (i32.const 0) $one) (func $one (param i32))";
    let trap = |code: TrapCode| (Trap, code.number());
    let cases: &[(&str, &str, (Status, u32))] = &[
        ("", "", (Success, 0)),
        ("", "(call $exit (i32.const 0))", (Success, 0)),
        ("", "(call $exit (i32.const 1))", (ExitCode, 1)),
        ("", "(call $exit (i32.const -1))", (ExitCode, u32::MAX)),
        ("", "unreachable", trap(TrapCode::Unreachable)),
        ("", "(drop (i32.load (i32.const 65536)))", trap(TrapCode::MemoryOutOfBounds)),
        ("", "(drop (i32.load offset=4294967295 (i32.const -1)))", trap(TrapCode::MemoryOutOfBounds)),
        ("", "(memory.fill (i32.const 1) (i32.const 0) (i32.const 65536))", trap(TrapCode::MemoryOutOfBounds)),
        ("(table 1 funcref)", "(drop (table.get (i32.const 1)))", trap(TrapCode::TableOutOfBounds)),
        (table, "(call_indirect (type $t) (i32.const 1))", trap(TrapCode::IndirectCallToNull)),
        (table, "(call_indirect (type $t) (i32.const 0))", trap(TrapCode::BadSignature)),
        (table, "(call_indirect (type $t) (i32.const 2))", trap(TrapCode::TableOutOfBounds)),
        ("", "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))", trap(TrapCode::IntegerOverflow)),
        ("", "(drop (i32.trunc_f32_s (f32.const 3e9)))", trap(TrapCode::IntegerOverflow)),
        ("", "(drop (i64.rem_u (i64.const 1) (i64.const 0)))", trap(TrapCode::DivisionByZero)),
        ("", "(drop (i32.trunc_f64_s (f64.const nan)))", trap(TrapCode::BadConversion)),
        ("(func $r (call $r))", "(call $r)", trap(TrapCode::StackOverflow)),
        ("", "(loop $l (br $l))", (OutOfFuel, 0)),
        ("(start $s) (func $s unreachable)", "", trap(TrapCode::Unreachable)),
        ("(start $s) (func $s (call $exit (i32.const 5)))", "unreachable", (ExitCode, 5)),
        ("(start $s) (func $s (loop $l (br $l)))", "", (OutOfFuel, 0)),
        // Segments that do not fit end the run before any code does.
        ("(data (i32.const 65535) \"ab\")", "unreachable", trap(TrapCode::MemoryOutOfBounds)),
        ("(table 1 funcref) (elem (i32.const 1) $f) (func $f)", "unreachable", trap(TrapCode::TableOutOfBounds)),
    ];
    for (extra, body, expected) in cases {
        let outcome = guest(extra, body).run();
        assert_eq!((outcome.status, outcome.code), *expected, "{extra} {body}");
        assert_eq!(outcome.peak_memory_pages, 1, "{extra} {body}");
    }
}

#[test]
fn a_run_that_is_out_of_fuel_has_used_all_of_it() {
    for fuel in [0, 1, 1000, 54_321] {
        let outcome = guest("", "(loop $l (br $l))").limits(|limits| limits.fuel = fuel).run();
        assert_eq!((outcome.status, outcome.fuel_used), (OutOfFuel, fuel));
    }
}

#[test]
fn the_exact_fuel_is_enough_and_one_unit_less_is_not() {
    let busy = || {
        guest(
            "",
            "(local $i i32) (loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))))",
        )
    };
    let used = busy().run().fuel_used;
    assert!((1000..100_000).contains(&used), "{used}");
    let exact = busy().limits(|limits| limits.fuel = used).run();
    assert_eq!((exact.status, exact.fuel_used), (Success, used));
    let short = busy().limits(|limits| limits.fuel = used - 1).run();
    assert_eq!((short.status, short.fuel_used), (OutOfFuel, used - 1));
}

#[test]
fn more_fuel_than_an_instance_can_hold_is_no_error() {
    let outcome = guest("", "").limits(|limits| limits.fuel = u64::MAX).run();
    assert_eq!(outcome.status, Success);
    assert!(outcome.fuel_used < 100);
}

/// Host calls are paid for by what they handle, before they have an effect.
#[test]
fn host_calls_cost_by_length() {
    let write = |len: u32| {
        Guest::new(&format!(
            r#"(module (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
               (memory (export "memory") 1) (data (i32.const 4) "\{:02x}\{:02x}")
               (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#,
            len & 255,
            len >> 8
        ))
    };
    let used = |len: u32| write(len).run().fuel_used;
    assert_eq!(used(5000) - used(1000), 4000);
    // Enough to get into the call, not enough for its bytes: nothing is written.
    let outcome = write(5000).limits(|limits| limits.fuel = 5000).run();
    assert_eq!((outcome.status, outcome.fuel_used, outcome.stdout.len()), (OutOfFuel, 5000, 0));
}

/// Names on the way of a path, links included, and what the first change of the files copies.
#[test]
fn host_calls_cost_by_what_they_visit() {
    let used = |body: &str, files: &[(&str, &str)]| {
        let text = format!(
            r#"(module
               (import "wasi_snapshot_preview1" "path_filestat_get" (func $stat (param i32 i32 i32 i32 i32) (result i32)))
               (import "wasi_snapshot_preview1" "path_symlink" (func $link (param i32 i32 i32 i32 i32) (result i32)))
               (memory (export "memory") 1) (data (i32.const 0) "././././here") (data (i32.const 16) "link") {body})"#
        );
        let outcome = Guest::new(&text).files(files).run();
        assert_eq!(outcome.status, Success);
        outcome.fuel_used
    };
    let stat = |at: u32, len: u32| {
        let arguments = [3, 1, at, len, 64].map(|argument| format!("(i32.const {argument})")).concat();
        format!("(if (call $stat {arguments}) (then unreachable))")
    };
    let start = |calls: &str| format!(r#"(func (export "_start") {calls})"#);
    let here = &[("here", "")][..];
    let (name, byte) = (HostWork::Name.rate(), HostWork::PathByte.rate());
    let [short, long] = [stat(8, 4), stat(0, 12)].map(|call| used(&start(&call), here));
    assert_eq!(long - short, 4 * name + 8 * byte);
    // A link to the long path: its own name, and the way behind it.
    let link =
        "(if (call $link (i32.const 0) (i32.const 12) (i32.const 3) (i32.const 16) (i32.const 4)) (then unreachable))";
    let [without, with] = ["", &stat(16, 4)].map(|then| used(&start(&format!("{link}{then}")), here));
    assert_eq!(with - without, long + name + 4 * byte);
    // One entry for each inode that there is, once.
    let twice = link.replace("(i32.const 16) (i32.const 4)", "(i32.const 17) (i32.const 3)");
    let cost = |calls: &str, files: &[(&str, &str)]| used(&start(calls), files);
    let more = [("a", ""), ("b", ""), ("here", "")];
    assert_eq!(cost(link, &more) - cost(link, here), 2 * HostWork::Entry.rate());
    let both = format!("{link}{twice}");
    assert_eq!(cost(&both, &more) - cost(&both, here), 2 * HostWork::Entry.rate());
}

#[test]
fn what_was_written_before_the_end_stays() {
    let outcome = Guest::new(
        r#"(module (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
           (memory (export "memory") 1) (data (i32.const 0) "\08\00\00\00\03\00\00\00abc")
           (func (export "_start")
             (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
             (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 16)))
             unreachable))"#,
    )
    .run();
    assert_eq!((outcome.status, &outcome.stdout[..], &outcome.log[..]), (Trap, &b"abc"[..], &b"abc"[..]));
}

#[test]
fn declared_memory_and_tables_beyond_the_limits_end_the_run_before_it_starts() {
    let memory = Guest::new(r#"(module (memory (export "memory") 17) (func (export "_start")))"#);
    let memory = memory.limits(|limits| limits.memory_pages = 16).run();
    assert_eq!((memory.status, memory.code), (LimitExceeded, LimitCode::MemoryPages.number()));
    assert_eq!((memory.fuel_used, memory.peak_memory_pages), (0, 0));
    // All tables together.
    let tables = || {
        Guest::new(
            r#"(module (memory (export "memory") 1) (table 6 funcref) (table 5 funcref) (func (export "_start")))"#,
        )
    };
    let over = tables().limits(|limits| limits.table_elements = 10).run();
    assert_eq!((over.status, over.code), (LimitExceeded, LimitCode::TableElements.number()));
    let within = tables().limits(|limits| limits.table_elements = 11).run();
    assert_eq!(within.status, Success);
    assert_eq!(LIMITS.table_elements, 100_000);
}
