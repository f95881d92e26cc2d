//! Functions of a few operations.

use super::map::Function;
use crate::lanes::Lanes;

#[derive(Clone, Copy)]
pub(super) struct HardSigmoid {
    pub(super) alpha: f32,
    pub(super) beta: f32,
}

impl Function for HardSigmoid {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            let line = x.fma(L::splat(self.alpha), L::splat(self.beta));
            L::splat(0.0).max(L::splat(1.0).min(line))
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct HardSwish;

impl Function for HardSwish {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe { x.mul(HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }.of(x)) }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Relu;

impl Function for Relu {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe { L::splat(0.0).max(x) }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Clip {
    pub(super) low: f32,
    pub(super) high: f32,
}

impl Function for Clip {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe { L::splat(self.high).min(L::splat(self.low).max(x)) }
    }
}

#[derive(Clone, Copy)]
pub(super) struct LeakyRelu {
    pub(super) alpha: f32,
}

impl Function for LeakyRelu {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe { L::splat(0.0).select_greater(x, x.mul(L::splat(self.alpha)), x) }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Softsign;

impl Function for Softsign {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe { x.div(L::splat(1.0).add(x.abs())) }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Reciprocal;

impl Function for Reciprocal {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe { L::splat(1.0).div(x) }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Sqrt;

impl Function for Sqrt {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe { x.sqrt() }
    }
}

#[derive(Clone, Copy)]
pub(super) struct ReciprocalSqrt;

impl Function for ReciprocalSqrt {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe { L::splat(1.0).div(x.sqrt()) }
    }
}

#[derive(Clone, Copy)]
pub(super) struct ThresholdedRelu {
    pub(super) alpha: f32,
}

impl Function for ThresholdedRelu {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe { x.select_greater(L::splat(self.alpha), x, L::splat(0.0)) }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Shrink {
    pub(super) lambd: f32,
    pub(super) bias: f32,
}

impl Function for Shrink {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            let (lambd, bias) = (L::splat(self.lambd), L::splat(self.bias));
            let positive = x.select_greater(lambd, x.sub(bias), L::splat(0.0));
            L::splat(-self.lambd).select_greater(x, x.add(bias), positive)
        }
    }
}
