//! Recurrent layers.

use super::{sum_of_products, unary};
use crate::{Cell, Recurrence, Unary};

/// The states `h` after each element of one sequence, and the last `h` and `c`, see [`recurrent`](crate::recurrent()).
pub fn recurrent(
    cell: Cell,
    [weights, states]: [&[f32]; 2],
    recurrence: Recurrence<'_>,
    x: &[&[f32]],
    [mut h, mut c]: [Vec<f32>; 2],
) -> (Vec<Vec<f32>>, [Vec<f32>; 2]) {
    let hidden = h.len();
    let width = cell.gates() * hidden;
    let bias = |row: usize, sum: f32| if recurrence.bias.is_empty() { sum } else { sum + recurrence.bias[row] };
    let of_input = |x: &[f32], row: usize| bias(row, sum_of_products(x.len(), |k| (x[k], weights[row * x.len() + k])));
    let of_state =
        |h: &[f32], row: usize| bias(width + row, sum_of_products(hidden, |k| (h[k], states[row * hidden + k])));
    let function = |function: Unary, y: f32| {
        let clipped = recurrence.clip.map_or(y, |clip| unary(Unary::Clip { low: -clip, high: clip }, y));
        unary(function, clipped)
    };
    let peep = |gate: usize, j: usize, y: f32, c: f32| match recurrence.peepholes {
        [] => y,
        peepholes => y + peepholes[gate * hidden + j] * c,
    };
    let mut y = vec![Vec::new(); x.len()];
    for step in 0..x.len() {
        let time = if recurrence.reversed { x.len() - 1 - step } else { step };
        let x = x[time];
        let gate = |h: &[f32], gate: usize, j: usize| of_state(h, gate * hidden + j) + of_input(x, gate * hidden + j);
        let all = 0..hidden;
        h = match cell {
            Cell::Rnn { f } => all.map(|j| function(f, gate(&h, 0, j))).collect(),
            Cell::Gru { f, g, linear_before_reset } => {
                let reset: Vec<f32> = all.clone().map(|j| function(f, gate(&h, 1, j))).collect();
                let products: Vec<f32> = h.iter().zip(&reset).map(|(h, r)| r * h).collect();
                let new = |j: usize| match linear_before_reset {
                    true => of_input(x, 2 * hidden + j) + reset[j] * of_state(&h, 2 * hidden + j),
                    false => gate(&products, 2, j),
                };
                let update = |j: usize| {
                    let z = function(f, gate(&h, 0, j));
                    (1.0 - z) * function(g, new(j)) + z * h[j]
                };
                all.map(update).collect()
            }
            Cell::Lstm { f, g, h: last } => {
                let output = |j: usize| {
                    let input = function(f, peep(0, j, gate(&h, 0, j), c[j]));
                    let forget = function(f, peep(2, j, gate(&h, 2, j), c[j]));
                    let new = function(g, gate(&h, 3, j));
                    let c = forget * c[j] + input * new;
                    let output = function(f, peep(1, j, gate(&h, 1, j), c));
                    (output * unary(last, c), c)
                };
                let (new_h, new_c) = all.map(output).unzip();
                c = new_c;
                new_h
            }
        };
        y[time].clone_from(&h);
    }
    (y, [h, c])
}
