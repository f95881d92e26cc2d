//! The words of 2 MB of log lines counted in an ordered map: allocation, comparison, tree walks.

use std::collections::BTreeMap;

fn main() {
    let text = depx_bench_kernels::log(2 << 20);
    let mut counts = BTreeMap::<String, u32>::new();
    for word in text.split_whitespace() {
        *counts.entry(word.to_owned()).or_default() += 1;
    }
    println!("{} {:?}", counts.len(), counts.iter().max_by_key(|(_, count)| **count));
}
