//! JPEG by the `image` crate: always there, so it is the default anchor.

use std::io::Cursor;

use anyhow::Context;
use image::codecs::jpeg::{JpegDecoder, JpegEncoder};
use image::{DynamicImage, ExtendedColorType};

use super::{Codec, Coder, Source};
use crate::picture::Image;

/// Qualities that span the useful range.
const QUALITIES: [f64; 13] = [
    5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 98.0,
];

/// The `image` crate's encoder and decoder.
struct JpegCoder;

/// JPEG by the `image` crate.
pub(in super::super) fn jpeg() -> Codec {
    Codec {
        name: "jpeg".into(),
        encoder: "image crate 0.25, JPEG 4:4:4, standard Huffman tables".into(),
        qualities: QUALITIES.into(),
        coder: Box::new(JpegCoder),
    }
}

impl Coder for JpegCoder {
    fn encode(&self, source: &Source, quality: f64) -> anyhow::Result<Vec<u8>> {
        let picture = source.image();
        let (samples, color) = if picture.is_gray {
            (&picture.to_gray(), ExtendedColorType::L8)
        } else {
            (&picture.rgb, ExtendedColorType::Rgb8)
        };
        let mut file = Vec::new();
        // Qualities are whole numbers from 1 to 100.
        JpegEncoder::new_with_quality(&mut file, quality.round().clamp(1.0, 100.0) as u8)
            .encode(samples, picture.width, picture.height, color)
            .context("the JPEG encoder failed")?;
        Ok(file)
    }

    fn decode(&self, file: &[u8]) -> anyhow::Result<Image> {
        decode_jpeg(file)
    }
}

/// Decodes any JPEG with the `image` crate.
pub(super) fn decode_jpeg(file: &[u8]) -> anyhow::Result<Image> {
    let picture = JpegDecoder::new(Cursor::new(file)).and_then(DynamicImage::from_decoder);
    Ok(Image::try_from(
        picture.context("the JPEG decoder failed")?,
    )?)
}
