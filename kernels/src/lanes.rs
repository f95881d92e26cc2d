//! Several `f32` side by side: vectors with operations on signs and bits.

use crate::bits::Bits;
use crate::halve::Halve;
use crate::vector::Vector;
#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Lanes of one instruction set.
///
/// # Safety
///
/// All functions need a processor with the instruction set.
pub(crate) trait Lanes: Vector<Number = f32> + Bits + Halve {
    unsafe fn abs(self) -> Self;
    /// The magnitude of `self`, whose sign is ignored, with the sign of `sign`.
    unsafe fn copysign(self, sign: Self) -> Self;
    /// Of the lanes of this and of the next vector those at even places, and those at odd ones, both in an order of their own.
    unsafe fn even_odd(self, next: Self) -> [Self; 2];
    /// From that order to the usual one.
    unsafe fn in_order(self) -> Self;
}

impl Lanes for f32 {
    #[inline(always)]
    unsafe fn abs(self) -> Self {
        f32::abs(self)
    }
    #[inline(always)]
    unsafe fn copysign(self, sign: Self) -> Self {
        f32::copysign(self, sign)
    }
    #[inline(always)]
    unsafe fn even_odd(self, next: Self) -> [Self; 2] {
        [self, next]
    }
    #[inline(always)]
    unsafe fn in_order(self) -> Self {
        self
    }
}

#[cfg(target_arch = "x86_64")]
impl Lanes for __m256 {
    #[inline(always)]
    unsafe fn abs(self) -> Self {
        unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), self) }
    }
    #[inline(always)]
    unsafe fn copysign(self, sign: Self) -> Self {
        unsafe { _mm256_or_ps(self.abs(), _mm256_and_ps(_mm256_set1_ps(-0.0), sign)) }
    }
    #[inline(always)]
    unsafe fn even_odd(self, next: Self) -> [Self; 2] {
        unsafe { [_mm256_shuffle_ps::<0x88>(self, next), _mm256_shuffle_ps::<0xdd>(self, next)] }
    }
    #[inline(always)]
    unsafe fn in_order(self) -> Self {
        unsafe { _mm256_castpd_ps(_mm256_permute4x64_pd::<0xd8>(_mm256_castps_pd(self))) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Lanes for __m512 {
    #[inline(always)]
    unsafe fn abs(self) -> Self {
        unsafe { _mm512_abs_ps(self) }
    }
    #[inline(always)]
    unsafe fn copysign(self, sign: Self) -> Self {
        // Bits of the sign from one operand, all others from the other: the truth table of `mask ? sign : self`.
        let mask = unsafe { _mm512_set1_epi32(i32::MIN) };
        let (value, sign) = unsafe { (_mm512_castps_si512(self), _mm512_castps_si512(sign)) };
        unsafe { _mm512_castsi512_ps(_mm512_ternarylogic_epi32::<0xca>(mask, sign, value)) }
    }
    #[inline(always)]
    unsafe fn even_odd(self, next: Self) -> [Self; 2] {
        unsafe { [_mm512_shuffle_ps::<0x88>(self, next), _mm512_shuffle_ps::<0xdd>(self, next)] }
    }
    #[inline(always)]
    unsafe fn in_order(self) -> Self {
        unsafe {
            let places = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
            _mm512_castpd_ps(_mm512_permutexvar_pd(places, _mm512_castps_pd(self)))
        }
    }
}

#[cfg(target_arch = "aarch64")]
impl Lanes for float32x4_t {
    #[inline(always)]
    unsafe fn abs(self) -> Self {
        unsafe { vabsq_f32(self) }
    }
    #[inline(always)]
    unsafe fn copysign(self, sign: Self) -> Self {
        unsafe { vbslq_f32(vdupq_n_u32(1 << 31), sign, self) }
    }
    #[inline(always)]
    unsafe fn even_odd(self, next: Self) -> [Self; 2] {
        unsafe { [vuzp1q_f32(self, next), vuzp2q_f32(self, next)] }
    }
    #[inline(always)]
    unsafe fn in_order(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;
    use crate::isa::Kernel;

    const VALUES: [f32; 16] = [
        0.0,
        -0.0,
        1.0,
        -1.5,
        3.25,
        f32::MIN_POSITIVE,
        1e-42,
        -1e-45,
        f32::MAX,
        f32::MIN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        16_777_216.0,
        -0.1,
        7.0,
    ];

    /// Every operation on the lanes of three vectors.
    struct Everything<'a>(&'a [f32; 16], &'a [f32; 16], &'a [f32; 16]);

    impl Kernel for Everything<'_> {
        type Output = Vec<u32>;

        #[inline(always)]
        fn run<L: Lanes>(self) -> Vec<u32> {
            let mut results = vec![0.0; 16 * 11];
            for first in (0..16).step_by(L::LANES) {
                // SAFETY: 16 is a multiple of the number of lanes.
                unsafe {
                    let [a, b, c] = [self.0, self.1, self.2].map(|values| values.as_ptr().add(first));
                    let (a, b, c) = (L::load(a), L::load(b), L::load(c));
                    let all = [
                        a.add(b),
                        a.sub(b),
                        a.mul(b),
                        a.div(b),
                        a.sqrt(),
                        a.fma(b, c),
                        a.max(b),
                        a.min(b),
                        a.abs(),
                        a.copysign(b),
                        a.select_greater(b, c, L::splat(5.0)),
                    ];
                    for (operation, result) in all.into_iter().enumerate() {
                        result.store(results.as_mut_ptr().add(16 * operation + first));
                    }
                }
            }
            // A NaN's bits differ between processors; kernels make them canonical where they can be seen.
            results.iter().map(|result| if result.is_nan() { f32::NAN.to_bits() } else { result.to_bits() }).collect()
        }
    }

    #[test]
    fn operations_are_the_same_on_every_instruction_set() {
        for turn in 0..16 {
            for other in 0..16 {
                let [mut b, mut c] = [VALUES; 2];
                b.rotate_left(turn);
                c.rotate_left(other);
                let expected = Isa::PORTABLE.run(Everything(&VALUES, &b, &c));
                for isa in Isa::available().into_iter().chain(Isa::wide()) {
                    assert_eq!(isa.run(Everything(&VALUES, &b, &c)), expected, "{isa:?}");
                }
            }
        }
    }
}
