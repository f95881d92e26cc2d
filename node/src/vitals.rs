//! How the machine is.

use depx_devices::{DeviceProbe, ProcessorTime, ThisMachine};
use std::sync::{Mutex, PoisonError};

/// Measures from one look to the next.
#[derive(Default)]
pub(crate) struct Vitals {
    before: Mutex<ProcessorTime>,
}

/// What a coordinator hears of it.
pub(crate) struct Vital {
    /// Thousandths of all processors.
    pub(crate) load: u16,
    /// Bytes that programs can have.
    pub(crate) memory: u64,
}

impl Vitals {
    /// What the system does not say is 0.
    pub(crate) fn look(&self) -> Vital {
        let now = ThisMachine.processors().unwrap_or_default();
        let before = std::mem::replace(&mut *self.before.lock().unwrap_or_else(PoisonError::into_inner), now);
        let memory = ThisMachine.machine().map_or(0, |machine| machine.memory_available);
        Vital { load: now.load_since(before), memory }
    }
}
