//! Reading pictures (PNG, JPEG, WebP, PNM, TIFF, BMP, GIF, QOI, TGA), writing PNG and PPM/PGM.
//!
//! Decoding is done by crates; this folder decides what is accepted, checks sizes before memory is
//! asked for, keeps what a picture carries besides samples, and says what it does not keep.

mod bmp;
mod color;
mod findings;
mod gif;
mod jpeg;
mod png;
mod pnm;
mod sniff;
mod tiff;
mod webp;

use std::io::{Cursor, Write};

use ::image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};

use findings::Findings;
use sniff::{detect, name, name_of_other};

use super::Image;
pub use super::notes::Warning;
use super::samples::to_image;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::orientation::Orientation;
pub use png::is_own as is_own_png;

/// A picture format that can be written. PNG holds alpha, ICC profile, Exif, XMP and resolution; binary PPM, or PGM
/// for gray pictures, neither alpha nor metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum OutputFormat {
    /// PNG, with alpha and metadata
    Png,
    /// PPM, or PGM for gray pictures
    Ppm,
}

/// Reads a picture, telling its format by its content.
///
/// Samples are returned as stored: the Exif orientation is in the metadata, not applied.
/// Gray is expanded to RGB (and marked), palettes are expanded, colors of 16 bits are rounded
/// to 8. Alpha is kept as it is, and dropped if it is opaque everywhere. A color space that is not named by an ICC
/// profile (PNG's gAMA, cHRM and cICP) becomes one, or sRGB.
///
/// # Errors
/// [`Error::Image`] for unknown or damaged files, [`Error::Unsupported`] for animation, high dynamic range and
/// formats that are known and not read, [`Error::LimitExceeded`] when a size is over `limits`.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Image> {
    read_with_warnings(bytes, limits).map(|(image, _)| image)
}

/// As [`read`], with what its owner should know about the picture: what is not kept of it, and what of the file is
/// damaged.
///
/// # Errors
/// As [`read`].
pub fn read_with_warnings(bytes: &[u8], limits: &Limits) -> Result<(Image, Vec<Warning>)> {
    let format = detect(bytes).ok_or_else(|| unknown(bytes))?;
    let mut found = Findings::new(limits);
    let picture = match format {
        ImageFormat::Png => png::read(bytes, &mut found)?,
        ImageFormat::Jpeg => jpeg::read(bytes, &mut found)?,
        ImageFormat::WebP => webp::read(bytes, &mut found)?,
        ImageFormat::Tiff => tiff::read(bytes, &mut found)?,
        ImageFormat::Bmp => {
            bmp::look_into(bytes, &mut found);
            decode(format, bytes, limits)?
        }
        ImageFormat::Gif => {
            gif::look_into(bytes, &mut found)?;
            decode(format, bytes, limits)?
        }
        ImageFormat::Pnm => pnm::read(bytes, &mut found)?,
        // QOI's byte about its color space is informative, and writers do not agree on it.
        _ => decode(format, bytes, limits)?,
    };
    let mut image = to_image(picture, found.curve, &mut found.notes)?;
    let (metadata, warnings) = found.finish(!image.is_gray);
    image.metadata = metadata;
    Ok((image, warnings))
}

/// The error for bytes that are no picture that can be read.
fn unknown(bytes: &[u8]) -> Error {
    if bytes.is_empty() {
        return Error::Image("the file is empty".into());
    }
    match name_of_other(bytes) {
        Some(name) => unsupported(&format!("{name} pictures")),
        None => {
            Error::Image("not a PNG, JPEG, WebP, PPM, TIFF, BMP, GIF, QOI or TGA picture".into())
        }
    }
}

/// Whether the file looks like a picture that [`read`] knows.
pub fn is_picture(bytes: &[u8]) -> bool {
    detect(bytes).is_some()
}

/// Whether the file was compressed with loss (JPEG, lossy WebP), so that coding it again
/// adds a second loss.
pub fn is_lossy_source(bytes: &[u8]) -> bool {
    match detect(bytes) {
        Some(ImageFormat::Jpeg) => true,
        Some(ImageFormat::WebP) => webp::is_lossy(bytes),
        _ => false,
    }
}

/// Width and height that the file's header announces, without decoding anything; 0 both when it cannot be told.
pub fn size(bytes: &[u8]) -> (u32, u32) {
    let size = match detect(bytes) {
        Some(ImageFormat::Jpeg) => jpeg::size(bytes),
        Some(ImageFormat::WebP) => webp::size(bytes),
        Some(format) => {
            let reader = ImageReader::with_format(Cursor::new(bytes), format);
            reader.into_dimensions().ok()
        }
        None => None,
    };
    size.unwrap_or_default()
}

/// Number of pixels that the file's header announces, as [`size`].
pub fn pixels(bytes: &[u8]) -> u64 {
    let (width, height) = size(bytes);
    u64::from(width) * u64::from(height)
}

/// What of a picture is lost when it is written in a format.
pub fn not_kept(image: &Image, format: OutputFormat) -> Option<Warning> {
    let metadata = &image.metadata;
    let parts = [
        ("the ICC profile", metadata.icc.is_some()),
        ("Exif", metadata.exif.is_some()),
        ("XMP", metadata.xmp.is_some()),
        ("the resolution", metadata.resolution.is_some()),
    ];
    let is_lost = |(_, is_there): &(&str, bool)| *is_there && format == OutputFormat::Ppm;
    let lost = parts.into_iter().filter(is_lost);
    let names: Vec<String> = lost.map(|(name, _)| name.into()).collect();
    (!names.is_empty()).then_some(Warning::NotKept(names))
}

/// Writes a picture upright: the orientation is applied to the samples and reset in the
/// metadata. Gray pictures are written as gray, or as RGB if their ICC profile is one of RGB. With an alpha channel of 16 bits, colors are
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
    let pixels = if image.metadata.orientation == Orientation::NoTransforms {
        image
    } else {
        turned = image.clone().into_upright()?;
        &turned
    };
    match format {
        OutputFormat::Png => {
            let mut metadata = image.metadata.clone();
            metadata.reset_orientation();
            png::write(pixels, &metadata, &mut out)?;
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

/// The error for data that ends too early.
fn truncated(format: ImageFormat) -> Error {
    Error::Image(format!("the {} data ends too early", name(format)))
}

fn refuse_animation(is_animated: bool) -> Result<()> {
    if is_animated {
        return Err(Error::Unsupported("the picture is an animation".into()));
    }
    Ok(())
}

/// The samples of a picture within `limits`, as the `image` crate gives them.
fn decode(format: ImageFormat, bytes: &[u8], limits: &Limits) -> Result<DynamicImage> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(allocation_limits(limits));
    let decoder = reader.into_decoder();
    samples(
        decoder.map_err(|error| from_image_error(format, error))?,
        format,
        limits,
    )
}

/// The samples that a decoder gives, which has read the header.
fn samples(
    decoder: impl ImageDecoder,
    format: ImageFormat,
    limits: &Limits,
) -> Result<DynamicImage> {
    let (width, height) = decoder.dimensions();
    limits.check_pixels(width, height)?;
    DynamicImage::from_decoder(decoder).map_err(|error| from_image_error(format, error))
}

/// Our error for one of the `image` crate, on one line.
fn from_image_error(format: ImageFormat, error: ImageError) -> Error {
    match error {
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            truncated(format)
        }
        ImageError::IoError(error) => Error::Io(error),
        ImageError::Unsupported(_) => {
            unsupported(&format!("{} pictures of this kind", name(format)))
        }
        other => Error::Image(plain(&other.to_string(), format)),
    }
}

/// The error for pictures that are not read, and that other programs can convert.
fn unsupported(pictures: &str) -> Error {
    Error::Unsupported(format!("{pictures} are not read; convert it to PNG first"))
}

/// A decoder's message on one line, or a plain one where it holds debug text.
fn plain(text: &str, format: ImageFormat) -> String {
    let text = one_line(text);
    if text.contains(['{', '(', '\\']) {
        return format!("the {} data is damaged", name(format));
    }
    text
}

/// `text` with every run of white space replaced by one space.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
