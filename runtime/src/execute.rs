//! One instance, one run.

use crate::HostFault;
use crate::calls::CallLog;
use crate::host::{Handles, Host};
use crate::limits::Bounds;
use crate::nn::Nn;
use crate::outcome::{Ending, Outcome};
use crate::prepare::Prepared;
use crate::snapshot::StartsFrom;
use crate::wasi::{Volume, Wasi, Written};
use crate::watch::Watch;
use bytes::Bytes;
use depx_host_abi::{exports, fuel, stack, trap::TrapCode};
use depx_models::Model;
use depx_protocol::{Hash, HostCallLog, Limits};
use std::sync::Arc;
use wasmtime::{Extern, Func, Global, Instance, InstancePre, Linker, ModuleExport, Store, Val};

/// What every item of a job sees alike.
#[derive(Clone)]
pub struct Setting {
    /// Arguments, without the program's name.
    pub args: Vec<String>,
    /// Environment variables, as (name, value).
    pub env: Vec<(String, String)>,
    /// Files that are there from the start.
    pub files: Volume,
    /// Models that can be loaded by name.
    pub models: Vec<NamedModel>,
    /// Where the clocks start, in Unix milliseconds.
    pub created_ms: u64,
    /// What each run may use.
    pub limits: Limits,
}

/// A model and the name by which guests load it.
#[derive(Clone)]
pub struct NamedModel {
    /// The name that guests use.
    pub name: String,
    /// The hash of the ONNX file.
    pub hash: Hash,
    /// The loaded model.
    pub model: Arc<dyn Model>,
}

/// One run: a setting, standard input, and a seed.
#[derive(Clone)]
pub struct Task {
    /// What is the same for all items.
    pub setting: Arc<Setting>,
    /// Standard input.
    pub input: Bytes,
    /// All randomness comes from it.
    pub seed: Hash,
}

/// A prepared module, linked: it can be instantiated any number of times, on any thread. Cheap to clone.
#[derive(Clone)]
pub struct Executable(Arc<Linked>);

struct Linked {
    pre: InstancePre<Host>,
    /// Where to find the exports that a run needs, without comparing names each time.
    memory: ModuleExport,
    fuel: ModuleExport,
    depth: ModuleExport,
    initialize: Option<ModuleExport>,
    start: ModuleExport,
    starts_from: Option<StartsFrom>,
}

impl Executable {
    pub(crate) fn link(linker: &Linker<Host>, prepared: &Prepared) -> Result<Self, HostFault> {
        let module = &prepared.module;
        let export = |name: &str| {
            module.get_export_index(name).ok_or_else(|| HostFault::engine(format!("the prepared module lacks {name}")))
        };
        Ok(Self(Arc::new(Linked {
            pre: linker.instantiate_pre(module).map_err(HostFault::engine)?,
            memory: export(exports::MEMORY)?,
            fuel: export(exports::FUEL)?,
            depth: export(exports::DEPTH)?,
            initialize: module.get_export_index(exports::INITIALIZE),
            start: export(exports::START)?,
            starts_from: StartsFrom::of(module),
        })))
    }

    /// What every run starts from, if that is not the module itself.
    pub fn starts_from(&self) -> Option<StartsFrom> {
        self.0.starts_from
    }

    /// Runs the module once in a fresh instance, on the calling thread, whose stack must be large enough.
    /// Of the calls that it makes of its host, the first `keep` are kept.
    pub(crate) fn run(&self, task: &Task, watch: &Watch, keep: usize) -> Result<Outcome, HostFault> {
        self.run_then(task, watch, keep, |_, _, _| ())
    }

    /// The same; `look` is shown the instance before it goes, and how the run ended.
    pub(crate) fn run_then(
        &self,
        task: &Task,
        watch: &Watch,
        keep: usize,
        look: impl FnOnce(&mut Store<Host>, Instance, &Ending),
    ) -> Result<Outcome, HostFault> {
        watch.check()?;
        let limits = &task.setting.limits;
        let wasi = match Wasi::new(task) {
            Ok(wasi) => wasi,
            Err(stop) => return Ok(Outcome::without_run(Ending::of_stop(stop)?)),
        };
        // Fuel is an `i64` inside the guest.
        let fuel_limit = limits.fuel.min(fuel::MAX) as i64;
        let host = Host {
            handles: None,
            bounds: Bounds::new(limits),
            fuel_limit,
            watch: watch.clone(),
            wasi,
            nn: Nn::default(),
            calls: CallLog::new(keep),
        };
        let mut store = Store::new(self.0.pre.module().engine(), host);
        store.limiter(|host| &mut host.bounds);
        let instance = match self.0.pre.instantiate(&mut store) {
            Ok(instance) => instance,
            Err(error) => {
                let ending = match store.data().bounds.denied {
                    Some(limit) => Ending::Exceeded(limit),
                    None => Ending::of_error(error)?,
                };
                return Ok(finish(store, ending, 0));
            }
        };
        let exports = Exports::of(&self.0, instance, &mut store)?;
        exports.fuel.set(&mut store, Val::I64(fuel_limit)).map_err(HostFault::engine)?;
        store.data_mut().handles = Some(exports.handles);
        let mut ending = match exports.call(&mut store) {
            Ok(()) => Ending::Returned,
            Err(error) => Ending::of_error(error)?,
        };
        let fuel_left = exports.fuel.get(&mut store).unwrap_i64();
        let depth_left = exports.depth.get(&mut store).unwrap_i64();
        if fuel_left < 0 {
            ending = Ending::OutOfFuel;
        } else if depth_left < 0 && ending == Ending::Trapped(TrapCode::Unreachable) {
            ending = Ending::Trapped(TrapCode::StackOverflow);
        }
        look(&mut store, instance, &ending);
        Ok(finish(store, ending, fuel_limit.abs_diff(fuel_left.max(0))))
    }
}

/// The exports of one instance.
struct Exports {
    handles: Handles,
    fuel: Global,
    depth: Global,
    initialize: Option<Func>,
    start: Func,
}

impl Exports {
    fn of(linked: &Linked, instance: Instance, store: &mut Store<Host>) -> Result<Self, HostFault> {
        let missing = || HostFault::engine("an export of the prepared module has another type");
        let mut export = |index: &ModuleExport| instance.get_module_export(&mut *store, index);
        let memory = export(&linked.memory).and_then(Extern::into_memory).ok_or_else(missing)?;
        let fuel = export(&linked.fuel).and_then(Extern::into_global).ok_or_else(missing)?;
        let depth = export(&linked.depth).and_then(Extern::into_global).ok_or_else(missing)?;
        let start = export(&linked.start).and_then(Extern::into_func).ok_or_else(missing)?;
        let initialize = linked.initialize.as_ref().and_then(export).and_then(Extern::into_func);
        Ok(Self { handles: Handles { memory, fuel }, fuel, depth, initialize, start })
    }

    /// The module's own start function, then the program.
    fn call(&self, store: &mut Store<Host>) -> wasmtime::Result<()> {
        for function in self.initialize.iter().chain([&self.start]) {
            self.depth.set(&mut *store, Val::I64(stack::DEPTH_LIMIT.into()))?;
            function.typed::<(), ()>(&*store)?.call(&mut *store, ())?;
        }
        Ok(())
    }
}

/// What the run came to, from what the store holds at its end.
fn finish(store: Store<Host>, ending: Ending, fuel_used: u64) -> Outcome {
    let host = store.into_data();
    let Written { stdout, files, log, log_len } = host.wasi.into_written();
    let (status, code) = ending.status();
    let peak_memory_pages = host.bounds.peak_pages;
    let inferences = host.nn.inferences;
    let (host_calls, kept_calls) = host.calls.finish();
    Outcome {
        status,
        code,
        fuel_used,
        peak_memory_pages,
        stdout,
        files,
        log,
        log_len,
        inferences,
        host_calls,
        kept_calls,
    }
}

impl Outcome {
    /// Of a task that exceeds its limits before it starts.
    pub(crate) fn without_run(ending: Ending) -> Self {
        let (status, code) = ending.status();
        Self {
            status,
            code,
            fuel_used: 0,
            peak_memory_pages: 0,
            stdout: Vec::new(),
            files: Vec::new(),
            log: Bytes::new(),
            log_len: 0,
            inferences: Vec::new(),
            host_calls: HostCallLog::default(),
            kept_calls: Vec::new(),
        }
    }
}
