//! Functions whose steps are in double precision, and whose result is rounded to single precision once.

use super::horner_double;
use crate::coefficients::{ASIN, ATAN, EXP_DOUBLE, LN2_DOUBLE, LOG_DOUBLE, LOG2_E_DOUBLE};
use std::f64::consts::{FRAC_PI_2, PI};

/// eˣ = (1 + p) × 2ⁿ, as p and 2ⁿ.
fn exponential(x: f64) -> (f64, f64) {
    let n = x.mul_add(LOG2_E_DOUBLE, 6_755_399_441_056_767.0) - 6_755_399_441_056_767.0;
    let r = n.mul_add(-LN2_DOUBLE, x);
    let p = (r * r).mul_add(horner_double(r, &EXP_DOUBLE), r);
    (p, f64::from_bits(((n as i64 + 1023) as u64) << 52))
}

fn exp_minus_one(x: f64) -> f64 {
    let (p, two_to_n) = exponential(x);
    p.mul_add(two_to_n, two_to_n - 1.0)
}

/// The logarithm of a normal number.
fn log(x: f64) -> f64 {
    let mut k = (x.to_bits() >> 52) as i64 - 1023;
    let mut m = f64::from_bits(x.to_bits() & ((1 << 52) - 1) | 1023 << 52);
    if m.to_bits() >= 0x3ff6_a09e_667f_3bcd {
        (k, m) = (k + 1, m * 0.5);
    }
    let f = m - 1.0;
    let s = f / (f + 2.0);
    let z = s * s;
    let log = (s * z).mul_add(horner_double(z, &LOG_DOUBLE), s + s);
    (k as f64).mul_add(LN2_DOUBLE, log)
}

fn log_one_plus(x: f64) -> f64 {
    let sum = 1.0 + x;
    log(sum) + (x - (sum - 1.0)) / sum
}

pub(super) fn sinh(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    let m = exp_minus_one(f64::from(x.abs().min(100.0)));
    (((m + m / (m + 1.0)) * 0.5) as f32).copysign(x)
}

pub(super) fn cosh(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    let e = exp_minus_one(f64::from(x.abs().min(100.0))) + 1.0;
    ((e + 1.0 / e) * 0.5) as f32
}

pub(super) fn asinh(x: f32) -> f32 {
    if !x.is_finite() {
        return x;
    }
    let t = f64::from(x.abs());
    let square = t * t;
    (log_one_plus(t + square / (1.0 + (1.0 + square).sqrt())) as f32).copysign(x)
}

pub(super) fn acosh(x: f32) -> f32 {
    if x.is_nan() || x < 1.0 {
        return f32::NAN;
    }
    if x.is_infinite() {
        return x;
    }
    let x = f64::from(x);
    let rest = x - 1.0;
    log_one_plus(rest + (rest * (x + 1.0)).sqrt()) as f32
}

pub(super) fn atanh(x: f32) -> f32 {
    let t = f64::from(x.abs());
    let result = if t < 1.0 {
        (log_one_plus((t + t) / (1.0 - t)) * 0.5) as f32
    } else if t == 1.0 {
        f32::INFINITY
    } else {
        f32::NAN
    };
    result.copysign(x)
}

/// The arc sine of w, whose square is z, for 0 <= w <= ½.
fn arc_sine(w: f64, z: f64) -> f64 {
    (w * z).mul_add(horner_double(z, &ASIN), w)
}

pub(super) fn asin(x: f32) -> f32 {
    let t = f64::from(x.abs());
    let result = if t > 0.5 {
        let z = (1.0 - t) * 0.5;
        let arc = arc_sine(z.sqrt(), z);
        FRAC_PI_2 - (arc + arc)
    } else {
        arc_sine(t, t * t)
    };
    (result as f32).copysign(x)
}

pub(super) fn acos(x: f32) -> f32 {
    let t = f64::from(x.abs());
    let result = if t > 0.5 {
        let z = (1.0 - t) * 0.5;
        let arc = arc_sine(z.sqrt(), z);
        if x < 0.0 { PI - (arc + arc) } else { arc + arc }
    } else {
        let arc = arc_sine(t, t * t);
        if x < 0.0 { FRAC_PI_2 + arc } else { FRAC_PI_2 - arc }
    };
    result as f32
}

pub(super) fn atan(x: f32) -> f32 {
    let t = f64::from(x.abs());
    let w = if t > 1.0 { 1.0 / t } else { t };
    let z = w * w;
    let arc = (w * z).mul_add(horner_double(z, &ATAN), w);
    ((if t > 1.0 { FRAC_PI_2 - arc } else { arc }) as f32).copysign(x)
}

pub(super) fn pow(x: f32, y: f32) -> f32 {
    if y == 0.0 || x == 1.0 {
        return 1.0;
    }
    if x.is_nan() || y.is_nan() {
        return f32::NAN;
    }
    let is_integer = y.fract() == 0.0 || y.is_infinite();
    let is_odd = is_integer && y.abs() < 16_777_216.0 && (y * 0.5).fract() != 0.0;
    if x < 0.0 && x.is_finite() && !is_integer {
        return f32::NAN;
    }
    let t = f64::from(x.abs());
    let magnitude = if t == 1.0 {
        1.0
    } else {
        let log = if t == 0.0 {
            f64::NEG_INFINITY
        } else if t.is_infinite() {
            f64::INFINITY
        } else {
            log(t)
        };
        let (p, two_to_n) = exponential((f64::from(y) * log).clamp(-200.0, 200.0));
        p.mul_add(two_to_n, two_to_n) as f32
    };
    if is_odd && x.is_sign_negative() { -magnitude } else { magnitude }
}
