//! One step of a layer.

use super::{PackedRecurrent, Recurrence};
use crate::parallel::Parallel;
use crate::{Addend, Bias, Epilogue, Matrix, Unary, gemm};

/// What a layer computes in each step, with its functions.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Cell {
    /// The state is `f` of one gate.
    Rnn {
        /// Of the gate.
        f: Unary,
    },
    /// Gates update and reset the state.
    Gru {
        /// Of both gates.
        f: Unary,
        /// Of the new state.
        g: Unary,
        /// Whether the product with the state is reset, rather than the state before it.
        linear_before_reset: bool,
    },
    /// Gates say what a second state takes in, keeps and gives.
    Lstm {
        /// Of the gates.
        f: Unary,
        /// Of what is taken in.
        g: Unary,
        /// Of what is given.
        h: Unary,
    },
}

impl Cell {
    /// How many rows of weights there are for each element of a state.
    pub fn gates(self) -> usize {
        match self {
            Self::Rnn { .. } => 1,
            Self::Gru { .. } => 3,
            Self::Lstm { .. } => 4,
        }
    }
}

/// What a step needs.
pub(super) struct Step<'a> {
    parallel: &'a dyn Parallel,
    layer: &'a PackedRecurrent,
    recurrence: Recurrence<'a>,
    bias: &'a [f32],
    /// What gates are computed from, `[batch, gates, hidden]`, and with [`Cell::Gru`] the products of states alone.
    gates: Vec<f32>,
    state: Vec<f32>,
}

impl<'a> Step<'a> {
    pub(super) fn new(
        parallel: &'a dyn Parallel,
        layer: &'a PackedRecurrent,
        recurrence: Recurrence<'a>,
        bias: &'a [f32],
        batch: usize,
    ) -> Self {
        let state = if let Cell::Gru { .. } = layer.cell { batch * layer.hidden } else { 0 };
        let gates = vec![0.0; batch * layer.cell.gates() * layer.hidden];
        Self { parallel, layer, recurrence, bias, gates, state: vec![0.0; state] }
    }

    /// Multiplies states, and adds the products of inputs.
    pub(super) fn multiply(&mut self, products: &[f32], h: &[f32]) {
        let (hidden, width) = (self.layer.hidden, self.layer.cell.gates() * self.layer.hidden);
        let states = Matrix::new(h, h.len() / hidden, hidden);
        let bias = |from: usize, to: usize| match self.bias {
            [] => Bias::None,
            bias => Bias::Columns(&bias[from * hidden..to * hidden]),
        };
        let plus = |first: usize, bias| {
            let data = &products[first * hidden..];
            Epilogue {
                bias,
                addend: Some(Addend { data, row_stride: width, column_stride: 1, beta: 1.0 }),
                ..Epilogue::default()
            }
        };
        match self.layer.cell {
            Cell::Rnn { .. } | Cell::Lstm { .. } => {
                let epilogue = plus(0, bias(0, self.layer.cell.gates()));
                gemm(self.parallel, states, &self.layer.state[0], &mut self.gates, width, &epilogue);
            }
            Cell::Gru { f, linear_before_reset, .. } => {
                gemm(self.parallel, states, &self.layer.state[0], &mut self.gates, width, &plus(0, bias(0, 2)));
                for gates in self.gates.chunks_exact_mut(width) {
                    activate(self.layer, self.recurrence.clip, f, &mut gates[..2 * hidden]);
                }
                let last = &self.layer.state[1];
                if linear_before_reset {
                    let epilogue = Epilogue { bias: bias(2, 3), ..Epilogue::default() };
                    gemm(self.parallel, states, last, &mut self.state, hidden, &epilogue);
                    let rows = self.gates.chunks_exact_mut(width).zip(self.state.chunks_exact(hidden));
                    for ((gates, state), products) in rows.zip(products.chunks_exact(width)) {
                        let (before, new) = gates.split_at_mut(2 * hidden);
                        let terms = before[hidden..].iter().zip(state).zip(&products[2 * hidden..]);
                        new.iter_mut().zip(terms).for_each(|(new, ((r, s), x))| *new = x + r * s);
                    }
                } else {
                    let rows = self.state.chunks_exact_mut(hidden).zip(h.chunks_exact(hidden));
                    for ((reset, h), gates) in rows.zip(self.gates.chunks_exact(width)) {
                        let terms = gates[hidden..2 * hidden].iter().zip(h);
                        reset.iter_mut().zip(terms).for_each(|(reset, (r, h))| *reset = r * h);
                    }
                    let states = Matrix::new(&self.state, h.len() / hidden, hidden);
                    gemm(self.parallel, states, last, &mut self.gates[2 * hidden..], width, &plus(2, bias(2, 3)));
                }
            }
        }
    }

    /// Computes gates and new states of a row.
    pub(super) fn update(&mut self, row: usize, h: &mut [f32], c: &mut [f32]) {
        let (hidden, layer) = (self.layer.hidden, self.layer);
        let width = layer.cell.gates() * hidden;
        let gates = &mut self.gates[row * width..][..width];
        let (clip, peepholes) = (self.recurrence.clip, self.recurrence.peepholes);
        match layer.cell {
            Cell::Rnn { f } => {
                activate(layer, clip, f, gates);
                h.copy_from_slice(gates);
            }
            Cell::Gru { g, .. } => {
                let (before, new) = gates.split_at_mut(2 * hidden);
                activate(layer, clip, g, new);
                let terms = before[..hidden].iter().zip(new);
                h.iter_mut().zip(terms).for_each(|(h, (z, new))| *h = (1.0 - z) * *new + z * *h);
            }
            Cell::Lstm { f, g, h: function } => {
                let (input, rest) = gates.split_at_mut(hidden);
                let (output, rest) = rest.split_at_mut(hidden);
                let (forget, new) = rest.split_at_mut(hidden);
                let peep = |gate: &mut [f32], weights: usize, c: &[f32]| {
                    if !peepholes.is_empty() {
                        let terms = peepholes[weights * hidden..][..hidden].iter().zip(c);
                        gate.iter_mut().zip(terms).for_each(|(gate, (p, c))| *gate += p * c);
                    }
                };
                peep(input, 0, c);
                peep(forget, 2, c);
                activate(layer, clip, f, input);
                activate(layer, clip, f, forget);
                activate(layer, clip, g, new);
                let terms = forget.iter().zip(input).zip(new);
                c.iter_mut().zip(terms).for_each(|(c, ((f, i), new))| *c = f * *c + *i * *new);
                peep(output, 1, c);
                activate(layer, clip, f, output);
                function.apply(layer.isa, c, h);
                h.iter_mut().zip(output).for_each(|(h, o)| *h *= *o);
            }
        }
    }
}

/// Brings elements between bounds, if there are any, and replaces them by a function.
fn activate(layer: &PackedRecurrent, clip: Option<f32>, function: Unary, elements: &mut [f32]) {
    if let Some(clip) = clip {
        Unary::Clip { low: -clip, high: clip }.apply_in_place(layer.isa, elements);
    }
    function.apply_in_place(layer.isa, elements);
}
