//! Arbitrary bytes as a module: they are refused, or they can be compiled.
#![no_main]

use depx_fuzz::UNOPTIMISED;
use depx_runtime::instrumented;

libfuzzer_sys::fuzz_target!(|wasm: &[u8]| {
    if instrumented(wasm).is_ok() {
        let prepared = UNOPTIMISED.prepare(wasm);
        assert!(prepared.is_ok(), "{:?}", prepared.err());
    }
});
