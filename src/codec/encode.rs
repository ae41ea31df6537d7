//! Encoding at a given quality.

use super::encoder::PictureEncoder;
use super::refine::{self, refine};
use super::{EncodeOptions, Model, Progress, Steps};
use crate::error::Result;
use crate::picture::Image;

/// Encodes a picture to the bytes of an `.aec` file. Colors lose detail, alpha does not; what colors
/// fully transparent pixels have is not kept.
///
/// # Errors
/// [`Image`](crate::Error::Image) when the picture's fields disagree ([`Image::check`]),
/// [`LimitExceeded`](crate::Error::LimitExceeded) for pictures over the limits,
/// [`InvalidOption`](crate::Error::InvalidOption) for a tile size out of range,
/// [`Cancelled`](crate::Error::Cancelled) when `progress` says so.
pub fn encode(
    image: &Image,
    model: &Model,
    options: &EncodeOptions,
    progress: &dyn Progress,
) -> Result<Vec<u8>> {
    let encoder = PictureEncoder::new(image, model, options)?;
    let quality = model.at_quality(options.quality.raw());
    let work = encoder.rows() + refine::work(&encoder);
    let steps = Steps::new(progress, work);
    let latent = encoder.analyze(&quality, &steps)?;
    let tiles = refine(&encoder, &quality, latent, false, &steps)?.tiles;
    steps.finish()?;
    encoder.write(options.quality, &tiles)
}
