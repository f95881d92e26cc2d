//! Arbitrary valid modules: where fuel is ample, metering and the pass over floats change nothing that can be seen.
#![no_main]

use depx_fuzz::{RUNTIMES, module, run, run_plain, task};
use depx_host_abi::trap::TrapCode;
use depx_protocol::Status;

/// What runs longer is not looked at.
const FUEL: u64 = 1_000_000;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(wasm) = module(bytes, false) else { return };
    let Some((outcome, memory)) = run(&RUNTIMES[0].1, &wasm, &task(FUEL, b"")) else { return };
    let trap = match outcome.status {
        Status::Success => None,
        // Without metering the native stack would end, elsewhere.
        Status::Trap if outcome.code != TrapCode::StackOverflow.number() => Some(outcome.code),
        _ => return,
    };
    let Some((plain_trap, plain_memory)) = run_plain(&wasm) else { return };
    assert_eq!(plain_trap, trap);
    assert!(plain_memory.is_none_or(|plain| plain == memory), "memory differs from that of a run without metering");
});
