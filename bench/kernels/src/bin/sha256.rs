//! SHA-256 of 24 MiB.

use sha2::{Digest, Sha256};

fn main() {
    let chunk: Vec<u8> = (0..1 << 20).map(|index: u32| (index ^ index >> 7) as u8).collect();
    let mut hash = Sha256::new();
    for _ in 0..24 {
        hash.update(&chunk);
    }
    println!("{:016x}", depx_bench_kernels::digest(&hash.finalize()));
}
