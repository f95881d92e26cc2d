//! The contract between a task and its node: import names, types, error codes, fuel schedule.
//!
//! A task is a WebAssembly module that exports a function `_start` without parameters and results, and its memory as
//! `memory`. It may export an [initialisation](snapshot) that is run once for many runs. It may import the functions of [`wasi`] and [`nn`], and nothing else. What it executes costs [`fuel`], how deep
//! it calls is bounded by [`stack`], and why it ended is told by the codes of [`trap`], [`limit`] and [`refusal`].
//!
//! Numbers here are part of hashed and signed results: they are never changed, only added to.
#![no_std]

mod code;
pub mod exports;
pub mod fuel;
mod import;
pub mod limit;
pub mod nn;
pub mod refusal;
pub mod snapshot;
pub mod stack;
pub mod trap;
pub mod wasi;

pub use code::UnknownCode;
pub use import::{Import, ValueType};
