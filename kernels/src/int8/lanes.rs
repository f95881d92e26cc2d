//! Several 32-bit sums side by side, each of products of pairs of 16-bit integers.

use crate::Isa;
use crate::isa::Instructions;
#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Two integers in the halves of one, the first in the lower.
pub(crate) fn pair(first: i16, second: i16) -> i32 {
    i32::from(first) & 0xffff | i32::from(second) << 16
}

/// Lanes of one instruction set.
///
/// # Safety
///
/// All functions need a processor with the instruction set; pointers must be valid for `LANES` elements, and need not be aligned.
pub(crate) trait PairLanes: Copy {
    const LANES: usize;

    unsafe fn load(from: *const i32) -> Self;
    unsafe fn store(self, to: *mut i32);
    /// The same in all lanes.
    unsafe fn splat(value: i32) -> Self;
    /// The wrapping sum.
    unsafe fn add(self, other: Self) -> Self;
    /// `self₀ × pairs₀ + self₁ × pairs₁ + sum`, of which only the last addition may wrap: products of integers within ±255 are
    /// small.
    unsafe fn multiply_add(self, pairs: Self, sum: Self) -> Self;
}

impl PairLanes for i32 {
    const LANES: usize = 1;

    #[inline(always)]
    unsafe fn load(from: *const i32) -> Self {
        unsafe { from.read() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut i32) {
        unsafe { to.write(self) }
    }
    #[inline(always)]
    unsafe fn splat(value: i32) -> Self {
        value
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
    #[inline(always)]
    unsafe fn multiply_add(self, pairs: Self, sum: Self) -> Self {
        let first = i32::from(self as i16) * i32::from(pairs as i16);
        let second = (self >> 16) * (pairs >> 16);
        sum.wrapping_add(first + second)
    }
}

#[cfg(target_arch = "x86_64")]
impl PairLanes for __m256i {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn load(from: *const i32) -> Self {
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut i32) {
        unsafe { _mm256_storeu_si256(to.cast(), self) }
    }
    #[inline(always)]
    unsafe fn splat(value: i32) -> Self {
        unsafe { _mm256_set1_epi32(value) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { _mm256_add_epi32(self, other) }
    }
    #[inline(always)]
    unsafe fn multiply_add(self, pairs: Self, sum: Self) -> Self {
        unsafe { _mm256_add_epi32(_mm256_madd_epi16(self, pairs), sum) }
    }
}

#[cfg(target_arch = "aarch64")]
impl PairLanes for int32x4_t {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn load(from: *const i32) -> Self {
        unsafe { vld1q_s32(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut i32) {
        unsafe { vst1q_s32(to, self) }
    }
    #[inline(always)]
    unsafe fn splat(value: i32) -> Self {
        unsafe { vdupq_n_s32(value) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { vaddq_s32(self, other) }
    }
    #[inline(always)]
    unsafe fn multiply_add(self, pairs: Self, sum: Self) -> Self {
        unsafe {
            let (left, right) = (vreinterpretq_s16_s32(self), vreinterpretq_s16_s32(pairs));
            let low = vmull_s16(vget_low_s16(left), vget_low_s16(right));
            vaddq_s32(sum, vpaddq_s32(low, vmull_high_s16(left, right)))
        }
    }
}

/// A computation on lanes, compiled once for each instruction set, as `Kernel` is.
pub(crate) trait PairKernel {
    fn run<L: PairLanes>(self);
}

/// How many lanes there are. AVX-512F has no multiplication of 16-bit integers, so that its processors use AVX2.
pub(crate) fn lanes(isa: Isa) -> usize {
    match isa.instructions() {
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 | Instructions::Avx512 => 8,
        #[cfg(target_arch = "aarch64")]
        Instructions::Neon => 4,
        _ => 1,
    }
}

/// Runs a kernel with these instructions.
pub(crate) fn run<K: PairKernel>(isa: Isa, kernel: K) {
    match isa.instructions() {
        // SAFETY: an instruction set that is not available is never made, and AVX-512 is only with AVX2.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 | Instructions::Avx512 => unsafe { avx2(kernel) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Instructions::Neon => unsafe { neon(kernel) },
        _ => kernel.run::<i32>(),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<K: PairKernel>(kernel: K) {
    kernel.run::<__m256i>();
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn neon<K: PairKernel>(kernel: K) {
    kernel.run::<int32x4_t>();
}
