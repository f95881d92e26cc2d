//! What generated modules are like. Tests of the runtime use it too.

/// What a task must export.
const EXPORTS: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;

/// What generated modules may contain. With references some use external ones and are refused; no setting avoids that.
pub(crate) fn config(references: bool) -> wasm_smith::Config {
    wasm_smith::Config {
        bulk_memory_enabled: true,
        custom_page_sizes_enabled: false,
        exceptions_enabled: false,
        exports: wat::parse_str(EXPORTS).ok(),
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
