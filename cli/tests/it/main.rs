//! The `depx` command as its users meet it: real processes, real programs, real sockets.

mod daemons;
mod demo;
mod determinism;
mod faults;
mod messages;
mod models;
mod operator;
mod overview;
mod programs;
mod receipts;
mod strangers;
mod support;
