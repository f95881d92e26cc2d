//! What the programs have in common: data that is the same in every run.

/// A stream of pseudo-random numbers (xorshift64*).
pub struct Random(u64);

impl Random {
    /// A stream that depends on `seed` alone.
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }

    /// A number from 0 to 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Lines as a server might log them, of `len` bytes or a little more.
pub fn log(len: usize) -> String {
    const WORDS: [&str; 16] = [
        "request",
        "accepted",
        "from",
        "timeout",
        "cache",
        "miss",
        "worker",
        "started",
        "queue",
        "full",
        "retry",
        "after",
        "connection",
        "closed",
        "by",
        "peer",
    ];
    let mut random = Random::new(7);
    let mut text = String::with_capacity(len + 128);
    while text.len() < len {
        let [day, hour, minute] = [28, 24, 60].map(|bound| random.below(bound));
        text += &format!("2026-01-{:02}T{hour:02}:{minute:02}:00Z ", day + 1);
        for _ in 0..4 + random.below(6) {
            text += WORDS[random.below(WORDS.len())];
            text.push(' ');
        }
        let octets = [256; 4].map(|bound| random.below(bound));
        text += &format!("10.{}.{}.{}:{}\n", octets[1], octets[2], octets[3], random.below(65_536));
    }
    text
}

/// A short digest (FNV-1a) of what a program computed.
pub fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
