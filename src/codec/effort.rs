//! How much the encoder searches, and for what.

use std::fmt;

use crate::error::{Error, Result};

/// How much time the encoder takes to find smaller files: 1 (a single pass) to 9.
///
/// What a decoder does and how long it takes does not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Effort(u8);

impl Effort {
    /// A single pass without search.
    pub const FASTEST: Self = Self(1);
    /// Most of what search gains, in a small part of the time.
    pub const DEFAULT: Self = Self(4);
    /// As far as search goes.
    pub const SLOWEST: Self = Self(9);

    /// The effort of this level.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] unless it is 1 to 9.
    pub fn new(level: u8) -> Result<Self> {
        if (Self::FASTEST.0..=Self::SLOWEST.0).contains(&level) {
            Ok(Self(level))
        } else {
            Err(Error::InvalidOption(format!(
                "effort {level} (want 1 to 9)"
            )))
        }
    }

    /// The level, 1 to 9.
    #[must_use]
    pub fn level(self) -> u8 {
        self.0
    }

    /// The rounds of search for squared error, at most.
    pub(super) fn rounds(self) -> Vec<Gradient> {
        use Gradient::{Shortcut, Whole};
        match self.0 {
            1 => vec![],
            2 => vec![Shortcut],
            3 => vec![Shortcut; 2],
            4 => vec![Whole, Shortcut],
            5 => vec![Whole; 3],
            6 => vec![Whole; 5],
            7 => vec![Whole; 8],
            8 => vec![Whole; 14],
            _ => vec![Whole; 30],
        }
    }

    /// The rounds for a structural measure: the way from the first pass, which knows of squared
    /// error alone, is longer.
    pub(super) fn structural_rounds(self) -> Vec<Gradient> {
        let rounds = [0, 1, 3, 5, 6, 8, 10, 14, 30][usize::from(self.0) - 1];
        vec![Gradient::Whole; rounds]
    }
}

/// How a round takes the gradient of the distortion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gradient {
    /// Past the blocks of the network: nearly no time beside the forward pass.
    Shortcut,
    /// Through everything.
    Whole,
}

impl Default for Effort {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The distortion that the encoder's search makes small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Tune {
    /// Squared error of the red, green and blue samples.
    #[default]
    Psnr,
    /// A multi-scale structural measure mixed with squared error that counts less where much
    /// is going on: nearer to what people see. At effort 1 there is no search to tune.
    Ssim,
}

impl Tune {
    /// The name, as printed and parsed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Psnr => "psnr",
            Self::Ssim => "ssim",
        }
    }
}

impl fmt::Display for Tune {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a round of search came to.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Round {
    /// 0 for the pass before the search, then 1, 2, ...
    pub number: u32,
    /// Bits of the latent's streams.
    pub bits: u64,
    /// PSNR in dB over the red, green and blue samples.
    pub psnr: f64,
    /// Bits and what the distortion is worth in bits: what the search makes small.
    pub cost: f64,
    /// Whether no round before cost less.
    pub is_best: bool,
}
