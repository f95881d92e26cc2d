//! Arbitrary sequences of host calls: the same codes, the same memory and the same output on compiled and interpreted code.
#![no_main]

use depx_fuzz::{RUNTIMES, calls, run, task};

/// Enough for all calls of a script, unless they move much.
const FUEL: u64 = 5_000_000;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let task = task(FUEL, &calls::script(bytes));
    let first = run(&RUNTIMES[0].1, &calls::DRIVER, &task);
    assert!(first.is_some(), "the driver is a task");
    for (name, runtime) in [&RUNTIMES[0], &RUNTIMES[3]] {
        assert_eq!(run(runtime, &calls::DRIVER, &task), first, "{name}");
    }
});
