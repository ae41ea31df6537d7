//! Reading JPEG: what its segments hold, whether its data is whole, and its samples.
//!
//! Samples are decoded by `jpeg-decoder`, which is right for every order of scans and every sampling.

mod frame;
mod long_xmp;
mod scan;
mod segments;

use std::io::{Cursor, Read};

use ::image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
use jpeg_decoder::{Decoder, PixelFormat};

use super::findings::Findings;
use crate::error::{Error, Result};
use segments::Segments;

/// The marker that ends a picture.
const END: [u8; 2] = [0xff, 0xd9];

/// Reads samples and metadata.
pub(super) fn read<'a>(bytes: &'a [u8], found: &mut Findings<'a>) -> Result<DynamicImage> {
    let segments = Segments::read(bytes, found)?;
    // The end marker may be missing, and what is behind it may be anything.
    let source = Cursor::new(&bytes[..segments.end]).chain(&END[..]);
    let mut decoder = Decoder::new(source);
    decoder.set_color_transform(segments.color_transform());
    let data = decoder.decode().map_err(error)?;
    let damaged = || Error::Image("the JPEG data is damaged".into());
    let info = decoder.info().ok_or_else(damaged)?;
    let (width, height) = (info.width.into(), info.height.into());
    let rgb = |data| RgbImage::from_raw(width, height, data).map(DynamicImage::from);
    let picture = match info.pixel_format {
        PixelFormat::L8 => GrayImage::from_raw(width, height, data).map(DynamicImage::from),
        PixelFormat::RGB24 => rgb(data),
        PixelFormat::CMYK32 => rgb(from_inks(&data)),
        PixelFormat::L16 => return Err(Error::Unsupported("JPEG of more than 8 bits".into())),
    };
    picture.ok_or_else(damaged)
}

/// Width and height, without decoding.
pub(super) fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut decoder = Decoder::new(bytes);
    decoder.read_info().ok()?;
    let info = decoder.info()?;
    Some((info.width.into(), info.height.into()))
}

/// RGB of cyan, magenta, yellow and black, as screens approximate them.
#[allow(clippy::cast_possible_truncation)] // from 0 to 255
fn from_inks(data: &[u8]) -> Vec<u8> {
    let paper = |ink: u8| u32::from(255 - ink);
    let (pixels, _) = data.as_chunks::<4>();
    let pixel =
        |&[c, m, y, k]: &[u8; 4]| [c, m, y].map(|ink| ((paper(ink) * paper(k) + 127) / 255) as u8);
    pixels.iter().flat_map(pixel).collect()
}

fn error(error: jpeg_decoder::Error) -> Error {
    match error {
        jpeg_decoder::Error::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            super::truncated(ImageFormat::Jpeg)
        }
        jpeg_decoder::Error::Io(error) => Error::Io(error),
        jpeg_decoder::Error::Unsupported(_) => {
            Error::Unsupported("JPEG with a rare sampling or color space".into())
        }
        other => Error::Image(super::one_line(&other.to_string())),
    }
}
