//! What a run came to, and who is to blame for how it ended.

use crate::HostFault;
use crate::host::Stop;
use bytes::Bytes;
use depx_host_abi::limit::LimitCode;
use depx_host_abi::trap::TrapCode;
use depx_protocol::{Hash, HostCallLeaf, HostCallLog, OutputFile, Status};
use wasmtime::{PoolConcurrencyLimitError, Trap};

/// What a run came to: the same on every machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// The exit code, the number of the [`TrapCode`] or [`LimitCode`], or what else belongs to `status`; 0 on success.
    pub code: u32,
    /// Units of the fuel schedule; all that the run was given if it ran out.
    pub fuel_used: u64,
    /// The largest size of linear memory, in pages of 64 KiB.
    pub peak_memory_pages: u32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Files below the output directory, sorted by path.
    pub files: Vec<OutputFile>,
    /// Standard error, cut at the limit.
    pub log: Bytes,
    /// Bytes written to standard error, those that were dropped included.
    pub log_len: u64,
    /// Calls of models, in order.
    pub inferences: Vec<Inference>,
    /// Calls of its host, in brief.
    pub host_calls: HostCallLog,
    /// The first of them, as many as [`crate::RuntimeOptions::kept_host_calls`] says.
    pub kept_calls: Vec<HostCallLeaf>,
}

/// One call of a model during a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inference {
    /// The hash of the ONNX file.
    pub model: Hash,
    /// Hash over the input tensors.
    pub input: Hash,
    /// Hash over the output tensors.
    pub output: Hash,
    /// Fuel charged for the call.
    pub fuel: u64,
}

/// How a guest ended, by its own doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    Returned,
    Exited(u32),
    Trapped(TrapCode),
    OutOfFuel,
    Exceeded(LimitCode),
    /// Not what the model takes.
    Unfit(u32),
}

impl Ending {
    pub(crate) fn status(self) -> (Status, u32) {
        match self {
            Self::Returned | Self::Exited(0) => (Status::Success, 0),
            Self::Exited(code) => (Status::ExitCode, code),
            Self::Trapped(code) => (Status::Trap, code.number()),
            Self::OutOfFuel => (Status::OutOfFuel, 0),
            Self::Exceeded(code) => (Status::LimitExceeded, code.number()),
            Self::Unfit(code) => (Status::InvalidItem, code),
        }
    }

    /// Of what the engine reports, before fuel and depth are looked at.
    pub(crate) fn of_error(error: wasmtime::Error) -> Result<Self, HostFault> {
        if let Some(trap) = error.downcast_ref::<Trap>() {
            return match of_trap(*trap) {
                Some(Blame::Guest(code)) => Ok(Self::Trapped(code)),
                Some(Blame::Machine) | None => Err(HostFault::engine(trap)),
            };
        }
        if error.is::<PoolConcurrencyLimitError>() {
            return Err(HostFault::Resources { resource: "instance slots" });
        }
        match error.downcast::<Stop>() {
            Ok(stop) => Self::of_stop(stop),
            Err(error) => Err(HostFault::engine(format!("{error:#}"))),
        }
    }

    pub(crate) fn of_stop(stop: Stop) -> Result<Self, HostFault> {
        match stop {
            Stop::Exit(code) => Ok(Self::Exited(code)),
            Stop::OutOfFuel => Ok(Self::OutOfFuel),
            Stop::Limit(code) => Ok(Self::Exceeded(code)),
            Stop::Fault(fault) => Err(fault),
        }
    }
}

/// Whose doing a trap is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Blame {
    Guest(TrapCode),
    /// It must never happen, or only with features that are off: not to be signed as a result.
    Machine,
}

/// Every trap that the engine knows; `None` for one that a newer engine has added.
fn of_trap(trap: Trap) -> Option<Blame> {
    use Blame::{Guest, Machine};
    Some(match trap {
        Trap::MemoryOutOfBounds => Guest(TrapCode::MemoryOutOfBounds),
        Trap::TableOutOfBounds => Guest(TrapCode::TableOutOfBounds),
        Trap::IndirectCallToNull => Guest(TrapCode::IndirectCallToNull),
        Trap::BadSignature => Guest(TrapCode::BadSignature),
        Trap::IntegerOverflow => Guest(TrapCode::IntegerOverflow),
        Trap::IntegerDivisionByZero => Guest(TrapCode::DivisionByZero),
        Trap::BadConversionToInteger => Guest(TrapCode::BadConversion),
        Trap::UnreachableCodeReached => Guest(TrapCode::Unreachable),
        Trap::HeapMisaligned => Guest(TrapCode::Misaligned),
        Trap::AllocationTooLarge => Guest(TrapCode::AllocationTooLarge),
        // The depth limit ends a guest before the native stack does, and fuel is counted by the guest itself.
        Trap::StackOverflow | Trap::OutOfFuel | Trap::Interrupt => Machine,
        // Of proposals that are off, and of the component model.
        Trap::ArrayOutOfBounds
        | Trap::AsyncDeadlock
        | Trap::AtomicWaitNonSharedMemory
        | Trap::BackpressureOverflow
        | Trap::CannotBlockSyncTask
        | Trap::CannotEnterComponent
        | Trap::CannotLeaveComponent
        | Trap::CannotResumeThread
        | Trap::CastFailure
        | Trap::ConcurrentFutureStreamOp
        | Trap::ContinuationAlreadyConsumed
        | Trap::DebugAssertEqualCodeUnits
        | Trap::DebugAssertPointerAligned
        | Trap::DebugAssertStringEncodingFinished
        | Trap::DebugAssertUpperBitsUnset
        | Trap::DisabledOpcode
        | Trap::InvalidChar
        | Trap::InvalidDiscriminant
        | Trap::ListOutOfBounds
        | Trap::NoAsyncResult
        | Trap::NullReference
        | Trap::ReferenceCountOverflow
        | Trap::StreamOpTooBig
        | Trap::StringOutOfBounds
        | Trap::SubtaskCancelAfterTerminal
        | Trap::SubtaskDropNotResolved
        | Trap::TaskCancelNotCancelled
        | Trap::TaskCancelOrReturnTwice
        | Trap::TaskReturnInvalid
        | Trap::ThreadNewIndirectInvalidType
        | Trap::ThreadNewIndirectUninitialized
        | Trap::UnalignedPointer
        | Trap::UncaughtException
        | Trap::UnhandledTag
        | Trap::UnsupportedCallbackCode
        | Trap::WaitableSetDropHasWaiters
        | Trap::WaitableSyncAndAsync => Machine,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trap_of_the_engine_is_classified() {
        let traps: Vec<Trap> = (0..=u8::MAX).filter_map(Trap::from_u8).collect();
        assert!(traps.len() >= 50, "{} traps", traps.len());
        for trap in traps {
            assert!(of_trap(trap).is_some(), "{trap:?} is new: decide whose doing it is");
        }
    }

    #[test]
    fn each_ending_has_its_status() {
        let cases = [
            (Ending::Returned, (Status::Success, 0)),
            (Ending::Exited(0), (Status::Success, 0)),
            (Ending::Exited(3), (Status::ExitCode, 3)),
            (Ending::Exited(u32::MAX), (Status::ExitCode, u32::MAX)),
            (Ending::Trapped(TrapCode::Unreachable), (Status::Trap, 1)),
            (Ending::OutOfFuel, (Status::OutOfFuel, 0)),
            (Ending::Exceeded(LimitCode::OutputBytes), (Status::LimitExceeded, 3)),
            (Ending::Unfit(2), (Status::InvalidItem, 2)),
        ];
        for (ending, status) in cases {
            assert_eq!(ending.status(), status, "{ending:?}");
        }
    }

    #[test]
    fn a_machine_is_never_blamed_on_the_guest() {
        for trap in [Trap::StackOverflow, Trap::Interrupt, Trap::OutOfFuel] {
            assert!(matches!(Ending::of_error(trap.into()), Err(HostFault::Engine { .. })), "{trap:?}");
        }
        let fault = Stop::Fault(HostFault::Cancelled);
        assert!(matches!(Ending::of_error(fault.into()), Err(HostFault::Cancelled)));
        assert!(matches!(Ending::of_error(wasmtime::Error::msg("odd")), Err(HostFault::Engine { .. })));
    }
}
