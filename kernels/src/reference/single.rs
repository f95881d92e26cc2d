//! Functions whose steps are in single precision.

use super::{fma, horner, power_of_two, scale};
use crate::coefficients::{
    ERF_LARGE, ERF_SMALL, EXP, EXP_OF_HALF, EXP_OF_MINUS_HALF, EXP2, GELU_P, GELU_Q, GELU_TANH_CUBIC, GELU_TANH_LINEAR,
    LN2, LN2_HIGH, LN2_LOW, LOG, LOG1P, LOG2_E, TANH_P, TANH_Q,
};

/// eˣ as a mantissa and n: e^x = mantissa × 2ⁿ.
fn exponential(x: f32) -> (f32, f32) {
    // One rounding, then the nearest integer: the sum is rounded to a multiple of one.
    let n = fma(x, LOG2_E, 12_583_166.0) - 12_583_166.0;
    let r = fma(-LN2_LOW, n, fma(-LN2_HIGH, n, x));
    (exp_of_remainder(r), n)
}

fn exp_of_remainder(r: f32) -> f32 {
    fma(fma(horner(r, &EXP), r, 1.0), r, 1.0)
}

pub(super) fn exp(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    let (mantissa, n) = exponential(x.clamp(-104.0, 89.0));
    scale(mantissa, n)
}

/// eˣ for x <= 0, as softmax uses it: zero below -87.7.
pub(super) fn exp_of_difference(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    let x = x.max(-88.0);
    let n = fma(x, LOG2_E, 12_583_039.0) - 12_583_039.0;
    // 2⁻¹²⁷ is zero here.
    exp_of_remainder(fma(n, -LN2, x)) * power_of_two(n as i32)
}

/// x = n ln 2 + r, as r and n.
fn remainder(x: f32) -> (f32, f32) {
    let n = fma(x, LOG2_E, 12_583_039.0) - 12_583_039.0;
    (fma(-LN2_LOW, n, fma(-LN2_HIGH, n, x)), n)
}

/// eˣ - 1.
fn exp_minus_one(x: f32) -> f32 {
    let (r, n) = remainder(x);
    let p = fma(r * r, horner(r, &EXP), r);
    let two_to_n = power_of_two(n as i32);
    fma(p, two_to_n, two_to_n - 1.0)
}

pub(super) fn sigmoid(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    let root = root_of_exp(x.clamp(-104.0, 20.0));
    let e = root * root;
    e / (1.0 + e)
}

pub(super) fn tanh(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    let z = (x * x).min(81.0);
    let quotient = x * horner(z, &TANH_P) / horner(z, &TANH_Q);
    quotient.clamp(-1.0, 1.0)
}

/// max(x, 0), but of -0 and of negative numbers -0.
fn positive_part(x: f32) -> f32 {
    if x < 0.0 { -0.0 } else { x }
}

/// The root of eˣ.
fn root_of_exp(x: f32) -> f32 {
    let n = fma(x, 0.5 * LOG2_E, 12_583_039.0) - 12_583_039.0;
    let r = fma(n, -2.0 * LN2_LOW, fma(n, -2.0 * LN2_HIGH, x));
    fma(fma(horner(r, &EXP_OF_HALF), r, 0.5), r, 1.0) * power_of_two(n as i32)
}

/// max(x, 0) - h, where h = t e / (1 + e) and `root` is that of e.
fn gated(x: f32, t: f32, root: f32) -> f32 {
    let ratio = root / fma(root, root, 1.0);
    let product = t * root;
    let rest = fma(t, root, -product);
    positive_part(x) - fma(product, ratio, rest * ratio)
}

pub(super) fn silu(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    let t = x.abs().min(110.0);
    gated(x, t, root_of_exp(-t))
}

pub(super) fn gelu_tanh(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    let t = x.abs().min(11.0);
    let wide = f64::from(t);
    let exponent = wide * (wide * wide).mul_add(GELU_TANH_CUBIC, GELU_TANH_LINEAR);
    let n = (exponent + 6_755_399_441_055_871.0) - 6_755_399_441_055_871.0;
    let r = (exponent - n) as f32;
    gated(x, t, fma(horner(r, &EXP2), r, 1.0) * power_of_two(n as i32))
}

pub(super) fn gelu(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    let t = x.abs().min(14.5);
    let square = t * t;
    let rest = fma(t, t, -square);
    let n = fma(square, -0.5 * LOG2_E, 12_583_166.0) - 12_583_166.0;
    let r = fma(n, 2.0 * LN2_LOW, fma(n, 2.0 * LN2_HIGH, square)) + rest;
    let mantissa = fma(fma(horner(r, &EXP_OF_MINUS_HALF), r, -0.5), r, 1.0);
    let h = scale(t * horner(t, &GELU_P) * mantissa / horner(t, &GELU_Q), n);
    positive_part(x) - h
}

pub(super) fn mish(x: f32) -> f32 {
    if x.is_nan() || x > 20.0 {
        return x;
    }
    let t = x.max(-110.0);
    let (mantissa, n) = exponential(t);
    let e = scale(mantissa, n);
    let sum = e + 2.0;
    let ratio = sum / fma(e, sum, 2.0);
    let product = t * mantissa;
    let rest = fma(t, mantissa, -product);
    scale(fma(product, ratio, rest * ratio), n)
}

pub(super) fn softplus(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    let e = exp(-x.abs());
    let s = e / (e + 2.0);
    let z = s * s;
    positive_part(x) + fma(s * z, horner(z, &LOG1P), s + s)
}

pub(super) fn elu(x: f32, alpha: f32) -> f32 {
    if x > 0.0 { x } else { alpha * exp_minus_one_of_negative(x) }
}

pub(super) fn celu(x: f32, alpha: f32) -> f32 {
    if x > 0.0 { x } else { alpha * exp_minus_one_of_negative(x / alpha) }
}

fn exp_minus_one_of_negative(x: f32) -> f32 {
    if x.is_nan() { x } else { exp_minus_one(if x < -30.0 { -30.0 } else { x }) }
}

pub(super) fn erf(x: f32) -> f32 {
    let t = x.abs();
    let result = if t > 1.0 {
        let exponent = horner(t.min(3.95), &ERF_LARGE);
        let n = (exponent + 12_583_295.0) - 12_583_295.0;
        let r = exponent - n;
        fma(fma(horner(r, &EXP2), r, 1.0), -power_of_two(n as i32), 1.0)
    } else {
        fma(t, horner(x * x, &ERF_SMALL), t)
    };
    result.copysign(x)
}

pub(super) fn log(x: f32) -> f32 {
    if x.is_nan() || x < 0.0 {
        return f32::NAN;
    }
    if x == 0.0 {
        return f32::NEG_INFINITY;
    }
    if x.is_infinite() {
        return x;
    }
    let (y, less) = if x < f32::MIN_POSITIVE { (x * 8_388_608.0, 23) } else { (x, 0) };
    // y = 2ᵏ × m with √½ <= m < √2.
    let mut k = (y.to_bits() >> 23) as i32 - 127;
    let mut m = f32::from_bits(y.to_bits() & 0x007f_ffff | 0x3f80_0000);
    if m.to_bits() >= 0x3fb5_04f3 {
        (k, m) = (k + 1, m * 0.5);
    }
    let k = (k - less) as f32;
    let f = m - 1.0;
    let square = f * f;
    let sum = fma(square, f * horner(f, &LOG), k * LN2_LOW);
    let sum = fma(square, -0.5, sum) + f;
    fma(k, LN2_HIGH, sum)
}
