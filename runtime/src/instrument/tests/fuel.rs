//! What runs cost, and that it is the same everywhere.

use super::super::cost;
use super::super::plan::{Change, Edit};
use super::*;
use depx_host_abi::fuel as schedule;
use expect_test::{Expect, expect};
use wasmparser::Operator;

/// `body` within `_start`, with a memory of one page, a table of four elements and some helpers.
fn program(body: &str) -> Vec<u8> {
    wat(&format!(
        r#"(module
            (type $nothing (func))
            (memory (export "memory") 1 4)
            (table $table 4 8 funcref)
            (elem (i32.const 1) func $helper $add)
            (elem $passive func $helper $helper)
            (data $text "metering")
            (global $count (mut i32) (i32.const 0))
            (func $helper (i32.store (i32.const 8) (i32.const 7)))
            (func $add (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
            (func $swap (param i32 i64) (result i64 i32)
                (call $helper)
                (local.get 1) (local.get 0)
                (br_if 0 (local.get 0))
                (return))
            (func $factorial (param i64) (result i64)
                (if (result i64) (i64.eqz (local.get 0))
                    (then (i64.const 1))
                    (else (i64.mul (local.get 0) (call $factorial (i64.sub (local.get 0) (i64.const 1)))))))
            (func (export "_start") (local $i i32) (local $j i32) (local $n i64) {body}))"#
    ))
}

const PROGRAMS: &[(&str, &str)] = &[
    ("empty", ""),
    ("straight", "(i32.store (i32.const 0) (i32.add (i32.const 1) (i32.const 2)))"),
    ("call", "(call $helper)"),
    ("call through table", "(call_indirect (type $nothing) (i32.const 1))"),
    ("if then", "(if (i32.const 1) (then (i32.store (i32.const 0) (i32.const 1))))"),
    ("if else", "(if (i32.const 0) (then (call $helper)) (else (i32.store (i32.const 0) (i32.const 1))))"),
    (
        "loop",
        "(loop $l
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $i) (i32.const 1000))))
        (i32.store (i32.const 0) (local.get $i))",
    ),
    (
        "nested loops with continue and break",
        "(block $done
            (loop $outer
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $done (i32.gt_u (local.get $i) (i32.const 20)))
                (local.set $j (i32.const 0))
                (loop $inner
                    (local.set $j (i32.add (local.get $j) (i32.const 1)))
                    (br_if $outer (i32.eq (local.get $j) (local.get $i)))
                    (global.set $count (i32.add (global.get $count) (local.get $j)))
                    (br_if $inner (i32.lt_u (local.get $j) (i32.const 10))))
                (br $outer)))
        (i32.store (i32.const 0) (global.get $count))",
    ),
    (
        "switch",
        "(loop $again
            (block $end (block $two (block $one (block $zero
                (br_table $zero $one $two $end (local.get $i)))
                (i32.store8 (i32.const 0) (i32.const 1)) (br $end))
                (i32.store8 (i32.const 1) (i32.div_u (i32.const 9) (local.get $i))) (return (drop (i32.const 0))))
                (call $helper))
            (local.set $i (i32.sub (i32.const 5) (local.get $i)))
            (br_if $again (i32.ne (local.get $i) (i32.const 0))))",
    ),
    (
        "several results",
        "(call $swap (i32.const 1) (i64.const 2)) (local.set $i) (local.set $n)
        (call $swap (i32.const 0) (i64.const 3)) (drop) (drop)
        (i64.store (i32.const 0) (local.get $n)) (i32.store (i32.const 4) (local.get $i))",
    ),
    ("recursion", "(i64.store (i32.const 0) (call $factorial (i64.const 20)))"),
    (
        "bulk",
        "(memory.fill (i32.const 0) (i32.const 3) (i32.const 1000))
        (memory.copy (i32.const 2000) (i32.const 0) (i32.const 1000))
        (memory.init $text (i32.const 4) (i32.const 0) (i32.const 8))
        (data.drop $text)
        (table.init $passive (i32.const 2) (i32.const 0) (i32.const 2))
        (elem.drop $passive)
        (table.copy (i32.const 0) (i32.const 1) (i32.const 3))
        (table.fill (i32.const 0) (ref.null func) (i32.const 2))
        (i32.store (i32.const 0) (table.grow (ref.null func) (i32.const 2)))",
    ),
    ("growth", "(i32.store (i32.const 0) (memory.grow (i32.const 2)))"),
    ("growth that fails", "(i32.store (i32.const 0) (memory.grow (i32.const 65537)))"),
    (
        "vectors and floats",
        "(v128.store (i32.const 0) (f32x4.div (v128.const f32x4 1 2 3 4) (f32x4.splat (f32.const 3))))
        (f64.store (i32.const 0) (f64.sqrt (f64.div (f64.const 0) (f64.const 0))))",
    ),
    ("copy beyond the end", "(memory.copy (i32.const 0) (i32.const 60000) (i32.const 60000))"),
    (
        "load beyond the end",
        "(i32.store (i32.const 0) (i32.const 1)) (i32.store (i32.load (i32.const -8)) (i32.const 2))",
    ),
    ("division by zero", "(i32.store (i32.const 0) (i32.const 1)) (drop (i32.div_u (i32.const 1) (local.get $i)))"),
    ("unreachable", "(i32.store (i32.const 0) (i32.const 1)) (unreachable)"),
    ("call of an empty element", "(call_indirect (type $nothing) (i32.const 0))"),
    ("call with another type", "(call_indirect (type $nothing) (i32.const 2))"),
    ("bad conversion", "(drop (i32.trunc_f64_s (f64.const nan)))"),
];

fn table(programs: &[(&str, &str)], fuel: i64) -> String {
    programs
        .iter()
        .map(|(name, body)| {
            let wasm = program(body);
            let run = run_everywhere(&metered(&wasm), fuel);
            check_same_as_plain(&wasm, &run);
            format!("{name}: {run:?}\n")
        })
        .collect()
}

/// Changing a number here needs a new version of the schedule or of instrumentation.
#[test]
fn every_engine_agrees_on_results_and_fuel() {
    let expected: Expect = expect![[r#"
        empty: Returned, 0 fuel, memory [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        straight: Returned, 6 fuel, memory [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        call: Returned, 16 fuel, memory [0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]
        call through table: Returned, 21 fuel, memory [0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]
        if then: Returned, 7 fuel, memory [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        if else: Returned, 7 fuel, memory [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        loop: Returned, 9004 fuel, memory [232, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        nested loops with continue and break: Returned, 2953 fuel, memory [203, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        switch: Returned, 42 fuel, memory [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        several results: Returned, 82 fuel, memory [2, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]
        recursion: Returned, 461 fuel, memory [0, 0, 180, 130, 124, 103, 195, 33, 0, 0, 0, 0, 0, 0, 0, 0]
        bulk: Returned, 1333 fuel, memory [4, 0, 0, 0, 109, 101, 116, 101, 114, 105, 110, 103, 3, 3, 3, 3]
        growth: Returned, 131332 fuel, memory [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        growth that fails: OutOfFuel, 1000000 fuel, memory [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        vectors and floats: Returned, 61 fuel, memory [0, 0, 0, 0, 0, 0, 248, 127, 0, 0, 128, 63, 171, 170, 170, 63]
        copy beyond the end: Trapped(MemoryOutOfBounds), 15035 fuel, memory [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        load beyond the end: Trapped(MemoryOutOfBounds), 11 fuel, memory [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        division by zero: Trapped(IntegerDivisionByZero), 38 fuel, memory [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        unreachable: Trapped(UnreachableCodeReached), 4 fuel, memory [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        call of an empty element: Trapped(IndirectCallToNull), 17 fuel, memory [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        call with another type: Trapped(BadSignature), 17 fuel, memory [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        bad conversion: Trapped(BadConversionToInteger), 9 fuel, memory [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    "#]];
    expected.assert_eq(&table(PROGRAMS, 1_000_000));
}

/// A plan that charges each operator where it stands, and saves what is left.
fn operator_by_operator(function: &mut Function<'_>) {
    let plan = &mut function.plan;
    (plan.costs, plan.saved) = (vec![0], vec![false]);
    plan.prepaid.clear();
    let mut edits = Vec::new();
    let mut reader = function.body.get_operators_reader().unwrap();
    let mut after_loop = true;
    while !reader.eof() {
        let (operator, offset) = reader.read_with_offset().unwrap();
        let offset = offset as u32;
        let region = plan.costs.len() as u32;
        plan.costs.push(cost::class(&operator).cost().into());
        plan.saved.push(false);
        let others = plan.edits.iter().filter(|edit| edit.offset == offset && !is_about_regions(edit.change));
        let (called, others): (Vec<Edit>, Vec<Edit>) = others.partition(|edit| edit.change == Change::Called);
        edits.extend(called);
        edits.push(Edit { offset, change: Change::Charge { region, check: after_loop } });
        edits.push(Edit { offset, change: Change::Save });
        edits.extend(others);
        after_loop = matches!(operator, Operator::Loop { .. });
    }
    plan.edits = edits;
}

fn is_about_regions(change: Change) -> bool {
    use Change::*;
    matches!(change, Charge { .. } | Loop { .. } | Exit { .. } | ExitIf { .. } | Save)
}

/// The fuel of a run that returns is the sum of what its operators cost, and one that traps has paid for all but its last piece: code of
/// one function without loops and calls.
pub(super) fn check_exact(wasm: &[u8], run: &Run, fuel: i64) {
    let (_, engine) = &ENGINES[0];
    let single = super::run(engine, &Module::new(engine, metered_with(wasm, operator_by_operator)).unwrap(), fuel);
    if run.ended == Ended::Returned {
        return assert_eq!(*run, single);
    }
    let functions = validate(wasm).unwrap().functions;
    let piece = functions.iter().map(|function| function.plan.costs.iter().sum::<u64>()).max().unwrap_or(0) as i64;
    assert!(
        run.ended == Ended::OutOfFuel || run.fuel + piece >= single.fuel,
        "{run:?} where {single:?} was executed, and a piece costs {piece}"
    );
}

#[test]
fn regions_cost_what_their_operators_cost() {
    for (name, body) in PROGRAMS {
        let wasm = program(body);
        let (_, engine) = &ENGINES[0];
        let run = run(engine, &Module::new(engine, metered(&wasm)).unwrap(), 1_000_000);
        println!("{name}");
        check_exact(&wasm, &run, 1_000_000);
    }
}

#[test]
fn a_run_ends_alike_wherever_fuel_runs_out() {
    let wasm = program(
        "(loop $l
            (i32.store (local.get $i) (i32.add (local.get $i) (i32.const 1)))
            (if (i32.and (local.get $i) (i32.const 1)) (then (call $helper)) (else (memory.fill (i32.const 16) (i32.const 1) (i32.const 64))))
            (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 12))))",
    );
    let metered = metered(&wasm);
    let modules: Vec<_> =
        ENGINES.iter().map(|(options, engine)| (options, engine, Module::new(engine, &metered).unwrap())).collect();
    let total = run(modules[0].1, &modules[0].2, 1 << 40);
    assert_eq!(total.ended, Ended::Returned);
    let mut memories = Vec::new();
    for fuel in 0..=total.fuel {
        let runs: Vec<_> = modules.iter().map(|(_, engine, module)| run(engine, module, fuel)).collect();
        let expected = if fuel < total.fuel { Ended::OutOfFuel } else { Ended::Returned };
        for (run, (options, ..)) in runs.iter().zip(&modules) {
            assert_eq!((run.ended, run.fuel), (expected, fuel), "{options:?}");
            assert_eq!(run.memory, runs[0].memory, "{options:?} with {fuel} fuel");
        }
        memories.push(runs[0].memory.clone());
    }
    memories.dedup();
    assert!(memories.len() > 5, "runs stop at different points");
}

#[test]
fn lengths_are_unsigned_and_charged_in_advance() {
    let cost = |body: &str, fuel| run_everywhere(&metered(&program(body)), fuel);
    let copy = "(memory.copy (i32.const 0) (i32.const 0) (i32.const -1))";
    let bytes = i64::from(u32::MAX) / schedule::BULK_BYTES_PER_UNIT as i64;
    assert_eq!(cost(copy, bytes).ended, Ended::OutOfFuel);
    assert_eq!(cost(copy, 2 * bytes).ended, Ended::Trapped(Trap::MemoryOutOfBounds));
    let elements = i64::from(u32::MAX) * schedule::TABLE_ELEMENT as i64;
    let grow = "(drop (table.grow (ref.null func) (i32.const -1)))";
    assert_eq!(cost(grow, elements).ended, Ended::OutOfFuel);
    assert_eq!(cost(grow, 2 * elements).ended, Ended::Returned);
    let pages = (schedule::GROW_MAX_PAGES * schedule::MEMORY_PAGE) as i64;
    let [most, more] = ["65536", "-1"].map(|n| cost(&format!("(drop (memory.grow (i32.const {n})))"), 1 << 40));
    assert!((pages..2 * pages).contains(&most.fuel) && most.fuel == more.fuel);
}

#[test]
fn the_start_function_is_metered() {
    let text = |start| {
        format!(
            r#"(module (memory (export "memory") 1)
                (func $init (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))))
                (func (export "_start") (i32.store (i32.const 4) (i32.load (i32.const 0)))) {start})"#
        )
    };
    let with = run_everywhere(&metered(&wat(&text("(start $init)"))), 1000);
    let without = run_everywhere(&metered(&wat(&text(""))), 1000);
    assert_eq!(with.memory[..8], [1, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(without.memory[..8], [0; 8]);
    assert!(with.fuel > without.fuel);
    assert_eq!(run_everywhere(&metered(&wat(&text("(start $init)"))), 3).ended, Ended::OutOfFuel);
}

#[test]
fn other_custom_sections_than_names_are_dropped() {
    let wasm = wat(r#"(module $named (@custom "secret" "x")
            (memory (export "memory") 1) (func (export "_start")))"#);
    let custom = |wasm: &[u8]| -> Vec<String> {
        let payloads = wasmparser::Parser::new(0).parse_all(wasm);
        let names = payloads.filter_map(|payload| match payload.unwrap() {
            wasmparser::Payload::CustomSection(section) => Some(section.name().to_owned()),
            _ => None,
        });
        names.collect()
    };
    assert_eq!(custom(&wasm), ["secret", "name"]);
    assert_eq!(custom(&metered(&wasm)), ["name"]);
}
