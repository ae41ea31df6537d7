//! A small random number generator that gives the same numbers for ever.

/// Marsaglia's xorshift64.
pub struct Random(u64);

impl Random {
    /// Starts a sequence.
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..8 {
            random.next();
        }
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        (self.next() >> 56) as u8
    }

    /// A number in `-bound..bound`, computed without rounding before the product.
    pub fn within(&mut self, bound: f32) -> f32 {
        let numerator = (self.next() >> 40) as f32 - 8_388_608.0;
        numerator / 8_388_608.0 * bound
    }
}
