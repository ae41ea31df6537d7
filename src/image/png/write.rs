//! Writing PNG: samples, ICC profile, Exif, XMP and resolution.

use std::borrow::Cow;
use std::io::Write;

use ::image::ColorType;
use png::{BitDepth, Compression, Encoder, EncodingError, Filter, Info, PixelDimensions, Unit};

use super::XMP_KEYWORD;
use super::raw_profile::{self, KEYWORD_PREFIX};
use crate::depth::Depth;
use crate::image::color::profile_space;
use crate::image::{Alpha, CHANNELS, Image, Metadata};

/// Most bytes of a text, less what stands before it in its chunk.
const LONGEST_TEXT: usize = i32::MAX as usize - 64;

/// Writes the samples of `image`, as they are, with the blocks of `metadata`.
pub(in crate::image) fn write(
    image: &Image,
    metadata: &Metadata,
    out: impl Write,
) -> Result<(), EncodingError> {
    let space = metadata.icc.as_deref().and_then(profile_space);
    // A profile of RGB is valid in a file of RGB only, and one of gray in a file of gray.
    let is_gray = image.is_gray && space != Some(b"RGB ");
    let profile = metadata
        .icc
        .as_deref()
        .filter(|_| is_gray || space != Some(b"GRAY"));
    let (samples, color) = samples(image, is_gray);
    let mut info = Info::with_size(image.width, image.height);
    info.icc_profile = profile.map(Cow::Borrowed);
    info.exif_metadata = metadata.exif.as_deref().map(Cow::Borrowed);
    info.pixel_dims = metadata.resolution.map(|resolution| PixelDimensions {
        xppu: resolution.x,
        yppu: resolution.y,
        unit: if resolution.is_per_meter {
            Unit::Meter
        } else {
            Unit::Unspecified
        },
    });
    let mut encoder = Encoder::with_info(out, info)?;
    add_xmp(&mut encoder, metadata)?;
    let has_color = color.has_color();
    encoder.set_color(match (has_color, color.has_alpha()) {
        (false, false) => png::ColorType::Grayscale,
        (false, true) => png::ColorType::GrayscaleAlpha,
        (true, false) => png::ColorType::Rgb,
        (true, true) => png::ColorType::Rgba,
    });
    let is_wide = color.bytes_per_pixel() > color.channel_count();
    encoder.set_depth(if is_wide {
        BitDepth::Sixteen
    } else {
        BitDepth::Eight
    });
    // On photographs the fast level gives files up to a fifth larger than the default level and
    // takes 3 to 12 ms instead of 160 to 280 ms for 768x512, so that PNG does not dominate decoding.
    encoder.set_compression(Compression::Fast);
    encoder.set_filter(Filter::Adaptive);
    let mut writer = encoder.write_header()?;
    if is_wide {
        writer.write_image_data(&big_endian(samples.into_owned()))?;
    } else {
        writer.write_image_data(&samples)?;
    }
    writer.finish()
}

/// Adds an XMP packet: as the text that PNG has for it, or in digits if it is no text.
fn add_xmp(encoder: &mut Encoder<impl Write>, metadata: &Metadata) -> Result<(), EncodingError> {
    let Some(xmp) = &metadata.xmp else {
        return Ok(());
    };
    match std::str::from_utf8(xmp) {
        Ok(text) if !xmp.contains(&0) && xmp.len() <= LONGEST_TEXT => {
            encoder.add_itxt_chunk(XMP_KEYWORD.into(), text.into())
        }
        _ => encoder.add_ztxt_chunk(
            format!("{KEYWORD_PREFIX}xmp"),
            raw_profile::write("xmp", xmp),
        ),
    }
}

/// 16-bit samples in the order of bytes that PNG has.
fn big_endian(mut samples: Vec<u8>) -> Vec<u8> {
    for sample in samples.as_chunks_mut::<2>().0 {
        *sample = u16::from_ne_bytes(*sample).to_be_bytes();
    }
    samples
}

/// The samples in the order of PNG, native-endian where they have 16 bits, and their kind. Those of a gray
/// picture may be written as gray.
pub(crate) fn samples(image: &Image, is_gray: bool) -> (Cow<'_, [u8]>, ColorType) {
    let is_wide = |alpha: &Alpha| alpha.depth() == Depth::Sixteen;
    match (&image.alpha, is_gray) {
        (None, false) => (Cow::Borrowed(&image.rgb), ColorType::Rgb8),
        (None, true) => (Cow::Owned(image.to_gray()), ColorType::L8),
        (Some(alpha), false) if is_wide(alpha) => {
            let joined = join_wide::<CHANNELS>(&image.rgb, alpha);
            (Cow::Owned(joined), ColorType::Rgba16)
        }
        (Some(alpha), true) if is_wide(alpha) => {
            let joined = join_wide::<1>(&image.to_gray(), alpha);
            (Cow::Owned(joined), ColorType::La16)
        }
        (Some(alpha), false) => {
            let joined = join::<CHANNELS>(&image.rgb, alpha);
            (Cow::Owned(joined), ColorType::Rgba8)
        }
        (Some(alpha), true) => {
            let joined = join::<1>(&image.to_gray(), alpha);
            (Cow::Owned(joined), ColorType::La8)
        }
    }
}

/// `N` color samples and alpha, per pixel.
fn join<const N: usize>(colors: &[u8], alpha: &Alpha) -> Vec<u8> {
    let mut out = Vec::with_capacity(alpha.samples().len() * (N + 1));
    for (color, &sample) in colors.as_chunks::<N>().0.iter().zip(alpha.samples()) {
        out.extend(color);
        // An alpha channel of 8 bits has no larger samples.
        out.push(sample as u8);
    }
    out
}

/// As [`join`], in 16 bits: colors times 257.
fn join_wide<const N: usize>(colors: &[u8], alpha: &Alpha) -> Vec<u8> {
    let mut out = Vec::with_capacity(alpha.samples().len() * (N + 1) * 2);
    for (color, sample) in colors.as_chunks::<N>().0.iter().zip(alpha.samples()) {
        // Both bytes of v * 257 are v.
        out.extend(color.iter().flat_map(|&v| [v, v]));
        out.extend(sample.to_ne_bytes());
    }
    out
}
