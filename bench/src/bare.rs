//! The engine without this project: what metering and the sandbox are compared with.
//!
//! Code is generated with the settings of `depx_runtime` that decide its speed, and nothing is added to the module.

use wasmtime::{
    AsContextMut, Caller, Config, Engine, Error, Extern, InstanceAllocationStrategy, InstancePre, Linker, Module,
    OptLevel, PoolingAllocationConfig, Result, Store,
};

/// What the engine itself adds to the code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Metering {
    /// Nothing.
    None,
    /// Its own fuel, and its own canonical NaNs.
    Engine,
}

/// Where instances get their memory from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Memory {
    OnDemand,
    /// From slots that keep as many bytes as those of the runtime.
    Pooled,
}

/// A compiled WASI command.
pub(crate) struct Bare {
    command: InstancePre<Vec<u8>>,
    metering: Metering,
}

/// The runtime's own sizes: a reservation for all of a 32-bit memory, guard pages, and bytes that a pooled slot keeps.
const RESERVATION: usize = 4 << 30;
const GUARD: u64 = 32 << 20;
const KEEP_RESIDENT: usize = 64 << 10;

impl Bare {
    /// Compiles `wasm`.
    pub(crate) fn compile(wasm: &[u8], metering: Metering, memory: Memory) -> anyhow::Result<Self> {
        Self::link(wasm, metering, memory).map_err(described)
    }

    /// Runs the command once in a fresh instance; gives what it printed.
    pub(crate) fn run(&self) -> anyhow::Result<Vec<u8>> {
        self.instantiate_and_call().map_err(described)
    }

    fn link(wasm: &[u8], metering: Metering, memory: Memory) -> Result<Self> {
        let engine = Engine::new(&config(metering, memory))?;
        let module = Module::new(&engine, wasm)?;
        let mut linker = Linker::new(&engine);
        offer_wasi(&mut linker)?;
        linker.define_unknown_imports_as_traps(&module)?;
        Ok(Self { command: linker.instantiate_pre(&module)?, metering })
    }

    fn instantiate_and_call(&self) -> Result<Vec<u8>> {
        let mut store = Store::new(self.command.module().engine(), Vec::new());
        if self.metering == Metering::Engine {
            store.set_fuel(u64::MAX)?;
        }
        let instance = self.command.instantiate(&mut store)?;
        instance.get_typed_func::<(), ()>(&mut store, "_start")?.call(&mut store, ())?;
        Ok(store.into_data())
    }
}

/// The engine's errors are of a type of their own.
fn described(error: Error) -> anyhow::Error {
    anyhow::anyhow!("the bare engine failed: {error:?}")
}

fn config(metering: Metering, memory: Memory) -> Config {
    let mut config = Config::new();
    config.consume_fuel(metering == Metering::Engine);
    config.cranelift_nan_canonicalization(metering == Metering::Engine);
    config.cranelift_debug_verifier(false);
    config.cranelift_opt_level(OptLevel::Speed);
    config.generate_address_map(false);
    config.memory_guard_size(GUARD);
    config.memory_init_cow(true);
    config.memory_may_move(false);
    config.memory_reservation(RESERVATION as u64);
    config.native_unwind_info(false);
    config.signals_based_traps(true);
    if memory == Memory::Pooled {
        let mut pool = PoolingAllocationConfig::default();
        pool.linear_memory_keep_resident(KEEP_RESIDENT);
        pool.max_memory_size(RESERVATION);
        pool.table_keep_resident(KEEP_RESIDENT);
        pool.total_core_instances(4);
        pool.total_memories(4);
        pool.total_tables(4);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}

/// As much of WASI as a program needs that reads nothing and prints a line: no arguments, no environment, no
/// randomness, an output.
fn offer_wasi(linker: &mut Linker<Vec<u8>>) -> Result<()> {
    const WASI: &str = "wasi_snapshot_preview1";
    for sizes in ["args_sizes_get", "environ_sizes_get"] {
        linker.func_wrap(WASI, sizes, |mut caller: Caller<'_, Vec<u8>>, count: u32, size: u32| -> Result<i32> {
            let memory = memory(&mut caller)?;
            memory.write(&mut caller, count as usize, &[0; 4])?;
            memory.write(&mut caller, size as usize, &[0; 4])?;
            Ok(0)
        })?;
    }
    for list in ["args_get", "environ_get"] {
        linker.func_wrap(WASI, list, |_: u32, _: u32| 0)?;
    }
    // Seeds of hash maps, on whose order nothing depends.
    linker.func_wrap(WASI, "random_get", |_: u32, _: u32| 0)?;
    linker.func_wrap(WASI, "fd_write", fd_write)?;
    Ok(())
}

fn fd_write(mut caller: Caller<'_, Vec<u8>>, _descriptor: u32, spans: u32, count: u32, written: u32) -> Result<i32> {
    let memory = memory(&mut caller)?;
    let (bytes, printed) = memory.data_and_store_mut(&mut caller);
    let before = printed.len();
    let word = |at: u32| bytes.get(at as usize..).and_then(<[u8]>::first_chunk).copied().map(u32::from_le_bytes);
    for span in 0..count {
        let buffer = || {
            let (at, len) = (word(spans + 8 * span)? as usize, word(spans + 8 * span + 4)? as usize);
            bytes.get(at..at + len)
        };
        printed.extend_from_slice(buffer().ok_or_else(|| Error::msg("a buffer lies outside memory"))?);
    }
    let len = (printed.len() - before) as u32;
    memory.write(caller.as_context_mut(), written as usize, &len.to_le_bytes())?;
    Ok(0)
}

fn memory(caller: &mut Caller<'_, Vec<u8>>) -> Result<wasmtime::Memory> {
    let memory = caller.get_export("memory").and_then(Extern::into_memory);
    memory.ok_or_else(|| Error::msg("the module does not export its memory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\10\00\00\00\03\00\00\00\13\00\00\00\03\00\00\00onetwo")
        (func (export "_start")
            (i32.store (i32.const 64) (i32.const -1))
            (drop (call $sizes (i32.const 64) (i32.const 68)))
            (if (i32.load (i32.const 64)) (then unreachable))
            (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 2) (i32.const 72)))
            (if (i32.ne (i32.load (i32.const 72)) (i32.const 6)) (then unreachable))))"#;

    #[test]
    fn every_variant_runs_a_command_and_collects_what_it_prints() {
        let wasm = wat::parse_str(HELLO).unwrap();
        for metering in [Metering::None, Metering::Engine] {
            for memory in [Memory::OnDemand, Memory::Pooled] {
                let bare = Bare::compile(&wasm, metering, memory).unwrap();
                assert_eq!(bare.run().unwrap(), b"onetwo");
                assert_eq!(bare.run().unwrap(), b"onetwo", "instances are fresh");
            }
        }
    }

    #[test]
    fn only_the_metered_engine_canonicalises() {
        let wasm = wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#).unwrap();
        let fuelled = |metering| {
            let bare = Bare::compile(&wasm, metering, Memory::OnDemand).unwrap();
            Store::new(bare.command.module().engine(), ()).get_fuel().is_ok()
        };
        assert!(fuelled(Metering::Engine) && !fuelled(Metering::None));
    }
}
