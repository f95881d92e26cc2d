//! What the protocol promises, seen from outside the crate.

mod assignment;
mod canonical;
mod cddl;
mod consensus;
mod frame;
mod golden;
mod memory;
mod merkle;
mod samples;
mod spec;
mod strategies;
mod tamper;
mod variants;
