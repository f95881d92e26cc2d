//! Values that tests compute with, and how they compare results.

use crate::Isa;

/// All that can be tested here.
pub(crate) fn isas() -> Vec<Isa> {
    Isa::available().into_iter().chain(Isa::wide()).collect()
}

/// A fixed sequence (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.bits() >> 33) as usize % end
    }

    /// Between -1 and 1.
    pub(crate) fn value(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub(crate) fn values(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.value()).collect()
    }

    /// Values of which one in `often` is extreme.
    pub(crate) fn extremes(&mut self, len: usize, often: usize) -> Vec<f32> {
        const EXTREMES: [f32; 12] = [
            0.0,
            -0.0,
            1e-45,
            -1e-45,
            f32::MIN_POSITIVE,
            -1e-39,
            1e-30,
            -1e-30,
            f32::MAX,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
        ];
        (0..len)
            .map(|_| if self.below(often) == 0 { EXTREMES[self.below(EXTREMES.len())] } else { self.value() })
            .collect()
    }
}

/// Bits, with one NaN for all: which it is differs between processors.
pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| if value.is_nan() { 0x7fc0_0000 } else { value.to_bits() }).collect()
}

/// FNV-1a of the bits, for golden vectors.
pub(crate) fn hash(values: &[f32]) -> u64 {
    hash_bytes(bits(values).into_iter().flat_map(u32::to_le_bytes))
}

pub(crate) fn hash_bytes(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
