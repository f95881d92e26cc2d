//! How the machine is.

use depx_devices::{DeviceProbe, ProcessorTime, ThisMachine};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Whoever asks sooner hears the same: over less time, a load says nothing.
const AGE: Duration = Duration::from_millis(500);

/// Measures from one look to the next.
#[derive(Default)]
pub(crate) struct Vitals(Mutex<Before>);

#[derive(Default)]
struct Before {
    processors: ProcessorTime,
    last: Option<(Instant, Vital)>,
}

/// What coordinators and the operator hear of it.
#[derive(Clone, Copy)]
pub(crate) struct Vital {
    /// Thousandths of all processors.
    pub(crate) load: u16,
    /// Bytes that programs can have.
    pub(crate) memory: u64,
}

impl Vitals {
    /// What the system does not say is 0.
    pub(crate) fn look(&self) -> Vital {
        let mut before = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, vital)) = before.last.filter(|(at, _)| at.elapsed() < AGE) {
            return vital;
        }
        let processors = ThisMachine.processors().unwrap_or_default();
        let memory = ThisMachine.machine().map_or(0, |machine| machine.memory_available);
        let vital = Vital { load: processors.load_since(before.processors), memory };
        *before = Before { processors, last: Some((Instant::now(), vital)) };
        vital
    }
}
