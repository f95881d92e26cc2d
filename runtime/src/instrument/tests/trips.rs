//! Loops of which all iterations are paid for at once.

use super::fuel::check_exact;
use super::*;

/// A program whose `_start` is `body`, with `$i` and `$n` as its parameters were, and how many loops in it are prepaid.
fn program(i: u32, n: u32, body: &str) -> (Vec<u8>, usize) {
    let (i, n) = (i.cast_signed(), n.cast_signed());
    let wasm = wat(&format!(
        r#"(module (memory (export "memory") 1)
            (func $count (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))))
            (func $run (param $i i32) (param $n i32) (local $k i32) {body})
            (func (export "_start") (call $run (i32.const {i}) (i32.const {n}))))"#
    ));
    let prepaid = validate(&wasm).unwrap().functions.iter().map(|function| function.plan.prepaid.len()).sum();
    (wasm, prepaid)
}

/// Counts iterations in memory.
const COUNT: &str = "(i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))";

/// Runs with much fuel where it is fast.
fn run_once(wasm: &[u8], fuel: i64) -> Run {
    let (_, engine) = &ENGINES[0];
    run(engine, &Module::new(engine, metered(wasm)).unwrap(), fuel)
}

fn iterations(run: &Run) -> u32 {
    u32::from_le_bytes(run.memory[..4].try_into().unwrap())
}

#[test]
fn counted_loops_are_paid_for_at_once_and_exactly() {
    let step = |c: i32| format!("(i32.add (local.get $i) (i32.const {c}))");
    let (mut tried, starts) = (0, [5u32, 0x7fff_fffa]);
    for c in [1i32, 2, 3, 4, 8, 12, 24, 1000, 0x4000_0000, i32::MIN, -1, -2, -4, -7, -12] {
        for trips in [1u32, 2, 100] {
            if (u64::from(trips) * u64::from(c.unsigned_abs())).is_multiple_of(1 << 32) && trips > 1 {
                continue;
            }
            let first =
                (1..=trips).find(|trip| trip.wrapping_mul(c.cast_unsigned()) == trips.wrapping_mul(c.cast_unsigned()));
            for i in starts {
                let n = i.wrapping_add(trips.wrapping_mul(c.cast_unsigned()));
                let (tee, signed) = (format!("(local.tee $i {})", step(c)), n.cast_signed());
                let before = n.wrapping_sub(c.cast_unsigned()).cast_signed();
                let loops = [
                    format!("(loop $l {COUNT} (br_if $l (i32.ne {tee} (i32.const {signed}))))"),
                    format!("(loop $l {COUNT} (br_if $l (i32.ne (i32.const {signed}) {tee})))"),
                    format!("(loop $l {COUNT} (br_if $l (i32.ne {tee} (local.get $n))))"),
                    format!("(loop $l {COUNT} (br_if $l (i32.ne (local.get $n) {tee})))"),
                    format!(
                        "(loop $l (local.get $i) (local.set $i {}) {COUNT} (br_if $l (i32.ne (i32.const {before}))))",
                        step(c)
                    ),
                    format!(
                        "(loop $l (if (i32.and (local.get $i) (i32.const 1)) (then (local.set $k (local.get $i))))
                            (block $skip (br_if $skip (local.get $k)) (i32.store (i32.const 4) (local.get $i)))
                            {COUNT} (br_if $l (i32.ne {tee} (local.get $n))))"
                    ),
                    format!("(block $out (loop $l {COUNT} (br_if $l (i32.ne {tee} (local.get $n))) (br $out)))"),
                ];
                for body in loops {
                    let (wasm, prepaid) = program(i, n, &body);
                    assert_eq!(prepaid, 1, "{body}");
                    let run = run_once(&wasm, 1 << 40);
                    assert_eq!((run.ended, Some(iterations(&run))), (Ended::Returned, first), "from {i}: {body}");
                    check_exact(&wasm, &run, 1 << 40);
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 500, "{tried}");
}

#[test]
fn counting_down_to_zero_needs_no_comparison() {
    for (i, c, trips) in [(5, -1, 5), (100, -4, 25), (7, -7, 1), (0xffff_fff8, 4, 2)] {
        let body = format!("(loop $l {COUNT} (br_if $l (local.tee $i (i32.add (local.get $i) (i32.const {c})))))");
        let (wasm, prepaid) = program(i, 0, &body);
        let run = run_everywhere(&metered(&wasm), 1 << 40);
        assert_eq!((prepaid, run.ended, iterations(&run)), (1, Ended::Returned, trips));
        check_exact(&wasm, &run, 1 << 40);
    }
}

/// A counter that starts at its limit goes all the way round.
#[test]
fn a_counter_that_wraps_around_is_paid_for() {
    let body = "(loop $l (br_if $l (i32.ne (local.tee $i (i32.add (local.get $i) (i32.const 256))) (local.get $n))))";
    let (wasm, prepaid) = program(9, 9, body);
    let run = run_once(&wasm, 1 << 40);
    assert_eq!((prepaid, run.ended), (1, Ended::Returned));
    check_exact(&wasm, &run, 1 << 40);
    assert!(run.fuel > 1 << 24);
}

#[test]
fn what_cannot_be_paid_for_does_not_begin() {
    let body = format!(
        "(loop $l {COUNT} (br_if $l (i32.ne (local.tee $i (i32.add (local.get $i) (i32.const 4))) (local.get $n))))"
    );
    let all = run_everywhere(&metered(&program(0, 400, &body).0), 1 << 40);
    assert_eq!((all.ended, iterations(&all)), (Ended::Returned, 100));
    for (n, fuel) in [(400, all.fuel - 1), (402, i64::MAX), (0, 1 << 30)] {
        let run = run_everywhere(&metered(&program(0, n, &body).0), fuel);
        assert_eq!((run.ended, run.fuel, iterations(&run)), (Ended::OutOfFuel, fuel, 0), "to {n}");
    }
}

/// Where the number of iterations is not certain, each is paid for when it begins.
#[test]
fn other_loops_are_paid_for_iteration_by_iteration() {
    let next = "(local.tee $i (i32.add (local.get $i) (i32.const 1)))";
    let end = format!("(br_if $l (i32.ne {next} (local.get $n)))");
    let others = [
        format!("(block $out (loop $l {COUNT} (br_if $out (i32.eq (local.get $i) (i32.const 3))) {end}))"),
        format!("(loop $l {COUNT} (if (i32.eq (local.get $i) (i32.const 3)) (then (return))) {end})"),
        format!("(loop $l {COUNT} (br_if $l (i32.eq {next} (i32.const 4))) {end})"),
        format!("(loop $l {COUNT} {end} (br_if $l (i32.ne {next} (i32.const 11))))"),
        format!(
            "(loop $l {COUNT} (if (i32.eq (local.get $i) (i32.const 3)) (then (local.set $n (i32.const 5)))) {end})"
        ),
        format!(
            "(loop $l {COUNT} (if (i32.eq (local.get $i) (i32.const 3)) (then (local.set $i (i32.const 5)))) {end})"
        ),
        format!("(loop $l {COUNT} (drop {next}) (local.set $i (i32.sub (local.get $i) (i32.const 1))) {end})"),
        format!("(loop $l (call $count) {end})"),
        format!("(loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 4)) {end})"),
        format!("(loop $l (loop $k {COUNT}) {end})"),
        format!("(loop $l (block $b (br_table $b $l $b (i32.const 0))) {COUNT} {end})"),
        format!("(loop $l {COUNT} (br_if $l (i32.lt_u {next} (local.get $n))))"),
        format!(
            "(loop $l {COUNT} (br_if $l (i32.ne (local.tee $i (i32.add (local.get $i) (local.get $n))) (i32.const 20))))"
        ),
        format!("(loop $l {COUNT} (br_if $l (i32.ne (local.get $n) (local.tee $n (i32.const 10)))))"),
        format!("(block $b (loop $l {COUNT} (block $c (br_if $c (i32.ne {next} (local.get $n))) (br $b)) (br $l)))"),
    ];
    for body in others {
        let (wasm, prepaid) = program(0, 10, &body);
        assert_eq!(prepaid, 0, "{body}");
        let run = run_once(&wasm, 1 << 20);
        assert_eq!(run.ended, Ended::Returned, "{body}");
        check_exact(&wasm, &run, 1 << 20);
    }
}
