//! The depx command.

fn main() {}
