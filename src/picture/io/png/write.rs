//! Writing PNG: samples, ICC profile, Exif, XMP and resolution.

use std::borrow::Cow;
use std::io::Write;

use png::{
    BitDepth, ColorType, Compression, Encoder, EncodingError, Filter, Info, PixelDimensions, Unit,
};

use super::XMP_KEYWORD;
use super::mark::Marking;
use super::raw_profile::{self, KEYWORD_PREFIX};
use crate::depth::Depth;
use crate::error::{Error, Result};
use crate::picture::io::color::profile_space;
use crate::picture::samples::join;
use crate::picture::{Alpha, CHANNELS, Image, Metadata};

/// Most bytes of a text, less what stands before it in its chunk.
const LONGEST_TEXT: usize = i32::MAX as usize - 64;

/// Bytes that are handed to the encoder at a time, about: no second copy of a picture is made.
const BAND_BYTES: usize = 1 << 20;

/// Writes the samples of `image`, as they are, with the blocks of `metadata`.
pub(in crate::picture::io) fn write(
    image: &Image,
    metadata: &Metadata,
    out: impl Write,
) -> Result<()> {
    let mut out = Marking::new(out);
    let written = write_chunks(image, metadata, &mut out);
    match (written, out.failure.take()) {
        (Err(_), Some(failure)) => Err(Error::Io(failure)),
        (Err(error), None) => Err(Error::Image(error.to_string())),
        (Ok(()), _) => Ok(out.flush()?),
    }
}

fn write_chunks(
    image: &Image,
    metadata: &Metadata,
    out: impl Write,
) -> std::result::Result<(), EncodingError> {
    let space = metadata.icc.as_deref().and_then(profile_space);
    // A profile of RGB is valid in a file of RGB only, and one of gray in a file of gray.
    let is_gray = image.is_gray && space != Some(b"RGB ");
    let profile = metadata
        .icc
        .as_deref()
        .filter(|_| is_gray || space != Some(b"GRAY"));
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
    let (color, depth) = color_type(image, is_gray);
    encoder.set_color(color);
    encoder.set_depth(depth);
    // On photographs the fast level gives files up to a fifth larger than the default level and
    // takes 3 to 12 ms instead of 160 to 280 ms for 768x512, so that PNG does not dominate decoding.
    encoder.set_compression(Compression::Fast);
    encoder.set_filter(Filter::Adaptive);
    let mut writer = encoder.write_header()?;
    let mut stream = writer.stream_writer_with_size(BAND_BYTES)?;
    let band = BAND_BYTES / CHANNELS;
    let alpha = image.alpha.as_ref();
    for (i, rgb) in image.rgb.chunks(band * CHANNELS).enumerate() {
        let first = i * band;
        let last = first + rgb.len() / CHANNELS;
        let alpha = alpha.map(|alpha| (alpha.depth(), &alpha.samples()[first..last]));
        stream.write_all(&join(rgb, alpha, is_gray, u16::to_be_bytes))?;
    }
    stream.finish()?;
    writer.finish()
}

/// Kind of the samples; those of a gray picture may be written as gray.
fn color_type(image: &Image, is_gray: bool) -> (ColorType, BitDepth) {
    let color = match (&image.alpha, is_gray) {
        (None, false) => ColorType::Rgb,
        (None, true) => ColorType::Grayscale,
        (Some(_), false) => ColorType::Rgba,
        (Some(_), true) => ColorType::GrayscaleAlpha,
    };
    match image.alpha.as_ref().map(Alpha::depth) {
        Some(Depth::Sixteen) => (color, BitDepth::Sixteen),
        Some(Depth::Eight) | None => (color, BitDepth::Eight),
    }
}

/// Adds an XMP packet: as the text that PNG has for it, or in digits if it is no text.
fn add_xmp(
    encoder: &mut Encoder<impl Write>,
    metadata: &Metadata,
) -> std::result::Result<(), EncodingError> {
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
