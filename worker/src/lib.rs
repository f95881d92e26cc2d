//! Worker processes: each executes one job at a time, shut in so that a guest that breaks out of the engine, or a crash of the
//! engine or of ONNX Runtime, reaches nothing and costs one job.
//!
//! [`ProcessLauncher`] is the supervisor's side: it starts processes, hands them jobs, watches them, and kills them. [`serve`] is
//! what such a process runs: it shuts itself in, and then executes what it is given, or compiles one module for those that do.
//! Neither trusts the other with more than it must: a worker gets contents by sealed descriptor, artifacts by one that can only be
//! read, and no key, path or network; a supervisor bounds and checks all that a worker says.
#![cfg(target_os = "linux")]

mod cgroup;
mod compile;
mod isolate;
mod launcher;
mod layer;
mod link;
mod message;
mod pool;
mod process;
mod sealed;
mod serve;
mod supervise;
mod verify;
mod watch;

pub use isolate::isolate;
pub use launcher::{LaunchError, ProcessLauncher, WorkerOptions};
pub use layer::{Layer, Missing, Role};
pub use serve::{serve, serve_with};
