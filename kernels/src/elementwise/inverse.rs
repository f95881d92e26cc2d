//! Inverse trigonometric functions.

use super::map::{Function, polynomial_double};
use crate::bits::Bits;
use crate::coefficients::{ASIN, ATAN, HALF_PI_HIGH};
use crate::doubles::Doubles;
use crate::lanes::Lanes;
use crate::vector::Vector;

/// What arcsin t and arccos t are made of, for t = |x|: whether t is over ½ (as a number over zero), and the arc sine of t or, if it
/// is, of √((1 - t) / 2), which is half the arc cosine of t.
///
/// # Safety
///
/// The processor has the lanes' instruction set.
#[inline(always)]
unsafe fn arc<D: Doubles>(t: D) -> [D; 2] {
    // SAFETY: the caller's.
    unsafe {
        let half = D::splat(0.5);
        let z = t.select_greater(half, D::splat(1.0).sub(t).mul(half), t.mul(t));
        let w = t.select_greater(half, z.sqrt(), t);
        [t.sub(half), w.mul(z).fma(polynomial_double(z, &ASIN), w)]
    }
}

#[derive(Clone, Copy)]
pub(super) struct Asin;

impl Function for Asin {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            let [over, arc] = arc(x.abs().widen());
            let complement = L::Doubles::splat(HALF_PI_HIGH).sub(arc.add(arc));
            <L as Bits>::narrow(over.select_greater(L::Doubles::splat(0.0), complement, arc)).copysign(x)
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Acos;

impl Function for Acos {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            let zero = L::Doubles::splat(0.0);
            let half_pi = L::Doubles::splat(HALF_PI_HIGH);
            let wide = x.widen();
            let [over, arc] = arc(x.abs().widen());
            let double = arc.add(arc);
            let positive = over.select_greater(zero, double, half_pi.sub(arc));
            let negative = over.select_greater(zero, half_pi.add(half_pi).sub(double), half_pi.add(arc));
            <L as Bits>::narrow(zero.select_greater(wide, negative, positive))
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Atan;

impl Function for Atan {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            // arctan t = π/2 - arctan(1/t).
            let one = L::Doubles::splat(1.0);
            let t = x.abs().widen();
            let w = t.select_greater(one, one, t).div(t.select_greater(one, t, one));
            let z = w.mul(w);
            let arc = w.mul(z).fma(polynomial_double(z, &ATAN), w);
            let complement = L::Doubles::splat(HALF_PI_HIGH).sub(arc);
            <L as Bits>::narrow(t.select_greater(one, complement, arc)).copysign(x)
        }
    }
}
