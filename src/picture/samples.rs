//! Samples as other formats have them, and how they become a picture of 8-bit RGB and alpha, and back.

use std::borrow::Cow;

use ::image::{ColorType, DynamicImage, ImageBuffer};

use super::notes::Notes;
use super::tone::ToneCurve;
use super::{Alpha, CHANNELS, Image, mean};
use crate::depth::Depth;
use crate::error::{Error, Result};

/// A picture of the `image` crate as ours, its colors rounded to 8 bits, and brought to the curve of sRGB if they have
/// another.
///
/// # Errors
/// [`Error::Unsupported`] for samples that are not integers, [`Error::Image`] for a picture without pixels.
pub(crate) fn to_image(
    picture: DynamicImage,
    curve: Option<ToneCurve>,
    notes: &mut Notes,
) -> Result<Image> {
    let (width, height, color) = (picture.width(), picture.height(), picture.color());
    let channels = usize::from(color.channel_count());
    let colors = channels - usize::from(color.has_alpha());
    let alpha = match color {
        ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8 => {
            let last = picture.as_bytes().iter().skip(colors).step_by(channels);
            let alpha = || Alpha::new(Depth::Eight, last.map(|&v| v.into()).collect());
            color.has_alpha().then(alpha).transpose()?
        }
        ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => {
            let samples = picture
                .as_flat_samples_u16()
                .map_or(&[][..], |flat| flat.samples);
            let mut pixels = samples.chunks_exact(channels);
            if pixels.any(|pixel| pixel[..colors].iter().any(|v| v % 257 != 0)) {
                notes.rounded();
            }
            let last = samples.iter().skip(colors).step_by(channels);
            let alpha = || Alpha::from_wide(last.copied().collect());
            color.has_alpha().then(alpha)
        }
        other => return Err(Error::Unsupported(format!("samples of kind {other:?}"))),
    };
    let rgb = match curve {
        Some(curve) => {
            let table = curve.table();
            let samples = picture.into_rgb16().into_raw().into_iter();
            samples.map(|v| table[usize::from(v)]).collect()
        }
        None => picture.into_rgb8().into_raw(),
    };
    let mut image = Image::new(width, height, rgb)?;
    image.is_gray = !color.has_color();
    match alpha {
        Some(alpha) => image.with_alpha(alpha),
        None => Ok(image),
    }
}

/// A picture of the `image` crate of samples of a kind, native-endian where they have 16 bits; none where they are too
/// few, or not integers.
pub(crate) fn to_dynamic(
    (width, height): (u32, u32),
    color: ColorType,
    samples: Vec<u8>,
) -> Option<DynamicImage> {
    use DynamicImage::{
        ImageLuma8, ImageLuma16, ImageLumaA8, ImageLumaA16, ImageRgb8, ImageRgb16, ImageRgba8,
        ImageRgba16,
    };
    match color {
        ColorType::L8 => ImageBuffer::from_raw(width, height, samples).map(ImageLuma8),
        ColorType::La8 => ImageBuffer::from_raw(width, height, samples).map(ImageLumaA8),
        ColorType::Rgb8 => ImageBuffer::from_raw(width, height, samples).map(ImageRgb8),
        ColorType::Rgba8 => ImageBuffer::from_raw(width, height, samples).map(ImageRgba8),
        ColorType::L16 => ImageBuffer::from_raw(width, height, wide(&samples)).map(ImageLuma16),
        ColorType::La16 => ImageBuffer::from_raw(width, height, wide(&samples)).map(ImageLumaA16),
        ColorType::Rgb16 => ImageBuffer::from_raw(width, height, wide(&samples)).map(ImageRgb16),
        ColorType::Rgba16 => ImageBuffer::from_raw(width, height, wide(&samples)).map(ImageRgba16),
        _ => None,
    }
}

/// Native-endian samples of 16 bits.
fn wide(bytes: &[u8]) -> Vec<u16> {
    let (pairs, _) = bytes.as_chunks::<2>();
    pairs.iter().map(|&pair| u16::from_ne_bytes(pair)).collect()
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
        let samples = (0..=u16::MAX).collect();
        let picture = ImageBuffer::from_raw(256, 256, samples).map(DynamicImage::ImageLuma16);
        let image = to_image(picture.unwrap(), None, &mut Notes::default()).unwrap();
        let nearest = |v: u32| u8::try_from((v * 255 + 32_767) / 65_535).unwrap();
        assert!(image.to_gray().into_iter().eq((0..=65_535).map(nearest)));
    }
}
