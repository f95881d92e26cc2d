//! Powers, with the special cases of IEEE 754's pow.

use super::double::{exp, log};
use super::map::{Function, map};
use crate::bits::Bits;
use crate::isa::Kernel;
use crate::lanes::Lanes;
use crate::vector::Vector;

/// Each element to the power of its exponent, or of the one that there is.
pub(super) struct PowInPlace<'a> {
    pub(super) elements: &'a mut [f32],
    pub(super) exponents: &'a [f32],
}

impl Kernel for PowInPlace<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let (length, elements) = (self.elements.len(), self.elements.as_mut_ptr());
        let whole = length - length % L::LANES;
        // SAFETY: a kernel runs where its instructions are; there are as many exponents as elements, or one.
        unsafe {
            if let &[exponent] = self.exponents {
                return map::<L, _>(To { exponent }, elements, elements, length);
            }
            let exponents = self.exponents.as_ptr();
            for first in (0..whole).step_by(L::LANES) {
                power(L::load(elements.add(first)), L::load(exponents.add(first))).store(elements.add(first));
            }
            if whole < length {
                let x = L::load_first(elements.add(whole), length - whole);
                let y = L::load_first(exponents.add(whole), length - whole);
                power(x, y).store_first(elements.add(whole), length - whole);
            }
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct To {
    pub(super) exponent: f32,
}

impl Function for To {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe { power(x, L::splat(self.exponent)) }
    }
}

/// # Safety
///
/// The processor has the lanes' instruction set.
#[inline(always)]
unsafe fn power<L: Lanes>(x: L, y: L) -> L {
    // SAFETY: the caller's.
    unsafe {
        let (zero, one) = (L::splat(0.0), L::splat(1.0));
        let [t, u] = [x.abs(), y.abs()];

        // e^(y ln|x|); the logarithm's formula knows neither zero nor infinity.
        let wide = t.widen();
        let infinite = L::Doubles::splat(f64::INFINITY);
        let log = wide.select_greater(L::Doubles::splat(0.0), log(wide), L::Doubles::splat(f64::NEG_INFINITY));
        let log = infinite.select_greater(wide, log, infinite);
        let product = y.widen().mul(log);
        let product = L::Doubles::splat(200.0).min(L::Doubles::splat(-200.0).max(product));
        let magnitude = t.select_equal(one, one, <L as Bits>::narrow(exp(product)));

        // The sign is that of x if y is odd: an integer, whose half is not.
        let integer = is_integer(u);
        let halved = is_integer(u.mul(L::splat(0.5)));
        let odd = integer.select_greater(halved, L::splat(-0.0), zero);
        let signed = magnitude.or(odd.and(x));

        let root = zero.select_greater(integer.add(L::splat(-0.5)), L::splat(f32::NAN), signed);
        let negative = x.select_greater(L::splat(f32::NEG_INFINITY), root, signed);
        let power = zero.select_greater(x, negative, signed);
        let power = y.select_nan(y, x.select_nan(x, power));
        let power = x.select_equal(one, one, power);
        y.select_equal(zero, one, power)
    }
}

/// 1 in lanes that are integers, 0 in the others, for numbers that are not negative.
///
/// # Safety
///
/// The processor has the lanes' instruction set.
#[inline(always)]
unsafe fn is_integer<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's.
    unsafe {
        // From here on all are, and adding this to less rounds to an integer.
        let integers = L::splat(8_388_608.0);
        let rounded = x.add(integers).sub(integers);
        let rounded = integers.select_greater(x, rounded, x);
        x.select_equal(rounded, L::splat(1.0), L::splat(0.0))
    }
}
