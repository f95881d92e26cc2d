//! What a run costs in fuel.
//!
//! ```text
//! fuel = RUN + Σ over operators (OPERATOR + TENSOR × tensors beyond FEW
//!                                + elements read + elements written + steps + products / PRODUCTS)
//! ```
//!
//! All numbers follow from the shapes alone. They are rounded up, to be above what one core with 256-bit vectors needs at about
//! 0.4 ns for a unit, so that inference is never the cheap way to keep a node busy. A core with 512-bit vectors runs ResNet-50
//! and BERT-base four to six times as fast as they are charged.

/// Handing over inputs and outputs and starting the library.
const RUN: u64 = 10_000;

/// Starting one operator.
const OPERATOR: u64 = 1_000;

/// Handing an operator one input or output more than the few that most have: `Sum` and `Split` may have hundreds.
const TENSOR: u64 = 512;
const FEW: u64 = 8;

/// Products for one unit. Wide vectors do sixteen and more; doubles, thin matrices and grouped convolutions are slower.
pub(super) const PRODUCTS: u64 = 8;

/// Steps of an element of a function that is a series or a library call: `Exp`, `Tanh`, `Softmax`.
pub(super) const COSTLY: u64 = 16;

/// Steps of moving an element that has no neighbour to be moved with.
pub(super) const SINGLE: u64 = 4;

/// The fuel of the operators so far.
pub(super) struct Fuel(u64);

impl Fuel {
    pub(super) fn new() -> Self {
        Self(RUN)
    }

    /// Adds one operator with so many inputs and outputs.
    pub(super) fn add(&mut self, tensors: u64, touched: u64, steps: u64, products: u64) {
        let further = tensors.saturating_sub(FEW).saturating_mul(TENSOR);
        for part in [OPERATOR, further, touched, steps, products.div_ceil(PRODUCTS)] {
            self.0 = self.0.saturating_add(part);
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.0
    }
}
