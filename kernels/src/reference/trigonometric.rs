//! Sine, cosine and tangent.

use super::{fma, horner, horner_double};
use crate::coefficients::{
    COS, COS_DOUBLE, HALF_PI_HIGH, HALF_PI_LOW, LARGE_ANGLE, SIN, SIN_DOUBLE, TURNS, TWO_OVER_PI,
};

/// x = quadrant × π/2 + remainder: the quadrant modulo 4, and the remainder.
fn reduce(x: f32) -> (u32, f64) {
    if x.abs() > LARGE_ANGLE {
        return reduce_large(x);
    }
    let wide = f64::from(x);
    let quadrant = wide.mul_add(TWO_OVER_PI, 6_755_399_441_055_744.0) - 6_755_399_441_055_744.0;
    let remainder = quadrant.mul_add(-HALF_PI_LOW, quadrant.mul_add(-HALF_PI_HIGH, wide));
    ((quadrant as i64).rem_euclid(4) as u32, remainder)
}

/// The product of the mantissa and 1/(2π), digit by digit.
fn reduce_large(x: f32) -> (u32, f64) {
    if x.is_infinite() {
        return (0, f64::NAN);
    }
    let bits = x.to_bits();
    let mantissa = u128::from(bits & 0x007f_ffff | 0x0080_0000);
    let exponent = (bits >> 23 & 0xff) - 150;
    let digit = |position: u32| u128::from(TURNS[position as usize / 64] >> (63 - position % 64) & 1);
    let digits = (exponent..exponent + 128).fold(0, |number, position| number << 1 | digit(position));
    let turn = mantissa.wrapping_mul(digits);
    // The upper two binary digits are whole quadrants; a rest of half of one or more is counted from the next.
    let rest = turn & ((1 << 126) - 1);
    let (quadrant, rest) = match rest >> 125 {
        0 => ((turn >> 126) as u32, rest as i128),
        _ => ((turn >> 126) as u32 + 1, rest as i128 - (1 << 126)),
    };
    let remainder = rest as f64 * (HALF_PI_HIGH * 2_f64.powi(-126));
    if x < 0.0 { ((8 - quadrant) % 4, -remainder) } else { (quadrant % 4, remainder) }
}

/// The sine of the remainder in an even quadrant, the cosine in an odd one, negative in the third and the fourth.
fn sine(quadrant: u32, remainder: f64) -> f32 {
    let r = remainder as f32;
    let z = r * r;
    let magnitude =
        if quadrant % 2 == 1 { fma(z * z, horner(z, &COS), fma(z, -0.5, 1.0)) } else { fma(r * z, horner(z, &SIN), r) };
    if quadrant % 4 >= 2 { -magnitude } else { magnitude }
}

pub(super) fn sin(x: f32) -> f32 {
    if x == 0.0 || x.is_nan() {
        return x;
    }
    let (quadrant, remainder) = reduce(x);
    sine(quadrant, remainder)
}

pub(super) fn cos(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    let (quadrant, remainder) = reduce(x);
    sine(quadrant + 1, remainder)
}

pub(super) fn tan(x: f32) -> f32 {
    if x == 0.0 || x.is_nan() {
        return x;
    }
    let (quadrant, r) = reduce(x);
    let z = r * r;
    let sin = (r * z).mul_add(horner_double(z, &SIN_DOUBLE), r);
    let cos = (z * z).mul_add(horner_double(z, &COS_DOUBLE), z.mul_add(-0.5, 1.0));
    (if quadrant % 2 == 1 { -cos / sin } else { sin / cos }) as f32
}
