//! The 38th Fibonacci number, recursively: little but calls.

use std::hint::black_box;

fn fib(n: u32) -> u32 {
    if n < 2 { n } else { fib(n - 1) + fib(n - 2) }
}

fn main() {
    println!("{}", fib(black_box(38)));
}
