//! The natural logarithm.

use super::map::{Function, polynomial};
use crate::coefficients::{LN2_HIGH, LN2_LOW, LOG};
use crate::lanes::Lanes;

#[derive(Clone, Copy)]
pub(crate) struct Log;

impl Function for Log {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            // Numbers less than the least normal one are multiplied by 2²³ first.
            let least = L::splat(f32::MIN_POSITIVE);
            let y = least.select_greater(x, x.mul(L::splat(8_388_608.0)), x);
            let bias = least.select_greater(x, L::splat(8_388_608.0 + 150.0), L::splat(8_388_608.0 + 127.0));
            // y = 2ᵏ × m, where √½ <= m < √2: the difference of the bits of 1 and of √½ puts the border where exponents change.
            let shifted = y.add_integer(L::splat(f32::from_bits(0x3f80_0000 - 0x3f35_04f3)));
            let k = shifted.shift_right(23).or(L::splat(8_388_608.0)).sub(bias);
            let m =
                shifted.and(L::splat(f32::from_bits(0x007f_ffff))).add_integer(L::splat(f32::from_bits(0x3f35_04f3)));
            let f = m.sub(L::splat(1.0));
            let square = f.mul(f);
            let sum = square.fma(f.mul(polynomial(f, &LOG)), k.mul(L::splat(LN2_LOW)));
            let sum = square.fma(L::splat(-0.5), sum).add(f);
            let finite = k.fma(L::splat(LN2_HIGH), sum);

            let zero = L::splat(0.0);
            let positive = L::splat(f32::INFINITY).select_greater(x, finite, x);
            let other = x.select_equal(zero, L::splat(f32::NEG_INFINITY), L::splat(f32::NAN));
            x.select_greater(zero, positive, other)
        }
    }
}
