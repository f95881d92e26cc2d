//! Sine, cosine and tangent of angles of any size.

use super::map::{Function, polynomial, polynomial_double};
use crate::bits::Bits;
use crate::coefficients::{
    COS, COS_DOUBLE, HALF_PI_HIGH, HALF_PI_LOW, LARGE_ANGLE, ROUND_DOUBLE, SIN, SIN_DOUBLE, TURNS, TWO_OVER_PI,
};
use crate::lanes::Lanes;
use crate::vector::Vector;

/// x = quadrant × π/2 + remainder, where |remainder| <= π/4 and a little: the quadrant as an integer, right modulo 4, and the
/// remainder.
///
/// # Safety
///
/// The processor has the lanes' instruction set.
#[inline(always)]
unsafe fn reduce<L: Lanes>(x: L) -> (L, L::Doubles) {
    // SAFETY: the caller's.
    unsafe {
        let wide = x.widen();
        let round = L::Doubles::splat(ROUND_DOUBLE);
        let rounded = wide.fma(L::Doubles::splat(TWO_OVER_PI), round);
        let quadrant = rounded.sub(round);
        // The first product is exact and so is the difference, because both are multiples of the same power of two.
        let remainder = quadrant.fma(L::Doubles::splat(-HALF_PI_HIGH), wide);
        let remainder = quadrant.fma(L::Doubles::splat(-HALF_PI_LOW), remainder);
        let quadrant = <L as Bits>::low_words(rounded);
        // A NaN is more, too, and stays as it is.
        if x.abs().any_greater_integer(L::splat(LARGE_ANGLE)) {
            reduce_large(x, quadrant, remainder)
        } else {
            (quadrant, remainder)
        }
    }
}

/// Replaces the results of [`reduce`] in lanes with large angles.
///
/// # Safety
///
/// The processor has the lanes' instruction set.
#[cold]
#[inline(always)]
unsafe fn reduce_large<L: Lanes>(x: L, quadrant: L, remainder: L::Doubles) -> (L, L::Doubles) {
    let [mut angles, mut quadrants] = [[0.0; 32]; 2];
    let mut remainders = [0.0; 32];
    // SAFETY: the caller's; 32 is twice as many lanes as there are at most.
    unsafe {
        x.store(angles.as_mut_ptr());
        quadrant.store(quadrants.as_mut_ptr());
        remainder.store(remainders.as_mut_ptr());
        for lane in 0..L::LANES {
            if angles[lane].abs() > LARGE_ANGLE {
                let (quadrant, remainder) = reduce_large_angle(angles[lane]);
                (quadrants[lane], remainders[lane]) = (f32::from_bits(quadrant), remainder);
            }
        }
        (L::load(quadrants.as_ptr()), L::Doubles::load(remainders.as_ptr()))
    }
}

/// The quadrant and the remainder of an angle that is a multiple of 2⁷ at least, with the method of Payne and Hanek: of its product
/// with 1/(2π), the digits that make whole turns need not be computed.
fn reduce_large_angle(angle: f32) -> (u32, f64) {
    let bits = angle.to_bits();
    let exponent = (bits >> 23 & 0xff) as usize;
    if exponent == 0xff {
        return (0, f64::NAN);
    }
    let mantissa = u128::from(bits & 0x007f_ffff | 0x0080_0000);
    // |angle| = mantissa × 2ᵉ: the first e binary digits of 1/(2π) make whole turns.
    let whole = exponent - 150;
    let word = |index: usize| u128::from(TURNS[index]);
    let (index, shift) = (whole / 64, whole % 64);
    let first = word(index) << 64 | word(index + 1);
    let digits = if shift == 0 { first } else { first << shift | word(index + 2) >> (64 - shift) };
    // The fraction of a turn, in units of 2⁻¹²⁸; then that of a quadrant, from -½ to ½.
    let turn = mantissa.wrapping_mul(digits);
    let quadrant = (turn >> 126) + (turn >> 125 & 1);
    let fraction = (turn << 2) as i128;
    let remainder = fraction as f64 * (HALF_PI_HIGH / 340_282_366_920_938_463_463_374_607_431_768_211_456.0);
    if angle < 0.0 { ((quadrant as u32).wrapping_neg(), -remainder) } else { (quadrant as u32, remainder) }
}

/// A number over zero in lanes with an odd quadrant, zero in the others.
///
/// # Safety
///
/// The processor has the lanes' instruction set.
#[inline(always)]
unsafe fn odd<L: Lanes>(quadrant: L) -> L {
    // SAFETY: the caller's.
    unsafe { quadrant.shift_left(31).shift_right(1) }
}

/// The sine of an angle in the first quadrant, the cosine in the second, and so on.
///
/// # Safety
///
/// The processor has the lanes' instruction set.
#[inline(always)]
unsafe fn sine<L: Lanes>(quadrant: L, remainder: L::Doubles) -> L {
    // SAFETY: the caller's.
    unsafe {
        let r = <L as Bits>::narrow(remainder);
        let z = r.mul(r);
        let sin = r.mul(z).fma(polynomial(z, &SIN), r);
        let cos = z.mul(z).fma(polynomial(z, &COS), z.fma(L::splat(-0.5), L::splat(1.0)));
        let magnitude = odd(quadrant).select_greater(L::splat(0.0), cos, sin);
        let sign = quadrant.shift_left(30).and(L::splat(-0.0));
        magnitude.xor(sign)
    }
}

#[derive(Clone, Copy)]
pub(super) struct Sin;

impl Function for Sin {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            let (quadrant, remainder) = reduce(x);
            // The polynomial makes +0 of -0.
            x.select_equal(L::splat(0.0), x, sine(quadrant, remainder))
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Cos;

impl Function for Cos {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            let (quadrant, remainder) = reduce(x);
            sine(quadrant.add_integer(L::splat(f32::from_bits(1))), remainder)
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Tan;

impl Function for Tan {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            let (quadrant, r) = reduce(x);
            let odd = odd(quadrant).widen();
            let (zero, one, half) = (L::Doubles::splat(0.0), L::Doubles::splat(1.0), L::Doubles::splat(-0.5));
            let z = r.mul(r);
            let sin = r.mul(z).fma(polynomial_double(z, &SIN_DOUBLE), r);
            let cos = z.mul(z).fma(polynomial_double(z, &COS_DOUBLE), z.fma(half, one));
            let above = odd.select_greater(zero, zero.sub(cos), sin);
            let below = odd.select_greater(zero, sin, cos);
            x.select_equal(L::splat(0.0), x, <L as Bits>::narrow(above.div(below)))
        }
    }
}
