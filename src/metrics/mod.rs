//! Picture quality and rate-distortion measures.
//!
//! Pure functions over 8-bit RGB samples and curves; nothing here knows about
//! files, codecs or tensors. They are the numbers that `aec compare`,
//! `aec bench` and training report, so each is tested against values of an
//! independent implementation.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // statistics round

mod bd_rate;
mod ms_ssim;
mod psnr;
#[cfg(feature = "cli")]
mod ssimulacra2;
pub mod visual;

use crate::error::{Error, Result};

pub use bd_rate::{BdRate, MIN_OVERLAP, MIN_POINTS, NoBdRate, RatePoint, bd_rate};
pub use ms_ssim::{MS_SSIM_MIN_SIDE, ms_ssim, ms_ssim_db};
pub use psnr::{mse, psnr, psnr_from_error, squared_error};
#[cfg(feature = "cli")]
pub use ssimulacra2::{SSIMULACRA2_MIN_SIDE, ssimulacra2};

/// Gray over which pictures with alpha are blended before they are measured: the measures, and codecs such as JPEG, know
/// opaque pictures only.
pub const BACKGROUND: u8 = 128;

/// A borrowed picture: interleaved 8-bit RGB samples, row by row.
#[derive(Debug, Clone, Copy)]
pub struct RgbView<'a> {
    samples: &'a [u8],
    width: usize,
    height: usize,
}

impl<'a> RgbView<'a> {
    /// Wraps `samples` (`height * width * 3` bytes) of a picture.
    ///
    /// # Errors
    /// [`Error::Image`] when a side is zero or the number of samples does not fit the sides.
    pub fn new(samples: &'a [u8], width: u32, height: u32) -> Result<Self> {
        let expected = u128::from(width) * u128::from(height) * 3;
        if expected == 0 || samples.len() as u128 != expected {
            let found = samples.len();
            return Err(Error::Image(format!(
                "{found} samples do not make a {width}x{height} RGB picture"
            )));
        }
        // The sample count was just compared with a real slice, so both sides fit in memory.
        Ok(Self {
            samples,
            width: width as usize,
            height: height as usize,
        })
    }

    /// The samples, `height * width * 3` of them.
    pub fn samples(&self) -> &'a [u8] {
        self.samples
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Fails unless `other` has the same size, of at least `min` pixels on each side, as a measure needs.
    fn check_sides(&self, other: &Self, measure: &str, min: usize) -> Result<()> {
        self.check_same_size(other)?;
        if self.width.min(self.height) >= min {
            return Ok(());
        }
        Err(Error::Image(format!(
            "{}x{} is too small for {measure}, which needs {min} pixels on each side",
            self.width, self.height
        )))
    }

    /// Fails unless `other` has the same size.
    fn check_same_size(&self, other: &Self) -> Result<()> {
        if (self.width, self.height) == (other.width, other.height) {
            return Ok(());
        }
        Err(Error::Image(format!(
            "pictures differ in size: {}x{} and {}x{}",
            self.width, self.height, other.width, other.height
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_needs_exactly_its_samples() {
        let samples = [0_u8; 12];
        assert!(RgbView::new(&samples, 2, 2).is_ok());
        assert!(RgbView::new(&samples, 2, 3).is_err());
        assert!(RgbView::new(&samples, u32::MAX, u32::MAX).is_err());
        assert!(RgbView::new(&[], 0, 7).is_err());
    }

    #[test]
    fn sizes_must_agree() {
        let samples = [0_u8; 6];
        let wide = RgbView::new(&samples, 2, 1).expect("two pixels");
        let tall = RgbView::new(&samples, 1, 2).expect("two pixels");
        let message = psnr(&wide, &tall).expect_err("sizes differ").to_string();
        assert!(message.contains("2x1 and 1x2"), "{message}");
    }
}
