//! Floats of 16 bits, as bits: binary16, and bfloat16, the upper half of binary32.

/// Converts every element, without loss; a NaN stays one.
///
/// # Panics
///
/// If the lengths differ.
pub fn widen_f16(halves: &[u16], output: &mut [f32]) {
    assert_eq!(halves.len(), output.len(), "as many results as elements");
    for (half, output) in halves.iter().zip(output) {
        let (sign, magnitude) = (u32::from(half & 0x8000) << 16, u32::from(half & 0x7fff));
        // The exponent is too small by 112, which a multiplication corrects for subnormal numbers, too.
        let finite = (f32::from_bits(magnitude << 13) * f32::from_bits((127 + 112) << 23)).to_bits();
        let bits = if magnitude >= 0x7c00 { magnitude << 13 | 0x7f80_0000 } else { finite };
        *output = f32::from_bits(sign | bits);
    }
}

/// Rounds every element to nearest, half to even; every NaN becomes 0x7e00.
///
/// # Panics
///
/// If the lengths differ.
pub fn narrow_f16(input: &[f32], halves: &mut [u16]) {
    assert_eq!(input.len(), halves.len(), "as many results as elements");
    for (x, half) in input.iter().zip(halves) {
        let bits = x.to_bits();
        let (sign, magnitude) = (bits >> 16 & 0x8000, bits & 0x7fff_ffff);
        let normal = (magnitude + 0xfff + (magnitude >> 13 & 1)).wrapping_sub(112 << 23) >> 13;
        // Less than 2⁻¹⁴: adding ½ rounds to multiples of 2⁻²⁴.
        let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits());
        let rounded = if magnitude < 0x3880_0000 { subnormal } else { normal };
        let bounded = if magnitude >= 0x4780_0000 { 0x7c00 } else { rounded };
        *half = if magnitude > 0x7f80_0000 { 0x7e00 } else { (sign | bounded) as u16 };
    }
}

/// Converts every element, without loss.
///
/// # Panics
///
/// If the lengths differ.
pub fn widen_bf16(halves: &[u16], output: &mut [f32]) {
    assert_eq!(halves.len(), output.len(), "as many results as elements");
    for (half, output) in halves.iter().zip(output) {
        *output = f32::from_bits(u32::from(*half) << 16);
    }
}

/// Rounds every element to nearest, half to even; every NaN becomes 0x7fc0.
///
/// # Panics
///
/// If the lengths differ.
pub fn narrow_bf16(input: &[f32], halves: &mut [u16]) {
    assert_eq!(input.len(), halves.len(), "as many results as elements");
    for (x, half) in input.iter().zip(halves) {
        let bits = x.to_bits();
        let rounded = (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16;
        *half = if bits & 0x7fff_ffff > 0x7f80_0000 { 0x7fc0 } else { rounded };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;
    use crate::samples::{Random, SPECIAL, same_bits};

    #[test]
    fn every_half_has_one_value() {
        let halves: Vec<u16> = (0..=u16::MAX).collect();
        let mut wide = vec![0.0; halves.len()];
        let mut back = vec![0; halves.len()];
        for (digits, widen, narrow) in [
            (10, widen_f16 as fn(&[u16], &mut [f32]), narrow_f16 as fn(&[f32], &mut [u16])),
            (7, widen_bf16, narrow_bf16),
        ] {
            widen(&halves, &mut wide);
            narrow(&wide, &mut back);
            for ((half, wide), back) in halves.iter().zip(&wide).zip(&back) {
                assert!(same_bits(*wide, reference::widen(*half, digits)), "{half:#x} is {wide}");
                assert!(back == half || wide.is_nan(), "{half:#x} becomes {back:#x}");
            }
        }
    }

    #[test]
    fn numbers_are_rounded_as_by_the_reference() {
        let mut random = Random::new(1);
        let mut numbers = SPECIAL.to_vec();
        numbers.extend((0..200_000).map(|_| f32::from_bits(random.word())));
        // Numbers of the size of halves, of which many are ties or next to them.
        for digits in [10, 7] {
            for half in (0..=u16::MAX).step_by(7) {
                let bits = reference::widen(half, digits).to_bits();
                let tie = 1u32 << (22 - digits);
                numbers.extend([tie, tie - 1, tie + 1].map(|more| f32::from_bits(bits.wrapping_add(more))));
                numbers.push(reference::widen(half, digits) * 1.5);
            }
        }
        let mut halves = vec![0; numbers.len()];
        for (digits, narrow) in [(10, narrow_f16 as fn(&[f32], &mut [u16])), (7, narrow_bf16)] {
            narrow(&numbers, &mut halves);
            for (x, half) in numbers.iter().zip(&halves) {
                assert_eq!(*half, reference::narrow(*x, digits), "{x:e} with {digits} digits");
            }
        }
    }
}
