//! Reading PNG. Samples are decoded by the `png` crate, which is told to leave metadata alone.

use std::io::Cursor;

use ::image::ColorType;
use png::{BitDepth, Decoder, DecodingError, Transformations};

use super::chunks::{Parts, SIGNATURE_BYTES};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::picture::io::blocks::Blocks;
use crate::picture::io::sniff::InputFormat;
use crate::picture::io::{refuse_animation, truncated};
use crate::picture::notes::Notes;
use crate::picture::samples::Samples;
use crate::picture::tone::ToneCurve;

/// Reads samples, the curve that they are on unless it is that of sRGB, and metadata.
///
/// # Errors
/// [`Error::Image`] when the file is damaged, [`Error::Unsupported`] for animations and high dynamic range,
/// [`Error::LimitExceeded`] for what `limits` forbid.
pub(in crate::picture::io) fn read(
    bytes: &[u8],
    limits: &Limits,
    notes: &mut Notes,
) -> Result<(Samples, Option<ToneCurve>, Blocks)> {
    let (width, height) = size(bytes).ok_or_else(|| truncated(InputFormat::Png))?;
    limits.check_pixels(width, height)?;
    let mut parts = Parts::read(bytes, limits, notes)?;
    refuse_animation(parts.is_animated)?;
    let samples = decode(bytes, limits).map_err(error)?;
    let has_profile = parts.blocks.icc.is_some();
    let carried = parts
        .color
        .carried(has_profile, samples.color.has_color(), notes)?;
    if carried.beats_profile {
        parts.blocks.icc = None;
    }
    if let Some(profile) = carried.profile {
        parts.blocks.icc = Some(profile);
    }
    Ok((samples, carried.curve, parts.blocks))
}

/// Width and height in the header.
pub(in crate::picture::io) fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    let header = bytes.get(SIGNATURE_BYTES..)?.first_chunk::<16>()?;
    let [
        _,
        _,
        _,
        _,
        b'I',
        b'H',
        b'D',
        b'R',
        w0,
        w1,
        w2,
        w3,
        h0,
        h1,
        h2,
        h3,
    ] = *header
    else {
        return None;
    };
    Some((
        u32::from_be_bytes([w0, w1, w2, w3]),
        u32::from_be_bytes([h0, h1, h2, h3]),
    ))
}

fn decode(bytes: &[u8], limits: &Limits) -> std::result::Result<Samples, DecodingError> {
    let own = limits
        .max_pixels
        .saturating_mul(8)
        .saturating_add(limits.max_metadata_bytes);
    let mut decoder = Decoder::new_with_limits(
        Cursor::new(bytes),
        png::Limits {
            bytes: usize::try_from(own).unwrap_or(usize::MAX),
        },
    );
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info()?;
    let (color, depth) = reader.output_color_type();
    let mut data = vec![
        0;
        reader
            .output_buffer_size()
            .ok_or(DecodingError::LimitsExceeded)?
    ];
    let frame = reader.next_frame(&mut data)?;
    if depth == BitDepth::Sixteen {
        for sample in data.as_chunks_mut::<2>().0 {
            *sample = u16::from_be_bytes(*sample).to_ne_bytes();
        }
    }
    Ok(Samples {
        width: frame.width,
        height: frame.height,
        data,
        color: color_type(color, depth),
    })
}

/// The kind of samples after expansion.
fn color_type(color: png::ColorType, depth: BitDepth) -> ColorType {
    match (color, depth == BitDepth::Sixteen) {
        (png::ColorType::Grayscale, false) => ColorType::L8,
        (png::ColorType::Grayscale, true) => ColorType::L16,
        (png::ColorType::GrayscaleAlpha, false) => ColorType::La8,
        (png::ColorType::GrayscaleAlpha, true) => ColorType::La16,
        // Palettes are expanded.
        (png::ColorType::Rgb | png::ColorType::Indexed, false) => ColorType::Rgb8,
        (png::ColorType::Rgb | png::ColorType::Indexed, true) => ColorType::Rgb16,
        (png::ColorType::Rgba, false) => ColorType::Rgba8,
        (png::ColorType::Rgba, true) => ColorType::Rgba16,
    }
}

fn error(error: DecodingError) -> Error {
    match error {
        DecodingError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            truncated(InputFormat::Png)
        }
        DecodingError::IoError(error) => Error::Io(error),
        other => Error::Image(crate::picture::io::plain(
            &other.to_string(),
            InputFormat::Png,
        )),
    }
}
