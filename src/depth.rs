//! The number of bits of a sample, shared by the layers that carry samples.

/// Bits per sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Samples are `0..=255`.
    Eight,
    /// Samples are `0..=65535`.
    Sixteen,
}

impl Depth {
    /// The number of bits: 8 or 16.
    #[must_use]
    pub fn bits(self) -> u32 {
        match self {
            Self::Eight => 8,
            Self::Sixteen => 16,
        }
    }

    /// The largest sample.
    #[must_use]
    pub fn max(self) -> u16 {
        match self {
            Self::Eight => 255,
            Self::Sixteen => 65_535,
        }
    }
}
