//! All lanes merged into one number, the upper half into the lower each time.

use crate::lanes::Lanes;
use crate::two::Two;
use crate::vector::Vector;
#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// How two numbers become one.
pub(crate) trait Merge {
    /// # Safety
    ///
    /// The processor has the lanes' instruction set.
    unsafe fn merge<L: Lanes>(lower: L, upper: L) -> L;
}

/// Lanes that can be merged.
pub(crate) trait Halve: Copy {
    /// # Safety
    ///
    /// The processor has the lanes' instruction set.
    unsafe fn halve<M: Merge>(self) -> f32;
}

impl Halve for f32 {
    #[inline(always)]
    unsafe fn halve<M: Merge>(self) -> f32 {
        self
    }
}

impl<L: Lanes> Halve for Two<L> {
    #[inline(always)]
    unsafe fn halve<M: Merge>(self) -> f32 {
        // SAFETY: the caller's.
        unsafe { M::merge(self.0, self.1).halve::<M>() }
    }
}

/// Merges a vector as lanes of one.
macro_rules! one_by_one {
    ($vector:ty as $lanes:ty) => {
        impl Halve for $vector {
            #[inline(always)]
            unsafe fn halve<M: Merge>(self) -> f32 {
                let mut lanes = [0.0; <$vector>::LANES];
                // SAFETY: the caller's; there is room for all lanes.
                unsafe {
                    self.store(lanes.as_mut_ptr());
                    <$lanes>::load(lanes.as_ptr()).halve::<M>()
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
impl Halve for __m256 {
    #[inline(always)]
    unsafe fn halve<M: Merge>(self) -> f32 {
        // SAFETY: the caller's. What is left in the upper lanes is not used.
        unsafe {
            let four = M::merge(self, _mm256_permute2f128_ps::<1>(self, self));
            let two = M::merge(four, _mm256_permute_ps::<0b11_10>(four));
            let one = M::merge(two, _mm256_permute_ps::<1>(two));
            _mm256_cvtss_f32(one)
        }
    }
}
#[cfg(target_arch = "x86_64")]
one_by_one! { __m512 as Two<Two<Two<Two<f32>>>> }
#[cfg(target_arch = "aarch64")]
one_by_one! { float32x4_t as Two<Two<f32>> }
