//! Reading PNM: PBM, PGM, PPM and PAM, of which a file may hold several.

use std::io::Cursor;

use ::image::codecs::pnm::PnmDecoder;
use ::image::{DynamicImage, ImageFormat};

use super::findings::Findings;
use super::{from_image_error, samples};
use crate::error::Result;

/// Reads the samples of the first picture.
///
/// # Errors
/// [`Image`](crate::Error::Image) when the file is damaged, [`LimitExceeded`](crate::Error::LimitExceeded) for what the
/// limits forbid.
pub(super) fn read(bytes: &[u8], found: &mut Findings) -> Result<DynamicImage> {
    const FORMAT: ImageFormat = ImageFormat::Pnm;
    let mut source = Cursor::new(bytes);
    let decoder = PnmDecoder::new(&mut source).map_err(|error| from_image_error(FORMAT, error))?;
    let picture = samples(decoder, FORMAT, found.limits)?;
    let rest = usize::try_from(source.position()).map_or(&[][..], |end| &bytes[end..]);
    match rest.trim_ascii_start() {
        [b'P', b'1'..=b'7', ..] => found.notes.left_out("further pictures"),
        rest => found.behind(rest),
    }
    Ok(picture)
}
