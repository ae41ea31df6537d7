//! Limits that are checked before memory is asked for.

use crate::error::{Error, Result};
use crate::format::TILE_UNIT;

/// Upper bounds on what a file or an input picture may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most pixels (`width * height`) a picture may have. In coding, a side below 64 counts as 64.
    pub max_pixels: u64,
    /// Most pixels that a side may have. Memory follows the width as well as the number of pixels.
    pub max_side: u32,
    /// Most bytes one metadata section (ICC, Exif, XMP) may have.
    pub max_metadata_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_pixels: 1 << 28,
            max_side: 65_535,
            max_metadata_bytes: 1 << 26,
        }
    }
}

impl Limits {
    /// Checks a picture size.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] when `width * height` is over `max_pixels`, or one of them over `max_side`.
    pub(crate) fn check_pixels(&self, width: u32, height: u32) -> Result<()> {
        self.check("number of pixels", width, height)?;
        at_most("width", width.into(), self.max_side.into())?;
        at_most("height", height.into(), self.max_side.into())
    }

    /// Checks the size of a picture that is to be coded: a side below 64 counts as 64, because as much is
    /// computed (codec-spec.md, Tiles). So the limit bounds the work on thin pictures too: the padded picture
    /// has less than four times the pixels that count, and less than 1.3 times if both sides are 512 or more.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] when that is over `max_pixels`.
    pub(crate) fn check_coded_pixels(&self, width: u32, height: u32) -> Result<()> {
        self.check_pixels(width, height)?;
        let what = "number of pixels (sides below 64 count as 64)";
        self.check(what, width.max(TILE_UNIT), height.max(TILE_UNIT))
    }

    /// Most bytes that a file with so many pixels can need, whatever its format: what is longer need not be read.
    pub(crate) fn most_file_bytes(&self, pixels: u64) -> u64 {
        // A pixel of plain-text PPM with 16 bits: three numbers of five digits, three separators.
        const MOST_PER_PIXEL: u64 = 18;
        // ICC, Exif, XMP, and as much of what is not kept.
        const MOST_BLOCKS: u64 = 4;
        const STRUCTURE: u64 = 1 << 16;
        let blocks = self.max_metadata_bytes.saturating_mul(MOST_BLOCKS);
        (pixels.saturating_mul(MOST_PER_PIXEL))
            .saturating_add(blocks)
            .saturating_add(STRUCTURE)
    }

    fn check(&self, what: &'static str, width: u32, height: u32) -> Result<()> {
        at_most(what, u64::from(width) * u64::from(height), self.max_pixels)
    }
}

/// Checks a size of what is called `what`.
///
/// # Errors
/// [`Error::LimitExceeded`] when it is over the limit.
pub(crate) fn at_most(what: &'static str, found: u64, limit: u64) -> Result<()> {
    if found > limit {
        return Err(Error::LimitExceeded { what, found, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thin_pictures_count_as_what_is_computed() {
        let limits = Limits {
            max_pixels: 6400,
            ..Limits::default()
        };
        for (width, height) in [(1, 6400), (80, 80), (64, 100), (100, 64)] {
            assert!(limits.check_pixels(width, height).is_ok());
        }
        assert!(limits.check_pixels(81, 80).is_err());
        for (width, height) in [(1, 1), (1, 100), (100, 1), (80, 80)] {
            assert!(limits.check_coded_pixels(width, height).is_ok());
        }
        for (width, height) in [(1, 101), (101, 1), (63, 101), (81, 80)] {
            assert!(limits.check_coded_pixels(width, height).is_err());
        }
        for (width, height, what) in [(65_536, 1, "width"), (1, 65_536, "height")] {
            let error = Limits::default().check_pixels(width, height).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("{what} 65536 is more than the limit of 65535")
            );
            assert!(
                Limits::default()
                    .check_pixels(width.min(65_535), height.min(65_535))
                    .is_ok()
            );
        }
        let most = limits.check_coded_pixels(u32::MAX, u32::MAX);
        assert!(
            most.unwrap_err()
                .to_string()
                .starts_with("number of pixels 18446744065119617025 ")
        );
    }
}
