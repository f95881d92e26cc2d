//! Roundings to integers, and signs. Zeros keep theirs.

use super::map::Function;
use crate::lanes::Lanes;

/// From here on all numbers are integers, and adding this to less rounds to an integer.
const INTEGERS: f32 = 8_388_608.0;

#[derive(Clone, Copy)]
pub(super) struct Round;

impl Function for Round {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            let (integers, t) = (L::splat(INTEGERS), x.abs());
            let rounded = t.add(integers).sub(integers).copysign(x);
            integers.select_greater(t, rounded, x)
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Floor;

impl Function for Floor {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            let rounded = Round.of(x);
            rounded.select_greater(x, rounded.sub(L::splat(1.0)).copysign(x), rounded)
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Ceil;

impl Function for Ceil {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            let rounded = Round.of(x);
            x.select_greater(rounded, rounded.add(L::splat(1.0)).copysign(x), rounded)
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Sign;

impl Function for Sign {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            let zero = L::splat(0.0);
            let negative = zero.select_greater(x, L::splat(-1.0), x);
            x.select_greater(zero, L::splat(1.0), negative)
        }
    }
}
