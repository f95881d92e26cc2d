//! Powers, with the special cases of IEEE 754's pow.

use super::double::{exp, log};
use super::map::Function;
use crate::Isa;
use crate::bits::Bits;
use crate::isa::Kernel;
use crate::lanes::Lanes;
use crate::vector::Vector;

/// Writes each element of `base` to the power of that of `exponent` to `output`. All of x⁰ and 1ʸ are 1, whatever x and y; a negative
/// finite number to a power that is not an integer is a NaN.
///
/// # Panics
///
/// If the lengths differ.
pub fn pow(isa: Isa, base: &[f32], exponent: &[f32], output: &mut [f32]) {
    assert_eq!(base.len(), exponent.len(), "as many exponents as bases");
    assert_eq!(base.len(), output.len(), "as many results as bases");
    isa.run(Pow { base, exponent, output });
}

struct Pow<'a> {
    base: &'a [f32],
    exponent: &'a [f32],
    output: &'a mut [f32],
}

impl Kernel for Pow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let length = self.output.len();
        let (base, exponent, output) = (self.base.as_ptr(), self.exponent.as_ptr(), self.output.as_mut_ptr());
        let whole = length - length % L::LANES;
        // SAFETY: a kernel runs where its instructions are; all three have this length.
        unsafe {
            for first in (0..whole).step_by(L::LANES) {
                power(L::load(base.add(first)), L::load(exponent.add(first))).store(output.add(first));
            }
            if whole < length {
                let x = L::load_first(base.add(whole), length - whole);
                let y = L::load_first(exponent.add(whole), length - whole);
                power(x, y).store_first(output.add(whole), length - whole);
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
