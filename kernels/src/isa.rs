//! Instruction sets that kernels are compiled for.

use crate::lanes::Lanes;
use std::sync::LazyLock;

/// An instruction set that this processor has. Which one runs a kernel decides its speed and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Isa(Instructions);

/// Instruction sets. Only those that are there are put into an [`Isa`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Instructions {
    /// Whatever the program was compiled for, one lane at a time.
    Portable,
    /// AVX2 and FMA: 8 lanes.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512F: 16 lanes.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// NEON: 4 lanes.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// As many lanes as AVX-512 has, in several narrower vectors: its tiles are tested where there is none.
    #[cfg(test)]
    Wide,
}

/// A computation on lanes, compiled once for each instruction set. Its [`run`](Kernel::run) and all that it calls must be
/// `#[inline(always)]`: a function that is not inlined does not know the instruction set. That is also why these are structs, not
/// closures.
pub(crate) trait Kernel {
    type Output;

    fn run<L: Lanes>(self) -> Self::Output;
}

impl Isa {
    /// Whatever the program was compiled for, one lane at a time: what every processor has.
    pub const PORTABLE: Isa = Isa(Instructions::Portable);

    /// The instruction sets that this processor has, the fastest last.
    pub fn available() -> Vec<Isa> {
        let mut available = vec![Isa::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            available.extend(has_avx2.then_some(Isa(Instructions::Avx2)));
            available.extend((has_avx2 && is_x86_feature_detected!("avx512f")).then_some(Isa(Instructions::Avx512)));
        }
        #[cfg(target_arch = "aarch64")]
        available.extend(std::arch::is_aarch64_feature_detected!("neon").then_some(Isa(Instructions::Neon)));
        available
    }

    /// If it can be had here.
    #[cfg(test)]
    pub(crate) fn wide() -> Option<Isa> {
        (Isa::available().len() > 1).then_some(Isa(Instructions::Wide))
    }

    /// The fastest that this processor has.
    pub fn best() -> Isa {
        static BEST: LazyLock<Isa> = LazyLock::new(|| *Isa::available().last().expect("one is portable"));
        *BEST
    }

    pub(crate) fn instructions(self) -> Instructions {
        self.0
    }

    /// Runs a kernel with these instructions.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Instructions::Portable => kernel.run::<f32>(),
            // SAFETY: what is not available is never made, see `available`.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => unsafe { avx2(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => unsafe { avx512(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Instructions::Neon => unsafe { neon(kernel) },
            // SAFETY: see `wide`.
            #[cfg(test)]
            Instructions::Wide => unsafe { wide(kernel) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<std::arch::x86_64::__m256>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<std::arch::x86_64::__m512>()
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn neon<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<std::arch::aarch64::float32x4_t>()
}

#[cfg(all(test, target_arch = "x86_64"))]
#[target_feature(enable = "avx2,fma")]
fn wide<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<crate::two::Two<std::arch::x86_64::__m256>>()
}

#[cfg(all(test, target_arch = "aarch64"))]
#[target_feature(enable = "neon")]
fn wide<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<crate::two::Two<crate::two::Two<std::arch::aarch64::float32x4_t>>>()
}
