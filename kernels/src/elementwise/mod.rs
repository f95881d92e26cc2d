//! Functions of one number, or two, applied to every element of a slice.

mod activation;
mod binary;
mod double;
mod error;
mod exponential;
mod hyperbolic;
mod inverse;
mod logarithm;
mod map;
mod power;
mod rounding;
mod simple;
#[cfg(test)]
mod tests;
mod trigonometric;

pub use binary::Binary;
pub(crate) use binary::{larger, smaller};
pub(crate) use exponential::{Exp, ExpOfDifference};
pub(crate) use logarithm::Log;
pub(crate) use map::{Function, map};
#[cfg(test)]
pub(crate) use tests::FUNCTIONS;

use crate::Isa;
use map::Map;

/// A function of one number. `KERNELS.md` states the operations of each; unless something else is said, a NaN gives a NaN.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Unary {
    /// eˣ.
    Exp,
    /// The natural logarithm: of zero -∞, of what is less a NaN.
    Log,
    /// The error function.
    Erf,
    /// The hyperbolic tangent.
    Tanh,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
    /// ln(1 + eˣ).
    Softplus,
    /// x Φ(x), where Φ is the normal distribution.
    Gelu,
    /// x / (1 + e⁻²ᵘ), where u = √(2/π) (x + 0.044715 x³): the approximation of `Gelu` by a hyperbolic tangent.
    GeluTanh,
    /// x / (1 + e⁻ˣ), also called swish.
    Silu,
    /// x tanh(ln(1 + eˣ)).
    Mish,
    /// x for positive x, otherwise alpha (eˣ - 1).
    Elu {
        /// The factor.
        alpha: f32,
    },
    /// gamma times `Elu`.
    Selu {
        /// The factor of what is not positive.
        alpha: f32,
        /// The factor of everything.
        gamma: f32,
    },
    /// x for positive x, otherwise alpha (e^(x / alpha) - 1).
    Celu {
        /// The factor, more than zero.
        alpha: f32,
    },
    /// alpha x + beta, between 0 and 1.
    HardSigmoid {
        /// The slope.
        alpha: f32,
        /// The value at zero.
        beta: f32,
    },
    /// x times `HardSigmoid` with alpha 1/6 and beta 1/2.
    HardSwish,
    /// x, or zero if that is more.
    Relu,
    /// x, or `low` if that is more, and then `high` if that is less.
    Clip {
        /// The lower bound.
        low: f32,
        /// The upper bound.
        high: f32,
    },
    /// x, or alpha x for negative x.
    LeakyRelu {
        /// The factor.
        alpha: f32,
    },
    /// x / (1 + |x|).
    Softsign,
    /// 1 / x.
    Reciprocal,
    /// √x: of what is less than zero a NaN.
    Sqrt,
    /// 1 / √x.
    ReciprocalSqrt,
    /// The sine of radians, of any size; of infinities a NaN.
    Sin,
    /// The cosine of radians, of any size; of infinities a NaN.
    Cos,
    /// The tangent of radians, of any size; of infinities a NaN.
    Tan,
    /// The arc sine: outside [-1, 1] a NaN.
    Asin,
    /// The arc cosine: outside [-1, 1] a NaN.
    Acos,
    /// The arc tangent.
    Atan,
    /// The hyperbolic sine.
    Sinh,
    /// The hyperbolic cosine.
    Cosh,
    /// The inverse hyperbolic sine.
    Asinh,
    /// The inverse hyperbolic cosine: of what is less than one a NaN.
    Acosh,
    /// The inverse hyperbolic tangent: of ±1 ±∞, outside [-1, 1] a NaN.
    Atanh,
    /// The least integer that is not less.
    Ceil,
    /// The largest integer that is not more.
    Floor,
    /// The nearest integer, of two the even one.
    Round,
    /// 1 or -1, or x if that is zero.
    Sign,
    /// x if it is more than alpha, otherwise zero, also for a NaN.
    ThresholdedRelu {
        /// The threshold.
        alpha: f32,
    },
    /// x + bias if x is less than -lambd, x - bias if it is more than lambd, otherwise zero, also for a NaN.
    Shrink {
        /// The threshold.
        lambd: f32,
        /// How far the others move to zero.
        bias: f32,
    },
    /// x to a power, as [`Binary::Pow`] computes it.
    Pow {
        /// The power.
        exponent: f32,
    },
}

impl Unary {
    /// Writes the function of every element of `input` to `output`.
    ///
    /// # Panics
    ///
    /// If the lengths differ, or the alpha of `Celu` is not more than zero.
    pub fn apply(self, isa: Isa, input: &[f32], output: &mut [f32]) {
        assert_eq!(input.len(), output.len(), "as many results as elements");
        self.run(isa, input.as_ptr(), output.as_mut_ptr(), input.len());
    }

    /// Replaces every element by its function.
    ///
    /// # Panics
    ///
    /// If the alpha of `Celu` is not more than zero.
    pub fn apply_in_place(self, isa: Isa, elements: &mut [f32]) {
        let to = elements.as_mut_ptr();
        self.run(isa, to, to, elements.len());
    }

    /// `input` may be `output`; both are `length` elements that the caller holds.
    fn run(self, isa: Isa, input: *const f32, output: *mut f32, length: usize) {
        macro_rules! run {
            ($function:expr) => {
                isa.run(Map { function: $function, input, output, length })
            };
        }
        match self {
            Unary::Exp => run!(Exp),
            Unary::Log => run!(logarithm::Log),
            Unary::Erf => run!(error::Erf),
            Unary::Tanh => run!(exponential::Tanh),
            Unary::Sigmoid => run!(exponential::Sigmoid),
            Unary::Softplus => run!(activation::Softplus),
            Unary::Gelu => run!(error::Gelu),
            Unary::GeluTanh => run!(activation::GeluTanh),
            Unary::Silu => run!(activation::Silu),
            Unary::Mish => run!(activation::Mish),
            Unary::Elu { alpha } => run!(activation::Elu { alpha }),
            Unary::Selu { alpha, gamma } => run!(activation::Selu { alpha, gamma }),
            Unary::Celu { alpha } => {
                assert!(alpha > 0.0, "the alpha of Celu is {alpha}");
                run!(activation::Celu { alpha });
            }
            Unary::HardSigmoid { alpha, beta } => run!(simple::HardSigmoid { alpha, beta }),
            Unary::HardSwish => run!(simple::HardSwish),
            Unary::Relu => run!(simple::Relu),
            Unary::Clip { low, high } => run!(simple::Clip { low, high }),
            Unary::LeakyRelu { alpha } => run!(simple::LeakyRelu { alpha }),
            Unary::Softsign => run!(simple::Softsign),
            Unary::Reciprocal => run!(simple::Reciprocal),
            Unary::Sqrt => run!(simple::Sqrt),
            Unary::ReciprocalSqrt => run!(simple::ReciprocalSqrt),
            Unary::Sin => run!(trigonometric::Sin),
            Unary::Cos => run!(trigonometric::Cos),
            Unary::Tan => run!(trigonometric::Tan),
            Unary::Asin => run!(inverse::Asin),
            Unary::Acos => run!(inverse::Acos),
            Unary::Atan => run!(inverse::Atan),
            Unary::Sinh => run!(hyperbolic::Sinh),
            Unary::Cosh => run!(hyperbolic::Cosh),
            Unary::Asinh => run!(hyperbolic::Asinh),
            Unary::Acosh => run!(hyperbolic::Acosh),
            Unary::Atanh => run!(hyperbolic::Atanh),
            Unary::Ceil => run!(rounding::Ceil),
            Unary::Floor => run!(rounding::Floor),
            Unary::Round => run!(rounding::Round),
            Unary::Sign => run!(rounding::Sign),
            Unary::ThresholdedRelu { alpha } => run!(simple::ThresholdedRelu { alpha }),
            Unary::Shrink { lambd, bias } => run!(simple::Shrink { lambd, bias }),
            Unary::Pow { exponent } => run!(power::To { exponent }),
        }
    }
}
