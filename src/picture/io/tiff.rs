//! Reading TIFF: with what the `image` crate does not tell of it.

use std::io::Cursor;

use ::image::{DynamicImage, ImageFormat};
use tiff::decoder::Decoder;
use tiff::decoder::ifd::Value;
use tiff::tags::Tag;

use super::findings::Findings;
use super::{decode, unsupported};
use crate::error::{Error, Result};
use crate::orientation::Orientation;
use crate::resolution::Resolution;

const XMP: Tag = Tag::Unknown(700);
const IPTC: Tag = Tag::Unknown(33_723);
const PHOTOSHOP: Tag = Tag::Unknown(34_377);
const GPS: Tag = Tag::Unknown(34_853);
const DNG_VERSION: Tag = Tag::Unknown(50_706);

/// Reads the samples and the metadata of the first page.
///
/// # Errors
/// [`Error::Unsupported`] for files whose first page is not the picture (raw files of cameras), and for colors that are
/// multiplied by alpha.
pub(super) fn read(bytes: &[u8], found: &mut Findings) -> Result<DynamicImage> {
    look_into(bytes, found)?;
    decode(ImageFormat::Tiff, bytes, found.limits)
}

/// Finds the metadata, notes what is not read, and refuses what is not a picture.
fn look_into(bytes: &[u8], found: &mut Findings) -> Result<()> {
    let Ok(mut decoder) = Decoder::new(Cursor::new(bytes)) else {
        // Who reads the samples says what is wrong.
        return Ok(());
    };
    let is_there = |decoder: &mut Decoder<_>, tag| decoder.image_ifd().find_entry(tag).is_some();
    let is_thumbnail = first(&mut decoder, Tag::NewSubfileType).is_some_and(|kind| kind & 1 == 1);
    if is_thumbnail || is_there(&mut decoder, DNG_VERSION) || bytes.get(8..10) == Some(b"CR") {
        return Err(Error::Unsupported(
            "camera raw pictures are not read; develop it first".into(),
        ));
    }
    if first(&mut decoder, Tag::ExtraSamples) == Some(1) {
        return Err(Error::Unsupported(
            "a TIFF whose colors are multiplied by alpha".into(),
        ));
    }
    if let Some(kind) = kind_not_read(&mut decoder) {
        return Err(unsupported(&format!("TIFF pictures with {kind}")));
    }
    if let Ok(icc) = decoder.get_tag_u8_vec(Tag::IccProfile) {
        found.add_icc(icc)?;
    }
    if let Ok(xmp) = decoder.get_tag_u8_vec(XMP) {
        found.add_xmp(&xmp)?;
    }
    let orientation = first(&mut decoder, Tag::Orientation).and_then(|v| u8::try_from(v).ok());
    let orientation = orientation.and_then(Orientation::from_exif);
    found.orientation = Some(orientation.unwrap_or(Orientation::NoTransforms));
    found.resolution = resolution(&mut decoder);
    for (tag, name) in [
        (Tag::ExifDirectory, "Exif"),
        (IPTC, "IPTC data"),
        (PHOTOSHOP, "Photoshop data"),
        (Tag::ImageDescription, "the description"),
        (Tag::Artist, "the artist"),
        (Tag::Copyright, "the copyright notice"),
        (Tag::DateTime, "the time"),
        (Tag::Model, "the camera"),
        (GPS, "GPS data"),
    ] {
        if is_there(&mut decoder, tag) {
            found.notes.not_kept(name);
        }
    }
    if decoder.more_images() {
        found.notes.left_out("further pages");
    }
    Ok(())
}

/// What the samples are, where that is nothing that the decoder knows.
fn kind_not_read(decoder: &mut Decoder<Cursor<&[u8]>>) -> Option<&'static str> {
    let is_float = first(decoder, Tag::SampleFormat) == Some(3);
    match first(decoder, Tag::PhotometricInterpretation) {
        _ if is_float => Some("floating-point samples"),
        Some(0 | 1) if first(decoder, Tag::SamplesPerPixel) > Some(1) => Some("gray and alpha"),
        Some(3) => Some("a palette"),
        Some(8..=10) => Some("colors of CIE L*a*b*"),
        _ => None,
    }
}

/// The first number of a tag.
fn first(decoder: &mut Decoder<Cursor<&[u8]>>, tag: Tag) -> Option<u32> {
    let numbers = decoder.find_tag_unsigned_vec(tag).ok().flatten()?;
    numbers.first().copied()
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates
fn resolution(decoder: &mut Decoder<Cursor<&[u8]>>) -> Option<Resolution> {
    let per_meter = match first(decoder, Tag::ResolutionUnit) {
        None | Some(2) => 1.0 / 0.0254,
        Some(3) => 100.0,
        Some(_) => return None,
    };
    let mut side = |tag| match decoder.find_tag(tag) {
        // What is no number becomes 0, which counts as none.
        Ok(Some(Value::Rational(above, below))) => {
            Some((f64::from(above) / f64::from(below) * per_meter).round() as u32)
        }
        _ => None,
    };
    Resolution::per_meter(side(Tag::XResolution)?, side(Tag::YResolution)?)
}
