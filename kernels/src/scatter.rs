//! Updates of single elements.

use crate::elementwise::{larger, smaller};

/// What becomes of an element s and its update x. `KERNELS.md` states the operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scatter {
    /// s + x.
    Add,
    /// s × x.
    Mul,
    /// The larger one.
    Max,
    /// The smaller one.
    Min,
}

impl Scatter {
    /// Updates the elements at these positions, one after the other.
    ///
    /// # Panics
    ///
    /// If there is no element at a position.
    pub fn apply(self, elements: &mut [f32], updates: impl Iterator<Item = (usize, f32)>) {
        let updated: fn(f32, f32) -> f32 = match self {
            Self::Add => |s, x| s + x,
            Self::Mul => |s, x| s * x,
            Self::Max => larger,
            Self::Min => smaller,
        };
        for (position, x) in updates {
            elements[position] = updated(elements[position], x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::bits;

    #[test]
    fn updates_come_one_after_the_other() {
        let nan = f32::NAN;
        for (how, expected) in [
            (Scatter::Add, [0.0, 1.0, nan]),
            (Scatter::Mul, [-0.0, -2e16, nan]),
            (Scatter::Max, [-0.0, 1e8, nan]),
            (Scatter::Min, [-0.0, -1e8, nan]),
        ] {
            let mut elements = [-0.0, 2.0, 1.0];
            // The 2 is lost when 1e8 is added.
            let updates = [(0, 0.0), (1, 1e8), (2, nan), (1, -1e8), (2, 0.0), (1, 1.0)];
            how.apply(&mut elements, updates.into_iter());
            assert_eq!(bits(&elements), bits(&expected), "{how:?}");
        }
    }
}
