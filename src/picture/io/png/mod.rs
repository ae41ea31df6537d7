//! PNG: samples by the `image` crate and the `png` crate, everything else from the chunks themselves.

mod chunks;
mod mark;
mod raw_profile;
mod write;

use ::image::{DynamicImage, ImageFormat};

use super::decode;
use super::findings::Findings;
use crate::error::Result;

pub use mark::is_own;
pub(super) use write::write;

/// Keyword of the text that holds an XMP packet.
const XMP_KEYWORD: &str = "XML:com.adobe.xmp";

/// Reads samples and metadata.
///
/// # Errors
/// [`Image`](crate::Error::Image) when the file is damaged, [`Unsupported`](crate::Error::Unsupported) for animations
/// and high dynamic range, [`LimitExceeded`](crate::Error::LimitExceeded) for what the limits forbid.
pub(super) fn read(bytes: &[u8], found: &mut Findings) -> Result<DynamicImage> {
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
