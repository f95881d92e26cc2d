//! The benchmarks and the report they make.

fn main() {}
