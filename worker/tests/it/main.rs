//! Real worker processes: what they cannot do, how they die, and that their results are those of a thread.

#![cfg(target_os = "linux")]

mod compile;
mod deaths;
mod isolation;
mod results;
mod support;
