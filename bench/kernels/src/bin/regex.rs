//! Three expressions, Unicode classes among them, over 6 MB of log lines.

use regex::Regex;

fn main() {
    let text = depx_bench_kernels::log(6 << 20);
    let count = |pattern: &str| Regex::new(pattern).expect("it is an expression").find_iter(&text).count();
    let hosts = count(r"10\.(\d{1,3})\.\d+\.\d+:\d+");
    let pairs = count(r"(?i)\b(cache|queue)\s+(miss|full)\b");
    let words = count(r"\p{Lu}+\d|\bti\p{L}*t\b");
    println!("{hosts} {pairs} {words}");
}
