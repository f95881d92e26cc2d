//! One engine, and all instances of a script on it.

use super::super::*;
use super::values::{self, Value};
use depx_host_abi::stack;
use wasmtime::{Extern, Func, Global};
use wast::WastArg;

/// Functions that stand for external references are exports of the first instance, which have this before their number.
pub(super) const EXTERNAL: &str = "external ";

/// What each instance may use in one action.
const FUEL: i64 = 1 << 40;

/// How an action ended, and what it cost.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Observed {
    pub(super) ended: Ended,
    fuel: i64,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Ended {
    Returned(Vec<Value>),
    Trapped(Trap),
    OutOfFuel,
    OutOfDepth,
    /// Imports do not fit.
    Unlinkable,
    /// Not what a script can bring about.
    Odd(String),
}

/// The meters of an instance.
#[derive(Clone, Copy)]
struct Meters {
    fuel: Global,
    depth: Global,
}

pub(super) struct Machine {
    store: Store<()>,
    instances: Vec<Instance>,
    /// Of every instance, also those whose start failed.
    meters: Vec<Meters>,
}

impl Machine {
    pub(super) fn new(engine: &Engine) -> Self {
        Self { store: Store::new(engine, ()), instances: Vec::new(), meters: Vec::new() }
    }

    /// Makes an instance from exports of others, and calls its start function. It becomes the next instance if all goes well.
    pub(super) fn instantiate(&mut self, module: &Module, imports: &[(usize, String)]) -> Observed {
        let mut found: Vec<Extern> = Vec::new();
        for (instance, name) in imports {
            match self.instances[*instance].get_export(&mut self.store, name) {
                Some(export) => found.push(export),
                None => return Observed { ended: Ended::Unlinkable, fuel: 0 },
            }
        }
        let instance = match Instance::new(&mut self.store, module, &found) {
            Ok(instance) => instance,
            Err(error) => {
                let ended = match error.downcast_ref::<Trap>() {
                    Some(trap) => Ended::Trapped(*trap),
                    None if error.is::<wasmtime::PoolConcurrencyLimitError>() => Ended::Odd(error.to_string()),
                    None => Ended::Unlinkable,
                };
                return Observed { ended, fuel: 0 };
            }
        };
        let mut meter = |name| instance.get_global(&mut self.store, name).unwrap();
        self.meters.push(Meters { fuel: meter(exports::FUEL), depth: meter(exports::DEPTH) });
        let observed = self.act(|store| match instance.get_func(&mut *store, exports::INITIALIZE) {
            Some(start) => start.call(store, &[], &mut []).map(|()| Vec::new()),
            None => Ok(Vec::new()),
        });
        if matches!(observed.ended, Ended::Returned(_)) {
            self.instances.push(instance);
        }
        observed
    }

    /// Calls an exported function.
    pub(super) fn invoke(&mut self, instance: usize, name: &str, arguments: &[WastArg<'_>]) -> Observed {
        let arguments: Option<Vec<_>> =
            arguments.iter().map(|argument| values::argument(argument, |number| self.external(number))).collect();
        let instance = self.instances[instance];
        self.act(|store| {
            let arguments = arguments.ok_or_else(|| wasmtime::Error::msg("an argument has a type that is off"))?;
            let function = instance
                .get_func(&mut *store, name)
                .ok_or_else(|| wasmtime::Error::msg(format!("there is no function {name:?}")))?;
            let mut results = vec![Val::I32(0); function.ty(&*store).results().len()];
            function.call(&mut *store, &arguments, &mut results)?;
            Ok(results)
        })
    }

    /// The function that stands for an external reference.
    fn external(&mut self, number: u32) -> Option<Func> {
        self.instances[0].get_func(&mut self.store, &format!("{EXTERNAL}{number}"))
    }

    /// Whether an instance exports `name`.
    pub(super) fn exports(&mut self, instance: usize, name: &str) -> bool {
        self.instances[instance].get_export(&mut self.store, name).is_some()
    }

    /// Reads an exported global.
    pub(super) fn get(&mut self, instance: usize, name: &str) -> Observed {
        let instance = self.instances[instance];
        self.act(|store| {
            let global = instance.get_global(&mut *store, name);
            let global = global.ok_or_else(|| wasmtime::Error::msg(format!("there is no global {name:?}")))?;
            Ok(vec![global.get(store)])
        })
    }

    /// Does something with all meters full, and reads them.
    fn act(&mut self, action: impl FnOnce(&mut Store<()>) -> wasmtime::Result<Vec<Val>>) -> Observed {
        let limit = i64::from(stack::DEPTH_LIMIT);
        for meters in &self.meters {
            meters.fuel.set(&mut self.store, Val::I64(FUEL)).unwrap();
            meters.depth.set(&mut self.store, Val::I64(limit)).unwrap();
        }
        let result = action(&mut self.store);
        let mut used = 0;
        let (mut no_fuel, mut no_depth) = (false, false);
        for meters in &self.meters {
            let left = meters.fuel.get(&mut self.store).unwrap_i64();
            let depth = meters.depth.get(&mut self.store).unwrap_i64();
            used += FUEL - left;
            no_fuel |= left < 0;
            no_depth |= depth < 0;
        }
        let ended = match result {
            _ if no_fuel => Ended::OutOfFuel,
            Ok(values) => Ended::Returned(values.iter().map(|value| self.value(value)).collect()),
            Err(error) => match error.downcast_ref::<Trap>() {
                Some(Trap::UnreachableCodeReached) if no_depth => Ended::OutOfDepth,
                Some(trap) => Ended::Trapped(*trap),
                None => Ended::Odd(error.to_string()),
            },
        };
        Observed { ended, fuel: used }
    }

    fn value(&mut self, value: &Val) -> Value {
        Value::of(value, |function| {
            let function = function.to_raw(&mut self.store);
            let mut number = 0;
            while self.external(number)?.to_raw(&mut self.store) != function {
                number += 1;
            }
            Some(number)
        })
    }
}
