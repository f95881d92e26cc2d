//! Activation functions that are made of exponentials.
//!
//! Those that go from x to zero are computed as max(x, 0) - h(|x|), where h is small: nothing cancels, and h keeps its precision when
//! it is less than the least normal number, because it is scaled last.

use super::exponential::{Exponential, exp_minus_one, exp2_of_remainder, root_of_exp};
use super::map::{Function, polynomial};
use crate::bits::Bits;
use crate::coefficients::{GELU_TANH_CUBIC, GELU_TANH_LINEAR, LOG1P, ROUND_DOUBLE};
use crate::lanes::Lanes;
use crate::vector::Vector;

/// x or, if that is more, -0; of both zeros x.
///
/// # Safety
///
/// The processor has the lanes' instruction set.
#[inline(always)]
pub(super) unsafe fn positive_part<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's.
    unsafe { L::splat(-0.0).max(x) }
}

#[derive(Clone, Copy)]
pub(super) struct Silu;

impl Function for Silu {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            // From 110 on h is zero.
            let t = L::splat(110.0).min(x.abs());
            let root = root_of_exp(L::splat(-0.0).or(t));
            gated(x, t, root)
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct GeluTanh;

impl Function for GeluTanh {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            // From 11 on h is zero.
            let t = L::splat(11.0).min(x.abs());
            // The exponent of two, up to 81 because it is that of a root, needs more bits than single precision has.
            let wide = t.widen();
            let cubic = wide.mul(wide).fma(L::Doubles::splat(GELU_TANH_CUBIC), L::Doubles::splat(GELU_TANH_LINEAR));
            let exponent = wide.mul(cubic);
            let round = L::Doubles::splat(ROUND_DOUBLE + 127.0);
            let rounded = exponent.add(round);
            let r = <L as Bits>::narrow(exponent.sub(rounded.sub(round)));
            let scale = <L as Bits>::low_words(rounded).shift_left(23);
            gated(x, t, exp2_of_remainder(r).mul(scale))
        }
    }
}

/// max(x, 0) - h, where h = t e⁻ᵘ / (1 + e⁻ᵘ), and `root` is that of e⁻ᵘ.
///
/// # Safety
///
/// The processor has the lanes' instruction set.
#[inline(always)]
unsafe fn gated<L: Lanes>(x: L, t: L, root: L) -> L {
    // SAFETY: the caller's.
    unsafe {
        let ratio = root.div(root.fma(root, L::splat(1.0)));
        // The rest that rounding takes from a product is exact.
        let product = t.mul(root);
        let rest = t.fma(root, L::splat(-0.0).xor(product));
        let h = product.fma(ratio, rest.mul(ratio));
        positive_part(x).sub(h)
    }
}

#[derive(Clone, Copy)]
pub(super) struct Mish;

impl Function for Mish {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            // tanh(ln(1 + e)) = e (e + 2) / (e (e + 2) + 2), which is 1 from 20 on.
            let limit = L::splat(20.0);
            let t = limit.min(L::splat(-110.0).max(x));
            let exponential = Exponential::of(t);
            let e = exponential.value();
            let sum = e.add(L::splat(2.0));
            let ratio = sum.div(e.fma(sum, L::splat(2.0)));
            let product = t.mul(exponential.mantissa);
            let rest = t.fma(exponential.mantissa, L::splat(-0.0).xor(product));
            x.select_greater(limit, x, exponential.scale(product.fma(ratio, rest.mul(ratio))))
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Softplus;

impl Function for Softplus {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            // max(x, 0) + ln(1 + e^-|x|), where ln(1 + e) = 2 artanh(e / (2 + e)).
            let e = Exponential::of(L::splat(-104.0).max(L::splat(-0.0).or(x))).value();
            let s = e.div(e.add(L::splat(2.0)));
            let z = s.mul(s);
            positive_part(x).add(s.mul(z).fma(polynomial(z, &LOG1P), s.add(s)))
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Elu {
    pub(super) alpha: f32,
}

impl Function for Elu {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe { x.select_greater(L::splat(0.0), x, L::splat(self.alpha).mul(exp_minus_one_of_negative(x))) }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Selu {
    pub(super) alpha: f32,
    pub(super) gamma: f32,
}

impl Function for Selu {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe { L::splat(self.gamma).mul(Elu { alpha: self.alpha }.of(x)) }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Celu {
    pub(super) alpha: f32,
}

impl Function for Celu {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            let alpha = L::splat(self.alpha);
            x.select_greater(L::splat(0.0), x, alpha.mul(exp_minus_one_of_negative(x.div(alpha))))
        }
    }
}

/// eˣ - 1 for x <= 0; anything for positive x.
///
/// # Safety
///
/// The processor has the lanes' instruction set.
#[inline(always)]
unsafe fn exp_minus_one_of_negative<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's.
    unsafe {
        // Up to -30 the result is -1. Positive lanes are not used, but must not overflow into slow paths of the processor.
        let x = L::splat(0.0).min(L::splat(-30.0).max(x));
        exp_minus_one(x)
    }
}
