//! Functions of two numbers.

use super::power::PowInPlace;
use crate::Isa;

/// A function of two numbers, s and x. `KERNELS.md` states the operations of each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Binary {
    /// s + x.
    Add,
    /// The larger one: of zeros s; a NaN if one is.
    Max,
    /// The smaller one: of zeros s; a NaN if one is.
    Min,
    /// What is left of s after it is divided by x, with the sign of s: C's `fmod`.
    Mod,
    /// s to the power of x. All of s⁰ and 1ˣ are 1, whatever s and x; a negative finite number to a power that is not an integer is a
    /// NaN.
    Pow,
    /// s, or s × x for negative s.
    PRelu,
}

impl Binary {
    /// Replaces every element by the function of it and of that of `other`, which has as many, or one for all.
    ///
    /// # Panics
    ///
    /// If it has another number of elements.
    pub fn apply(self, isa: Isa, elements: &mut [f32], other: &[f32]) {
        assert!(other.len() == elements.len() || other.len() == 1, "one element for all, or one for each");
        match self {
            Self::Add => each(elements, other, |s, x| s + x),
            Self::Max => each(elements, other, larger),
            Self::Min => each(elements, other, smaller),
            Self::Mod => each(elements, other, |s, x| s % x),
            Self::Pow => isa.run(PowInPlace { elements, exponents: other }),
            Self::PRelu => each(elements, other, |s, x| if s < 0.0 { s * x } else { s }),
        }
    }
}

fn each(elements: &mut [f32], other: &[f32], function: impl Fn(f32, f32) -> f32) {
    match other {
        &[x] => elements.iter_mut().for_each(|s| *s = function(*s, x)),
        _ => elements.iter_mut().zip(other).for_each(|(s, x)| *s = function(*s, *x)),
    }
}

/// The larger one, or a NaN; of zeros the first.
pub(crate) fn larger(s: f32, x: f32) -> f32 {
    if x > s || x.is_nan() { x } else { s }
}

/// The smaller one, or a NaN; of zeros the first.
pub(crate) fn smaller(s: f32, x: f32) -> f32 {
    if x < s || x.is_nan() { x } else { s }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::same_bits;

    #[test]
    fn zeros_and_nans_are_where_the_document_says() {
        let nan = f32::NAN;
        for (function, s, x, expected) in [
            (Binary::Max, 0.0, -0.0, 0.0),
            (Binary::Max, -0.0, 0.0, -0.0),
            (Binary::Max, nan, 1.0, nan),
            (Binary::Max, 1.0, nan, nan),
            (Binary::Min, 0.0, -0.0, 0.0),
            (Binary::Min, -0.0, 0.0, -0.0),
            (Binary::Min, nan, 1.0, nan),
            (Binary::Min, 1.0, nan, nan),
            (Binary::Mod, -4.5, 1.5, -0.0),
            (Binary::Mod, 7.5, -2.0, 1.5),
            (Binary::Mod, 1.0, f32::INFINITY, 1.0),
            (Binary::Mod, 1.0, 0.0, nan),
            (Binary::Mod, f32::MAX, 1e-45, 0.0),
            (Binary::PRelu, -0.0, -2.0, -0.0),
            (Binary::PRelu, -3.0, -2.0, 6.0),
            (Binary::PRelu, nan, 1.0, nan),
            (Binary::Add, -0.0, -0.0, -0.0),
        ] {
            let mut results = [s; 3];
            function.apply(Isa::PORTABLE, &mut results[..1], &[x]);
            function.apply(Isa::PORTABLE, &mut results[1..], &[x; 2]);
            assert!(
                results.iter().all(|result| same_bits(*result, expected)),
                "{function:?} of {s} and {x}: {results:?}"
            );
        }
    }
}
