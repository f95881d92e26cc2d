//! Several numbers of one type side by side, with the operations of which all kernels are made: those that IEEE 754 defines to the bit.

#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// A vector of one instruction set.
///
/// # Safety
///
/// All functions need a processor with the instruction set; pointers must be valid for [`LANES`](Vector::LANES) numbers, and need not
/// be aligned.
pub(crate) trait Vector: Copy {
    type Number: Copy;
    const LANES: usize;

    unsafe fn load(from: *const Self::Number) -> Self;
    unsafe fn store(self, to: *mut Self::Number);
    /// The same value in all lanes.
    unsafe fn splat(value: Self::Number) -> Self;

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
}

/// A number as a vector of one.
macro_rules! one {
    ($number:ident) => {
        impl Vector for $number {
            type Number = $number;
            const LANES: usize = 1;

            #[inline(always)]
            unsafe fn load(from: *const $number) -> Self {
                unsafe { from.read() }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $number) {
                unsafe { to.write(self) }
            }
            #[inline(always)]
            unsafe fn splat(value: $number) -> Self {
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
                $number::sqrt(self)
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
        }
    };
}

one! { f32 }
one! { f64 }

/// A vector whose operations are one function each, an instruction or one that is inlined.
macro_rules! vector {
    (
        $vector:ty, $lanes:literal $number:ty, load $load:ident, store $store:ident, splat $splat:ident,
        $($operation:ident($($operand:ident),*) => $instruction:ident,)*
    ) => {
        impl Vector for $vector {
            type Number = $number;
            const LANES: usize = $lanes;

            #[inline(always)]
            unsafe fn load(from: *const $number) -> Self {
                unsafe { $load(from) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $number) {
                unsafe { $store(to, self) }
            }
            #[inline(always)]
            unsafe fn splat(value: $number) -> Self {
                unsafe { $splat(value) }
            }
            $(
                #[inline(always)]
                unsafe fn $operation(self, $($operand: Self),*) -> Self {
                    unsafe { $instruction(self, $($operand),*) }
                }
            )*
        }
    };
}

#[cfg(target_arch = "x86_64")]
vector! {
    __m256, 8 f32, load _mm256_loadu_ps, store _mm256_storeu_ps, splat _mm256_set1_ps,
    add(other) => _mm256_add_ps,
    sub(other) => _mm256_sub_ps,
    mul(other) => _mm256_mul_ps,
    div(other) => _mm256_div_ps,
    sqrt() => _mm256_sqrt_ps,
    fma(factor, sum) => _mm256_fmadd_ps,
    max(other) => _mm256_max_ps,
    min(other) => _mm256_min_ps,
    select_greater(other, then, otherwise) => select_greater_8,
}

#[cfg(target_arch = "x86_64")]
vector! {
    __m256d, 4 f64, load _mm256_loadu_pd, store _mm256_storeu_pd, splat _mm256_set1_pd,
    add(other) => _mm256_add_pd,
    sub(other) => _mm256_sub_pd,
    mul(other) => _mm256_mul_pd,
    div(other) => _mm256_div_pd,
    sqrt() => _mm256_sqrt_pd,
    fma(factor, sum) => _mm256_fmadd_pd,
    max(other) => _mm256_max_pd,
    min(other) => _mm256_min_pd,
    select_greater(other, then, otherwise) => select_greater_4_doubles,
}

#[cfg(target_arch = "x86_64")]
vector! {
    __m512, 16 f32, load _mm512_loadu_ps, store _mm512_storeu_ps, splat _mm512_set1_ps,
    add(other) => _mm512_add_ps,
    sub(other) => _mm512_sub_ps,
    mul(other) => _mm512_mul_ps,
    div(other) => _mm512_div_ps,
    sqrt() => _mm512_sqrt_ps,
    fma(factor, sum) => _mm512_fmadd_ps,
    max(other) => _mm512_max_ps,
    min(other) => _mm512_min_ps,
    select_greater(other, then, otherwise) => select_greater_16,
}

#[cfg(target_arch = "x86_64")]
vector! {
    __m512d, 8 f64, load _mm512_loadu_pd, store _mm512_storeu_pd, splat _mm512_set1_pd,
    add(other) => _mm512_add_pd,
    sub(other) => _mm512_sub_pd,
    mul(other) => _mm512_mul_pd,
    div(other) => _mm512_div_pd,
    sqrt() => _mm512_sqrt_pd,
    fma(factor, sum) => _mm512_fmadd_pd,
    max(other) => _mm512_max_pd,
    min(other) => _mm512_min_pd,
    select_greater(other, then, otherwise) => select_greater_8_doubles,
}

#[cfg(target_arch = "aarch64")]
vector! {
    float32x4_t, 4 f32, load vld1q_f32, store vst1q_f32, splat vdupq_n_f32,
    add(other) => vaddq_f32,
    sub(other) => vsubq_f32,
    mul(other) => vmulq_f32,
    div(other) => vdivq_f32,
    sqrt() => vsqrtq_f32,
    fma(factor, sum) => fma_4,
    max(other) => max_4,
    min(other) => min_4,
    select_greater(other, then, otherwise) => select_greater_4,
}

#[cfg(target_arch = "aarch64")]
vector! {
    float64x2_t, 2 f64, load vld1q_f64, store vst1q_f64, splat vdupq_n_f64,
    add(other) => vaddq_f64,
    sub(other) => vsubq_f64,
    mul(other) => vmulq_f64,
    div(other) => vdivq_f64,
    sqrt() => vsqrtq_f64,
    fma(factor, sum) => fma_2_doubles,
    max(other) => max_2_doubles,
    min(other) => min_2_doubles,
    select_greater(other, then, otherwise) => select_greater_2_doubles,
}

/// Choices of the greater, from what compares and what chooses.
#[cfg(target_arch = "x86_64")]
macro_rules! select_greater {
    ($name:ident, $vector:ty, |$left:ident, $right:ident, $then:ident, $otherwise:ident| $choice:expr) => {
        #[inline(always)]
        unsafe fn $name($left: $vector, $right: $vector, $then: $vector, $otherwise: $vector) -> $vector {
            unsafe { $choice }
        }
    };
}

#[cfg(target_arch = "x86_64")]
select_greater! { select_greater_8, __m256, |left, right, then, otherwise|
    _mm256_blendv_ps(otherwise, then, _mm256_cmp_ps::<_CMP_GT_OQ>(left, right))
}
#[cfg(target_arch = "x86_64")]
select_greater! { select_greater_4_doubles, __m256d, |left, right, then, otherwise|
    _mm256_blendv_pd(otherwise, then, _mm256_cmp_pd::<_CMP_GT_OQ>(left, right))
}
#[cfg(target_arch = "x86_64")]
select_greater! { select_greater_16, __m512, |left, right, then, otherwise|
    _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(left, right), otherwise, then)
}
#[cfg(target_arch = "x86_64")]
select_greater! { select_greater_8_doubles, __m512d, |left, right, then, otherwise|
    _mm512_mask_blend_pd(_mm512_cmp_pd_mask::<_CMP_GT_OQ>(left, right), otherwise, then)
}

/// What NEON's instructions do otherwise: `fma` has other operands, and `vmaxq` and `vminq` treat NaNs and zeros in another way.
#[cfg(target_arch = "aarch64")]
macro_rules! neon {
    ($vector:ty, $fma:ident => $vfma:ident, $max:ident, $min:ident, $select:ident => $choose:ident $greater:ident) => {
        #[inline(always)]
        unsafe fn $fma(value: $vector, factor: $vector, sum: $vector) -> $vector {
            unsafe { $vfma(sum, value, factor) }
        }
        #[inline(always)]
        unsafe fn $select(left: $vector, right: $vector, then: $vector, otherwise: $vector) -> $vector {
            unsafe { $choose($greater(left, right), then, otherwise) }
        }
        #[inline(always)]
        unsafe fn $max(left: $vector, right: $vector) -> $vector {
            unsafe { $select(left, right, left, right) }
        }
        #[inline(always)]
        unsafe fn $min(left: $vector, right: $vector) -> $vector {
            unsafe { $select(right, left, left, right) }
        }
    };
}

#[cfg(target_arch = "aarch64")]
neon! { float32x4_t, fma_4 => vfmaq_f32, max_4, min_4, select_greater_4 => vbslq_f32 vcgtq_f32 }
#[cfg(target_arch = "aarch64")]
neon! { float64x2_t, fma_2_doubles => vfmaq_f64, max_2_doubles, min_2_doubles, select_greater_2_doubles => vbslq_f64 vcgtq_f64 }
