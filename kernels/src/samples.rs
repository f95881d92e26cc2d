//! Values that tests compute with, and how they compare results.

use crate::Isa;

/// All that can be tested here.
pub(crate) fn isas() -> Vec<Isa> {
    Isa::available().into_iter().chain(Isa::wide()).collect()
}

/// Zeros, infinities, NaNs (one signalling), the smallest and the largest, and small integers.
pub(crate) const SPECIAL: [f32; 28] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    2.0,
    -2.0,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    f32::from_bits(0x7f80_0001),
    f32::from_bits(0xffc0_1234),
    f32::MIN_POSITIVE,
    -f32::MIN_POSITIVE,
    1.175_494_2e-38,
    -1.175_494_2e-38,
    1e-45,
    -1e-45,
    1e-42,
    -3e-40,
    f32::MAX,
    f32::MIN,
    16_777_216.0,
    -16_777_217.0,
    8_388_607.5,
    1e30,
    -1e-30,
];

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

    /// The bits of a number of any size, or of none.
    pub(crate) fn word(&mut self) -> u32 {
        (self.bits() >> 32) as u32
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.bits() >> 33) as usize % end
    }

    /// Between -1 and 1.
    pub(crate) fn value(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * ((self.bits() >> 40) as f32 / (1u64 << 24) as f32)
    }

    pub(crate) fn values(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.value()).collect()
    }

    /// Values of which one in `often` is extreme.
    pub(crate) fn extremes(&mut self, len: usize, often: usize) -> Vec<f32> {
        (0..len)
            .map(|_| if self.below(often) == 0 { SPECIAL[self.below(SPECIAL.len())] } else { self.value() })
            .collect()
    }
}

/// Bits, with one NaN for all: which it is differs between processors.
pub(crate) fn canonical(value: f32) -> u32 {
    if value.is_nan() { 0x7fc0_0000 } else { value.to_bits() }
}

pub(crate) fn same_bits(left: f32, right: f32) -> bool {
    canonical(left) == canonical(right)
}

pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| canonical(*value)).collect()
}

/// FNV-1a of the bits, for golden vectors.
pub(crate) fn hash(values: &[f32]) -> u64 {
    hash_bytes(bits(values).into_iter().flat_map(u32::to_le_bytes))
}

pub(crate) fn hash_bytes(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
