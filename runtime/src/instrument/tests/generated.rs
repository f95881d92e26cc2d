//! Generated modules: what holds for chosen programs holds for arbitrary ones.

#[path = "../../../../fuzz/src/smith.rs"]
mod smith;

use super::*;
use arbitrary::Unstructured;
use sha2::{Digest, Sha256};

/// Modules to try. More are tried by raising this; the sequence is always the same.
const MODULES: u32 = 300;
const FUEL: i64 = 100_000;

/// As many bytes as wanted, the same for the same seed.
fn noise(seed: u32, len: usize) -> Vec<u8> {
    let blocks = (0u32..).flat_map(|n| Sha256::digest([seed.to_be_bytes(), n.to_be_bytes()].concat()));
    blocks.take(len).collect()
}

#[test]
fn arbitrary_modules_run_alike_everywhere() {
    let mut ended = std::collections::BTreeMap::new();
    let mut runs = Vec::new();
    for seed in 0..MODULES {
        let noise = noise(seed, 4096);
        let Ok(module) = wasm_smith::Module::new(smith::config(seed % 8 == 0), &mut Unstructured::new(&noise)) else {
            continue;
        };
        let wasm = module.to_bytes();
        if validate(&wasm).is_err() {
            *ended.entry("refused".to_owned()).or_insert(0) += 1;
            continue;
        }
        let run = run_everywhere(&metered(&wasm), FUEL);
        check_same_as_plain(&wasm, &run);
        super::fuel::check_exact(&wasm, &run, FUEL);
        *ended.entry(format!("{:?}", run.ended)).or_insert(0) += 1;
        runs.push((seed.into(), run));
    }
    record("generated", &runs);
    let returned = ended.get("Returned").copied().unwrap_or(0);
    assert!(returned > MODULES / 4, "too few modules say anything: {ended:?}");
}
