//! The Mandelbrot set on 640 by 640 points, at most 400 steps each.

const SIDE: usize = 640;
const STEPS: u32 = 400;

fn escape(x: f64, y: f64) -> u32 {
    let (mut a, mut b) = (0.0, 0.0);
    for step in 0..STEPS {
        let (square_a, square_b) = (a * a, b * b);
        if square_a + square_b > 4.0 {
            return step;
        }
        b = 2.0 * a * b + y;
        a = square_a - square_b + x;
    }
    STEPS
}

fn main() {
    let at = |index: usize, from: f64| from + 3.0 * index as f64 / SIDE as f64;
    let steps = |row| (0..SIDE).map(move |column| u64::from(escape(at(column, -2.0), at(row, -1.5)))).sum::<u64>();
    println!("{}", (0..SIDE).map(steps).sum::<u64>());
}
