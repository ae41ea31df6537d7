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

    /// What to do for this distortion.
    pub(super) fn plan(self, tune: Tune) -> Plan {
        // Rounds through the linear path alone are quick, and a few of them find most of what there is. One through the
        // whole network takes half as long again for squared error, and twice as long for what people see.
        // Of both kinds at efforts 1 to 9.
        #[rustfmt::skip]
        let rounds = match tune {
            Tune::Psnr => [(0, 0), (1, 0), (2, 1), (2, 2), (2, 4), (2, 8), (2, 14), (2, 28), (2, 60)],
            Tune::Ssim => [(0, 0), (1, 0), (3, 0), (5, 0), (3, 2), (3, 4), (3, 8), (3, 16), (3, 40)],
        };
        let (linear, whole) = rounds[usize::from(self.0 - Self::FASTEST.0)];
        Plan {
            rounds: [vec![Gradient::Linear; linear], vec![Gradient::Whole; whole]].concat(),
            // It takes a third of a round. Squared error gains nothing by it.
            follows_rate: tune == Tune::Ssim && whole > 0,
            samples_end: self.0 <= 4,
            patience: if self.0 == Self::SLOWEST.0 { 4 } else { 2 },
        }
    }
}

/// The rounds of an effort.
pub(super) struct Plan {
    /// The gradient of each round, at most.
    pub rounds: Vec<Gradient>,
    /// Whether they follow the gradient of the rate too.
    pub follows_rate: bool,
    /// Whether what the last round found is judged by a part of the picture.
    pub samples_end: bool,
    /// Rounds in a row that bring next to nothing before the search ends.
    pub patience: u32,
}

/// How a round takes the gradient of the distortion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gradient {
    /// Through the linear path alone: nearly no time beside the forward pass.
    Linear,
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
    Psnr,
    /// The error that SSIMULACRA2 sees, mixed with squared error: nearer to what people see. At effort 1, without a
    /// search, it sets only the model and how values are moved before symbols are chosen.
    #[default]
    Ssim,
}

impl Tune {
    /// What to be good at where nobody says: what people see, but squared error where a PSNR is the goal.
    pub(crate) fn usual(psnr_is_goal: bool) -> Self {
        if psnr_is_goal { Self::Psnr } else { Self::Ssim }
    }

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
