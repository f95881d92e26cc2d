//! NaNs: the same bits as if every result of arithmetic were made canonical at once, for chosen programs.

use super::*;
use depx_host_abi::refusal::RefusalCode;

/// Runs a module on the reference engine without any pass over its floats, and on every other engine with it: they agree. Gives
/// what they agree on.
pub(super) fn run_as_reference(wasm: &[u8], fuel: i64) -> Run {
    let untouched = metered_with(wasm, |function| function.plan.floats = false);
    let expected = run(&REFERENCE, &Module::new(&REFERENCE, untouched).unwrap(), fuel);
    let metered = metered(wasm);
    for (options, engine) in ENGINES.iter().filter(|(options, _)| options.allocation == Allocation::OnDemand) {
        let found = run(engine, &Module::new(engine, &metered).unwrap(), fuel);
        let differs = found.memory.iter().zip(&expected.memory).position(|(found, expected)| found != expected);
        assert!(found == expected, "{options:?}: {found:?} where {expected:?} is right; memory differs at {differs:?}");
    }
    expected
}

const CANONICAL: u64 = 0x7ff8_0000_0000_0000;
const NEGATIVE: u64 = 0xfff8_0000_0000_0000;
const CANONICAL32: u64 = 0x7fc0_0000;
const NEGATIVE32: u64 = 0xffc0_0000;
/// A NaN that no arithmetic makes: signalling, negative, with a payload. The programs know it as `$boxed`.
const BOXED: u64 = 0xfff4_dead_beef_cafe;
const BOXED32: u64 = 0xffa5_beef;
const ONE: u64 = 0x3ff0_0000_0000_0000;
const CANONICAL32_TWICE: u64 = CANONICAL32 << 32 | CANONICAL32;

/// `body` within `_start`, with some helpers. What is in the first eight bytes of memory in the end is what matters. `$nan` and
/// `$nan32` stand for arithmetic that gives a NaN, `$boxed` and `$boxed32` for NaNs that are none of arithmetic's.
fn program(body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (memory (export "memory") 1)
            (table 1 funcref) (elem (i32.const 0) func $bits)
            (type $bits (func (param f64) (result i64)))
            (global $zero (mut f64) (f64.const 0)) (global $zero32 (mut f32) (f32.const 0))
            (global $minus (mut f64) (f64.const -1)) (global $infinity (mut f64) (f64.const inf))
            (global $kept (mut f64) (f64.const 0)) (global $kept32 (mut f32) (f32.const 0))
            (global $yes (mut i32) (i32.const 1)) (global $no (mut i32) (i32.const 0))
            (func $bits (type $bits) (i64.reinterpret_f64 (local.get 0)))
            (func $first (param f64 i32) (result i64) (i64.reinterpret_f64 (local.get 0)))
            (func $same (param f64) (result f64) (local.get 0))
            (func $made (result f64) $nan)
            (func $returned (result f64) (return $nan))
            (func $left (result f64) (drop (br_if 0 $nan (global.get $yes))) (f64.const 1))
            (func $chosen (result f64) $nan (br_table 0 0 (global.get $no)))
            (func $pair (result f64 f64) $nan $nan)
            (func $carried (param f64) (result f64)
                (local.set 0 (f64.add (local.get 0) $nan)) (local.get 0))
            (func $kept_or_made (param f64 i32) (result f64)
                (if (local.get 1) (then (local.set 0 (f64.add (local.get 0) (f64.const 1)))))
                (local.get 0))
            (func $answer (param f64) (i64.store (i32.const 0) (i64.reinterpret_f64 (local.get 0))))
            (func (export "_start")
                (local $a f64) (local $b f64) (local $x f32) (local $i i32) (local $v v128) {body}))"#
    );
    let text = text
        .replace("$nan32", "(f32.div (global.get $zero32) (global.get $zero32))")
        .replace("$nan", "(f64.div (global.get $zero) (global.get $zero))")
        .replace("$boxed32", "(f32.reinterpret_i32 (i32.const 0xffa5beef))")
        .replace("$boxed", "(f64.reinterpret_i64 (i64.const 0xfff4deadbeefcafe))");
    wat(&text)
}

/// What programs leave behind.
const PROGRAMS: &[(&str, u64)] = &[
    // The kinds of NaN that arithmetic makes or meets.
    ("(f64.store (i32.const 0) $nan)", CANONICAL),
    ("(f32.store (i32.const 0) $nan32)", CANONICAL32),
    ("(f64.store (i32.const 0) (f64.sub (global.get $infinity) (global.get $infinity)))", CANONICAL),
    ("(f64.store (i32.const 0) (f64.mul (global.get $infinity) (global.get $zero)))", CANONICAL),
    ("(f64.store (i32.const 0) (f64.sqrt (global.get $minus)))", CANONICAL),
    ("(f64.store (i32.const 0) (f64.add (global.get $minus) $boxed))", CANONICAL),
    ("(f64.store (i32.const 0) (f64.promote_f32 $boxed32))", CANONICAL),
    ("(f32.store (i32.const 0) (f32.demote_f64 $boxed))", CANONICAL32),
    // Moves keep all bits.
    ("(f64.store (i32.const 0) $boxed)", BOXED),
    ("(f32.store (i32.const 0) $boxed32)", BOXED32),
    ("(f64.store (i32.const 8) $boxed) (f64.store (i32.const 0) (f64.load (i32.const 8)))", BOXED),
    ("(f64.store (i32.const 0) (f64.const -nan:0x4deadbeefcafe))", BOXED),
    ("(global.set $kept $boxed) (f64.store (i32.const 0) (global.get $kept))", BOXED),
    ("(local.set $a $boxed) (f64.store (i32.const 0) (local.get $a))", BOXED),
    ("(f64.store (i32.const 0) (call $same $boxed))", BOXED),
    ("(f64.store (i32.const 0) (select $boxed (f64.const 1) (global.get $yes)))", BOXED),
    ("(f64.store (i32.const 0) (block (result f64) (br 0 $boxed)))", BOXED),
    ("(f64.store (i32.const 0) (f64.neg (f64.neg $boxed)))", BOXED),
    ("(f64.store (i32.const 0) (f64.copysign $boxed (global.get $minus)))", BOXED),
    ("(f64.store (i32.const 0) (f64.abs $boxed))", BOXED & !(1 << 63)),
    ("(f64.store (i32.const 0) (f64x2.extract_lane 1 (f64x2.splat $boxed)))", BOXED),
    ("(f64.store (i32.const 0) (f64x2.extract_lane 0 (f64x2.pmin (f64x2.splat $boxed) (f64x2.splat (f64.const 1)))))", BOXED),
    // Everything that shows bits.
    ("(i64.store (i32.const 0) (i64.reinterpret_f64 $nan))", CANONICAL),
    ("(i32.store (i32.const 0) (i32.reinterpret_f32 $nan32))", CANONICAL32),
    ("(global.set $kept $nan) (i64.store (i32.const 0) (i64.reinterpret_f64 (global.get $kept)))", CANONICAL),
    ("(global.set $kept32 $nan32) (f32.store (i32.const 0) (global.get $kept32))", CANONICAL32),
    ("(i64.store (i32.const 0) (call $bits $nan))", CANONICAL),
    ("(i64.store (i32.const 0) (call_indirect (type $bits) $nan (i32.const 0)))", CANONICAL),
    ("(i64.store (i32.const 0) (call $first $nan (i32.const 5)))", CANONICAL),
    ("(f64.store (i32.const 0) (call $made))", CANONICAL),
    ("(f64.store (i32.const 0) (call $returned))", CANONICAL),
    ("(f64.store (i32.const 0) (call $left))", CANONICAL),
    ("(f64.store (i32.const 0) (call $chosen))", CANONICAL),
    ("(call $pair) (drop) (call $answer)", CANONICAL),
    ("(call $pair) (local.set $a) (drop) (call $answer (local.get $a))", CANONICAL),
    ("(f64.store (i32.const 0) (call $carried $boxed))", CANONICAL),
    ("(f64.store (i32.const 0) (call $kept_or_made $boxed (i32.const 1)))", CANONICAL),
    ("(f64.store (i32.const 0) (call $kept_or_made $boxed (i32.const 0)))", BOXED),
    ("(f64.store (i32.const 0) (f64.neg $nan))", NEGATIVE),
    ("(f64.store (i32.const 0) (f64.neg (f64.neg $nan)))", CANONICAL),
    ("(f32.store (i32.const 0) (f32.neg $nan32))", NEGATIVE32),
    ("(f64.store (i32.const 0) (f64.abs $nan))", CANONICAL),
    ("(f64.store (i32.const 0) (f64.abs (f64.neg $nan)))", CANONICAL),
    ("(f64.store (i32.const 0) (f64.add (f64.const 1) (f64.neg $nan)))", CANONICAL),
    ("(f64.store (i32.const 0) (f64.copysign (f64.const 1) $nan))", ONE),
    ("(f32.store (i32.const 0) (f32.copysign $nan32 (f32.const -1)))", NEGATIVE32),
    ("(f64.store (i32.const 0) (f64.copysign $nan (f64.const -1)))", NEGATIVE),
    ("(f64.store (i32.const 0) (f64.copysign (f64.copysign $nan (global.get $minus)) $nan))", CANONICAL),
    ("(f64.store (i32.const 0) (f64.add (f64.const 1) (f64.copysign $nan (f64.const -1))))", CANONICAL),
    ("(v128.store (i32.const 0) (f64x2.splat $nan))", CANONICAL),
    ("(v128.store (i32.const 0) (f32x4.splat $nan32))", CANONICAL32_TWICE),
    ("(v128.store (i32.const 0) (f64x2.replace_lane 0 (v128.const i64x2 0 0) $nan))", CANONICAL),
    ("(v128.store (i32.const 0) (f32x4.replace_lane 0 (v128.const i64x2 0 0) $nan32))", CANONICAL32),
    // Vectors, lane by lane.
    ("(v128.store (i32.const 0) (f64x2.mul (f64x2.splat $boxed) (f64x2.splat (f64.const 1))))", CANONICAL),
    ("(v128.store (i32.const 0) (f32x4.add (f32x4.splat $boxed32) (f32x4.splat (f32.const 1))))", CANONICAL32_TWICE),
    ("(v128.store (i32.const 0) (f64x2.sub (v128.const f64x2 1 inf) (v128.const f64x2 0 inf)))", ONE),
    ("(v128.store offset=8 (i32.const 0) (f64x2.sqrt (v128.const f64x2 -1 1)))
      (i64.store (i32.const 0) (i64.load (i32.const 8)))", CANONICAL),
    ("(v128.store (i32.const 0) (f64x2.promote_low_f32x4 (f32x4.splat $boxed32)))", CANONICAL),
    ("(v128.store (i32.const 0) (f32x4.demote_f64x2_zero (f64x2.splat $boxed)))", CANONICAL32_TWICE),
    ("(v128.store (i32.const 0) (f32x4.nearest (f32x4.splat $boxed32)))", CANONICAL32_TWICE),
    ("(v128.store (i32.const 0) (f64x2.max (f64x2.splat $boxed) (f64x2.splat (f64.const 1))))", CANONICAL),
    ("(v128.store (i32.const 0) (f32x4.min (f32x4.splat $boxed32) (f32x4.splat (f32.const 1))))", CANONICAL32_TWICE),
    ("(v128.store (i32.const 0) (f64x2.neg (f64x2.div (f64x2.splat (f64.const 0)) (f64x2.splat (f64.const 0)))))", NEGATIVE),
    // Locals.
    ("(local.set $a $nan) (f64.store (i32.const 0) (local.get $a))", CANONICAL),
    ("(f64.store (i32.const 0) (local.tee $a (local.tee $b $nan)))", CANONICAL),
    ("(drop (local.tee $a (local.tee $b $nan))) (i64.store (i32.const 0) (call $first (local.get $b) (i32.const 0)))", CANONICAL),
    ("(local.set $a $nan) (local.set $a $boxed) (f64.store (i32.const 0) (local.get $a))", BOXED),
    ("(local.set $a $boxed) (local.set $a $nan) (f64.store (i32.const 0) (local.get $a))", CANONICAL),
    ("(local.set $a $boxed) (if (global.get $no) (then (local.set $a $nan))) (f64.store (i32.const 0) (local.get $a))", BOXED),
    ("(local.set $a $boxed) (if (global.get $yes) (then (local.set $a $nan))) (f64.store (i32.const 0) (local.get $a))", CANONICAL),
    ("(if (global.get $no) (then (local.set $a $boxed)) (else (local.set $a $nan))) (f64.store (i32.const 0) (local.get $a))",
        CANONICAL),
    (
        "(local.set $a $boxed)
        (if (global.get $no) (then (local.set $a $nan)) (else (f64.store (i32.const 0) (local.get $a))))",
        BOXED,
    ),
    (
        "(local.set $a $nan)
        (if (global.get $no) (then (local.set $a $boxed)) (else (f64.store (i32.const 0) (local.get $a))))",
        CANONICAL,
    ),
    ("(if (global.get $yes) (then (local.set $a $boxed)) (else (f64.store (i32.const 0) (local.get $a))))
      (f64.store (i32.const 0) (local.get $a))", BOXED),
    ("(local.set $a $nan)
      (block (br_if 0 (global.get $yes)) (local.set $a (f64.const 1)))
      (f64.store (i32.const 0) (local.get $a))", CANONICAL),
    ("(local.set $a $nan)
      (block (br_if 0 (global.get $yes)) (local.set $a $boxed))
      (f64.store (i32.const 0) (local.get $a))", CANONICAL),
    ("(block (br_if 0 (global.get $no)) (local.set $a $boxed) (br 0))
      (block (br_if 0 (global.get $yes)) (local.set $a $nan))
      (f64.store (i32.const 0) (local.get $a))", BOXED),
    ("(local.set $a $nan) (local.set $b (local.get $a)) (local.set $a $boxed) (f64.store (i32.const 0) (local.get $b))", CANONICAL),
    // What goes around in loops.
    ("(local.set $b $nan)
      (loop
        (local.set $a (f64.add (local.get $a) (local.get $b)))
        (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 5))))
      (f64.store (i32.const 0) (local.get $a))", CANONICAL),
    ("(local.set $a $boxed)
      (loop
        (f64.store (i32.const 0) (local.get $a))
        (local.set $a (f64.add (local.get $a) (f64.const 1)))
        (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 2))))", CANONICAL),
    ("(local.set $a $boxed)
      (loop
        (f64.store (i32.const 0) (local.get $a))
        (local.set $b (f64.add (local.get $a) (f64.const 1)))
        (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 2)))
        (local.set $a (local.get $b)))", BOXED),
    ("(loop
        (f64.store (i32.const 0) (local.get $a))
        (local.set $a (local.get $b))
        (local.set $b $nan)
        (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3))))", CANONICAL),
    ("(loop (result f64)
        (local.set $a (f64.neg (local.get $a)))
        (local.set $a (f64.mul (local.get $a) $nan))
        (local.get $a)
        (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4))))
      (call $answer)", CANONICAL),
    ("(f64.const 1)
      (loop (param f64) (result f64)
        (local.set $a) (f64.add (local.get $a) $nan)
        (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4)))
        (local.set $a) (f64.neg (local.get $a)))
      (call $answer)", NEGATIVE),
    ("$boxed
      (loop (param f64) (result f64)
        (local.tee $a) (call $answer) $nan
        (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 2))))
      (drop)", CANONICAL),
    // One value or another.
    ("(f64.store (i32.const 0) (select $nan $boxed (global.get $yes)))", CANONICAL),
    ("(f64.store (i32.const 0) (select $nan $boxed (global.get $no)))", BOXED),
    ("(f64.store (i32.const 0) (select $boxed $nan (global.get $no)))", CANONICAL),
    ("(f64.store (i32.const 0) (select (result f64) $nan (f64.const 1) (global.get $yes)))", CANONICAL),
    ("(f64.store (i32.const 0) (select (select $nan (f64.neg $nan) (global.get $no)) $boxed (global.get $yes)))", NEGATIVE),
    ("(f64.store (i32.const 0) (if (result f64) (global.get $yes) (then $nan) (else $boxed)))", CANONICAL),
    ("(f64.store (i32.const 0) (if (result f64) (global.get $no) (then $nan) (else $boxed)))", BOXED),
    ("(f64.store (i32.const 0) (if (result f64) (global.get $no) (then $boxed) (else $nan)))", CANONICAL),
    ("(f64.store (i32.const 0) (block (result f64) (drop (br_if 0 $nan (global.get $yes))) $boxed))", CANONICAL),
    ("(f64.store (i32.const 0) (block (result f64) (drop (br_if 0 $nan (global.get $no))) $boxed))", BOXED),
    ("(f64.store (i32.const 0) (block (result f64) (br 0 $nan)))", CANONICAL),
    ("(f64.store (i32.const 0)
        (block (result f64) (drop (block (result f64) (br_table 0 1 $nan (global.get $yes)))) $boxed))", CANONICAL),
    ("(f64.store (i32.const 0)
        (block (result f64) (drop (block (result f64) (br_table 1 0 $nan (global.get $yes)))) $boxed))", BOXED),
    ("$nan (if (param f64) (result f64) (global.get $no) (then (drop) $boxed)) (call $answer)", CANONICAL),
    ("$boxed (if (param f64) (result f64) (global.get $no) (then (drop) $nan)) (call $answer)", BOXED),
    ("$nan (if (param f64) (result f64) (global.get $no) (then) (else (f64.neg))) (call $answer)", NEGATIVE),
    ("$nan (block (param f64) (result f64) (br_if 0 (global.get $yes))) (call $answer)", CANONICAL),
    // Several values at once.
    ("(block (result f64 f64) $nan $nan (br 0)) (drop) (call $answer)", CANONICAL),
    ("(block (result f64 f64) $nan $nan (br_if 0 (global.get $no))) (local.set $a) (drop) (call $answer (local.get $a))", CANONICAL),
    ("$nan $nan (loop (param f64 f64) (result f64 f64)) (drop) (call $answer)", CANONICAL),
    ("(block (result f64 i32) $nan (i32.const 1) (br_table 0 0 (global.get $no))) (drop) (call $answer)", CANONICAL),
    // Deep operands, and unreachable code.
    ("$nan (local.set $i (i32.const 3)) (call $answer)", CANONICAL),
    ("$nan (drop (f64.neg $nan)) (call $answer)", CANONICAL),
    ("(block (br 0) (drop (f64.neg (f64.add))) (local.set $a (f64.add)) (f64.store (i32.const 0) (local.get $a)))
      (f64.store (i32.const 0) (local.get $a))", 0),
    ("(f64.store (i32.const 0)
        (f64.add (f64.const 1) (block (result f64) (br 0 $nan) (block (param f64) (result f64)) (f64.mul) (i32.const 0) (select) (drop) (f64.const 1))))",
        CANONICAL),
    ("(local.set $a $boxed) (block (unreachable) (local.set $a $nan))", 0),
    ("(f64.store (i32.const 0) (f64.neg (if (result f64) (global.get $yes) (then $nan (br 0)) (else (unreachable) (f64.sqrt)))))",
        NEGATIVE),
];

#[test]
fn bits_are_those_that_show() {
    for (body, expected) in PROGRAMS {
        println!("{body}");
        let run = run_as_reference(&program(body), 100_000);
        let found = u64::from_le_bytes(run.memory[..8].try_into().unwrap());
        assert_eq!(found, *expected, "{found:#x} is wrong, {expected:#x} is right");
    }
}

/// Every arithmetic operator that there is, with operands that are NaNs of another kind.
#[test]
fn all_arithmetic_gives_canonical_nans() {
    for (ty, lanes, operand) in [
        ("f32", CANONICAL32, "$boxed32"),
        ("f64", CANONICAL, "$boxed"),
        ("f32x4", CANONICAL32_TWICE, "(f32x4.splat $boxed32)"),
        ("f64x2", CANONICAL, "(f64x2.splat $boxed)"),
    ] {
        let store = if ty.contains('x') { "v128" } else { ty };
        for operator in ["add", "sub", "mul", "div", "min", "max", "sqrt", "ceil", "floor", "trunc", "nearest"] {
            let operands = operand.repeat(if operator.len() == 3 { 2 } else { 1 });
            let wasm = program(&format!("({store}.store (i32.const 0) ({ty}.{operator} {operands}))"));
            let run = run_as_reference(&wasm, 100_000);
            assert_eq!(run.memory[..8], lanes.to_le_bytes(), "{ty}.{operator}");
        }
    }
}

/// Accumulators stay as they are while they go around, and code that computes nothing stays as it is.
#[test]
fn nothing_is_inserted_where_no_bits_show() {
    let sites = |body: &str| {
        let with = metered(&program(body));
        let without = metered_with(&program(body), |function| function.plan.floats = false);
        with.len() - without.len()
    };
    let helpers = sites("");
    for body in [
        "(local.set $a (f64.add (local.get $a) (f64.const 1))) (drop (f64.lt (local.get $a) (f64.neg (local.get $a))))",
        "(f64.store (i32.const 0) (f64.convert_i32_s (local.get $i)))",
        "(f64.store (i32.const 0) (f64.neg (f64.const 1)))",
        "(local.set $a (f64.load (i32.const 0)))
         (loop (local.set $a (f64.add (local.get $a) (f64.sqrt (local.get $a)))) (br_if 0 (f64.gt (local.get $a) (f64.const 0))))",
        "(i32.store (i32.const 0) (i32.trunc_sat_f64_s (f64.abs (f64.copysign (f64.sqrt (local.get $a)) (local.get $b)))))",
    ] {
        assert_eq!(sites(body), helpers, "{body}");
    }
    let once = sites("(f64.store (i32.const 0) $nan)");
    let after_loop = sites(
        "(local.set $a (f64.load (i32.const 0)))
         (loop (local.set $a (f64.add (local.get $a) (f64.const 1))) (br_if 0 (f64.gt (local.get $a) (f64.const 0))))
         (f64.store (i32.const 0) (local.get $a))",
    );
    assert!(once > helpers && after_loop == once, "an accumulator that is stored after its loop takes one site");
}

/// A function that was small enough may not be any more. Then the module is refused; else the engine takes it.
#[test]
fn functions_that_grow_too_large_are_refused() {
    let made = |rounds: usize| {
        let body = "(f64.sqrt) (i64.reinterpret_f64) (f64.reinterpret_i64)".repeat(rounds);
        program(&format!("(global.get $kept) {body} (drop)"))
    };
    let prepare = |wasm: &[u8]| crate::instrument::instrument(wasm, &validate(wasm).unwrap());
    let refusal = prepare(&made(330_000)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::FunctionTooLarge);
    let largest = prepare(&made(265_000)).unwrap();
    assert!(largest.len() > super::super::MAX_FUNCTION * 9 / 10);
    wasmparser::Validator::new_with_features(crate::validate::FEATURES).validate_all(&largest).unwrap();
}
