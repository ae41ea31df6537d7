//! JPEG by the `image` crate: always there, so it is the default anchor.

use std::io::Cursor;

use anyhow::Context;
use image::codecs::jpeg::{JpegDecoder, JpegEncoder};
use image::{ColorType, DynamicImage, ExtendedColorType, ImageDecoder};

use super::{Codec, Source};
use crate::picture::Image;

/// Qualities that span the useful range.
const QUALITIES: [f64; 13] = [
    5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 98.0,
];

/// The `image` crate's encoder and decoder.
pub(in super::super) struct JpegCodec;

impl Codec for JpegCodec {
    fn name(&self) -> &'static str {
        "jpeg"
    }

    fn encoder(&self) -> &'static str {
        "image crate 0.25, JPEG 4:4:4, standard Huffman tables"
    }

    fn qualities(&self) -> &[f64] {
        &QUALITIES
    }

    fn encode(&self, source: &Source, quality: f64) -> anyhow::Result<Vec<u8>> {
        let picture = source.image();
        let mut file = Vec::new();
        // Qualities are whole numbers from 1 to 100.
        let encoder =
            JpegEncoder::new_with_quality(&mut file, quality.round().clamp(1.0, 100.0) as u8);
        let (width, height) = (picture.width, picture.height);
        let result = if picture.is_gray {
            encode_samples(
                encoder,
                &picture.to_gray(),
                width,
                height,
                ExtendedColorType::L8,
            )
        } else {
            encode_samples(
                encoder,
                &picture.rgb,
                width,
                height,
                ExtendedColorType::Rgb8,
            )
        };
        result.context("the JPEG encoder failed")?;
        Ok(file)
    }

    fn decode(&self, file: &[u8]) -> anyhow::Result<Image> {
        decode_jpeg(file)
    }
}

fn encode_samples(
    mut encoder: JpegEncoder<&mut Vec<u8>>,
    samples: &[u8],
    width: u32,
    height: u32,
    color: ExtendedColorType,
) -> image::ImageResult<()> {
    encoder.encode(samples, width, height, color)
}

/// Decodes any JPEG with the `image` crate.
pub(super) fn decode_jpeg(file: &[u8]) -> anyhow::Result<Image> {
    let decoder = JpegDecoder::new(Cursor::new(file)).context("the JPEG decoder failed")?;
    let is_gray = decoder.color_type() == ColorType::L8;
    let picture = DynamicImage::from_decoder(decoder)
        .context("the JPEG decoder failed")?
        .into_rgb8();
    let (width, height) = picture.dimensions();
    let mut picture = Image::new(width, height, picture.into_raw())?;
    picture.is_gray = is_gray;
    Ok(picture)
}
