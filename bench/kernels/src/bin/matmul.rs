//! The product of two 600 by 600 matrices of 32-bit floats.

use depx_bench_kernels::Random;

const SIDE: usize = 600;

fn main() {
    let mut random = Random::new(5);
    let mut matrix = || (0..SIDE * SIDE).map(|_| random.unit() as f32).collect::<Vec<_>>();
    let (a, b) = (matrix(), matrix());
    let mut product = vec![0f32; SIDE * SIDE];
    for (row, sums) in product.chunks_exact_mut(SIDE).enumerate() {
        for (k, factors) in b.chunks_exact(SIDE).enumerate() {
            let scale = a[row * SIDE + k];
            for (sum, factor) in sums.iter_mut().zip(factors) {
                *sum += scale * factor;
            }
        }
    }
    println!("{}", product.iter().map(|value| f64::from(*value)).sum::<f64>());
}
