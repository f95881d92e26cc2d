//! What a run costs in fuel.
//!
//! ```text
//! fuel = RUN + Σ over operators (OPERATOR + elements read + elements written + steps + products / PRODUCTS)
//! ```
//!
//! All numbers follow from the shapes alone. They are rounded up, to be above what one core with 256-bit vectors needs at about
//! 0.4 ns for a unit, so that inference is never the cheap way to keep a node busy. A core with 512-bit vectors runs ResNet-50
//! and BERT-base four to six times as fast as they are charged.

/// Handing over inputs and outputs and starting the library.
const RUN: u64 = 10_000;

/// Starting one operator.
const OPERATOR: u64 = 1_000;

/// Products for one unit. Wide vectors do sixteen and more; doubles, thin matrices and grouped convolutions are slower.
const PRODUCTS: u64 = 8;

/// Steps of an element of a function that is a series or a library call: `Exp`, `Tanh`, `Softmax`.
pub(super) const COSTLY: u64 = 16;

/// The fuel of the operators so far.
pub(super) struct Fuel(u64);

impl Fuel {
    pub(super) fn new() -> Self {
        Self(RUN)
    }

    /// Adds one operator.
    pub(super) fn add(&mut self, touched: u64, steps: u64, products: u64) {
        for part in [OPERATOR, touched, steps, products.div_ceil(PRODUCTS)] {
            self.0 = self.0.saturating_add(part);
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.0
    }
}
