//! The project's own chores: check, test, demo, bench, toolchains.

fn main() {}
