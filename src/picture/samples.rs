//! Samples as decoders give them, and how they become a picture of 8-bit RGB and alpha.

use ::image::{ColorType, ImageDecoder, ImageResult};

use super::color::ToneCurve;
use super::notes::Notes;
use super::{Alpha, Image};
use crate::depth::Depth;
use crate::error::{Error, Result};

/// A decoded picture of any kind of samples.
pub(super) struct Samples {
    pub width: u32,
    pub height: u32,
    /// Native-endian where samples have 16 bits.
    pub data: Vec<u8>,
    pub color: ColorType,
}

impl Samples {
    /// Decodes all samples; the size was checked.
    pub(super) fn decode(decoder: impl ImageDecoder) -> ImageResult<Self> {
        let (width, height) = decoder.dimensions();
        let color = decoder.color_type();
        // `check_pixels` bounds this, and the allocation is refused where it does not fit.
        let mut data = vec![0; usize::try_from(decoder.total_bytes()).unwrap_or(usize::MAX)];
        decoder.read_image(&mut data)?;
        Ok(Self {
            width,
            height,
            data,
            color,
        })
    }

    /// The picture, its colors brought to the curve of sRGB if they have another.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for samples that are not integers.
    pub(super) fn into_image(self, curve: Option<ToneCurve>, notes: &mut Notes) -> Result<Image> {
        let (colors, alpha) = match self.color {
            ColorType::L8 | ColorType::Rgb8 => (self.data, None),
            ColorType::La8 => split_alpha::<2>(&self.data),
            ColorType::Rgba8 => split_alpha::<4>(&self.data),
            ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => {
                return self.into_narrow_image(curve, notes);
            }
            other => return Err(Error::Unsupported(format!("samples of kind {other:?}"))),
        };
        let colors = match curve {
            Some(curve) => {
                let table = curve.table(u8::MAX.into());
                colors.into_iter().map(|v| table[usize::from(v)]).collect()
            }
            None => colors,
        };
        picture(self.width, self.height, self.color, colors, alpha)
    }

    /// As [`into_image`](Self::into_image), of 16-bit samples: rounds colors, and keeps alpha as it is.
    fn into_narrow_image(self, curve: Option<ToneCurve>, notes: &mut Notes) -> Result<Image> {
        let (wide, _) = self.data.as_chunks::<2>();
        let channels = usize::from(self.color.channel_count());
        let count = channels - usize::from(self.color.has_alpha());
        let colors = || {
            let pixels = wide.chunks_exact(channels);
            pixels
                .flat_map(|pixel| &pixel[..count])
                .map(|&v| u16::from_ne_bytes(v))
        };
        if colors().any(|v| v % 257 != 0) {
            notes.rounded();
        }
        let narrow = match curve {
            Some(curve) => {
                let table = curve.table(u16::MAX);
                colors().map(|v| table[usize::from(v)]).collect()
            }
            None => colors().map(round_to_8_bits).collect(),
        };
        let alpha = self.color.has_alpha().then(|| {
            let last = wide.iter().skip(count).step_by(channels);
            Alpha::from_wide(last.map(|&v| u16::from_ne_bytes(v)).collect())
        });
        picture(self.width, self.height, self.color, narrow, alpha)
    }
}

fn picture(
    width: u32,
    height: u32,
    color: ColorType,
    colors: Vec<u8>,
    alpha: Option<Alpha>,
) -> Result<Image> {
    let image = if color.has_color() {
        Image::new(width, height, colors)?
    } else {
        Image::from_gray(width, height, &colors)?
    };
    match alpha {
        Some(alpha) => image.with_alpha(alpha),
        None => Ok(image),
    }
}

/// The colors, and the last of every `N` samples as alpha.
fn split_alpha<const N: usize>(samples: &[u8]) -> (Vec<u8>, Option<Alpha>) {
    let (pixels, _) = samples.as_chunks::<N>();
    let colors = pixels.iter().flat_map(|pixel| &pixel[..N - 1]).copied();
    let alpha = pixels.iter().map(|pixel| u16::from(pixel[N - 1]));
    (
        colors.collect(),
        Alpha::new(Depth::Eight, alpha.collect()).ok(),
    )
}

/// `round(v * 255 / 65535)`.
fn round_to_8_bits(v: u16) -> u8 {
    u8::try_from((u32::from(v) * 255 + 32767) / 65535).expect("at most 255")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_to_the_nearest() {
        for (wide, narrow) in [
            (0, 0),
            (128, 0),
            (129, 1),
            (32767, 127),
            (32768, 128),
            (65535, 255),
        ] {
            assert_eq!(round_to_8_bits(wide), narrow);
        }
    }
}
