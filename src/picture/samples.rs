//! Samples as other formats have them, and how they become a picture of 8-bit RGB and alpha, and back.

use std::borrow::Cow;

use ::image::{ColorType, ImageDecoder, ImageResult};

use super::notes::Notes;
use super::tone::ToneCurve;
use super::{Alpha, CHANNELS, Image, mean};
use crate::depth::Depth;
use crate::error::{Error, Result};

/// A decoded picture of any kind of samples.
pub(crate) struct Samples {
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
    pub(crate) fn into_image(self, curve: Option<ToneCurve>, notes: &mut Notes) -> Result<Image> {
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

/// The kind of samples that show all of a picture that is gray or of color, with alpha of a depth or without.
pub(crate) fn color_type(is_gray: bool, alpha: Option<Depth>) -> ColorType {
    match (is_gray, alpha) {
        (false, None) => ColorType::Rgb8,
        (true, None) => ColorType::L8,
        (false, Some(Depth::Eight)) => ColorType::Rgba8,
        (true, Some(Depth::Eight)) => ColorType::La8,
        (false, Some(Depth::Sixteen)) => ColorType::Rgba16,
        (true, Some(Depth::Sixteen)) => ColorType::La16,
    }
}

/// The samples of a picture, of the kind of [`color_type`], native-endian where they have 16 bits.
pub(crate) fn samples(image: &Image) -> Cow<'_, [u8]> {
    let alpha = image.alpha.as_ref();
    let alpha = alpha.map(|alpha| (alpha.depth(), alpha.samples()));
    join(&image.rgb, alpha, image.is_gray, u16::to_ne_bytes)
}

/// Gray or RGB samples, each pixel's alpha behind its colors. With an alpha of 16 bits colors have 16 bits too,
/// times 257.
#[allow(clippy::cast_possible_truncation)] // 8 bits
pub(super) fn join<'a>(
    rgb: &'a [u8],
    alpha: Option<(Depth, &[u16])>,
    is_gray: bool,
    wide: fn(u16) -> [u8; 2],
) -> Cow<'a, [u8]> {
    let colors = if is_gray {
        let (pixels, _) = rgb.as_chunks::<CHANNELS>();
        Cow::Owned(pixels.iter().map(|&pixel| mean(pixel)).collect())
    } else {
        Cow::Borrowed(rgb)
    };
    let Some((depth, alpha)) = alpha else {
        return colors;
    };
    let per_pixel = if is_gray { 1 } else { CHANNELS };
    let pixels = colors.chunks_exact(per_pixel).zip(alpha);
    let mut out = Vec::with_capacity(alpha.len() * (per_pixel + 1) * depth.bits() as usize / 8);
    match depth {
        Depth::Eight => pixels.for_each(|(color, &sample)| {
            out.extend(color);
            // An alpha channel of 8 bits has no larger samples.
            out.push(sample as u8);
        }),
        Depth::Sixteen => pixels.for_each(|(color, &sample)| {
            // Both bytes of v * 257 are v.
            out.extend(color.iter().flat_map(|&v| [v, v]));
            out.extend(wide(sample));
        }),
    }
    Cow::Owned(out)
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
