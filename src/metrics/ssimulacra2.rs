//! SSIMULACRA2 through the `ssimulacra2` crate; pictures are taken as sRGB.

use ssimulacra2::{ColorPrimaries, Rgb, TransferCharacteristic, compute_frame_ssimulacra2};

use super::RgbView;
use crate::error::{Error, Result};

/// Shortest picture side that SSIMULACRA2 is defined for.
pub const SSIMULACRA2_MIN_SIDE: usize = 8;

/// SSIMULACRA2 score of `distorted`: 100 is identical, 90 visually lossless, 70 high,
/// 50 medium, 30 low quality; it may be negative.
///
/// # Errors
/// [`Error::Image`] when the sizes differ or a side is shorter than [`SSIMULACRA2_MIN_SIDE`].
pub fn ssimulacra2(reference: &RgbView, distorted: &RgbView) -> Result<f64> {
    reference.check_sides(distorted, "SSIMULACRA2", SSIMULACRA2_MIN_SIDE)?;
    compute_frame_ssimulacra2(frame(reference)?, frame(distorted)?)
        .map_err(|error| Error::Image(error.to_string()))
}

/// The picture as the crate takes it: samples 0 to 1 with the sRGB transfer function.
fn frame(picture: &RgbView) -> Result<Rgb> {
    let pixels = picture.samples().as_chunks::<3>().0.iter();
    let pixels = pixels.map(|pixel| pixel.map(|sample| f32::from(sample) / 255.0));
    let (width, height) = (picture.width(), picture.height());
    let (curve, primaries) = (TransferCharacteristic::SRGB, ColorPrimaries::BT709);
    Rgb::new(pixels.collect(), width, height, curve, primaries)
        .map_err(|error| Error::Image(error.to_string()))
}
