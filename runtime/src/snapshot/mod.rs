//! Initialisation that is paid for once: runs it, keeps the state that it leaves, and makes a module that starts there.
//!
//! The rules are those of [`depx_host_abi::snapshot`]. The state is read from an instance of the instrumented module, so it is that of
//! every engine; the module made of it is compiled like any other, and its artifact says what it starts from, so that nobody
//! runs the initialisation again. Fuel and depth are not part of the state: each run has its own.

mod module;
mod state;

use crate::execute::{Executable, Setting, Task};
use crate::instrument::instrument;
use crate::outcome::Ending;
use crate::prepare::{PrepareError, Prepared};
use crate::runtime::with_execution_stack;
use crate::validate::{Outline, validate};
use crate::watch::Watch;
use crate::{Cancel, HostFault, Outcome, Refusal, Volume, nn, wasi};
use bytes::Bytes;
use depx_host_abi::limit::LimitCode;
use depx_host_abi::refusal::RefusalCode;
use depx_host_abi::snapshot::{FUEL, MEMORY_PAGES};
use depx_host_abi::trap::TrapCode;
use depx_protocol::{Hash, Limits, Status, Tag};
use state::State;
use std::sync::Arc;
use wasmtime::{Engine, Linker, Module};

/// What the items of a job start from where that is not the module itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StartsFrom {
    /// The hash of the [`depx_protocol::Snapshot`].
    pub snapshot: Hash,
    /// What its initialisation used, in units of the fuel schedule.
    pub fuel: u64,
}

/// A valid module made to meter itself, and to start from what its initialisation leaves if it has one: all of preparation but
/// compiling. An initialisation is run on what `engine` gives, which is asked for nothing else; `name` is the hash of `wasm`.
pub(crate) fn ready(
    engine: impl FnOnce() -> Result<Engine, HostFault>,
    name: Hash,
    wasm: &[u8],
) -> Result<Vec<u8>, PrepareError> {
    let outline = validate(wasm).map_err(PrepareError::Refused)?;
    let instrumented = instrument(wasm, &outline).map_err(PrepareError::Refused)?;
    let Some(initializer) = outline.initializer else { return Ok(instrumented) };
    module::check(&outline).map_err(PrepareError::Refused)?;
    let engine = engine()?;
    let (state, fuel) = with_execution_stack(|| initialised(&engine, name, &outline, &instrumented, initializer))?;
    let starts_from = StartsFrom { snapshot: state.hash(name), fuel };
    let made = module::starting_from(&instrumented, &state, outline.resume, &starts_from);
    made.map_err(|error| PrepareError::Refused(error.into()))
}

/// The state after the initialisation, and what that used.
fn initialised(
    engine: &Engine,
    name: Hash,
    outline: &Outline<'_>,
    instrumented: &[u8],
    initializer: u32,
) -> Result<(State, u64), PrepareError> {
    let globals = module::mutable_globals(outline).map_err(|error| PrepareError::Refused(error.into()))?;
    let initializing = module::initializing(instrumented, initializer, &globals);
    let initializing = initializing.map_err(|error| PrepareError::Refused(error.into()))?;
    let module = Module::new(engine, initializing).map_err(|error| HostFault::engine(format_args!("{error:#}")))?;
    let mut linker = Linker::new(engine);
    wasi::link(&mut linker).and_then(|()| nn::link(&mut linker)).map_err(HostFault::engine)?;
    let executable = Executable::link(&linker, &Prepared { module })?;
    let mut left = None;
    // Fuel bounds the time; whoever prepares on behalf of a job has a deadline of its own.
    let watch = Watch::start(&Cancel::default(), u64::MAX);
    let outcome = executable.run_then(&task(name), &watch, 0, |store, instance, ending| {
        if *ending == Ending::Returned {
            left = Some(State::of(store, instance, &globals));
        }
    })?;
    match left {
        Some(Some(state)) => Ok((state, outcome.fuel_used)),
        Some(None) => Err(HostFault::engine("the state of an initialised instance cannot be read").into()),
        None => Err(PrepareError::Refused(refusal(&outcome))),
    }
}

/// The world of an initialisation: nothing but randomness that follows from the module.
fn task(name: Hash) -> Task {
    let limits = Limits {
        fuel: FUEL,
        memory_pages: MEMORY_PAGES,
        // Validation bounds what is declared, and tables do not grow.
        table_elements: u32::MAX,
        output_bytes: 0,
        log_bytes: 0,
        files: 0,
        file_bytes: 0,
        ..Limits::DEFAULT
    };
    let setting = Setting {
        args: Vec::new(),
        env: Vec::new(),
        files: Volume::default(),
        models: Vec::new(),
        created_ms: 0,
        limits,
    };
    Task { setting: Arc::new(setting), input: Bytes::new(), seed: Tag::SnapshotSeed.hash(&[&name.0]) }
}

/// Why an initialisation leaves no state to start from that did not return, but came to this.
fn refusal(outcome: &Outcome) -> Refusal {
    match outcome.status {
        Status::Trap => {
            let how = TrapCode::try_from(outcome.code).map_or("it trapped", TrapCode::description);
            Refusal::new(RefusalCode::InitializerTrapped, format_args!("the initialisation failed: {how}"))
        }
        Status::OutOfFuel => Refusal::new(
            RefusalCode::InitializerOutOfFuel,
            format_args!(
                "the initialisation used all of its {FUEL} units of fuel; leave some of its work to the items"
            ),
        ),
        Status::LimitExceeded => {
            let which = match LimitCode::try_from(outcome.code) {
                Ok(LimitCode::MemoryPages) => "the module declares more memory than the initialisation is given",
                Ok(LimitCode::TableElements) => "the module declares larger tables than the initialisation is given",
                _ => "the initialisation wrote output or files, which items would not have; only its memory is kept",
            };
            Refusal::new(RefusalCode::InitializerOverLimits, which)
        }
        // The rest are exits; refusals are no statuses of runs.
        _ => Refusal::new(
            RefusalCode::InitializerExited,
            format_args!("the initialisation exited with code {}; it has to return", outcome.code),
        ),
    }
}
