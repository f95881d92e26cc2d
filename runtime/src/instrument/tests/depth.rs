//! Call depth, and that the native stack is never what ends a guest.

use super::*;

fn module(functions: &str) -> Vec<u8> {
    wat(&format!(
        r#"(module (memory (export "memory") 1) {functions} (func (export "_start") (local $i i32) (call $f)
            (loop $l (br_if $l (local.tee $i (i32.const 0))))))"#
    ))
}

/// Calls itself, counts how often in memory, and has `before` and `after` around the call.
fn recursion(locals: &str, before: &str, after: &str) -> Vec<u8> {
    module(&format!(
        "(func $f {locals} (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))) {before} (call $f) {after})"
    ))
}

/// Sums of pairs of `count` locals that are loaded before and used after a call, in `ty`.
fn kept(ty: &str, count: usize) -> (String, String, String) {
    let load = if ty == "v128" { "v128.load".to_owned() } else { format!("{ty}.load") };
    let locals = format!("(local{})", format!(" {ty}").repeat(count));
    let before = (0..count).map(|n| format!("(local.set {n} ({load} (i32.const {})))", 64 + 16 * n)).collect();
    let after = (0..count).map(|n| format!("({ty}.store (i32.const {}) (local.get {n}))", 64 + 16 * n)).collect();
    (locals, before, after)
}

/// Programs whose frames are large for the slots that they take.
fn hungry() -> Vec<(String, Vec<u8>)> {
    let mut programs = vec![("small".to_owned(), recursion("", "", ""))];
    for ty in ["i32", "i64", "f32", "f64", "v128"] {
        for count in [1, 3, 30, 300] {
            let (locals, before, after) = kept(ty, count);
            programs.push((format!("{count} {ty} kept in locals"), recursion(&locals, &before, &after)));
        }
    }
    for count in [8, 64, 512] {
        // The same expressions before and after the call, which a compiler may compute once and keep.
        let term = |n: usize| format!("(i64.mul (local.get 0) (i64.const {}))", 0x1234_5678_9abc + 7919 * n);
        let sum = (0..count).fold("(i64.const 0)".to_owned(), |sum, n| format!("(i64.xor {sum} {})", term(n)));
        let store = format!("(i64.store (i32.const 8) {sum})");
        let before = format!("(local.set 0 (i64.load (i32.const 8))) {store}");
        programs.push((format!("{count} common expressions"), recursion("(local i64)", &before, &store)));

        // Expressions that do not change within a loop around the call.
        let float = |n: usize| format!("(f64.mul (local.get 0) (f64.const {n}.5))");
        let sum = (0..count).fold("(f64.const 0)".to_owned(), |sum, n| format!("(f64.add {sum} {})", float(n)));
        let (before, after) = (
            "(local.set 0 (f64.load (i32.const 8))) (loop $l",
            format!("(f64.store (i32.const 8) {sum}) (br_if $l (i32.load (i32.const 4))))"),
        );
        programs.push((format!("{count} invariant expressions"), recursion("(local f64)", before, &after)));

        // Operands on the stack during the call.
        let push = "(i64.load (i32.const 16))".repeat(count);
        let pop = format!("(local.set 0){}", "(i64.xor (local.get 0)) (local.set 0)".repeat(count - 1));
        programs.push((format!("{count} operands"), recursion("(local i64)", &push, &pop)));

        // Vector expressions.
        let term = |n: usize| format!("(i32x4.add (local.get 0) (i32x4.splat (i32.const {})))", 77 * n + 1);
        let sum = (0..count).fold("(local.get 0)".to_owned(), |sum, n| format!("(v128.xor {sum} {})", term(n)));
        let store = format!("(v128.store (i32.const 16) {sum})");
        let before = format!("(local.set 0 (v128.load (i32.const 16))) {store}");
        programs.push((format!("{count} common vectors"), recursion("(local v128)", &before, &store)));
    }
    for count in [10, 250] {
        let types = " i64".repeat(count);
        let loads = "(i64.load (i32.const 8))".repeat(count);
        let (gets, drops): (String, _) =
            ((0..count).map(|n| format!("(local.get {n})")).collect(), "(drop)".repeat(count));
        let functions = format!(
            "(func $g (param{types}) (result{types}) {gets} (call $g {gets}) {drops}) (func $f (call $g {loads}) {drops})"
        );
        programs.push((format!("{count} parameters and results"), module(&functions)));
    }
    programs
}

#[test]
fn slots_end_before_the_native_stack() {
    for (name, wasm) in hungry() {
        let metered = metered(&wasm);
        let mut agreed = None;
        for (options, engine) in ENGINES.iter().filter(|(options, _)| options.allocation == Allocation::OnDemand) {
            let run = run(engine, &Module::new(engine, &metered).unwrap(), 1 << 40);
            assert_eq!(run.ended, Ended::OutOfDepth, "{name}, {options:?}");
            let agreed = agreed.get_or_insert_with(|| run.clone());
            assert_eq!(*agreed, run, "{name}, {options:?}");
        }
    }
}

#[test]
fn ordinary_recursion_is_deep_enough() {
    let run = run_everywhere(&metered(&recursion("", "", "")), 1 << 40);
    let depth = u32::from_le_bytes(run.memory[..4].try_into().unwrap());
    assert!((100_000..300_000).contains(&depth), "{depth} calls");
}

/// Every way out of a function, many more times than depth would allow if one of them kept slots.
#[test]
fn every_exit_gives_slots_back() {
    let exits = [
        "(nop)",
        "(return)",
        "(br 0)",
        "(block (block (br 2)))",
        "(loop (br 1))",
        "(br_if 0 (i32.const 1)) (unreachable)",
        "(block (br_table 0 1 (i32.const 5)))",
        "(block (block (return)))",
        "(if (i32.const 1) (then (return)) (else (unreachable)))",
    ];
    for exit in exits {
        let wasm = wat(&format!(
            r#"(module (memory (export "memory") 1) (func $leaf) (func $f (call $leaf) {exit})
                (func $one (result i32) (call $leaf) (i32.const 1) {})
                (func (export "_start") (local $i i32)
                    (loop $l
                        (call $f) (drop (call $one))
                        (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 300000))))))"#,
            if exit == "(nop)" { "(br_if 0 (i32.const 1))" } else { "(return)" },
        ));
        let (_, engine) = &ENGINES[0];
        let run = run(engine, &Module::new(engine, metered(&wasm)).unwrap(), 1 << 40);
        assert_eq!(run.ended, Ended::Returned, "{exit}");
    }
}
