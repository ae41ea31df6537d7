//! Reading PNG, JPEG, WebP and PNM pictures, writing PNG and PPM/PGM.
//!
//! Decoding is the `image` crate's; this file decides what is accepted, checks
//! sizes before memory is asked for, and brings every kind of sample to 8-bit RGB and alpha.

use std::io::{Cursor, Write};

use ::image::codecs::{jpeg::JpegDecoder, png::PngDecoder, pnm::PnmDecoder, webp::WebPDecoder};
use ::image::{ColorType, ImageDecoder, ImageError};

use super::sniff::{
    InputFormat, is_lossy_webp, jpeg_is_complete, webp_frame_sizes, webp_is_complete,
};
use super::{Alpha, Image, Metadata};
use crate::depth::Depth;
use crate::error::{Error, Result};
use crate::limits::Limits;

/// A picture format that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    /// PNG with alpha, ICC profile, Exif and XMP.
    Png,
    /// Binary PPM, or PGM for gray pictures; no alpha, no metadata.
    Ppm,
}

/// Reads a picture, telling its format by its content.
///
/// Samples are returned as stored: the Exif orientation is in the metadata, not applied.
/// Gray is expanded to RGB (and marked), palettes are expanded, colors of 16 bits are rounded
/// to 8. Alpha is kept as it is, and dropped if it is opaque everywhere.
///
/// # Errors
/// [`Error::Image`] for unknown or damaged files, [`Error::Unsupported`] for animation,
/// [`Error::LimitExceeded`] when a size is over `limits`.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Image> {
    let format = InputFormat::detect(bytes)
        .ok_or_else(|| Error::Image("not a PNG, JPEG, WebP or PPM picture".into()))?;
    let wrap = |error: ImageError| from_image_error(format, error);
    let source = Cursor::new(bytes);
    match format {
        InputFormat::Png => {
            let decoder =
                PngDecoder::with_limits(source, allocation_limits(limits)).map_err(wrap)?;
            refuse_animation(decoder.is_apng().map_err(wrap)?)?;
            read_decoder(decoder, format, limits)
        }
        InputFormat::Jpeg => {
            refuse_truncation(jpeg_is_complete(bytes), format)?;
            read_decoder(JpegDecoder::new(source).map_err(wrap)?, format, limits)
        }
        InputFormat::WebP => {
            refuse_truncation(webp_is_complete(bytes), format)?;
            for (width, height) in webp_frame_sizes(bytes) {
                limits.check_pixels(width, height)?;
            }
            let decoder = WebPDecoder::new(source).map_err(wrap)?;
            refuse_animation(decoder.has_animation())?;
            read_decoder(decoder, format, limits)
        }
        InputFormat::Pnm => read_decoder(PnmDecoder::new(source).map_err(wrap)?, format, limits),
    }
}

/// Whether the file looks like a picture that [`read`] knows.
#[must_use]
pub fn is_picture(bytes: &[u8]) -> bool {
    InputFormat::detect(bytes).is_some()
}

/// Whether a file that starts with these bytes (128 are enough) is a PNG that [`write`] wrote: it says so.
#[must_use]
pub fn is_own_png(start: &[u8]) -> bool {
    super::png::is_own(start)
}

/// Whether the file was compressed with loss (JPEG, lossy WebP), so that coding it again
/// adds a second loss.
#[must_use]
pub fn is_lossy_source(bytes: &[u8]) -> bool {
    match InputFormat::detect(bytes) {
        Some(InputFormat::Jpeg) => true,
        Some(InputFormat::WebP) => is_lossy_webp(bytes),
        Some(InputFormat::Png | InputFormat::Pnm) | None => false,
    }
}

/// Number of pixels that the file's header announces; 0 when it cannot be told.
#[must_use]
pub fn pixels(bytes: &[u8]) -> u64 {
    let reader = ::image::ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let size = reader.ok().and_then(|reader| reader.into_dimensions().ok());
    size.map_or(0, |(width, height)| u64::from(width) * u64::from(height))
}

/// Writes a picture upright: the orientation is applied to the samples and reset in the
/// metadata. Gray pictures are written as gray. With an alpha channel of 16 bits, colors are
/// written in 16 bits too, times 257.
///
/// # Errors
/// [`Error::Io`] from `out`; [`Error::Image`] when the picture's sizes disagree;
/// [`Error::Unsupported`] for a PPM of a picture with alpha.
pub fn write(image: &Image, format: OutputFormat, out: impl Write) -> Result<()> {
    image.check()?;
    // Writing is buffered here, since encoders write many small pieces.
    let mut out = std::io::BufWriter::with_capacity(1 << 18, out);
    let turned;
    let pixels = if image.metadata.orientation == 1 {
        image
    } else {
        turned = image.clone().into_upright()?;
        &turned
    };
    match format {
        OutputFormat::Png => {
            let mut metadata = image.metadata.clone();
            metadata.reset_orientation();
            super::png::write(pixels, &metadata, &mut out)?;
        }
        OutputFormat::Ppm => write_pnm(pixels, &mut out)?,
    }
    out.flush()?;
    Ok(())
}

/// Binary PPM, or PGM for gray pictures.
fn write_pnm(image: &Image, out: &mut impl Write) -> Result<()> {
    if image.alpha.is_some() {
        return Err(Error::Unsupported(
            "PPM cannot hold an alpha channel".into(),
        ));
    }
    let (magic, samples) = if image.is_gray {
        ("P5", &image.to_gray())
    } else {
        ("P6", &image.rgb)
    };
    write!(out, "{magic}\n{} {}\n255\n", image.width, image.height)?;
    out.write_all(samples)?;
    Ok(())
}

/// The decoder's own limit on allocations: samples of 8 bytes a pixel, and the metadata.
fn allocation_limits(limits: &Limits) -> ::image::Limits {
    let mut own = ::image::Limits::no_limits();
    let samples = limits.max_pixels.saturating_mul(8);
    let metadata = limits.max_metadata_bytes.saturating_mul(4);
    own.max_alloc = Some(samples.saturating_add(metadata));
    own
}

fn refuse_truncation(is_complete: bool, format: InputFormat) -> Result<()> {
    if !is_complete {
        return Err(truncated(format));
    }
    Ok(())
}

fn truncated(format: InputFormat) -> Error {
    Error::Image(format!("the {} data ends too early", format.name()))
}

fn refuse_animation(is_animated: bool) -> Result<()> {
    if is_animated {
        return Err(Error::Unsupported("the picture is an animation".into()));
    }
    Ok(())
}

/// Reads metadata and samples from an opened decoder.
fn read_decoder(
    mut decoder: impl ImageDecoder,
    format: InputFormat,
    limits: &Limits,
) -> Result<Image> {
    let wrap = |error: ImageError| from_image_error(format, error);
    let (width, height) = decoder.dimensions();
    limits.check_pixels(width, height)?;
    decoder
        .set_limits(allocation_limits(limits))
        .map_err(wrap)?;
    let metadata = Metadata::from_blocks(
        decoder.icc_profile().map_err(wrap)?,
        decoder.exif_metadata().map_err(wrap)?,
        decoder.xmp_metadata().map_err(wrap)?,
        limits,
    )?;
    let color = decoder.color_type();
    let length = usize::try_from(decoder.total_bytes())
        .map_err(|_| Error::Image(format!("{width}x{height} pixels do not fit in memory")))?;
    let mut samples = vec![0; length];
    decoder.read_image(&mut samples).map_err(wrap)?;
    let mut image = from_samples(width, height, samples, color)?;
    image.metadata = metadata;
    Ok(image)
}

/// Brings samples of any kind that the decoders give to 8-bit RGB and alpha.
fn from_samples(width: u32, height: u32, samples: Vec<u8>, color: ColorType) -> Result<Image> {
    let (samples, alpha) = match color {
        ColorType::L8 | ColorType::Rgb8 => (samples, None),
        ColorType::La8 => split_alpha::<2>(&samples),
        ColorType::Rgba8 => split_alpha::<4>(&samples),
        ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => {
            from_wide_samples(&samples, color)
        }
        _ => return Err(Error::Unsupported(format!("samples of kind {color:?}"))),
    };
    let image = if color.has_color() {
        Image::new(width, height, samples)?
    } else {
        Image::from_gray(width, height, &samples)?
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

/// The colors of native-endian 16-bit samples rounded to 8 bits, and alpha as it is.
fn from_wide_samples(samples: &[u8], color: ColorType) -> (Vec<u8>, Option<Alpha>) {
    let (wide, _) = samples.as_chunks::<2>();
    let channels = usize::from(color.channel_count());
    let colors = channels - usize::from(color.has_alpha());
    let rounded = wide
        .chunks_exact(channels)
        .flat_map(|pixel| &pixel[..colors])
        .map(|&v| round_to_8_bits(u16::from_ne_bytes(v)))
        .collect();
    let alpha = color.has_alpha().then(|| {
        let last = wide.iter().skip(colors).step_by(channels);
        Alpha::from_wide(last.map(|&v| u16::from_ne_bytes(v)).collect())
    });
    (rounded, alpha)
}

/// `round(v * 255 / 65535)`.
fn round_to_8_bits(v: u16) -> u8 {
    u8::try_from((u32::from(v) * 255 + 32767) / 65535).expect("at most 255")
}

/// Our error for one of the `image` crate, on one line.
fn from_image_error(format: InputFormat, error: ImageError) -> Error {
    match error {
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            truncated(format)
        }
        ImageError::IoError(error) => Error::Io(error),
        ImageError::Unsupported(error) => Error::Unsupported(one_line(&error.to_string())),
        other => Error::Image(one_line(&other.to_string())),
    }
}

/// `text` with every run of white space replaced by one space, and a chunk called by its name alone
/// (`ChunkType { type: IHDR, ... }` is how the decoder shows it).
fn one_line(text: &str) -> String {
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    const DEBUG: &str = "ChunkType { type: ";
    while let Some((start, rest)) = text.split_once(DEBUG) {
        let (inside, rest) = rest.split_once('}').unwrap_or((rest, ""));
        let name = inside.split(',').next().unwrap_or_default().trim();
        text = format!("{start}{name}{rest}");
    }
    text
}

#[cfg(test)]
#[path = "io_tests.rs"]
mod tests;
