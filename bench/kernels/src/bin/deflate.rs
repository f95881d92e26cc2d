//! 1 MB of log lines, compressed and restored.

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec;

fn main() {
    let text = depx_bench_kernels::log(1 << 20);
    let packed = compress_to_vec(text.as_bytes(), 6);
    let restored = decompress_to_vec(&packed).expect("it was just compressed");
    assert_eq!(restored, text.as_bytes());
    println!("{} {:016x}", packed.len(), depx_bench_kernels::digest(&packed));
}
