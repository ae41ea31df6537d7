//! Pictures in memory: 8-bit RGB samples, alpha, and the metadata that travels along.
//!
//! Knows nothing of codecs, models or file paths. Reading and writing picture formats is in [`io`].

mod alpha;
#[cfg(feature = "formats")]
pub mod io;
pub(crate) mod notes;
pub(crate) mod samples;
mod tone;

pub use crate::metadata::Metadata;
pub use alpha::Alpha;

use ::image::{DynamicImage, ImageBuffer, Pixel, Rgb};

use crate::depth::Depth;
use crate::error::{Error, Result};
pub(crate) use crate::format::CHANNELS;
use crate::orientation::{Orientation, upright};
use crate::resolution::Resolution;

/// A picture: 8-bit RGB samples in raster order, as stored (not rotated).
///
/// Build one with [`Image::new`], which checks the sizes; the fields are public for reading
/// and for changing samples in place. More kinds of samples may be added later.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Image {
    /// Width in pixels, at least 1.
    pub width: u32,
    /// Height in pixels, at least 1.
    pub height: u32,
    /// Interleaved R, G, B samples, row by row: `width * height * 3` bytes.
    pub rgb: Vec<u8>,
    /// The picture is gray: all three samples of a pixel are equal, and it is written as gray.
    pub is_gray: bool,
    /// Opacity, where the picture is not opaque everywhere. The colors are not multiplied by it.
    pub alpha: Option<Alpha>,
    /// Color profile, Exif, XMP, resolution and orientation.
    pub metadata: Metadata,
}

impl Image {
    /// A picture from interleaved RGB samples, without metadata.
    ///
    /// # Errors
    /// [`Error::Image`] when a side is 0 or `rgb` does not hold `width * height * 3` bytes.
    pub fn new(width: u32, height: u32, rgb: Vec<u8>) -> Result<Self> {
        check_size(width, height, rgb.len())?;
        Ok(Self {
            width,
            height,
            rgb,
            is_gray: false,
            alpha: None,
            metadata: Metadata::default(),
        })
    }

    /// A picture from interleaved samples of red, green, blue and 8-bit alpha, by which the colors are not multiplied.
    ///
    /// # Errors
    /// As [`Image::new`], for `width * height * 4` bytes.
    pub fn from_rgba(width: u32, height: u32, rgba: &[u8]) -> Result<Self> {
        let (pixels, rest) = rgba.as_chunks::<4>();
        // A part of a pixel too many is one too many.
        let rgb = pixels.iter().flat_map(|&[r, g, b, _]| [r, g, b]);
        let image = Self::new(width, height, rgb.chain(rest.iter().copied()).collect())?;
        let opacity = pixels.iter().map(|pixel| pixel[3].into()).collect();
        image.with_alpha(Alpha::new(Depth::Eight, opacity)?)
    }

    /// A gray picture from one sample per pixel.
    ///
    /// # Errors
    /// As [`Image::new`], for `width * height` bytes.
    pub fn from_gray(width: u32, height: u32, gray: &[u8]) -> Result<Self> {
        let rgb = gray.iter().flat_map(|&v| [v; CHANNELS]).collect();
        let mut image = Self::new(width, height, rgb)?;
        image.is_gray = true;
        Ok(image)
    }

    /// The picture with an alpha channel; without one if `alpha` is opaque everywhere.
    ///
    /// # Errors
    /// [`Error::Image`] when `alpha` does not have a sample per pixel.
    pub fn with_alpha(self, alpha: Alpha) -> Result<Self> {
        alpha.check_size(self.width, self.height)?;
        let alpha = Some(alpha).filter(|alpha| !alpha.is_opaque());
        Ok(Self { alpha, ..self })
    }

    /// Checks what the public fields must keep to: that the samples and the alpha channel are those of a picture of
    /// this size, and that no side of the resolution is 0. What takes a picture calls it first.
    ///
    /// # Errors
    /// [`Error::Image`] when they do not.
    pub fn check(&self) -> Result<()> {
        check_size(self.width, self.height, self.rgb.len())?;
        if let Some(alpha) = &self.alpha {
            alpha.check_size(self.width, self.height)?;
        }
        match self.metadata.resolution {
            Some(Resolution { x: 0, .. } | Resolution { y: 0, .. }) => {
                Err(Error::Image("a side of the resolution is 0".into()))
            }
            _ => Ok(()),
        }
    }

    /// Blends the picture over a uniform gray, which leaves it opaque.
    #[allow(clippy::cast_possible_truncation)] // a weighted mean of two bytes
    pub fn flatten(&mut self, background: u8) {
        let Some(alpha) = self.alpha.take() else {
            return;
        };
        let max = u32::from(alpha.depth().max());
        let (pixels, _) = self.rgb.as_chunks_mut::<CHANNELS>();
        for (pixel, &opacity) in pixels.iter_mut().zip(alpha.samples()) {
            let opacity = u32::from(opacity);
            for sample in pixel {
                let sum = u32::from(*sample) * opacity + u32::from(background) * (max - opacity);
                // A weighted mean of two bytes.
                *sample = ((sum + max / 2) / max) as u8;
            }
        }
    }

    /// The colors, for the `image` crate.
    ///
    /// # Errors
    /// [`Error::Image`] when the fields were changed so that their sizes disagree.
    #[cfg(feature = "cli")]
    pub(crate) fn colors(&self) -> Result<ImageBuffer<Rgb<u8>, &[u8]>> {
        let colors = ImageBuffer::from_raw(self.width, self.height, &self.rgb[..]);
        colors.ok_or_else(misfit)
    }

    /// Interleaved samples of red, green, blue and alpha, 8 bits each: `width * height * 4` bytes. Alpha of 16 bits is
    /// rounded.
    #[must_use]
    pub fn to_rgba(&self) -> Vec<u8> {
        let alpha = self.alpha.as_ref();
        let opacity = |at: usize| alpha.map_or(u8::MAX, |alpha| alpha.narrow(at));
        let (pixels, _) = self.rgb.as_chunks::<CHANNELS>();
        let pixels = pixels.iter().enumerate();
        pixels
            .flat_map(|(at, &[r, g, b])| [r, g, b, opacity(at)])
            .collect()
    }

    /// Number of pixels.
    #[must_use]
    pub fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Width and height of the upright picture.
    #[must_use]
    pub fn upright_size(&self) -> (u32, u32) {
        upright(self.metadata.orientation, (self.width, self.height))
    }

    /// Replaces every pixel by the rounded mean of its samples and marks the picture as gray.
    pub fn make_gray(&mut self) {
        for pixel in self.rgb.as_chunks_mut::<CHANNELS>().0 {
            *pixel = [mean(*pixel); CHANNELS];
        }
        self.is_gray = true;
    }

    /// One sample per pixel: the rounded mean of R, G and B.
    #[must_use]
    pub fn to_gray(&self) -> Vec<u8> {
        let (pixels, _) = self.rgb.as_chunks::<CHANNELS>();
        pixels.iter().map(|&pixel| mean(pixel)).collect()
    }

    /// The picture as it is meant to be seen: rotated and flipped by its orientation, which is
    /// then none in [`Metadata::orientation`], in the Exif block and in the XMP block.
    ///
    /// # Errors
    /// [`Error::Image`] when the fields were changed so that their sizes disagree.
    pub fn into_upright(self) -> Result<Self> {
        self.check()?;
        let orientation = self.metadata.orientation;
        let mut upright = self;
        upright.metadata.reset_orientation();
        if orientation != Orientation::NoTransforms {
            let size = (upright.width, upright.height);
            let rgb = turned::<Rgb<u8>>(size, upright.rgb, orientation)?.into_rgb8();
            (upright.width, upright.height) = rgb.dimensions();
            upright.rgb = rgb.into_raw();
            let turn = |alpha: Alpha| alpha.into_upright(size, orientation);
            upright.alpha = upright.alpha.map(turn).transpose()?;
        }
        Ok(upright)
    }
}

/// Checks that `samples` are those of a picture of this size.
fn check_size(width: u32, height: u32, samples: usize) -> Result<()> {
    if width == 0 || height == 0 {
        return Err(Error::Image(format!(
            "the size is {width}x{height}, but neither side may be 0"
        )));
    }
    let wanted = (u64::from(width) * u64::from(height)).saturating_mul(CHANNELS as u64);
    if samples as u64 != wanted {
        return Err(Error::Image(format!(
            "{width}x{height} pixels need {wanted} bytes, found {samples}"
        )));
    }
    Ok(())
}

/// `round((r + g + b) / 3)`; equal samples stay as they are.
fn mean([r, g, b]: [u8; CHANNELS]) -> u8 {
    let sum = u16::from(r) + u16::from(g) + u16::from(b);
    u8::try_from((sum + 1) / 3).expect("(3 * 255 + 1) / 3 = 255")
}

/// The error for samples of another size than the picture's.
pub(crate) fn misfit() -> Error {
    Error::Image("the samples do not fit the size".into())
}

/// The samples of a picture of `size` (width, height) with an orientation applied.
fn turned<P>(
    (width, height): (u32, u32),
    samples: Vec<P::Subpixel>,
    orientation: Orientation,
) -> Result<DynamicImage>
where
    P: Pixel,
    DynamicImage: From<ImageBuffer<P, Vec<P::Subpixel>>>,
{
    let buffer = ImageBuffer::<P, _>::from_raw(width, height, samples);
    let mut picture = DynamicImage::from(buffer.ok_or_else(misfit)?);
    picture.apply_orientation(orientation);
    Ok(picture)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{EncodeOptions, Goal, Model, NoProgress, Target, encode, encode_to_target};
    use crate::depth::Depth;

    fn numbered(width: u32, height: u32) -> Image {
        let rgb = (0..width * height).flat_map(|i| [i as u8, 100 + i as u8, 7]);
        Image::new(width, height, rgb.collect()).unwrap()
    }

    #[test]
    fn new_checks_the_sizes() {
        assert!(Image::new(2, 2, vec![0; 12]).is_ok());
        for (w, h, n) in [(0, 1, 0), (1, 0, 0), (2, 2, 11), (2, 2, 13)] {
            assert!(matches!(Image::new(w, h, vec![0; n]), Err(Error::Image(_))));
        }
        assert!(matches!(
            Image::new(u32::MAX, u32::MAX, vec![]),
            Err(Error::Image(_))
        ));
    }

    #[test]
    fn fields_that_disagree_are_found_wherever_a_picture_is_taken() {
        let broken: [fn(&mut Image); 5] = [
            |image| image.width = 0,
            |image| image.width = 1 << 31,
            |image| image.height += 1,
            |image| image.rgb.truncate(17),
            |image| image.alpha = Some(Alpha::new(Depth::Eight, vec![1; 5]).unwrap()),
        ];
        assert!(numbered(3, 2).check().is_ok());
        let model = Model::embedded().unwrap();
        for (i, break_it) in broken.iter().enumerate() {
            let mut image = numbered(3, 2);
            break_it(&mut image);
            assert!(matches!(image.check(), Err(Error::Image(_))), "{i}");
            #[cfg(feature = "formats")]
            for format in [io::OutputFormat::Png, io::OutputFormat::Ppm] {
                let written = io::write(&image, format, std::io::sink());
                assert!(matches!(written, Err(Error::Image(_))), "{i}");
            }
            let options = EncodeOptions::default();
            let encoded = encode(&image, &model, &options, &NoProgress);
            assert!(matches!(encoded, Err(Error::Image(_))), "{i}");
            let goal = Target {
                goal: Goal::Bytes(1),
                best_effort: true,
            };
            let encoded = encode_to_target(&image, &model, &goal, &options, &NoProgress);
            assert!(matches!(encoded, Err(Error::Image(_))), "{i}");
            assert!(matches!(image.into_upright(), Err(Error::Image(_))), "{i}");
        }
    }

    #[test]
    fn gray_is_the_rounded_mean() {
        let mut image = Image::new(3, 1, vec![9, 9, 9, 255, 255, 254, 0, 0, 1]).unwrap();
        assert_eq!(image.to_gray(), [9, 255, 0]);
        image.make_gray();
        assert!(image.is_gray);
        assert_eq!(image.rgb, [9, 9, 9, 255, 255, 255, 0, 0, 0]);
        assert_eq!(Image::from_gray(3, 1, &[9, 255, 0]).unwrap(), image);
    }

    /// Where pixel (x, y) of the upright picture comes from in a stored picture of w x h,
    /// from the Exif standard's table of "row 0, column 0" sides.
    fn source(orientation: u8, x: u32, y: u32, w: u32, h: u32) -> (u32, u32) {
        match orientation {
            2 => (w - 1 - x, y),
            3 => (w - 1 - x, h - 1 - y),
            4 => (x, h - 1 - y),
            5 => (y, x),
            6 => (y, h - 1 - x),
            7 => (w - 1 - y, h - 1 - x),
            8 => (w - 1 - y, x),
            _ => (x, y),
        }
    }

    #[test]
    fn upright_follows_the_exif_table() {
        let (w, h) = (3, 2);
        for orientation in 1..=8 {
            let alpha = Alpha::new(Depth::Sixteen, (0..6).map(|i| i * 1000).collect()).unwrap();
            let mut image = numbered(w, h).with_alpha(alpha).unwrap();
            image.metadata.orientation = Orientation::from_exif(orientation).unwrap();
            let stored = image.clone();
            let upright = image.into_upright().unwrap();
            assert_eq!(upright.metadata.orientation, Orientation::NoTransforms);
            let expected = if orientation < 5 { (w, h) } else { (h, w) };
            assert_eq!((upright.width, upright.height), expected);
            for y in 0..upright.height {
                for x in 0..upright.width {
                    let (sx, sy) = source(orientation, x, y, w, h);
                    let to = 3 * (y * upright.width + x) as usize;
                    let from = 3 * (sy * w + sx) as usize;
                    assert_eq!(
                        upright.rgb[to..to + 3],
                        stored.rgb[from..from + 3],
                        "{orientation}"
                    );
                    let alpha =
                        |image: &Image, at: usize| image.alpha.as_ref().unwrap().samples()[at / 3];
                    assert_eq!(alpha(&upright, to), alpha(&stored, from), "{orientation}");
                }
            }
        }
    }

    #[test]
    fn flattening_is_a_weighted_mean() {
        let rgb = || vec![0, 100, 255, 0, 100, 255, 0, 100, 255];
        for depth in [Depth::Eight, Depth::Sixteen] {
            let alpha = Alpha::new(depth, vec![0, depth.max(), depth.max() / 5]).unwrap();
            let mut image = Image::new(3, 1, rgb()).unwrap().with_alpha(alpha).unwrap();
            image.flatten(128);
            assert_eq!(image.alpha, None);
            assert_eq!(image.rgb, [128, 128, 128, 0, 100, 255, 102, 122, 153]);
        }
    }
}
