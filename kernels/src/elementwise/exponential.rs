//! The exponential function and its nearest relatives.

use super::map::{Function, polynomial};
use crate::coefficients::{EXP, EXP_OF_HALF, EXP2, LN2, LN2_HIGH, LN2_LOW, LOG2_E, ROUND, TANH_P, TANH_Q};
use crate::lanes::Lanes;

#[derive(Clone, Copy)]
pub(crate) struct Exp;

impl Function for Exp {
    const FOUR: bool = true;

    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            // Beyond these bounds results are zero and infinity. A NaN passes both.
            let x = L::splat(89.0).min(L::splat(-104.0).max(x));
            Exponential::of(x).value()
        }
    }
}

/// eˣ for x <= 0, but zero where that is less than about the least normal number.
#[derive(Clone, Copy)]
pub(crate) struct ExpOfDifference;

impl Function for ExpOfDifference {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            // The bits of a number with the exponent -127 are those of zero.
            let x = L::splat(-88.0).max(x);
            let round = L::splat(ROUND + 127.0);
            let rounded = x.fma(L::splat(LOG2_E), round);
            let r = rounded.sub(round).fma(L::splat(-LN2), x);
            exp_of_remainder(r).mul(rounded.shift_left(23))
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Sigmoid;

impl Function for Sigmoid {
    const FOUR: bool = true;

    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            // From 20 on the result is 1.
            let root = root_of_exp(L::splat(20.0).min(L::splat(-104.0).max(x)));
            let e = root.mul(root);
            e.div(L::splat(1.0).add(e))
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Tanh;

impl Function for Tanh {
    const FOUR: bool = true;

    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            // From 9 on the quotient is too large.
            let z = L::splat(81.0).min(x.mul(x));
            let quotient = x.mul(polynomial(z, &TANH_P)).div(polynomial(z, &TANH_Q));
            L::splat(-1.0).max(L::splat(1.0).min(quotient))
        }
    }
}

/// A power of e (or 2) as `mantissa` × 2ⁿ, where n may be anything from -200 to 128.
///
/// The scale is two powers of two, so that results which are less than the least normal number are rounded once.
#[derive(Clone, Copy)]
pub(super) struct Exponential<L> {
    pub(super) mantissa: L,
    scale: [L; 2],
}

impl<L: Lanes> Exponential<L> {
    /// 1.5 × 2²³ + 254: added to n, it leaves n + 254 in the low bits, which is the sum of the exponents of two numbers
    /// whose product is 2ⁿ.
    pub(super) const ROUND: f32 = ROUND + 254.0;

    /// eˣ for -138 <= x <= 89.
    ///
    /// # Safety
    ///
    /// The processor has the lanes' instruction set.
    #[inline(always)]
    pub(super) unsafe fn of(x: L) -> Self {
        // SAFETY: the caller's.
        unsafe {
            let rounded = x.fma(L::splat(LOG2_E), L::splat(Self::ROUND));
            let n = rounded.sub(L::splat(Self::ROUND));
            let r = n.fma(L::splat(-LN2_HIGH), x);
            let r = n.fma(L::splat(-LN2_LOW), r);
            Self::with(exp_of_remainder(r), rounded)
        }
    }

    /// `mantissa` × 2ⁿ, where `rounded` is n + [`ROUND`](Self::ROUND).
    ///
    /// # Safety
    ///
    /// The processor has the lanes' instruction set.
    #[inline(always)]
    pub(super) unsafe fn with(mantissa: L, rounded: L) -> Self {
        // SAFETY: the caller's.
        unsafe {
            let half = rounded.shift_right(1);
            Exponential { mantissa, scale: [half.shift_left(23), rounded.sub_integer(half).shift_left(23)] }
        }
    }

    /// # Safety
    ///
    /// The processor has the lanes' instruction set.
    #[inline(always)]
    pub(super) unsafe fn value(self) -> L {
        // SAFETY: the caller's.
        unsafe { self.scale(self.mantissa) }
    }

    /// `value` × 2ⁿ.
    ///
    /// # Safety
    ///
    /// The processor has the lanes' instruction set.
    #[inline(always)]
    pub(super) unsafe fn scale(self, value: L) -> L {
        // SAFETY: the caller's.
        unsafe { value.mul(self.scale[0]).mul(self.scale[1]) }
    }
}

/// eˣ - 1 for -87 <= x <= 88, with full precision next to zero.
///
/// # Safety
///
/// The processor has the lanes' instruction set.
#[inline(always)]
pub(super) unsafe fn exp_minus_one<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's.
    unsafe {
        let (r, rounded) = remainder(x);
        let p = r.mul(r).fma(polynomial(r, &EXP), r);
        let scale = rounded.shift_left(23);
        p.fma(scale, scale.sub(L::splat(1.0)))
    }
}

/// The root of eˣ for -174 <= x <= 176: a normal number where eˣ is not. Its square, with at most twice the error, takes fewer operations
/// than [`Exponential`]; and a product with both loses nothing where eˣ alone would.
///
/// # Safety
///
/// The processor has the lanes' instruction set.
#[inline(always)]
pub(super) unsafe fn root_of_exp<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's.
    unsafe {
        let round = L::splat(ROUND + 127.0);
        let rounded = x.fma(L::splat(0.5 * LOG2_E), round);
        let n = rounded.sub(round);
        let r = n.fma(L::splat(-2.0 * LN2_HIGH), x);
        let r = n.fma(L::splat(-2.0 * LN2_LOW), r);
        let e = polynomial(r, &EXP_OF_HALF).fma(r, L::splat(0.5)).fma(r, L::splat(1.0));
        e.mul(rounded.shift_left(23))
    }
}

/// r and n, where x = n ln 2 + r and -126 <= n <= 127; n with its exponent's bias in the low bits.
///
/// # Safety
///
/// The processor has the lanes' instruction set.
#[inline(always)]
unsafe fn remainder<L: Lanes>(x: L) -> (L, L) {
    // SAFETY: the caller's.
    unsafe {
        let round = L::splat(ROUND + 127.0);
        let rounded = x.fma(L::splat(LOG2_E), round);
        let n = rounded.sub(round);
        let r = n.fma(L::splat(-LN2_HIGH), x);
        (n.fma(L::splat(-LN2_LOW), r), rounded)
    }
}

/// eʳ for |r| <= ln 2 / 2.
///
/// # Safety
///
/// The processor has the lanes' instruction set.
#[inline(always)]
pub(super) unsafe fn exp_of_remainder<L: Lanes>(r: L) -> L {
    // SAFETY: the caller's.
    unsafe { polynomial(r, &EXP).fma(r, L::splat(1.0)).fma(r, L::splat(1.0)) }
}

/// 2ʳ for |r| <= ½.
///
/// # Safety
///
/// The processor has the lanes' instruction set.
#[inline(always)]
pub(super) unsafe fn exp2_of_remainder<L: Lanes>(r: L) -> L {
    // SAFETY: the caller's.
    unsafe { polynomial(r, &EXP2).fma(r, L::splat(1.0)) }
}
