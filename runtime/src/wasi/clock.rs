//! Virtual time: it passes by using fuel and by sleeping, the same on every machine.

use super::abi::{Errno, Result};
use crate::host::Call;
use depx_host_abi::fuel::UNITS_PER_NANOSECOND;

/// Realtime, `clockid` 0.
pub(super) const REALTIME: u32 = 0;
/// Monotonic, `clockid` 1.
pub(super) const MONOTONIC: u32 = 1;

/// What time it is for one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// Unix nanoseconds.
    start: u64,
    /// Nanoseconds.
    slept: u64,
}

impl Clock {
    pub(super) fn new(created_ms: u64) -> Self {
        Self { start: created_ms.saturating_mul(1_000_000), slept: 0 }
    }

    /// When the run started, in Unix nanoseconds.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Nanoseconds since the start.
    pub(super) fn elapsed(&self, fuel_used: u64) -> u64 {
        (fuel_used / UNITS_PER_NANOSECOND).saturating_add(self.slept)
    }

    pub(super) fn sleep(&mut self, nanoseconds: u64) {
        self.slept = self.slept.saturating_add(nanoseconds);
    }

    /// Of realtime (0), the monotonic clock (1) or processor time (2 and 3, which sleeping does not advance).
    pub(super) fn read(&self, id: u32, fuel_used: u64) -> std::result::Result<u64, Errno> {
        match id {
            REALTIME => Ok(self.start.saturating_add(self.elapsed(fuel_used))),
            MONOTONIC => Ok(self.elapsed(fuel_used)),
            2 | 3 => Ok(fuel_used / UNITS_PER_NANOSECOND),
            _ => Err(Errno::Inval),
        }
    }
}

impl Call<'_> {
    /// Unix nanoseconds: what files made or changed now are stamped with.
    pub(super) fn now(&self) -> u64 {
        self.wasi.clock.start().saturating_add(self.wasi.clock.elapsed(self.meter.used()))
    }

    pub(super) fn clock_res_get(&mut self, id: u32, resolution: u32) -> Result<()> {
        self.wasi.clock.read(id, 0)?;
        self.memory.write_u64(resolution, 1)?;
        Ok(())
    }

    pub(super) fn clock_time_get(&mut self, id: u32, _precision: u64, time: u32) -> Result<()> {
        let now = self.wasi.clock.read(id, self.meter.used())?;
        self.memory.write_u64(time, now)?;
        Ok(())
    }
}
