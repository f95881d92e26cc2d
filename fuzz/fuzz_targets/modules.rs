//! Arbitrary valid modules that call WASI: prepared and executed on every engine, and twice, they come to the same.
#![no_main]

use depx_fuzz::{RUNTIMES, module, run, task};

/// Enough for loops to be seen, little enough for the interpreter.
const FUEL: u64 = 100_000;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(wasm) = module(bytes, true) else { return };
    let task = task(FUEL, b"input");
    let first = run(&RUNTIMES[0].1, &wasm, &task);
    for (name, runtime) in [&RUNTIMES[0]].into_iter().chain(RUNTIMES.iter()) {
        assert_eq!(run(runtime, &wasm, &task), first, "{name}");
    }
});
