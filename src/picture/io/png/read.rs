//! Reading PNG: samples by the `image` crate, everything else from the chunks themselves.

use ::image::{DynamicImage, ImageFormat};

use super::chunks;
use crate::error::Result;
use crate::picture::io::decode;
use crate::picture::io::findings::Findings;

/// Reads samples and metadata.
///
/// # Errors
/// [`Image`](crate::Error::Image) when the file is damaged, [`Unsupported`](crate::Error::Unsupported) for animations
/// and high dynamic range, [`LimitExceeded`](crate::Error::LimitExceeded) for what the limits forbid.
pub(in crate::picture::io) fn read(bytes: &[u8], found: &mut Findings) -> Result<DynamicImage> {
    let color = chunks::read(bytes, found)?;
    let picture = decode(ImageFormat::Png, bytes, found.limits)?;
    let has_color = picture.color().has_color();
    let carried = color.carried(found.icc.is_some(), has_color, &mut found.notes)?;
    if carried.beats_profile || carried.profile.is_some() {
        found.icc = carried.profile;
    }
    found.curve = carried.curve;
    Ok(picture)
}
