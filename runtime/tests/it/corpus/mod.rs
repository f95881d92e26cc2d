//! Jobs that are executed on several architectures and compared there: what could differ between processors, a little of
//! everything else, and every way to end.

mod operators;

use crate::script::Arg::{I, L};
use crate::script::Script;
use crate::support::{JobBuilder, RUNTIME, wat};
use depx_host_abi::trap::TrapCode;
use depx_protocol::Status;
use depx_runtime::{Cancel, EngineOptions, JobResult, Runtime, RuntimeOptions};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// Names the folder into which what the corpus came to is written, for `cargo xtask aarch64` to compare.
const FOLDER: &str = "DEPX_CORPUS";

/// A name without blanks, a job, and how much fuel it gets if not the usual amount.
struct Entry {
    name: String,
    wasm: Vec<u8>,
    fuel: Option<u64>,
    input: Vec<u8>,
}

impl Entry {
    fn new(name: impl Into<String>, text: &str) -> Self {
        Self { name: name.into(), wasm: wat(text), fuel: None, input: Vec::new() }
    }

    fn fuel(self, fuel: u64) -> Self {
        Self { fuel: Some(fuel), name: format!("{}-{fuel}", self.name), ..self }
    }

    fn run(&self, runtime: &Runtime) -> JobResult {
        let job = JobBuilder::new(&self.wasm).input(&self.input).file("data/in", b"content").spec(|spec| {
            spec.limits.fuel = self.fuel.unwrap_or(spec.limits.fuel);
            // Emulators take their time.
            spec.limits.wall_ms = 600_000;
            spec.args = vec!["one".into(), "two".into()];
            spec.env = vec![("NAME".into(), "value".into())];
        });
        let result = runtime.run_job(&job.build(runtime), &Cancel::default());
        result.unwrap_or_else(|fault| panic!("{}: {fault}", self.name))
    }
}

/// A module with memory, what is commonly imported, `$show` to print memory, and `rest`.
fn module(rest: &str) -> String {
    format!(
        r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1 100)
        (func $show (param $at i32) (param $len i32)
          (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $len))
          (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
        {rest})"#
    )
}

/// A module whose program is `body`.
fn program(extra: &str, body: &str) -> String {
    module(&format!("{extra} (func (export \"_start\") {body})"))
}

/// Every access of every width, at the last place where it is in bounds and the first where it is not.
fn accesses(entries: &mut Vec<Entry>) {
    for (ty, access, bytes) in [
        ("i32", "load8_u", 1),
        ("i32", "load16_s", 2),
        ("i64", "load32_u", 4),
        ("f64", "load", 8),
        ("v128", "load", 16),
        ("i32", "store8", 1),
        ("i64", "store16", 2),
        ("f32", "store", 4),
        ("i64", "store", 8),
        ("v128", "store", 16),
    ] {
        let zero = if ty == "v128" { "(v128.const i64x2 0 0)".to_owned() } else { format!("({ty}.const 0)") };
        for (place, offset, address) in [
            ("last", 0, 65536 - bytes),
            ("first", 0, 65537 - bytes),
            ("offset", 65537 - bytes, 0),
            ("far", u32::MAX, u32::MAX),
        ] {
            let address = format!("offset={offset} (i32.const {address})");
            let body = if access.starts_with("load") {
                format!("(drop ({ty}.{access} {address}))")
            } else {
                format!("({ty}.{access} {address} {zero})")
            };
            entries.push(Entry::new(format!("access-{ty}.{access}-{place}"), &program("", &body)));
        }
    }
}

/// Every way to end that is not an access.
fn ends(entries: &mut Vec<Entry>) {
    let table = "(type $t (func)) (table $table 2 4 funcref) (elem $e (i32.const 0) $one) (elem $p func $one) (func $one (param i32))";
    let data = "(data $d \"some data\")";
    for (name, extra, body) in [
        ("return", "", ""),
        ("exit-0", "", "(call $exit (i32.const 0))"),
        ("exit-max", "", "(call $exit (i32.const -1))"),
        ("exit-in-start", "(start $s) (func $s (call $exit (i32.const 5)))", "unreachable"),
        ("unreachable", "", "unreachable"),
        ("fill", "", "(memory.fill (i32.const 1) (i32.const 0) (i32.const 65536))"),
        ("copy", "", "(memory.copy (i32.const 65530) (i32.const 0) (i32.const 7))"),
        ("init", data, "(memory.init $d (i32.const 0) (i32.const 5) (i32.const 5))"),
        ("init-dropped", data, "(data.drop $d) (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1))"),
        ("table-get", table, "(drop (table.get $table (i32.const 2)))"),
        ("table-set", table, "(table.set $table (i32.const 2) (ref.null func))"),
        ("table-fill", table, "(table.fill $table (i32.const 1) (ref.null func) (i32.const 2))"),
        ("table-copy", table, "(table.copy $table $table (i32.const 1) (i32.const 0) (i32.const 2))"),
        ("table-init", table, "(table.init $table $p (i32.const 0) (i32.const 0) (i32.const 2))"),
        ("call-null", table, "(call_indirect (type $t) (i32.const 1))"),
        ("call-other-type", table, "(call_indirect (type $t) (i32.const 0))"),
        ("call-out-of-bounds", table, "(call_indirect (type $t) (i32.const 2))"),
        ("divide-i32", "", "(drop (i32.div_u (i32.const 1) (i32.load (i32.const 0))))"),
        ("divide-i64", "", "(drop (i64.div_s (i64.const 1) (i64.load (i32.const 0))))"),
        ("remainder-i32", "", "(drop (i32.rem_s (i32.const 1) (i32.load (i32.const 0))))"),
        ("remainder-i64", "", "(drop (i64.rem_u (i64.const 1) (i64.load (i32.const 0))))"),
        ("overflow-i32", "", "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))"),
        ("overflow-i64", "", "(drop (i64.div_s (i64.const 0x8000000000000000) (i64.const -1)))"),
        ("no-overflow", "", "(call $exit (i32.rem_s (i32.const 0x80000000) (i32.const -1)))"),
        ("convert-large", "", "(drop (i32.trunc_f32_s (f32.const 3e9)))"),
        ("convert-negative", "", "(drop (i64.trunc_f64_u (f64.const -1)))"),
        ("convert-nan", "", "(drop (i32.trunc_f64_s (f64.const nan)))"),
        ("convert-last", "", "(call $exit (i32.trunc_f64_s (f64.const 2147483647.9)))"),
        ("convert-infinite", "", "(drop (i64.trunc_f32_u (f32.const inf)))"),
        ("data-segment", "(data (i32.const 65535) \"ab\")", "unreachable"),
        ("recursion", "(func $r (call $r))", "(call $r)"),
        ("recursion-of-two", "(func $r (call $s)) (func $s (call $r))", "(call $r)"),
        (
            "recursion-with-values",
            "(func $r (param i64 f64 v128) (result v128) (local i64 i64 v128 v128)
               (v128.xor (local.get 2) (call $r (i64.add (local.get 0) (local.get 3)) (f64.neg (local.get 1)) (local.get 6))))",
            "(drop (call $r (i64.const 1) (f64.const 1) (v128.const i64x2 1 2)))",
        ),
        (
            "recursion-through-a-table",
            "(type $t (func)) (table 1 funcref) (elem (i32.const 0) $r) (func $r (call_indirect (type $t) (i32.const 0)))",
            "(call $r)",
        ),
        (
            "recursion-with-calls-out",
            "(func $r (call $show (i32.const 0) (i32.const 1)) (call $r))",
            "(call $r)",
        ),
        (
            "recursion-that-returns",
            "(func $r (param i64) (result i64) (if (result i64) (i64.eqz (local.get 0)) (then (i64.const 1))
               (else (i64.mul (local.get 0) (call $r (i64.sub (local.get 0) (i64.const 1)))))))",
            "(i64.store (i32.const 16) (call $r (i64.const 5000))) (i64.store (i32.const 24) (call $r (i64.const 20)))
             (call $show (i32.const 16) (i32.const 16))",
        ),
        ("endless", "", "(loop $l (br $l))"),
    ] {
        entries.push(Entry::new(format!("end-{name}"), &program(extra, body)));
    }
}

/// Memory and tables that grow, in bulk and to their limits.
fn growth(entries: &mut Vec<Entry>) {
    let mut memory = String::new();
    for (step, pages) in [1, 0, 3, 95, 1, 65535, -1].into_iter().enumerate() {
        write!(
            memory,
            "(i32.store (i32.const {at}) (memory.grow (i32.const {pages}))) (i32.store (i32.const {}) (memory.size))
             (i64.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 8)) (i64.const {step}))",
            260 + 8 * step,
            at = 256 + 8 * step
        )
        .unwrap();
    }
    memory += "(memory.fill (i32.const 131000) (i32.const 65) (i32.const 70000))
        (memory.copy (i32.const 512) (i32.const 130990) (i32.const 20))
        (memory.copy (i32.const 514) (i32.const 512) (i32.const 18))
        (call $show (i32.const 256) (i32.const 300))";
    entries.push(Entry::new("growth-memory", &program("", &memory)));
    let table = "(table $t 1 50 funcref) (elem declare func $a $b)
        (func $a (result i32) (i32.const 7)) (func $b (result i32) (i32.const 9)) (type $r (func (result i32)))";
    let body = "(i32.store (i32.const 256) (table.grow $t (ref.func $a) (i32.const 20)))
        (i32.store (i32.const 260) (table.grow $t (ref.func $b) (i32.const 29)))
        (i32.store (i32.const 264) (table.grow $t (ref.null func) (i32.const 1)))
        (table.copy $t $t (i32.const 0) (i32.const 15) (i32.const 10))
        (table.fill $t (i32.const 3) (ref.func $b) (i32.const 2))
        (i32.store (i32.const 268) (call_indirect $t (type $r) (i32.const 3)))
        (i32.store (i32.const 272) (call_indirect $t (type $r) (i32.const 5)))
        (i32.store (i32.const 276) (ref.is_null (table.get $t (i32.const 49)))) (i32.store (i32.const 280) (table.size $t))
        (call $show (i32.const 256) (i32.const 28))";
    entries.push(Entry::new("growth-table", &program(table, body)));
}

/// What a guest learns of its surroundings: time, randomness, arguments, files.
fn surroundings(entries: &mut Vec<Entry>) {
    let mut script = Script::new();
    for (at, clock) in (0..4).enumerate() {
        script = script.call("clock_time_get", &[I(clock), L(0), I(256 + 8 * at as u32)], 0);
        script = script.call("clock_res_get", &[I(clock), I(320 + 8 * at as u32)], 0);
    }
    // Sleeping moves the clock: a subscription to the monotonic one, by 5 s.
    let script = script
        .put(1024, &[0; 12])
        .put(1024, &[77, 0, 0, 0, 1, 0, 705_032_704, 1])
        .call("poll_oneoff", &[I(1024), I(1152), I(1), I(500)], 0)
        .call("clock_time_get", &[I(1), L(0), I(400)], 0)
        .call("random_get", &[I(600), I(100)], 0)
        .call("args_sizes_get", &[I(700), I(704)], 0)
        .call("args_get", &[I(708), I(720)], 0)
        .call("environ_get", &[I(740), I(752)], 0)
        .call("fd_readdir", &[I(3), I(2048), I(512), L(0), I(504)], 0)
        .call("fd_filestat_get", &[I(3), I(2600)], 0)
        .put(16, &[256, 3000])
        .call("fd_write", &[I(1), I(16), I(1), I(24)], 0)
        .call("fd_write", &[I(1), I(16), I(1), I(24)], 0);
    entries.push(Entry::new("surroundings", &script.module()));
}

/// A little of everything, which runs out of fuel at many places.
fn exhaustion(entries: &mut Vec<Entry>) {
    let text = program(
        "(table 1 funcref) (elem (i32.const 0) $f) (type $t (func (param f64) (result f64)))
         (func $f (type $t) (f64.sqrt (f64.sub (local.get 0) (f64.const 3))))",
        "(local $n i32)
         (loop $l
           (f64.store (i32.add (i32.const 256) (i32.mul (local.get $n) (i32.const 8)))
             (call_indirect (type $t) (f64.convert_i32_u (local.get $n)) (i32.const 0)))
           (memory.fill (i32.const 1024) (local.get $n) (i32.mul (local.get $n) (i32.const 10)))
           (if (i32.eq (local.get $n) (i32.const 4)) (then (drop (memory.grow (i32.const 1)))))
           (call $show (i32.const 256) (i32.mul (local.get $n) (i32.const 8)))
           (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 12))))",
    );
    for fuel in (0..=60).chain((100..12_000).step_by(173)) {
        entries.push(Entry::new("fuel", &text).fuel(fuel));
    }
}

fn corpus() -> Vec<Entry> {
    let mut entries = Vec::new();
    entries.extend(operators::groups().into_iter().map(|(name, text)| Entry::new(name, &text)));
    accesses(&mut entries);
    ends(&mut entries);
    growth(&mut entries);
    surroundings(&mut entries);
    exhaustion(&mut entries);
    entries
}

#[test]
fn the_corpus_ends_in_every_way_alike_when_interpreted() {
    let engine = EngineOptions { interpreter: true, ..EngineOptions::default() };
    let interpreted = Runtime::new(RuntimeOptions { engine, ..RuntimeOptions::default() }).unwrap();
    let (mut lines, mut ended) = (String::new(), BTreeMap::<_, u32>::new());
    for entry in corpus() {
        let JobResult { core, output, .. } = entry.run(&RUNTIME);
        let other = entry.run(&interpreted);
        assert_eq!((&core, &output), (&other.core, &other.output), "{}", entry.name);
        writeln!(lines, "{} {} {} {:?}-{}", entry.name, core.hash(), core.fuel_used, core.status, core.code).unwrap();
        *ended.entry((core.status, core.code)).or_default() += 1;
    }
    // Atomic accesses and objects on a heap belong to proposals that are off.
    let off = [TrapCode::Misaligned, TrapCode::AllocationTooLarge];
    for trap in TrapCode::ALL.iter().filter(|trap| !off.contains(trap)) {
        assert!(ended.contains_key(&(Status::Trap, trap.number())), "nothing ends with {trap:?}");
    }
    for way in [(Status::Success, 0), (Status::ExitCode, 5), (Status::OutOfFuel, 0)] {
        assert!(ended.contains_key(&way), "nothing ends with {way:?}");
    }
    if let Some(folder) = std::env::var_os(FOLDER) {
        std::fs::write(Path::new(&folder).join("jobs"), lines).unwrap();
    }
}
