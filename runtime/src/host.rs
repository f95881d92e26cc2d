//! What the store holds during a run, and what every host call has in common.

use crate::calls::CallLog;
use crate::memory::{GuestMemory, OutOfBounds};
use crate::nn::Nn;
use crate::wasi::Wasi;
use crate::watch::Watch;
use crate::{HostFault, limits::Bounds};
use depx_host_abi::Import;
use depx_host_abi::fuel::{self, HOST_CALL, HostWork};
use depx_host_abi::limit::LimitCode;
use wasmtime::{Caller, Global, Memory, Val};

/// The store's data: everything that a guest can reach, and nothing of the machine.
pub(crate) struct Host {
    /// Set as soon as there is an instance; no guest code runs before.
    pub(crate) handles: Option<Handles>,
    pub(crate) bounds: Bounds,
    pub(crate) fuel_limit: i64,
    pub(crate) watch: Watch,
    pub(crate) wasi: Wasi,
    pub(crate) nn: Nn,
    pub(crate) calls: CallLog,
}

/// The instance's exports that every host call needs.
#[derive(Clone, Copy)]
pub(crate) struct Handles {
    pub(crate) memory: Memory,
    pub(crate) fuel: Global,
}

/// Why a host call ended the run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    #[error("the guest exited with code {0}")]
    Exit(u32),
    #[error("the guest used all its fuel")]
    OutOfFuel,
    #[error("the guest exceeded a limit: {0:?}")]
    Limit(LimitCode),
    #[error(transparent)]
    Fault(#[from] HostFault),
}

/// Why a host call did not succeed: an error code for the guest, or the end of the run.
#[derive(Debug)]
pub(crate) enum Failure<E> {
    Code(E),
    Stop(Stop),
}

/// An error code that host functions return; success is 0.
pub(crate) trait ErrorCode {
    fn number(self) -> i32;
}

impl<E> From<Stop> for Failure<E> {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl<E: From<OutOfBounds>> From<OutOfBounds> for Failure<E> {
    fn from(error: OutOfBounds) -> Self {
        Self::Code(error.into())
    }
}

/// The fuel that is left during a host call. Written back to the instance when the call ends.
pub(crate) struct Meter {
    limit: i64,
    left: i64,
}

impl Meter {
    /// All of `fuel`.
    pub(crate) fn new(fuel: u64) -> Self {
        let limit = fuel.min(fuel::MAX) as i64;
        Self { limit, left: limit }
    }

    /// Pays before the effect; once nothing is left, the run is over.
    pub(crate) fn charge(&mut self, amount: u64) -> Result<(), Stop> {
        self.left = self.left.saturating_sub_unsigned(amount);
        if self.left < 0 { Err(Stop::OutOfFuel) } else { Ok(()) }
    }

    /// Pays for `count` pieces of `work`.
    pub(crate) fn charge_for(&mut self, work: HostWork, count: u64) -> Result<(), Stop> {
        self.charge(work.rate().saturating_mul(count))
    }

    /// Fuel used since the run started: all of it once it has run out.
    pub(crate) fn used(&self) -> u64 {
        self.limit.abs_diff(self.left.max(0))
    }
}

/// One host call: the guest's memory, the state that it may change, and its fuel.
pub(crate) struct Call<'a> {
    pub(crate) memory: GuestMemory<'a>,
    pub(crate) wasi: &'a mut Wasi,
    pub(crate) nn: &'a mut Nn,
    pub(crate) meter: Meter,
    pub(crate) watch: &'a Watch,
}

/// The number under which calls of an import are logged.
pub(crate) fn import_number(module: &str, name: &str) -> wasmtime::Result<u16> {
    let import = Import::find(module, name);
    import.map(|import| import.number).ok_or_else(|| wasmtime::Error::msg(format!("{module} has no function {name}")))
}

impl Call<'_> {
    /// Runs `body` for a guest that has called import `function` with `arguments`: checks for cancellation, charges the base
    /// cost, logs the call, and turns what comes back into the code that the guest sees or the end of the run.
    pub(crate) fn enter<E: ErrorCode>(
        caller: &mut Caller<'_, Host>,
        function: u16,
        arguments: &[u64],
        body: impl FnOnce(&mut Call<'_>) -> Result<(), Failure<E>>,
    ) -> wasmtime::Result<i32> {
        caller.data().watch.check().map_err(Stop::from)?;
        let Some(Handles { memory, fuel: global }) = caller.data().handles else {
            return Err(Stop::from(HostFault::engine("a host call before the instance was complete")).into());
        };
        let before = global.get(&mut *caller).unwrap_i64();
        let (bytes, host) = memory.data_and_store_mut(&mut *caller);
        let mut call = Call {
            memory: GuestMemory::new(bytes, &mut host.calls.accesses),
            wasi: &mut host.wasi,
            nn: &mut host.nn,
            meter: Meter { limit: host.fuel_limit, left: before },
            watch: &host.watch,
        };
        let result = match call.meter.charge(HOST_CALL) {
            Ok(()) => body(&mut call),
            Err(stop) => Err(stop.into()),
        };
        let left = call.meter.left;
        let result = match result {
            Ok(()) => Ok(0),
            Err(Failure::Code(code)) => Ok(code.number()),
            Err(Failure::Stop(stop)) => Err(stop),
        };
        host.calls.record(function, arguments, result.as_ref().ok().copied(), [before, left]);
        global.set(&mut *caller, Val::I64(left))?;
        result.map_err(Into::into)
    }
}
