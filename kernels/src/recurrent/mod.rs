//! Recurrent layers.

mod cell;
#[cfg(test)]
mod tests;

pub use cell::Cell;

use crate::parallel::Parallel;
use crate::{Bias, Epilogue, Isa, Matrix, PackedMatrix, gemm};
use cell::Step;

/// Rows of inputs that are multiplied at a time.
const ROWS: usize = 256;

/// The weights of one direction of a layer, packed.
pub struct PackedRecurrent {
    isa: Isa,
    cell: Cell,
    features: usize,
    hidden: usize,
    input: PackedMatrix,
    /// Of all gates, or for [`Cell::Gru`] of the first two and of the last.
    state: Vec<PackedMatrix>,
}

impl PackedRecurrent {
    /// Packs the `weights` of inputs, `[gates × hidden, features]`, and those of states, `[gates × hidden, hidden]`, with gates in the
    /// order of ONNX.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    pub fn new(isa: Isa, cell: Cell, [features, hidden]: [usize; 2], weights: &[f32], state: &[f32]) -> Self {
        let pack = |weights, gates: usize, columns| {
            PackedMatrix::new(isa, Matrix::new(weights, gates * hidden, columns).transposed())
        };
        let state = match cell {
            Cell::Gru { .. } => {
                let (both, last) = state.split_at(2 * hidden * hidden);
                vec![pack(both, 2, hidden), pack(last, 1, hidden)]
            }
            _ => vec![pack(state, cell.gates(), hidden)],
        };
        Self { isa, cell, features, hidden, input: pack(weights, cell.gates(), features), state }
    }
}

/// What a layer has besides its weights.
#[derive(Clone, Copy, Default, Debug)]
pub struct Recurrence<'a> {
    /// For each gate's elements, those that are added to products of inputs, then those for products of states; or none.
    pub bias: &'a [f32],
    /// Those of the input, output and forget gates of [`Cell::Lstm`]; or none.
    pub peepholes: &'a [f32],
    /// How large what gates are computed from may be.
    pub clip: Option<f32>,
    /// Whether sequences are read from their ends.
    pub reversed: bool,
}

/// Reads sequences `x` of the shape `[time, batch, features]`, of which as many elements as `lengths` says count, and changes the states
/// `h`, and `c` of [`Cell::Lstm`], of the shape `[batch, hidden]`. The states after each element go to `y` of the shape
/// `[time, batch, hidden]`, which is +0.0 where a sequence has ended. `KERNELS.md` has the order of operations.
///
/// # Panics
///
/// If a length is not what its shape says.
pub fn recurrent(
    parallel: &dyn Parallel,
    layer: &PackedRecurrent,
    recurrence: Recurrence<'_>,
    x: &[f32],
    lengths: &[usize],
    [h, c]: [&mut [f32]; 2],
    y: &mut [f32],
) {
    let (batch, features, hidden, width) =
        (lengths.len(), layer.features, layer.hidden, layer.cell.gates() * layer.hidden);
    y.fill(0.0);
    if y.is_empty() {
        return;
    }
    let time = y.len() / (batch * hidden);
    assert_eq!([x.len(), y.len()], [time * batch * features, time * batch * hidden], "the shapes of a sequence");
    assert!(h.len() == batch * hidden && (c.len() == h.len() || c.is_empty()), "the shapes of states");
    assert!(lengths.iter().all(|length| *length <= time), "sequences of {time} elements");
    assert!(recurrence.bias.is_empty() || recurrence.bias.len() == 2 * width, "two biases for each row of weights");
    let (input_bias, state_bias) = recurrence.bias.split_at(recurrence.bias.len() / 2);
    let bias = if input_bias.is_empty() { Bias::None } else { Bias::Columns(input_bias) };
    let epilogue = Epilogue { bias, ..Epilogue::default() };

    // Which element of a sequence a step reads.
    let at = |step: usize, length: usize| match recurrence.reversed {
        _ if step >= length => None,
        false => Some(step),
        true => Some(length - 1 - step),
    };
    let steps = (ROWS / batch).clamp(1, time);
    let mut inputs = vec![0.0; steps * batch * features];
    let mut products = vec![0.0; steps * batch * width];
    let mut cell = Step::new(parallel, layer, recurrence, state_bias, batch);
    for first in (0..time).step_by(steps) {
        let now = first..time.min(first + steps);
        for (step, inputs) in now.clone().zip(inputs.chunks_mut((batch * features).max(1))) {
            for (row, &length) in lengths.iter().enumerate() {
                if let Some(time) = at(step, length) {
                    let from = &x[(time * batch + row) * features..][..features];
                    inputs[row * features..][..features].copy_from_slice(from);
                }
            }
        }
        let rows = now.len() * batch;
        gemm(parallel, Matrix::new(&inputs, rows, features), &layer.input, &mut products, width, &epilogue);
        for (step, products) in now.zip(products.chunks_exact(batch * width)) {
            cell.multiply(products, h);
            for (row, &length) in lengths.iter().enumerate() {
                let Some(time) = at(step, length) else { continue };
                let h = &mut h[row * hidden..][..hidden];
                let c = if c.is_empty() { &mut [][..] } else { &mut c[row * hidden..][..hidden] };
                cell.update(row, h, c);
                y[(time * batch + row) * hidden..][..hidden].copy_from_slice(h);
            }
        }
    }
}
