//! What must be known of a GIF file before its decoder asks for memory.

use std::io::Cursor;

use super::refuse_animation;
use crate::error::Result;
use crate::limits::Limits;

/// Checks that the file has one picture, of a size within `limits`: it need not be that of the whole, with which the
/// decoder compares it late.
pub(super) fn check(bytes: &[u8], limits: &Limits) -> Result<()> {
    let mut options = gif::DecodeOptions::new();
    options.skip_frame_decoding(true);
    let Ok(mut decoder) = options.read_info(Cursor::new(bytes)) else {
        return Ok(());
    };
    let mut has_picture = false;
    // What cannot be followed any more is the decoder's to complain about.
    while let Ok(Some(frame)) = decoder.next_frame_info() {
        refuse_animation(has_picture)?;
        limits.check_pixels(frame.width.into(), frame.height.into())?;
        has_picture = true;
    }
    Ok(())
}
