//! Generated modules: what holds for chosen programs holds for arbitrary ones.

use super::*;
use arbitrary::Unstructured;
use sha2::{Digest, Sha256};

/// Modules to try. More are tried by raising this; the sequence is always the same.
const MODULES: u32 = 300;
const FUEL: i64 = 100_000;

/// What generated modules may contain. With references some use external ones and are refused; no setting avoids that.
fn config(references: bool) -> wasm_smith::Config {
    wasm_smith::Config {
        bulk_memory_enabled: true,
        custom_page_sizes_enabled: false,
        exceptions_enabled: false,
        exports: Some(wat(r#"(module (memory (export "memory") 1) (func (export "_start")))"#)),
        extended_const_enabled: true,
        gc_enabled: false,
        max_imports: 0,
        max_memories: 0,
        max_memory32_bytes: 16 << 16,
        max_table_elements: 1000,
        max_tables: 4,
        memory64_enabled: false,
        memory_max_size_required: true,
        min_funcs: 4,
        multi_value_enabled: true,
        reference_types_enabled: references,
        relaxed_simd_enabled: false,
        saturating_float_to_int_enabled: true,
        sign_extension_ops_enabled: true,
        simd_enabled: true,
        table_max_size_required: true,
        tail_call_enabled: false,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        ..wasm_smith::Config::default()
    }
}

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
        let Ok(module) = wasm_smith::Module::new(config(seed % 8 == 0), &mut Unstructured::new(&noise)) else {
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
