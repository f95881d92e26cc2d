//! Lanes in double precision, for steps whose rounding in single precision would be seen in the result.

#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// As many `f64` as the instruction set has lanes of `f32`.
///
/// # Safety
///
/// All functions need a processor with the instruction set.
pub(crate) trait Doubles: Copy {
    const LANES: usize;

    /// From memory that is valid for as many as there are lanes, and need not be aligned.
    unsafe fn load(from: *const f64) -> Self;
    /// To memory that is valid for as many as there are lanes, and need not be aligned.
    unsafe fn store(self, to: *mut f64);
    /// The same value in all lanes.
    unsafe fn splat(value: f64) -> Self;
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
    /// `self > other ? then : otherwise`, in each lane; `otherwise` if one is a NaN.
    unsafe fn select_greater(self, other: Self, then: Self, otherwise: Self) -> Self;

    unsafe fn and(self, other: Self) -> Self;
    unsafe fn or(self, other: Self) -> Self;
    /// Addition of 64-bit integers, which wraps.
    unsafe fn add_integer(self, other: Self) -> Self;
    /// Shifts zeros in; `count` is a constant under 64.
    unsafe fn shift_left(self, count: u32) -> Self;
    /// Shifts zeros in; `count` is a constant under 64.
    unsafe fn shift_right(self, count: u32) -> Self;
}

impl Doubles for f64 {
    const LANES: usize = 1;

    #[inline(always)]
    unsafe fn load(from: *const f64) -> Self {
        unsafe { from.read() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f64) {
        unsafe { to.write(self) }
    }
    #[inline(always)]
    unsafe fn splat(value: f64) -> Self {
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
        f64::sqrt(self)
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
    unsafe fn select_greater(self, other: Self, then: Self, otherwise: Self) -> Self {
        if self > other { then } else { otherwise }
    }
    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        f64::from_bits(self.to_bits() & other.to_bits())
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        f64::from_bits(self.to_bits() | other.to_bits())
    }
    #[inline(always)]
    unsafe fn add_integer(self, other: Self) -> Self {
        f64::from_bits(self.to_bits().wrapping_add(other.to_bits()))
    }
    #[inline(always)]
    unsafe fn shift_left(self, count: u32) -> Self {
        f64::from_bits(self.to_bits() << count)
    }
    #[inline(always)]
    unsafe fn shift_right(self, count: u32) -> Self {
        f64::from_bits(self.to_bits() >> count)
    }
}

/// Operations that are one instruction each.
macro_rules! instructions {
    (
        lanes $lanes:literal, load $load:ident, store $store:ident, splat $splat:ident,
        $($operation:ident($($operand:ident),*) => $instruction:ident,)*
    ) => {
        const LANES: usize = $lanes;

        #[inline(always)]
        unsafe fn load(from: *const f64) -> Self {
            unsafe { $load(from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f64) {
            unsafe { $store(to, self) }
        }
        #[inline(always)]
        unsafe fn splat(value: f64) -> Self {
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
impl Doubles for __m256d {
    instructions! {
        lanes 4, load _mm256_loadu_pd, store _mm256_storeu_pd, splat _mm256_set1_pd,
        add(other) => _mm256_add_pd,
        sub(other) => _mm256_sub_pd,
        mul(other) => _mm256_mul_pd,
        div(other) => _mm256_div_pd,
        sqrt() => _mm256_sqrt_pd,
        fma(factor, sum) => _mm256_fmadd_pd,
        max(other) => _mm256_max_pd,
        min(other) => _mm256_min_pd,
        select_greater(other, then, otherwise) => select_greater_avx2,
        and(other) => _mm256_and_pd,
        or(other) => _mm256_or_pd,
        add_integer(other) => add_integer_avx2,
    }
    #[inline(always)]
    unsafe fn shift_left(self, count: u32) -> Self {
        unsafe { _mm256_castsi256_pd(_mm256_sll_epi64(_mm256_castpd_si256(self), _mm_cvtsi32_si128(count as i32))) }
    }
    #[inline(always)]
    unsafe fn shift_right(self, count: u32) -> Self {
        unsafe { _mm256_castsi256_pd(_mm256_srl_epi64(_mm256_castpd_si256(self), _mm_cvtsi32_si128(count as i32))) }
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn select_greater_avx2(left: __m256d, right: __m256d, then: __m256d, otherwise: __m256d) -> __m256d {
    unsafe { _mm256_blendv_pd(otherwise, then, _mm256_cmp_pd::<_CMP_GT_OQ>(left, right)) }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn add_integer_avx2(left: __m256d, right: __m256d) -> __m256d {
    unsafe { _mm256_castsi256_pd(_mm256_add_epi64(_mm256_castpd_si256(left), _mm256_castpd_si256(right))) }
}

#[cfg(target_arch = "x86_64")]
impl Doubles for __m512d {
    instructions! {
        lanes 8, load _mm512_loadu_pd, store _mm512_storeu_pd, splat _mm512_set1_pd,
        add(other) => _mm512_add_pd,
        sub(other) => _mm512_sub_pd,
        mul(other) => _mm512_mul_pd,
        div(other) => _mm512_div_pd,
        sqrt() => _mm512_sqrt_pd,
        fma(factor, sum) => _mm512_fmadd_pd,
        max(other) => _mm512_max_pd,
        min(other) => _mm512_min_pd,
        select_greater(other, then, otherwise) => select_greater_avx512,
        and(other) => and_avx512,
        or(other) => or_avx512,
        add_integer(other) => add_integer_avx512,
    }
    #[inline(always)]
    unsafe fn shift_left(self, count: u32) -> Self {
        unsafe { _mm512_castsi512_pd(_mm512_sll_epi64(_mm512_castpd_si512(self), _mm_cvtsi32_si128(count as i32))) }
    }
    #[inline(always)]
    unsafe fn shift_right(self, count: u32) -> Self {
        unsafe { _mm512_castsi512_pd(_mm512_srl_epi64(_mm512_castpd_si512(self), _mm_cvtsi32_si128(count as i32))) }
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn select_greater_avx512(left: __m512d, right: __m512d, then: __m512d, otherwise: __m512d) -> __m512d {
    unsafe { _mm512_mask_blend_pd(_mm512_cmp_pd_mask::<_CMP_GT_OQ>(left, right), otherwise, then) }
}

/// An operation on 512 bits of integers, for doubles.
#[cfg(target_arch = "x86_64")]
macro_rules! on_integers_avx512 {
    ($($name:ident => $instruction:ident,)*) => {
        $(
            #[inline(always)]
            unsafe fn $name(left: __m512d, right: __m512d) -> __m512d {
                unsafe { _mm512_castsi512_pd($instruction(_mm512_castpd_si512(left), _mm512_castpd_si512(right))) }
            }
        )*
    };
}

#[cfg(target_arch = "x86_64")]
on_integers_avx512! {
    and_avx512 => _mm512_and_si512,
    or_avx512 => _mm512_or_si512,
    add_integer_avx512 => _mm512_add_epi64,
}

#[cfg(target_arch = "aarch64")]
impl Doubles for float64x2_t {
    instructions! {
        lanes 2, load vld1q_f64, store vst1q_f64, splat vdupq_n_f64,
        add(other) => vaddq_f64,
        sub(other) => vsubq_f64,
        mul(other) => vmulq_f64,
        div(other) => vdivq_f64,
        sqrt() => vsqrtq_f64,
        fma(factor, sum) => fma_neon,
        max(other) => max_neon,
        min(other) => min_neon,
        select_greater(other, then, otherwise) => select_greater_neon,
        and(other) => and_neon,
        or(other) => or_neon,
        add_integer(other) => add_integer_neon,
    }
    #[inline(always)]
    unsafe fn shift_left(self, count: u32) -> Self {
        unsafe { vreinterpretq_f64_u64(vshlq_u64(vreinterpretq_u64_f64(self), vdupq_n_s64(i64::from(count)))) }
    }
    #[inline(always)]
    unsafe fn shift_right(self, count: u32) -> Self {
        unsafe { vreinterpretq_f64_u64(vshlq_u64(vreinterpretq_u64_f64(self), vdupq_n_s64(-i64::from(count)))) }
    }
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn fma_neon(value: float64x2_t, factor: float64x2_t, sum: float64x2_t) -> float64x2_t {
    unsafe { vfmaq_f64(sum, value, factor) }
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn select_greater_neon(
    left: float64x2_t,
    right: float64x2_t,
    then: float64x2_t,
    otherwise: float64x2_t,
) -> float64x2_t {
    unsafe { vbslq_f64(vcgtq_f64(left, right), then, otherwise) }
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn max_neon(left: float64x2_t, right: float64x2_t) -> float64x2_t {
    unsafe { select_greater_neon(left, right, left, right) }
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn min_neon(left: float64x2_t, right: float64x2_t) -> float64x2_t {
    unsafe { select_greater_neon(right, left, left, right) }
}

/// An operation on integers, for doubles.
#[cfg(target_arch = "aarch64")]
macro_rules! on_integers_neon {
    ($($name:ident => $instruction:ident,)*) => {
        $(
            #[inline(always)]
            unsafe fn $name(left: float64x2_t, right: float64x2_t) -> float64x2_t {
                unsafe { vreinterpretq_f64_u64($instruction(vreinterpretq_u64_f64(left), vreinterpretq_u64_f64(right))) }
            }
        )*
    };
}

#[cfg(target_arch = "aarch64")]
on_integers_neon! {
    and_neon => vandq_u64,
    or_neon => vorrq_u64,
    add_integer_neon => vaddq_u64,
}
