//! Which proposals of WebAssembly modules may use.

use wasmparser::WasmFeatures;

/// Proposals that modules may use. Each is deterministic, or made so by preparation, and emitted by common compilers.
pub(crate) const FEATURES: WasmFeatures = WasmFeatures::FLOATS
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::MUTABLE_GLOBAL)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::SIMD);

/// A proposal that modules may not use.
pub(super) struct Proposal {
    pub(super) flag: WasmFeatures,
    /// What the module uses.
    pub(super) name: &'static str,
    /// Why it is off and what to do.
    pub(super) advice: &'static str,
}

const fn off(flag: WasmFeatures, name: &'static str, advice: &'static str) -> Proposal {
    Proposal { flag, name, advice }
}

const YOUNG: &str = "which are too young for results that must stay the same; leave them off in the compiler";
const REFERENCES: &str = "which are off because metering does not cover them; compile without them";

/// Every other proposal. A test checks that none is in neither list.
pub(super) const OFF: &[Proposal] = &[
    off(
        WasmFeatures::THREADS,
        "threads",
        "which are off because results must be deterministic; compile without -pthread",
    ),
    off(
        WasmFeatures::SHARED_EVERYTHING_THREADS,
        "shared-everything threads",
        "which are off because results must be deterministic; compile without threads",
    ),
    off(
        WasmFeatures::RELAXED_SIMD,
        "relaxed SIMD",
        "whose results differ between processors; compile with -mno-relaxed-simd, plain SIMD is on",
    ),
    off(
        WasmFeatures::TAIL_CALL,
        "tail calls",
        "which are off because call depth is metered; compile with -mno-tail-call",
    ),
    off(
        WasmFeatures::EXCEPTIONS.union(WasmFeatures::LEGACY_EXCEPTIONS),
        "exceptions",
        "which are off because metering does not cover unwinding; compile with -fno-exceptions or panic=abort",
    ),
    off(WasmFeatures::MEMORY64, "64-bit memory", "which is off because bounds checks make it slow; target wasm32"),
    off(WasmFeatures::MULTI_MEMORY, "several memories", "but a task has one; link it into a single memory"),
    off(WasmFeatures::GC.union(WasmFeatures::GC_TYPES), "external or garbage-collected references", REFERENCES),
    off(WasmFeatures::FUNCTION_REFERENCES, "typed function references", REFERENCES),
    off(WasmFeatures::CUSTOM_DESCRIPTORS, "custom descriptors", REFERENCES),
    off(WasmFeatures::STACK_SWITCHING, "stack switching", YOUNG),
    off(WasmFeatures::WIDE_ARITHMETIC, "wide arithmetic operators", YOUNG),
    off(WasmFeatures::CUSTOM_PAGE_SIZES, "custom page sizes", YOUNG),
    off(WasmFeatures::MEMORY_CONTROL, "memory control operators", YOUNG),
    off(WasmFeatures::COMPACT_IMPORTS, "compact imports", YOUNG),
    off(
        WasmFeatures::COMPONENT_MODEL
            .union(WasmFeatures::CM_VALUES)
            .union(WasmFeatures::CM_NESTED_NAMES)
            .union(WasmFeatures::CM_ASYNC)
            .union(WasmFeatures::CM_ASYNC_STACKFUL)
            .union(WasmFeatures::CM_MORE_ASYNC_BUILTINS)
            .union(WasmFeatures::CM_THREADING)
            .union(WasmFeatures::CM_ERROR_CONTEXT)
            .union(WasmFeatures::CM_FIXED_LENGTH_LISTS)
            .union(WasmFeatures::CM_GC)
            .union(WasmFeatures::CM_MAP)
            .union(WasmFeatures::CM64)
            .union(WasmFeatures::CM_IMPLEMENTS)
            .union(WasmFeatures::CM_CANON_NAMES),
        "the component model",
        "but tasks are modules of WASI preview 1; build for wasm32-wasip1 instead of wasm32-wasip2",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_proposal_is_stated() {
        let off = OFF.iter().fold(WasmFeatures::empty(), |off, proposal| {
            assert!(!off.intersects(proposal.flag), "{} is stated twice", proposal.name);
            off | proposal.flag
        });
        assert!(!off.intersects(FEATURES));
        assert_eq!(off | FEATURES, WasmFeatures::all());
    }
}
