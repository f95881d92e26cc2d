//! Executes one job deterministically: validate, prepare, execute, prove.
//!
//! [`Runtime::run_job`] is the whole story. What the guest does (exit code, trap, out of fuel, limit hit) is *data* in the
//! [`JobResult`], the same on every node; an `Err` is always a [`HostFault`], this node's own failure, and says nothing about
//! the job. The crate knows nothing of networks, keys or coordinators.

mod artifact;
mod calls;
mod compile;
mod engine;
mod execute;
mod fault;
mod given;
mod host;
mod inference;
mod instrument;
mod job;
mod limits;
mod loaded;
mod memory;
mod nn;
mod outcome;
mod prepare;
mod profile;
mod prove;
mod runtime;
mod snapshot;
mod stream;
mod validate;
mod wasi;
mod watch;
mod worker;

pub use artifact::{ArtifactStore, ArtifactWriter, artifact_key};
pub use compile::Compiler;
pub use engine::{Allocation, EngineOptions, Optimize};
pub use execute::{Executable, NamedModel, Setting, Task};
pub use fault::HostFault;
pub use given::GivenModules;
pub use job::{
    Blobs, INPUT_ITEM_COUNT, INPUT_MALFORMED, ITEM_MALFORMED, ITEM_UNFIT, Job, JobResult, MODEL_NOT_LOADABLE,
    MODEL_NOT_OFFERED,
};
pub use outcome::{Inference, Outcome};
pub use prepare::{PrepareError, instrumented};
pub use runtime::{Runtime, RuntimeOptions, THREAD_STACK, with_execution_stack};
pub use snapshot::StartsFrom;
pub use stream::{Finished, StreamError, Streamed};
pub use validate::Refusal;
pub use wasi::{Volume, VolumeError};
pub use worker::{Cancel, InProcess, Worker, WorkerLauncher};
