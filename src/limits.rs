//! Limits that are checked before memory is asked for.

use crate::error::{Error, Result};

/// Upper bounds on what a file or an input picture may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most pixels (`width * height`) a picture may have.
    pub max_pixels: u64,
    /// Most bytes one metadata section (ICC, Exif, XMP) may have.
    pub max_metadata_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_pixels: 1 << 28,
            max_metadata_bytes: 1 << 26,
        }
    }
}

impl Limits {
    /// Checks a picture size.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] when `width * height` is over `max_pixels`.
    pub fn check_pixels(&self, width: u32, height: u32) -> Result<()> {
        let found = u64::from(width) * u64::from(height);
        if found > self.max_pixels {
            return Err(Error::LimitExceeded {
                what: "number of pixels",
                found,
                limit: self.max_pixels,
            });
        }
        Ok(())
    }
}
