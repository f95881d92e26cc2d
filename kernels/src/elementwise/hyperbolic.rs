//! Hyperbolic functions and their inverses.

use super::double::{exp_minus_one, log_one_plus};
use super::map::Function;
use crate::bits::Bits;
use crate::lanes::Lanes;
use crate::vector::Vector;

#[derive(Clone, Copy)]
pub(super) struct Sinh;

impl Function for Sinh {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            // From 100 on the result is infinite, and not yet in double precision.
            let m = exp_minus_one(L::splat(100.0).min(x.abs()).widen());
            let sum = m.add(m.div(m.add(L::Doubles::splat(1.0))));
            <L as Bits>::narrow(sum.mul(L::Doubles::splat(0.5))).copysign(x)
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Cosh;

impl Function for Cosh {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            let one = L::Doubles::splat(1.0);
            let e = exp_minus_one(L::splat(100.0).min(x.abs()).widen()).add(one);
            <L as Bits>::narrow(e.add(one.div(e)).mul(L::Doubles::splat(0.5)))
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Asinh;

impl Function for Asinh {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            // ln(t + √(t² + 1)) = ln(1 + t + t² / (1 + √(t² + 1))), of which nothing cancels.
            let one = L::Doubles::splat(1.0);
            let t = x.abs();
            let wide = t.widen();
            let square = wide.mul(wide);
            let log = log_one_plus(wide.add(square.div(one.add(one.add(square).sqrt()))));
            L::splat(f32::INFINITY).select_greater(t, <L as Bits>::narrow(log), t).copysign(x)
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Acosh;

impl Function for Acosh {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            let one = L::Doubles::splat(1.0);
            let wide = x.widen();
            let rest = wide.sub(one);
            let log = log_one_plus(rest.add(rest.mul(wide.add(one)).sqrt()));
            let result = L::splat(f32::INFINITY).select_greater(x, <L as Bits>::narrow(log), x);
            L::splat(1.0).select_greater(x, L::splat(f32::NAN), result)
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Atanh;

impl Function for Atanh {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            let one = L::splat(1.0);
            let t = x.abs();
            let wide = t.widen();
            let log = log_one_plus(wide.add(wide).div(L::Doubles::splat(1.0).sub(wide)));
            let inside = <L as Bits>::narrow(log.mul(L::Doubles::splat(0.5)));
            let other = t.select_equal(one, L::splat(f32::INFINITY), L::splat(f32::NAN));
            one.select_greater(t, inside, other).copysign(x)
        }
    }
}
