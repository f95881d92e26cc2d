//! The bits of lanes: integer operations on them, choices that see NaNs, and the way to double precision and back.

use crate::doubles::Doubles;
use crate::lanes::Lanes;
use crate::two::Two;
#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// What [`Lanes`](crate::lanes::Lanes) can do besides arithmetic. Integers are 32 bits wide and wrap.
///
/// # Safety
///
/// All functions need a processor with the instruction set.
pub(crate) trait Bits: Copy {
    /// As many `f64` as there are lanes.
    type Doubles: Doubles;
    /// 64 lanes.
    type Block: Lanes;

    /// The first `count` lanes, fewer than all, from memory that is valid for so many elements; zeros in the others.
    unsafe fn load_first(from: *const f32, count: usize) -> Self;
    /// The first `count` lanes, fewer than all, to memory that is valid for so many elements.
    unsafe fn store_first(self, to: *mut f32, count: usize);
    /// The first `count` lanes, fewer than all, the others from `others`.
    unsafe fn first_or(self, count: usize, others: Self) -> Self;

    unsafe fn and(self, other: Self) -> Self;
    unsafe fn or(self, other: Self) -> Self;
    unsafe fn xor(self, other: Self) -> Self;
    unsafe fn add_integer(self, other: Self) -> Self;
    unsafe fn sub_integer(self, other: Self) -> Self;
    /// Shifts zeros in; `count` is a constant under 32.
    unsafe fn shift_left(self, count: u32) -> Self;
    /// Shifts zeros in; `count` is a constant under 32.
    unsafe fn shift_right(self, count: u32) -> Self;

    /// `self == other ? then : otherwise`, as numbers, in each lane.
    unsafe fn select_equal(self, other: Self, then: Self, otherwise: Self) -> Self;
    /// `self is a NaN ? then : otherwise`, in each lane.
    unsafe fn select_nan(self, then: Self, otherwise: Self) -> Self;
    /// Whether the bits of `self` are more than those of `other` in any lane, as signed integers. Compilers take a comparison of numbers
    /// here for one of the larger of two, which is another where one is a signalling NaN.
    unsafe fn any_greater_integer(self, other: Self) -> bool;

    /// The same values in double precision.
    unsafe fn widen(self) -> Self::Doubles;
    /// Rounded to single precision.
    unsafe fn narrow(doubles: Self::Doubles) -> Self;
    /// The low 32 bits of each double.
    unsafe fn low_words(doubles: Self::Doubles) -> Self;
}

impl Bits for f32 {
    type Doubles = f64;
    type Block = Two<Two<Two<Two<Two<Two<f32>>>>>>;

    #[inline(always)]
    unsafe fn load_first(_from: *const f32, _count: usize) -> Self {
        0.0
    }
    #[inline(always)]
    unsafe fn store_first(self, _to: *mut f32, _count: usize) {}
    #[inline(always)]
    unsafe fn first_or(self, _count: usize, others: Self) -> Self {
        others
    }

    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        f32::from_bits(self.to_bits() & other.to_bits())
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        f32::from_bits(self.to_bits() | other.to_bits())
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        f32::from_bits(self.to_bits() ^ other.to_bits())
    }
    #[inline(always)]
    unsafe fn add_integer(self, other: Self) -> Self {
        f32::from_bits(self.to_bits().wrapping_add(other.to_bits()))
    }
    #[inline(always)]
    unsafe fn sub_integer(self, other: Self) -> Self {
        f32::from_bits(self.to_bits().wrapping_sub(other.to_bits()))
    }
    #[inline(always)]
    unsafe fn shift_left(self, count: u32) -> Self {
        f32::from_bits(self.to_bits() << count)
    }
    #[inline(always)]
    unsafe fn shift_right(self, count: u32) -> Self {
        f32::from_bits(self.to_bits() >> count)
    }
    #[inline(always)]
    unsafe fn select_equal(self, other: Self, then: Self, otherwise: Self) -> Self {
        if self == other { then } else { otherwise }
    }
    #[inline(always)]
    unsafe fn select_nan(self, then: Self, otherwise: Self) -> Self {
        if self.is_nan() { then } else { otherwise }
    }
    #[inline(always)]
    unsafe fn any_greater_integer(self, other: Self) -> bool {
        self.to_bits() as i32 > other.to_bits() as i32
    }
    #[inline(always)]
    unsafe fn widen(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    unsafe fn narrow(doubles: f64) -> Self {
        doubles as f32
    }
    #[inline(always)]
    unsafe fn low_words(doubles: f64) -> Self {
        f32::from_bits(doubles.to_bits() as u32)
    }
}

#[cfg(target_arch = "x86_64")]
impl Bits for __m256 {
    type Doubles = Two<__m256d>;
    type Block = Two<Two<Two<__m256>>>;

    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        unsafe { _mm256_maskload_ps(from, first_of_eight(count)) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        unsafe { _mm256_maskstore_ps(to, first_of_eight(count), self) }
    }
    #[inline(always)]
    unsafe fn first_or(self, count: usize, others: Self) -> Self {
        unsafe { _mm256_blendv_ps(others, self, _mm256_castsi256_ps(first_of_eight(count))) }
    }

    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        unsafe { _mm256_and_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        unsafe { _mm256_or_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        unsafe { _mm256_xor_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn add_integer(self, other: Self) -> Self {
        unsafe { _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(self), _mm256_castps_si256(other))) }
    }
    #[inline(always)]
    unsafe fn sub_integer(self, other: Self) -> Self {
        unsafe { _mm256_castsi256_ps(_mm256_sub_epi32(_mm256_castps_si256(self), _mm256_castps_si256(other))) }
    }
    #[inline(always)]
    unsafe fn shift_left(self, count: u32) -> Self {
        unsafe { _mm256_castsi256_ps(_mm256_sll_epi32(_mm256_castps_si256(self), _mm_cvtsi32_si128(count as i32))) }
    }
    #[inline(always)]
    unsafe fn shift_right(self, count: u32) -> Self {
        unsafe { _mm256_castsi256_ps(_mm256_srl_epi32(_mm256_castps_si256(self), _mm_cvtsi32_si128(count as i32))) }
    }
    #[inline(always)]
    unsafe fn select_equal(self, other: Self, then: Self, otherwise: Self) -> Self {
        unsafe { _mm256_blendv_ps(otherwise, then, _mm256_cmp_ps::<_CMP_EQ_OQ>(self, other)) }
    }
    #[inline(always)]
    unsafe fn select_nan(self, then: Self, otherwise: Self) -> Self {
        unsafe { _mm256_blendv_ps(otherwise, then, _mm256_cmp_ps::<_CMP_UNORD_Q>(self, self)) }
    }
    #[inline(always)]
    unsafe fn any_greater_integer(self, other: Self) -> bool {
        unsafe { _mm256_movemask_epi8(_mm256_cmpgt_epi32(_mm256_castps_si256(self), _mm256_castps_si256(other))) != 0 }
    }
    #[inline(always)]
    unsafe fn widen(self) -> Self::Doubles {
        unsafe { Two(_mm256_cvtps_pd(_mm256_castps256_ps128(self)), _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(self))) }
    }
    #[inline(always)]
    unsafe fn narrow(doubles: Self::Doubles) -> Self {
        unsafe { _mm256_set_m128(_mm256_cvtpd_ps(doubles.1), _mm256_cvtpd_ps(doubles.0)) }
    }
    #[inline(always)]
    unsafe fn low_words(doubles: Self::Doubles) -> Self {
        // The even words of both halves come out as 0, 1, 4, 5, 2, 3, 6, 7.
        unsafe {
            let even = _mm256_shuffle_ps::<0b10_00_10_00>(_mm256_castpd_ps(doubles.0), _mm256_castpd_ps(doubles.1));
            _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(even)))
        }
    }
}

/// All bits of the first `count` lanes.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn first_of_eight(count: usize) -> __m256i {
    static BITS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    unsafe { _mm256_loadu_si256(BITS.as_ptr().add(8 - count).cast()) }
}

#[cfg(target_arch = "x86_64")]
impl Bits for __m512 {
    type Doubles = Two<__m512d>;
    type Block = Two<Two<__m512>>;

    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        unsafe { _mm512_maskz_loadu_ps((1 << count) - 1, from) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        unsafe { _mm512_mask_storeu_ps(to, (1 << count) - 1, self) }
    }
    #[inline(always)]
    unsafe fn first_or(self, count: usize, others: Self) -> Self {
        unsafe { _mm512_mask_blend_ps((1 << count) - 1, others, self) }
    }

    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        unsafe { _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(self), _mm512_castps_si512(other))) }
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        unsafe { _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(self), _mm512_castps_si512(other))) }
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        unsafe { _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(self), _mm512_castps_si512(other))) }
    }
    #[inline(always)]
    unsafe fn add_integer(self, other: Self) -> Self {
        unsafe { _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(self), _mm512_castps_si512(other))) }
    }
    #[inline(always)]
    unsafe fn sub_integer(self, other: Self) -> Self {
        unsafe { _mm512_castsi512_ps(_mm512_sub_epi32(_mm512_castps_si512(self), _mm512_castps_si512(other))) }
    }
    #[inline(always)]
    unsafe fn shift_left(self, count: u32) -> Self {
        unsafe { _mm512_castsi512_ps(_mm512_sll_epi32(_mm512_castps_si512(self), _mm_cvtsi32_si128(count as i32))) }
    }
    #[inline(always)]
    unsafe fn shift_right(self, count: u32) -> Self {
        unsafe { _mm512_castsi512_ps(_mm512_srl_epi32(_mm512_castps_si512(self), _mm_cvtsi32_si128(count as i32))) }
    }
    #[inline(always)]
    unsafe fn select_equal(self, other: Self, then: Self, otherwise: Self) -> Self {
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(self, other), otherwise, then) }
    }
    #[inline(always)]
    unsafe fn select_nan(self, then: Self, otherwise: Self) -> Self {
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self, self), otherwise, then) }
    }
    #[inline(always)]
    unsafe fn any_greater_integer(self, other: Self) -> bool {
        unsafe { _mm512_cmpgt_epi32_mask(_mm512_castps_si512(self), _mm512_castps_si512(other)) != 0 }
    }
    #[inline(always)]
    unsafe fn widen(self) -> Self::Doubles {
        unsafe {
            let high = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(self));
            Two(_mm512_cvtps_pd(_mm512_castps512_ps256(self)), _mm512_cvtps_pd(_mm256_castpd_ps(high)))
        }
    }
    #[inline(always)]
    unsafe fn narrow(doubles: Self::Doubles) -> Self {
        unsafe {
            let (low, high) = (_mm512_cvtpd_ps(doubles.0), _mm512_cvtpd_ps(doubles.1));
            let low = _mm512_castpd256_pd512(_mm256_castps_pd(low));
            _mm512_castpd_ps(_mm512_insertf64x4::<1>(low, _mm256_castps_pd(high)))
        }
    }
    #[inline(always)]
    unsafe fn low_words(doubles: Self::Doubles) -> Self {
        unsafe {
            let low = _mm512_cvtepi64_epi32(_mm512_castpd_si512(doubles.0));
            let high = _mm512_cvtepi64_epi32(_mm512_castpd_si512(doubles.1));
            _mm512_castsi512_ps(_mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high))
        }
    }
}

/// An operation on integers, for lanes of floats.
#[cfg(target_arch = "aarch64")]
macro_rules! on_integers {
    ($($operation:ident => $instruction:ident,)*) => {
        $(
            #[inline(always)]
            unsafe fn $operation(self, other: Self) -> Self {
                unsafe { vreinterpretq_f32_u32($instruction(vreinterpretq_u32_f32(self), vreinterpretq_u32_f32(other))) }
            }
        )*
    };
}

#[cfg(target_arch = "aarch64")]
impl Bits for float32x4_t {
    type Doubles = Two<float64x2_t>;
    type Block = Two<Two<Two<Two<float32x4_t>>>>;

    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        let mut padded = [0.0; 4];
        unsafe {
            for index in 0..count.min(3) {
                padded[index] = from.add(index).read();
            }
            vld1q_f32(padded.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        let mut padded = [0.0; 4];
        unsafe {
            vst1q_f32(padded.as_mut_ptr(), self);
            for index in 0..count.min(3) {
                to.add(index).write(padded[index]);
            }
        }
    }
    #[inline(always)]
    unsafe fn first_or(self, count: usize, others: Self) -> Self {
        static BITS: [u32; 8] = [!0, !0, !0, !0, 0, 0, 0, 0];
        unsafe { vbslq_f32(vld1q_u32(BITS.as_ptr().add(4 - count)), self, others) }
    }

    on_integers! {
        and => vandq_u32,
        or => vorrq_u32,
        xor => veorq_u32,
        add_integer => vaddq_u32,
        sub_integer => vsubq_u32,
    }

    #[inline(always)]
    unsafe fn shift_left(self, count: u32) -> Self {
        unsafe { vreinterpretq_f32_u32(vshlq_u32(vreinterpretq_u32_f32(self), vdupq_n_s32(count as i32))) }
    }
    #[inline(always)]
    unsafe fn shift_right(self, count: u32) -> Self {
        unsafe { vreinterpretq_f32_u32(vshlq_u32(vreinterpretq_u32_f32(self), vdupq_n_s32(-(count as i32)))) }
    }
    #[inline(always)]
    unsafe fn select_equal(self, other: Self, then: Self, otherwise: Self) -> Self {
        unsafe { vbslq_f32(vceqq_f32(self, other), then, otherwise) }
    }
    #[inline(always)]
    unsafe fn select_nan(self, then: Self, otherwise: Self) -> Self {
        unsafe { vbslq_f32(vceqq_f32(self, self), otherwise, then) }
    }
    #[inline(always)]
    unsafe fn any_greater_integer(self, other: Self) -> bool {
        unsafe { vmaxvq_u32(vcgtq_s32(vreinterpretq_s32_f32(self), vreinterpretq_s32_f32(other))) != 0 }
    }
    #[inline(always)]
    unsafe fn widen(self) -> Self::Doubles {
        unsafe { Two(vcvt_f64_f32(vget_low_f32(self)), vcvt_high_f64_f32(self)) }
    }
    #[inline(always)]
    unsafe fn narrow(doubles: Self::Doubles) -> Self {
        unsafe { vcvt_high_f32_f64(vcvt_f32_f64(doubles.0), doubles.1) }
    }
    #[inline(always)]
    unsafe fn low_words(doubles: Self::Doubles) -> Self {
        unsafe { vuzp1q_f32(vreinterpretq_f32_f64(doubles.0), vreinterpretq_f32_f64(doubles.1)) }
    }
}
