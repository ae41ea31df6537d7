//! Formats that are read as the `image` crate gives them: BMP, GIF, QOI, TGA and TIFF.

use std::io::Cursor;

use ::image::codecs::bmp::BmpDecoder;
use ::image::codecs::gif::GifDecoder;
use ::image::codecs::qoi::QoiDecoder;
use ::image::codecs::tga::TgaDecoder;
use ::image::codecs::tiff::TiffDecoder;
use ::image::{ImageDecoder, ImageResult};

use super::blocks::Blocks;
use super::gif;
use super::sniff::InputFormat;
use super::tiff::Directory;
use super::{decode, from_image_error, refuse_animation};
use crate::error::Result;
use crate::limits::Limits;
use crate::picture::notes::Notes;
use crate::picture::samples::Samples;
use crate::picture::tone::ToneCurve;
use crate::resolution::Resolution;

/// Samples, and the curve that they are on unless it is that of sRGB.
type Curved = (Samples, Option<ToneCurve>, Blocks);

/// Reads a bitmap.
pub(super) fn read_bmp(bytes: &[u8], limits: &Limits, notes: &mut Notes) -> Result<Curved> {
    /// Places in the file of the header's length, of the resolution and of the kind of color space.
    const HEADER_LENGTH: usize = 14;
    const RESOLUTION: usize = 38;
    const COLOR_SPACE: usize = 70;
    let word = |at: usize| {
        bytes
            .get(at..)?
            .first_chunk()
            .map(|&word| u32::from_le_bytes(word))
    };
    let mut blocks = Blocks::default();
    let header = word(HEADER_LENGTH).unwrap_or(0);
    if header >= 40
        && let (Some(x), Some(y)) = (word(RESOLUTION), word(RESOLUTION + 4))
    {
        blocks.resolution = Resolution::per_meter(x, y);
    }
    if header >= 124 && word(COLOR_SPACE).is_some_and(|space| space.to_be_bytes() == *b"MBED") {
        notes.not_kept("the ICC profile");
    }
    let samples = open(
        BmpDecoder::new(Cursor::new(bytes)),
        InputFormat::Bmp,
        limits,
    )?;
    Ok((samples, None, blocks))
}

/// Reads a GIF of one picture.
pub(super) fn read_gif(bytes: &[u8], limits: &Limits) -> Result<Curved> {
    let frames = gif::frame_sizes(bytes);
    refuse_animation(frames.len() > 1)?;
    // The decoder asks for a frame's memory before it compares this size with the picture's.
    for (width, height) in frames {
        limits.check_pixels(width, height)?;
    }
    let samples = open(
        GifDecoder::new(Cursor::new(bytes)),
        InputFormat::Gif,
        limits,
    )?;
    Ok((samples, None, Blocks::default()))
}

/// Reads QOI. Its color space byte is informative, and writers do not agree on it.
pub(super) fn read_qoi(bytes: &[u8], limits: &Limits) -> Result<Curved> {
    let samples = open(
        QoiDecoder::new(Cursor::new(bytes)),
        InputFormat::Qoi,
        limits,
    )?;
    Ok((samples, None, Blocks::default()))
}

/// Reads Targa.
pub(super) fn read_tga(bytes: &[u8], limits: &Limits) -> Result<Curved> {
    let samples = open(
        TgaDecoder::new(Cursor::new(bytes)),
        InputFormat::Tga,
        limits,
    )?;
    Ok((samples, None, Blocks::default()))
}

/// Reads the first page of a TIFF.
pub(super) fn read_tiff(bytes: &[u8], limits: &Limits, notes: &mut Notes) -> Result<Curved> {
    let format = InputFormat::Tiff;
    let wrap = |error| from_image_error(format, error);
    let mut blocks = Blocks::default();
    if let Some(directory) = Directory::first(bytes) {
        directory.refuse_others(bytes)?;
        directory.note_what_is_left_out(notes);
        blocks.resolution = directory.resolution();
    }
    let mut decoder = TiffDecoder::new(Cursor::new(bytes)).map_err(wrap)?;
    let (width, height) = decoder.dimensions();
    limits.check_pixels(width, height)?;
    if let Some(icc) = decoder.icc_profile().map_err(wrap)? {
        blocks.add_icc(icc, limits, notes)?;
    }
    if let Some(xmp) = decoder.xmp_metadata().map_err(wrap)? {
        blocks.add_xmp(&xmp, limits, notes)?;
    }
    blocks.orientation = decoder.orientation().ok();
    Ok((decode(decoder, format, limits)?, None, blocks))
}

fn open(
    decoder: ImageResult<impl ImageDecoder>,
    format: InputFormat,
    limits: &Limits,
) -> Result<Samples> {
    decode(
        decoder.map_err(|error| from_image_error(format, error))?,
        format,
        limits,
    )
}

/// Width and height, without decoding.
pub(super) fn size(bytes: &[u8], format: InputFormat) -> Option<(u32, u32)> {
    let source = Cursor::new(bytes);
    match format {
        InputFormat::Bmp => BmpDecoder::new(source)
            .ok()
            .map(|decoder| decoder.dimensions()),
        InputFormat::Gif => GifDecoder::new(source)
            .ok()
            .map(|decoder| decoder.dimensions()),
        InputFormat::Qoi => QoiDecoder::new(source)
            .ok()
            .map(|decoder| decoder.dimensions()),
        InputFormat::Tga => TgaDecoder::new(source)
            .ok()
            .map(|decoder| decoder.dimensions()),
        InputFormat::Tiff => TiffDecoder::new(source)
            .ok()
            .map(|decoder| decoder.dimensions()),
        InputFormat::Png | InputFormat::Jpeg | InputFormat::WebP | InputFormat::Pnm => None,
    }
}
