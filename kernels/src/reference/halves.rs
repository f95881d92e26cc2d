//! Floats of 16 bits: binary16 has 10 digits after the point, bfloat16 7.

/// The exponent's bias, which leaves the digits of the exponent: half of what they can be, less one.
fn bias(digits: u32) -> i32 {
    (1 << (14 - digits)) - 1
}

/// The value of these bits.
pub fn widen(half: u16, digits: u32) -> f32 {
    let sign = if half >> 15 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from(half & 0x7fff) >> digits;
    let fraction = f64::from(half & ((1 << digits) - 1)) / 2f64.powi(digits as i32);
    let magnitude = match exponent {
        0 => fraction * 2f64.powi(1 - bias(digits)),
        _ if exponent > 2 * bias(digits) => {
            if fraction == 0.0 {
                f64::INFINITY
            } else {
                f64::NAN
            }
        }
        _ => (1.0 + fraction) * 2f64.powi(exponent - bias(digits)),
    };
    (sign * magnitude) as f32
}

/// The bits of the nearest value, half to even; of a NaN those of the quiet one without a sign.
pub fn narrow(x: f32, digits: u32) -> u16 {
    let infinity = (2 * bias(digits) + 1) << digits;
    if x.is_nan() {
        return (infinity | 1 << (digits - 1)) as u16;
    }
    let sign = if x.is_sign_negative() { 0x8000 } else { 0 };
    let magnitude = f64::from(x.abs());
    let exponent = (1 - bias(digits)..=128).rev().find(|exponent| magnitude >= 2f64.powi(*exponent));
    let exponent = exponent.unwrap_or(1 - bias(digits));
    // In units of the last digit; one more than all digits is the next exponent's first.
    let units = (magnitude / 2f64.powi(exponent - digits as i32)).round_ties_even();
    let bits = units + f64::from((exponent + bias(digits) - 1) << digits);
    sign | bits.min(f64::from(infinity)) as u16
}
