//! The error function and the normal distribution.

use super::activation::positive_part;
use super::exponential::{Exponential, exp2_of_remainder};
use super::map::{Function, polynomial};
use crate::coefficients::{ERF_LARGE, ERF_SMALL, EXP_OF_MINUS_HALF, GELU_P, GELU_Q, LN2_HIGH, LN2_LOW, LOG2_E, ROUND};
use crate::lanes::Lanes;

#[derive(Clone, Copy)]
pub(super) struct Erf;

impl Function for Erf {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            let magnitude = x.abs();
            let small = magnitude.fma(polynomial(x.mul(x), &ERF_SMALL), magnitude);
            // From 3.95 on the result is 1.
            let exponent = polynomial(L::splat(3.95).min(magnitude), &ERF_LARGE);
            // The lowest nine bits are the exponent of 2ⁿ with its bias, and a minus sign.
            let round = L::splat(ROUND + 256.0 + 127.0);
            let rounded = exponent.add(round);
            let r = exponent.sub(rounded.sub(round));
            let large = exp2_of_remainder(r).fma(rounded.shift_left(23), L::splat(1.0));
            magnitude.select_greater(L::splat(1.0), large, small).or(x.and(L::splat(-0.0)))
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Gelu;

impl Function for Gelu {
    const FOUR: bool = true;

    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            // x Φ(x) = max(x, 0) - t Φ(-t), where t = |x|; from 14.5 on the second term is zero.
            let t = L::splat(14.5).min(x.abs());
            // t² = square + rest exactly: an error would be multiplied by its exponential.
            let square = t.mul(t);
            let rest = t.fma(t, L::splat(-0.0).xor(square));
            let round = L::splat(Exponential::<L>::ROUND);
            let rounded = square.fma(L::splat(-0.5 * LOG2_E), round);
            let n = rounded.sub(round);
            let r = n.fma(L::splat(2.0 * LN2_HIGH), square);
            let r = n.fma(L::splat(2.0 * LN2_LOW), r).add(rest);
            let e = polynomial(r, &EXP_OF_MINUS_HALF).fma(r, L::splat(-0.5)).fma(r, L::splat(1.0));
            let e = Exponential::with(e, rounded);
            let quotient = t.mul(polynomial(t, &GELU_P)).mul(e.mantissa).div(polynomial(t, &GELU_Q));
            let h = e.scale(quotient);
            positive_part(x).sub(h)
        }
    }
}
