//! What arbitrary bytes must not be able to do: the parts that fuzz targets share.

pub mod calls;
mod smith;

use arbitrary::Unstructured;
use bytes::Bytes;
use depx_host_abi::{exports, trap::TrapCode};
use depx_protocol::{Hash, Limits};
use depx_runtime::{
    Allocation, EngineOptions, Optimize, Outcome, PrepareError, Runtime, RuntimeOptions, Setting, Task, Volume,
};
use std::sync::{Arc, LazyLock};
use wasmtime::{Config, Engine, Instance, Module, Store, StoreLimitsBuilder, Trap};

/// A runtime for every way to execute a module, and what it is called.
pub static RUNTIMES: LazyLock<[(&str, Runtime); 4]> = LazyLock::new(|| {
    let (speed, none) = (Optimize::Speed, Optimize::None);
    [
        ("optimised", runtime(speed, Allocation::OnDemand, false)),
        ("unoptimised", runtime(none, Allocation::OnDemand, false)),
        ("pooled", runtime(speed, Allocation::Pooling { slots: 1 }, false)),
        ("interpreted", runtime(speed, Allocation::OnDemand, true)),
    ]
    .map(|(name, runtime)| (name, runtime))
});

/// Memory that a run may have, in pages of 64 KiB.
const MEMORY_PAGES: u32 = 32;

/// The one that compiles fastest.
pub static UNOPTIMISED: LazyLock<Runtime> = LazyLock::new(|| runtime(Optimize::None, Allocation::OnDemand, false));

fn runtime(optimize: Optimize, allocation: Allocation, interpreter: bool) -> Runtime {
    let engine = EngineOptions { optimize, allocation, interpreter };
    let runtime = Runtime::new(RuntimeOptions { engine, ..RuntimeOptions::default() });
    runtime.unwrap_or_else(|fault| panic!("{fault}"))
}

/// A valid module made of `bytes`, which imports functions of WASI or nothing.
pub fn module(bytes: &[u8], imports: bool) -> Option<Vec<u8>> {
    let mut config = smith::config(false);
    if imports {
        config.max_imports = 100;
        config.available_imports = Some(calls::IMPORTS.clone());
    }
    Some(wasm_smith::Module::new(config, &mut Unstructured::new(bytes)).ok()?.to_bytes())
}

/// A run with `fuel` and `input`, and a little of everything else.
pub fn task(fuel: u64, input: &[u8]) -> Task {
    let limits = Limits {
        fuel,
        memory_pages: MEMORY_PAGES,
        table_elements: 10_000,
        output_bytes: 64 << 10,
        log_bytes: 1 << 10,
        files: 32,
        file_bytes: 64 << 10,
        wall_ms: 60_000,
    };
    let files = [("data/a", "A"), ("data/in.txt", "hello world"), ("out/made", "before")];
    let files = files.map(|(path, content)| (path.to_owned(), Bytes::from_static(content.as_bytes())));
    let setting = Setting {
        args: vec!["first".to_owned(), "second".to_owned()],
        env: vec![("NAME".to_owned(), "value".to_owned())],
        files: Volume::new(files).unwrap_or_else(|error| panic!("{error}")),
        models: Vec::new(),
        created_ms: 1_700_000_000_000,
        limits,
    };
    Task { setting: Arc::new(setting), input: Bytes::copy_from_slice(input), seed: Hash([7; 32]) }
}

/// What a run comes to and the memory that it leaves; `None` if the module is refused.
pub fn run(runtime: &Runtime, wasm: &[u8], task: &Task) -> Option<(Outcome, Vec<u8>)> {
    let executable = match runtime.prepare(wasm) {
        Ok(executable) => executable,
        Err(PrepareError::Refused(_)) => return None,
        Err(PrepareError::Fault(fault)) => panic!("a module was accepted and could not be compiled: {fault}"),
    };
    let mut left = Vec::new();
    let outcome = runtime.execute_and_look(&executable, task, |memory| left.extend_from_slice(memory));
    Some((outcome.unwrap_or_else(|fault| panic!("a guest made this machine fail: {fault}")), left))
}

/// The engine as it comes, except that it makes NaNs canonical itself.
static REFERENCE: LazyLock<Engine> = LazyLock::new(|| {
    let mut config = Config::new();
    config.cranelift_nan_canonicalization(true).max_wasm_stack(1 << 20);
    Engine::new(&config).unwrap_or_else(|error| panic!("{error}"))
});

/// Runs a module without imports as it is, which must end by itself: the code of its trap, and the memory that it leaves if it
/// came to be. `None` if the stack, which nobody counts here, is too small for it.
pub fn run_plain(wasm: &[u8]) -> Option<(Option<u32>, Option<Vec<u8>>)> {
    let engine = &*REFERENCE;
    let module = Module::new(engine, wasm).unwrap_or_else(|error| panic!("{error}"));
    let limits = StoreLimitsBuilder::new().memory_size((MEMORY_PAGES as usize) << 16).build();
    let mut store = Store::new(engine, limits);
    store.limiter(|limits| limits);
    let is_too_deep = |error: &wasmtime::Error| error.downcast_ref::<Trap>() == Some(&Trap::StackOverflow);
    let instance = match Instance::new(&mut store, &module, &[]) {
        Ok(instance) => instance,
        Err(error) if is_too_deep(&error) => return None,
        Err(error) => return Some((Some(code(&error)), None)),
    };
    let start = instance.get_typed_func::<(), ()>(&mut store, exports::START);
    let ended = start.and_then(|start| start.call(&mut store, ()));
    if ended.as_ref().is_err_and(is_too_deep) {
        return None;
    }
    let memory = instance.get_memory(&mut store, exports::MEMORY).map(|memory| memory.data(&store).to_vec());
    Some((ended.err().as_ref().map(code), memory))
}

/// The code of a trap as this project numbers it.
fn code(error: &wasmtime::Error) -> u32 {
    let code = match error.downcast_ref::<Trap>() {
        Some(Trap::UnreachableCodeReached) => TrapCode::Unreachable,
        Some(Trap::MemoryOutOfBounds) => TrapCode::MemoryOutOfBounds,
        Some(Trap::TableOutOfBounds) => TrapCode::TableOutOfBounds,
        Some(Trap::IndirectCallToNull) => TrapCode::IndirectCallToNull,
        Some(Trap::BadSignature) => TrapCode::BadSignature,
        Some(Trap::IntegerOverflow) => TrapCode::IntegerOverflow,
        Some(Trap::IntegerDivisionByZero) => TrapCode::DivisionByZero,
        Some(Trap::BadConversionToInteger) => TrapCode::BadConversion,
        other => panic!("{other:?} where the metered module does not overflow: {error:#}"),
    };
    code.number()
}
