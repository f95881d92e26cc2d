//! The WebAssembly engine and its configuration.

use crate::{HostFault, validate};
use depx_host_abi::stack;
use std::sync::Arc;
use wasmparser::WasmFeatures;
use wasmtime::{
    Config, CustomCodeMemory, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, RegallocAlgorithm,
    Strategy,
};

/// How modules are compiled and instantiated. Changes how fast a result comes, never the result.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EngineOptions {
    /// How hard the compiler tries.
    pub optimize: Optimize,
    /// Where instances get their memory from.
    pub allocation: Allocation,
    /// Compile to portable bytecode and interpret it, instead of compiling to native code. Many times slower.
    pub interpreter: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { optimize: Optimize::Speed, allocation: Allocation::OnDemand, interpreter: false }
    }
}

/// How hard the compiler tries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Optimize {
    /// Compiles fast.
    None,
    /// Makes fast code.
    Speed,
}

/// Where instances get their memory from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Allocation {
    /// From slots that are reserved once and reused.
    Pooling {
        /// How many instances can exist at a time.
        slots: u32,
    },
    /// From the operating system, each time.
    OnDemand,
}

/// The native stack that guest code may use, in bytes. The depth limit always ends a guest first.
const GUEST_STACK: usize = stack::DEPTH_LIMIT as usize * stack::NATIVE_BYTES_PER_SLOT as usize;

/// The stack that a thread must have to execute guests, in bytes: the guest's and 4 MiB for the host functions that it calls.
/// Only what is used of it takes memory.
pub(crate) const EXECUTION_STACK: usize = GUEST_STACK + (4 << 20);

/// A 32-bit memory can address this many bytes. With all of it reserved, and guard pages behind, no access needs a bounds check.
const MEMORY_RESERVATION: u64 = 4 << 30;

/// Bytes behind the reservation that fault: the largest static offset that the compiler folds into an access.
const MEMORY_GUARD: u64 = 32 << 20;

/// Elements that a pooled table has room for. A job that is allowed more, and uses it, needs a node that allocates on demand.
const POOLED_TABLE_ELEMENTS: usize = validate::MAX_TABLE_ELEMENTS as usize;

/// Bytes of an instance's own state: a record for each function and global, and 64 KiB for all else.
const POOLED_INSTANCE: usize = 48 * validate::MAX_FUNCTIONS as usize + 16 * validate::MAX_GLOBALS as usize + (64 << 10);

/// Memory and table bytes that a pooled slot keeps between runs, zeroed, so that small guests cause no page faults.
const KEEP_RESIDENT: usize = 64 << 10;

/// The engine that `options` describe.
pub(crate) fn engine(options: &EngineOptions) -> Result<Engine, HostFault> {
    Engine::new(&config(options)?).map_err(HostFault::engine)
}

/// The same engine, except that `code` decides how compiled code becomes executable.
pub(crate) fn engine_with(options: &EngineOptions, code: Arc<dyn CustomCodeMemory>) -> Result<Engine, HostFault> {
    let mut config = config(options)?;
    config.with_custom_code_memory(Some(code));
    Engine::new(&config).map_err(HostFault::engine)
}

/// An engine that runs guests without executable memory, files or signals: each of its memories is filled, not mapped from an image.
pub(crate) fn interpreter() -> Result<Engine, HostFault> {
    let mut config = config(&EngineOptions { interpreter: true, ..EngineOptions::default() })?;
    config.memory_init_cow(false);
    Engine::new(&config).map_err(HostFault::engine)
}

/// The engine that `options` describe, except that it makes every NaN canonical as soon as arithmetic gives it: what the work of
/// [`crate::instrument`] is checked against.
#[cfg(test)]
pub(crate) fn reference_engine(options: &EngineOptions) -> Engine {
    let mut config = config(options).unwrap();
    config.cranelift_nan_canonicalization(true);
    Engine::new(&config).unwrap()
}

/// Every setting that matters, alphabetically. Which proposals are on is stated in one place, [`validate::FEATURES`].
fn config(options: &EngineOptions) -> Result<Config, HostFault> {
    let mut config = Config::new();
    config.allocation_strategy(match options.allocation {
        Allocation::OnDemand => InstanceAllocationStrategy::OnDemand,
        Allocation::Pooling { slots } => InstanceAllocationStrategy::Pooling(pool(slots)),
    });
    // Nothing runs asynchronously; the engine only checks that this is not below the guest's stack.
    config.async_stack_size(EXECUTION_STACK);
    config.cranelift_debug_verifier(false);
    // Modules are prepared so that no NaN whose bits depend on the processor is ever seen.
    config.cranelift_nan_canonicalization(false);
    config.cranelift_opt_level(match options.optimize {
        Optimize::None => OptLevel::None,
        Optimize::Speed => OptLevel::Speed,
    });
    // The single-pass allocator makes frames that are not bounded by what `depx_host_abi::stack` assumes.
    config.cranelift_regalloc_algorithm(RegallocAlgorithm::Backtracking);
    // Nobody reads debug information, and it costs memory.
    config.debug_info(false);
    config.generate_address_map(false);
    config.max_wasm_stack(GUEST_STACK);
    config.memory_guard_size(MEMORY_GUARD);
    // Instances start from a copy-on-write image of their data.
    config.memory_init_cow(true);
    config.memory_may_move(false);
    config.memory_reservation(MEMORY_RESERVATION);
    config.native_unwind_info(false);
    // Accesses beyond the end of memory fault in guard pages; explicit checks cost about a third.
    config.signals_based_traps(true);
    config.strategy(Strategy::Cranelift);
    if options.interpreter {
        config.target("pulley64").map_err(HostFault::engine)?;
    }
    config.wasm_backtrace_max_frames(None);
    // Those that instrumentation gives keep what hardly ever happens out of the way.
    config.wasm_branch_hinting(true);
    config.wasm_features(WasmFeatures::all(), false);
    config.wasm_features(validate::FEATURES, true);
    Ok(config)
}

/// A pool of `slots` instances.
fn pool(slots: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::default();
    pool.linear_memory_keep_resident(KEEP_RESIDENT);
    pool.max_core_instance_size(POOLED_INSTANCE);
    pool.max_memories_per_module(1);
    pool.max_memory_size(MEMORY_RESERVATION as usize);
    pool.max_tables_per_module(validate::MAX_TABLES);
    pool.max_unused_warm_slots(slots);
    pool.table_elements(POOLED_TABLE_ELEMENTS);
    pool.table_keep_resident(KEEP_RESIDENT);
    pool.total_core_instances(slots);
    pool.total_memories(slots);
    pool.total_tables(slots.saturating_mul(validate::MAX_TABLES));
    pool
}
