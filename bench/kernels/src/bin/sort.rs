//! A stable sort of 1,500,000 records by one of their fields.

use depx_bench_kernels::Random;

fn main() {
    let mut random = Random::new(3);
    let mut records: Vec<(u32, u64)> = (0..1_500_000).map(|_| (random.next() as u32, random.next())).collect();
    records.sort_by_key(|record| record.0);
    println!("{:016x}", records.iter().fold(0u64, |sum, record| sum.rotate_left(1) ^ record.1));
}
