//! The alpha channel: how opaque each pixel is.

use ::image::Luma;

use super::turned;
use crate::depth::Depth;
use crate::error::{Error, Result};
use crate::orientation::Orientation;

/// Opacity per pixel in raster order: 0 is transparent, the depth's largest sample opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alpha {
    depth: Depth,
    samples: Vec<u16>,
}

impl Alpha {
    /// An alpha channel of samples of `depth`.
    ///
    /// # Errors
    /// [`Error::Image`] when a sample is larger than the depth allows.
    pub fn new(depth: Depth, samples: Vec<u16>) -> Result<Self> {
        if samples.iter().any(|&sample| sample > depth.max()) {
            return Err(Error::Image(format!(
                "a sample of alpha has more than {} bits",
                depth.bits()
            )));
        }
        Ok(Self { depth, samples })
    }

    /// An alpha channel of 16-bit samples, kept in 8 bits where that loses nothing: where every
    /// sample is a multiple of 257, which is how 8-bit samples are written in 16 bits.
    #[must_use]
    pub fn from_wide(samples: Vec<u16>) -> Self {
        if samples.iter().any(|sample| sample % 257 != 0) {
            return Self {
                depth: Depth::Sixteen,
                samples,
            };
        }
        Self {
            depth: Depth::Eight,
            samples: samples.into_iter().map(|sample| sample / 257).collect(),
        }
    }

    /// Bits per sample.
    #[must_use]
    pub fn depth(&self) -> Depth {
        self.depth
    }

    /// The samples, one per pixel.
    #[must_use]
    pub fn samples(&self) -> &[u16] {
        &self.samples
    }

    /// The sample of a pixel in 8 bits, rounded; opaque if there is none.
    #[allow(clippy::cast_possible_truncation)] // at most 255
    pub(super) fn narrow(&self, at: usize) -> u8 {
        let max = u32::from(self.depth.max());
        let wide = self.samples.get(at).copied().map_or(max, u32::from);
        ((wide * 255 + max / 2) / max) as u8
    }

    /// Whether no pixel is transparent to any degree.
    #[must_use]
    pub fn is_opaque(&self) -> bool {
        self.samples
            .iter()
            .all(|&sample| sample == self.depth.max())
    }

    /// Checks that there is a sample per pixel of a picture of `width * height`.
    ///
    /// # Errors
    /// [`Error::Image`] when there is not.
    pub(crate) fn check_size(&self, width: u32, height: u32) -> Result<()> {
        let wanted = u64::from(width) * u64::from(height);
        let found = self.samples.len();
        if found as u64 == wanted {
            return Ok(());
        }
        Err(Error::Image(format!(
            "{width}x{height} pixels need {wanted} samples of alpha, found {found}"
        )))
    }

    /// The samples of the upright picture, for a stored one of `size` (width, height).
    ///
    /// # Errors
    /// [`Error::Image`] when there are too few.
    pub(super) fn into_upright(self, size: (u32, u32), orientation: Orientation) -> Result<Self> {
        let samples = turned::<Luma<u16>>(size, self.samples, orientation)?;
        Ok(Self {
            depth: self.depth,
            samples: samples.into_luma16().into_raw(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Image;

    #[test]
    fn wide_samples_become_narrow_only_without_loss() {
        let narrow = Alpha::from_wide(vec![0, 257, 65_535]);
        assert_eq!(
            (narrow.depth(), narrow.samples()),
            (Depth::Eight, &[0, 1, 255][..])
        );
        let wide = Alpha::from_wide(vec![0, 258, 65_535]);
        assert_eq!(
            (wide.depth(), wide.samples()),
            (Depth::Sixteen, &[0, 258, 65_535][..])
        );
    }

    #[test]
    fn sizes_and_samples_are_checked() {
        assert!(Alpha::new(Depth::Eight, vec![256]).is_err());
        assert!(Alpha::new(Depth::Sixteen, vec![256]).is_ok());
        let image = || Image::new(2, 1, vec![0; 6]).unwrap();
        let alpha = |samples| Alpha::new(Depth::Eight, samples).unwrap();
        assert!(image().with_alpha(alpha(vec![0])).is_err());
        assert!(
            image()
                .with_alpha(alpha(vec![0, 255]))
                .unwrap()
                .alpha
                .is_some()
        );
        assert!(
            image()
                .with_alpha(alpha(vec![255; 2]))
                .unwrap()
                .alpha
                .is_none()
        );
    }
}
