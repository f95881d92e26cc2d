//! Lanes in double precision, for steps whose rounding in single precision would be seen in the result.

use crate::vector::Vector;
#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// As many `f64` as the instruction set has lanes of `f32`. Integers are 64 bits wide and wrap.
///
/// # Safety
///
/// All functions need a processor with the instruction set.
pub(crate) trait Doubles: Vector<Number = f64> {
    unsafe fn and(self, other: Self) -> Self;
    unsafe fn or(self, other: Self) -> Self;
    unsafe fn add_integer(self, other: Self) -> Self;
    /// Shifts zeros in; `count` is a constant under 64.
    unsafe fn shift_left(self, count: u32) -> Self;
    /// Shifts zeros in; `count` is a constant under 64.
    unsafe fn shift_right(self, count: u32) -> Self;
}

impl Doubles for f64 {
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

/// Operations on integers, between two conversions of doubles that do nothing; those with another operand make it of a number.
macro_rules! doubles {
    (
        $vector:ty, $to:ident, $from:ident, $($operation:ident => $instruction:ident,)*;
        $($shift:ident($count:ident) => $shifted:ident $amount:expr,)*
    ) => {
        impl Doubles for $vector {
            $(
                #[inline(always)]
                unsafe fn $operation(self, other: Self) -> Self {
                    unsafe { $from($instruction($to(self), $to(other))) }
                }
            )*
            $(
                #[inline(always)]
                unsafe fn $shift(self, $count: u32) -> Self {
                    unsafe { $from($shifted($to(self), $amount)) }
                }
            )*
        }
    };
}

#[cfg(target_arch = "x86_64")]
doubles! {
    __m256d, _mm256_castpd_si256, _mm256_castsi256_pd,
    and => _mm256_and_si256,
    or => _mm256_or_si256,
    add_integer => _mm256_add_epi64,;
    shift_left(count) => _mm256_sll_epi64 _mm_cvtsi32_si128(count as i32),
    shift_right(count) => _mm256_srl_epi64 _mm_cvtsi32_si128(count as i32),
}

#[cfg(target_arch = "x86_64")]
doubles! {
    __m512d, _mm512_castpd_si512, _mm512_castsi512_pd,
    and => _mm512_and_si512,
    or => _mm512_or_si512,
    add_integer => _mm512_add_epi64,;
    shift_left(count) => _mm512_sll_epi64 _mm_cvtsi32_si128(count as i32),
    shift_right(count) => _mm512_srl_epi64 _mm_cvtsi32_si128(count as i32),
}

#[cfg(target_arch = "aarch64")]
doubles! {
    float64x2_t, vreinterpretq_u64_f64, vreinterpretq_f64_u64,
    and => vandq_u64,
    or => vorrq_u64,
    add_integer => vaddq_u64,;
    shift_left(count) => vshlq_u64 vdupq_n_s64(i64::from(count)),
    shift_right(count) => vshlq_u64 vdupq_n_s64(-i64::from(count)),
}
