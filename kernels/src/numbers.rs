//! Numbers for tests.

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

/// A generator of the xorshift family: the same numbers everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn bits(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }

    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * ((self.bits() >> 8) as f32 / 16_777_216.0)
    }
}

/// The bits, of every NaN the same ones.
pub(crate) fn canonical(value: f32) -> u32 {
    if value.is_nan() { 0x7fc0_0000 } else { value.to_bits() }
}

pub(crate) fn same_bits(left: f32, right: f32) -> bool {
    canonical(left) == canonical(right)
}

/// FNV-1a of the canonical bits.
pub(crate) fn fingerprint(values: &[f32]) -> u64 {
    values
        .iter()
        .flat_map(|value| canonical(*value).to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
