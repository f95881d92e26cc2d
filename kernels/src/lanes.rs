//! Several `f32` side by side, with the operations of which all kernels are made: those that IEEE 754 defines to the bit, and
//! operations on bits.

use crate::bits::Bits;
#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Lanes of one instruction set.
///
/// # Safety
///
/// All functions need a processor with the instruction set; pointers must be valid for [`LANES`](Lanes::LANES) elements, and need not
/// be aligned.
pub(crate) trait Lanes: Copy + Bits {
    const LANES: usize;

    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// The same value in all lanes.
    unsafe fn splat(value: f32) -> Self;

    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    unsafe fn sqrt(self) -> Self;
    /// `self × factor + sum`, rounded once.
    unsafe fn fma(self, factor: Self, sum: Self) -> Self;

    /// `self > other ? self : other`: `other` if one is a NaN, or both are zeros.
    unsafe fn max(self, other: Self) -> Self;
    /// `self < other ? self : other`: `other` if one is a NaN, or both are zeros.
    unsafe fn min(self, other: Self) -> Self;
    unsafe fn abs(self) -> Self;
    /// The magnitude of `self`, whose sign is ignored, with the sign of `sign`.
    unsafe fn copysign(self, sign: Self) -> Self;
    /// `self > other ? then : otherwise`, in each lane; `otherwise` if one is a NaN.
    unsafe fn select_greater(self, other: Self, then: Self, otherwise: Self) -> Self;
}

impl Lanes for f32 {
    const LANES: usize = 1;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { from.read() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { to.write(self) }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        value
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self + other
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self - other
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self * other
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        self / other
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        f32::sqrt(self)
    }
    #[inline(always)]
    unsafe fn fma(self, factor: Self, sum: Self) -> Self {
        self.mul_add(factor, sum)
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        if self > other { self } else { other }
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        if self < other { self } else { other }
    }
    #[inline(always)]
    unsafe fn abs(self) -> Self {
        f32::abs(self)
    }
    #[inline(always)]
    unsafe fn copysign(self, sign: Self) -> Self {
        f32::copysign(self, sign)
    }
    #[inline(always)]
    unsafe fn select_greater(self, other: Self, then: Self, otherwise: Self) -> Self {
        if self > other { then } else { otherwise }
    }
}

/// Operations that are one instruction each.
macro_rules! instructions {
    (load $load:ident, store $store:ident, splat $splat:ident, $($operation:ident($($operand:ident),*) => $instruction:ident,)*) => {
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { $load(from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { $store(to, self) }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { $splat(value) }
        }
        $(
            #[inline(always)]
            unsafe fn $operation(self, $($operand: Self),*) -> Self {
                unsafe { $instruction(self, $($operand),*) }
            }
        )*
    };
}

#[cfg(target_arch = "x86_64")]
impl Lanes for __m256 {
    const LANES: usize = 8;

    instructions! {
        load _mm256_loadu_ps, store _mm256_storeu_ps, splat _mm256_set1_ps,
        add(other) => _mm256_add_ps,
        sub(other) => _mm256_sub_ps,
        mul(other) => _mm256_mul_ps,
        div(other) => _mm256_div_ps,
        sqrt() => _mm256_sqrt_ps,
        fma(factor, sum) => _mm256_fmadd_ps,
        max(other) => _mm256_max_ps,
        min(other) => _mm256_min_ps,
    }

    #[inline(always)]
    unsafe fn abs(self) -> Self {
        unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), self) }
    }
    #[inline(always)]
    unsafe fn copysign(self, sign: Self) -> Self {
        unsafe { _mm256_or_ps(self.abs(), _mm256_and_ps(_mm256_set1_ps(-0.0), sign)) }
    }
    #[inline(always)]
    unsafe fn select_greater(self, other: Self, then: Self, otherwise: Self) -> Self {
        unsafe { _mm256_blendv_ps(otherwise, then, _mm256_cmp_ps::<_CMP_GT_OQ>(self, other)) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Lanes for __m512 {
    const LANES: usize = 16;

    instructions! {
        load _mm512_loadu_ps, store _mm512_storeu_ps, splat _mm512_set1_ps,
        add(other) => _mm512_add_ps,
        sub(other) => _mm512_sub_ps,
        mul(other) => _mm512_mul_ps,
        div(other) => _mm512_div_ps,
        sqrt() => _mm512_sqrt_ps,
        fma(factor, sum) => _mm512_fmadd_ps,
        max(other) => _mm512_max_ps,
        min(other) => _mm512_min_ps,
    }

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
    unsafe fn select_greater(self, other: Self, then: Self, otherwise: Self) -> Self {
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(self, other), otherwise, then) }
    }
}

#[cfg(target_arch = "aarch64")]
impl Lanes for float32x4_t {
    const LANES: usize = 4;

    instructions! {
        load vld1q_f32, store vst1q_f32, splat vdupq_n_f32,
        add(other) => vaddq_f32,
        sub(other) => vsubq_f32,
        mul(other) => vmulq_f32,
        div(other) => vdivq_f32,
        sqrt() => vsqrtq_f32,
        abs() => vabsq_f32,
    }

    #[inline(always)]
    unsafe fn fma(self, factor: Self, sum: Self) -> Self {
        unsafe { vfmaq_f32(sum, self, factor) }
    }
    // The instructions `vmaxq` and `vminq` treat NaNs and zeros otherwise.
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        unsafe { self.select_greater(other, self, other) }
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        unsafe { other.select_greater(self, self, other) }
    }
    #[inline(always)]
    unsafe fn copysign(self, sign: Self) -> Self {
        unsafe { vbslq_f32(vdupq_n_u32(1 << 31), sign, self) }
    }
    #[inline(always)]
    unsafe fn select_greater(self, other: Self, then: Self, otherwise: Self) -> Self {
        unsafe { vbslq_f32(vcgtq_f32(self, other), then, otherwise) }
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
