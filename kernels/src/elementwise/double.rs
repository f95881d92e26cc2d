//! Exponentials and logarithms in double precision, as steps of functions whose result is rounded to single precision once.

use super::map::polynomial_double;
use crate::coefficients::{EXP_DOUBLE, LN2_DOUBLE, LOG_DOUBLE, LOG2_E_DOUBLE, ROUND_DOUBLE};
use crate::doubles::Doubles;

/// eˣ = (1 + p) × scale, as p and the scale, for |x| <= 700.
///
/// # Safety
///
/// The processor has the instruction set, here and below.
#[inline(always)]
unsafe fn exponential<D: Doubles>(x: D) -> [D; 2] {
    // SAFETY: the caller's.
    unsafe {
        let round = D::splat(ROUND_DOUBLE + 1023.0);
        let rounded = x.fma(D::splat(LOG2_E_DOUBLE), round);
        let r = rounded.sub(round).fma(D::splat(-LN2_DOUBLE), x);
        [r.mul(r).fma(polynomial_double(r, &EXP_DOUBLE), r), rounded.shift_left(52)]
    }
}

/// eˣ for |x| <= 700.
#[inline(always)]
pub(super) unsafe fn exp<D: Doubles>(x: D) -> D {
    // SAFETY: the caller's.
    unsafe {
        let [p, scale] = exponential(x);
        p.fma(scale, scale)
    }
}

/// eˣ - 1 for |x| <= 700, with full precision next to zero.
#[inline(always)]
pub(super) unsafe fn exp_minus_one<D: Doubles>(x: D) -> D {
    // SAFETY: the caller's.
    unsafe {
        let [p, scale] = exponential(x);
        p.fma(scale, scale.sub(D::splat(1.0)))
    }
}

/// The logarithm of a normal positive number.
#[inline(always)]
pub(super) unsafe fn log<D: Doubles>(x: D) -> D {
    const ONE: u64 = 0x3ff0_0000_0000_0000;
    const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    const TWO_TO_52: f64 = 4_503_599_627_370_496.0;
    // SAFETY: the caller's.
    unsafe {
        let shifted = x.add_integer(D::splat(f64::from_bits(ONE - SQRT_HALF)));
        let k = shifted.shift_right(52).or(D::splat(TWO_TO_52)).sub(D::splat(TWO_TO_52 + 1023.0));
        let fraction = shifted.and(D::splat(f64::from_bits((1 << 52) - 1)));
        let f = fraction.add_integer(D::splat(f64::from_bits(SQRT_HALF))).sub(D::splat(1.0));
        let s = f.div(f.add(D::splat(2.0)));
        let z = s.mul(s);
        let log = s.mul(z).fma(polynomial_double(z, &LOG_DOUBLE), s.add(s));
        k.fma(D::splat(LN2_DOUBLE), log)
    }
}

/// ln(1 + x) for finite x >= 0, with full precision next to zero.
#[inline(always)]
pub(super) unsafe fn log_one_plus<D: Doubles>(x: D) -> D {
    // SAFETY: the caller's.
    unsafe {
        let one = D::splat(1.0);
        let sum = one.add(x);
        // What the sum lost, divided by it, is what the logarithm lacks.
        let lost = x.sub(sum.sub(one));
        log(sum).add(lost.div(sum))
    }
}
