//! The user's quality number as it is stored (spec: "Header").

use std::fmt;

use crate::error::{Error, Result};
use crate::format::QUALITY_MAX;

/// A quality from 0 (smallest file) to 100 (best picture) in steps of 0.002.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quality(u16);

impl Quality {
    /// Largest stored value, quality 100.
    pub const MAX_RAW: u16 = QUALITY_MAX;
    /// Stored steps per unit of quality.
    const STEPS: f64 = QUALITY_MAX as f64 / 100.0;

    /// The nearest quality to a number in `0..=100`.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] outside that range, and for NaN.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // from 0 to 50000
    pub fn from_percent(percent: f64) -> Result<Self> {
        if !(0.0..=100.0).contains(&percent) {
            return Err(Error::InvalidOption(format!(
                "quality {percent} is not in 0..=100"
            )));
        }
        Ok(Self((percent * Self::STEPS).round() as u16))
    }

    /// The quality with a stored value, in `0..=50000`.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] above that.
    pub fn from_raw(raw: u16) -> Result<Self> {
        if raw > Self::MAX_RAW {
            return Err(Error::InvalidOption(format!(
                "quality {raw} is not in 0..={}",
                Self::MAX_RAW
            )));
        }
        Ok(Self(raw))
    }

    /// The quality as a number in `0..=100`.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / Self::STEPS
    }

    /// The stored value, in `0..=50000`.
    pub fn raw(self) -> u16 {
        self.0
    }
}

impl Default for Quality {
    /// 60, at which pictures look like their originals from a usual distance.
    fn default() -> Self {
        Self(30_000)
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.percent(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stored_value_survives_its_percentage() {
        for raw in 0..=Quality::MAX_RAW {
            let quality = Quality::from_raw(raw).unwrap();
            assert_eq!(Quality::from_percent(quality.percent()).unwrap(), quality);
        }
        assert_eq!(Quality::default().percent(), 60.0);
        assert_eq!(Quality::from_percent(75.5).unwrap().raw(), 37_750);
        assert_eq!(Quality::from_percent(75.5).unwrap().to_string(), "75.5");
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for percent in [-0.001, 100.001, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(matches!(
                Quality::from_percent(percent),
                Err(Error::InvalidOption(_))
            ));
        }
        assert!(matches!(
            Quality::from_raw(50_001),
            Err(Error::InvalidOption(_))
        ));
    }
}
