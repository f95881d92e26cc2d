//! Worker processes: each executes one job at a time, shut in so that a guest that breaks out of the engine, or a crash of the
//! engine or of ONNX Runtime, reaches nothing and costs one job.
//!
//! [`ProcessLauncher`] is the supervisor's side: it starts processes, hands them jobs, watches them, and kills them. [`serve`] is
//! what such a process runs: it shuts itself in, and then executes what it is given. Neither trusts the other with more than it
//! must: a worker gets contents by sealed descriptor and no key, path or network; a supervisor bounds and checks all that a worker
//! says.
#![cfg(target_os = "linux")]

mod cgroup;
mod isolate;
mod launcher;
mod layer;
mod link;
mod message;
mod process;
mod sealed;
mod serve;
mod supervise;
mod verify;

pub use isolate::isolate;
pub use launcher::{LaunchError, ProcessLauncher, WorkerOptions};
pub use layer::{Layer, Missing};
pub use serve::{serve, serve_with};
