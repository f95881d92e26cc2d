//! Initialisation that is paid for once: a module that exports a function of a name in [`INITIALIZE`] is run up to its end when it is
//! prepared, and every run starts from the state that this leaves.
//!
//! The start function runs first, as in every instance; then the initialisation, in the sandbox that a task is given, with nothing in
//! it: no arguments, environment, files, models or input, clocks that start at 0, and randomness that follows from the module. What
//! it logs is dropped. Memory and globals are kept. It must return, and it may not write: what it would have
//! written would be lost.

/// The version of these rules. It is part of the execution profile: the state that runs start from depends on them.
pub const VERSION: u32 = 1;

/// Names of the initialisation function, the preferred one first, as [Wizer](https://docs.rs/wasmtime-wizer) has them.
pub const INITIALIZE: [&str; 2] = ["wizer-initialize", "wizer.initialize"];

/// Where a module that is initialised exports a function of this name, runs call it instead of `_start`: the `wizer.h` for C and C++
/// defines both, because constructors have run and must not run again.
pub const RESUME: &str = "wizer.resume";

/// Fuel for the initialisation, start function included: half a second at the schedule's rate, and some seconds where code is
/// interpreted, within the processor time that compiling is given. Loading a large interpreter's library takes a third of it.
pub const FUEL: u64 = 1 << 30;

/// Pages of memory that the module may have when it is initialised, 128 MiB: all that is not zero becomes part of the compiled module.
pub const MEMORY_PAGES: u32 = 2048;

const _: () = assert!(FUEL <= crate::fuel::MAX);
