//! Metering and canonical NaNs, checked by running prepared modules on every kind of engine.

mod depth;
mod floats;
mod fuel;
mod generated;
mod nan;
mod spec;
mod trips;

use super::{Function, instrument};
use crate::engine::{Allocation, EXECUTION_STACK, EngineOptions, Optimize, engine, reference_engine};
use crate::validate::validate;
use depx_host_abi::{exports, stack};
use depx_protocol::sha256;
use std::fmt;
use std::path::Path;
use std::sync::LazyLock;
use std::thread;
use wasmtime::{Engine, Instance, Module, Store, Trap, Val};

/// Every way to execute a module, under its options.
static ENGINES: LazyLock<Vec<(EngineOptions, Engine)>> = LazyLock::new(|| {
    let mut engines = Vec::new();
    for optimize in [Optimize::Speed, Optimize::None] {
        for allocation in [Allocation::OnDemand, Allocation::Pooling { slots: 8 }] {
            for interpreter in [false, true] {
                let options = EngineOptions { optimize, allocation, interpreter };
                engines.push((options, engine(&options).unwrap()));
            }
        }
    }
    engines
});

/// The engine that makes NaNs canonical as soon as arithmetic gives them, for code that was not prepared.
static REFERENCE: LazyLock<Engine> = LazyLock::new(|| reference_engine(&EngineOptions::default()));

/// What a run came to.
#[derive(Clone, PartialEq, Eq)]
struct Run {
    ended: Ended,
    /// Fuel used, at most what there was.
    fuel: i64,
    memory: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ended {
    Returned,
    OutOfFuel,
    OutOfDepth,
    Trapped(Trap),
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = &self.memory[..16.min(self.memory.len())];
        write!(f, "{:?}, {} fuel, memory {memory:?}", self.ended, self.fuel)
    }
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn metered(wasm: &[u8]) -> Vec<u8> {
    metered_with(wasm, |_| {})
}

/// Meters with other plans.
fn metered_with(wasm: &[u8], plan: impl FnMut(&mut Function<'_>)) -> Vec<u8> {
    let mut outline = validate(wasm).unwrap();
    outline.functions.iter_mut().for_each(plan);
    let metered = instrument(wasm, &outline).unwrap();
    wasmparser::Validator::new_with_features(crate::validate::FEATURES).validate_all(&metered).unwrap();
    metered
}

/// Runs `f` where there is enough stack.
fn on_large_stack<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        thread::Builder::new().stack_size(EXECUTION_STACK).spawn_scoped(scope, f).unwrap().join().unwrap()
    })
}

/// Runs a metered module with `fuel`.
fn run(engine: &Engine, module: &Module, fuel: i64) -> Run {
    on_large_stack(|| {
        let mut store = Store::new(engine, ());
        let instance = match Instance::new(&mut store, module, &[]) {
            Ok(instance) => instance,
            Err(error) => {
                let ended = Ended::Trapped(*error.downcast_ref().expect("only data segments can fail"));
                return Run { ended, fuel: 0, memory: Vec::new() };
            }
        };
        let meter = |store: &mut Store<()>, name| instance.get_global(store, name).unwrap();
        let (left, depth) = (meter(&mut store, exports::FUEL), meter(&mut store, exports::DEPTH));
        left.set(&mut store, Val::I64(fuel)).unwrap();
        let mut result = Ok(());
        for name in [exports::INITIALIZE, exports::START] {
            if let Some(function) = instance.get_func(&mut store, name) {
                depth.set(&mut store, Val::I64(stack::DEPTH_LIMIT.into())).unwrap();
                result = result.and_then(|()| function.call(&mut store, &[], &mut []));
            }
        }
        let (left, depth) = (left.get(&mut store).unwrap_i64(), depth.get(&mut store).unwrap_i64());
        let ended = match result {
            _ if left < 0 => Ended::OutOfFuel,
            Ok(()) => Ended::Returned,
            Err(_) if depth < 0 => Ended::OutOfDepth,
            Err(error) => Ended::Trapped(*error.downcast_ref().unwrap()),
        };
        let memory = instance.get_memory(&mut store, exports::MEMORY).unwrap().data(&store).to_vec();
        Run { ended, fuel: fuel - left.max(0), memory }
    })
}

/// Runs a metered module on every engine, and gives what they agree on.
fn run_everywhere(metered: &[u8], fuel: i64) -> Run {
    let mut agreed = None;
    for (options, engine) in ENGINES.iter() {
        let found = run(engine, &Module::new(engine, metered).unwrap(), fuel);
        let agreed = agreed.get_or_insert_with(|| found.clone());
        assert_eq!(*agreed, found, "{options:?}");
    }
    agreed.unwrap()
}

/// Writes what runs came to, a line each with name, hash of the memory, fuel and how it ended, for `cargo xtask aarch64` to compare
/// with another architecture.
fn record(name: &str, runs: &[(u64, Run)]) {
    let Some(folder) = std::env::var_os("DEPX_CORPUS") else { return };
    let line =
        |(seed, run): &(u64, Run)| format!("{name}-{seed:03} {} {} {:?}\n", sha256(&run.memory), run.fuel, run.ended);
    std::fs::write(Path::new(&folder).join(name), runs.iter().map(line).collect::<String>()).unwrap();
}

/// Runs the module as it was, without metering, on the engine that makes NaNs canonical itself. If its start function traps,
/// there is no memory to look at.
fn run_plain(wasm: &[u8]) -> (Result<(), Trap>, Option<Vec<u8>>) {
    on_large_stack(|| {
        let engine = &*REFERENCE;
        let mut store = Store::new(engine, ());
        let trap = |error: wasmtime::Error| *error.downcast_ref::<Trap>().unwrap();
        let instance = match Instance::new(&mut store, &Module::new(engine, wasm).unwrap(), &[]) {
            Ok(instance) => instance,
            Err(error) => return (Err(trap(error)), None),
        };
        let result = instance.get_func(&mut store, exports::START).unwrap().call(&mut store, &[], &mut []);
        let memory = instance.get_memory(&mut store, exports::MEMORY).unwrap();
        (result.map_err(trap), Some(memory.data(&store).to_vec()))
    })
}

/// Checks that metering changes nothing but what it is there for.
fn check_same_as_plain(wasm: &[u8], run: &Run) {
    let expected = match run.ended {
        Ended::OutOfFuel | Ended::OutOfDepth => return,
        Ended::Returned => Ok(()),
        Ended::Trapped(trap) => Err(trap),
    };
    let (ended, memory) = run_plain(wasm);
    assert_eq!(ended, expected);
    assert!(memory.is_none_or(|memory| memory == run.memory), "memory differs from that of a run without metering");
}
