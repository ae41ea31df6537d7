//! Reading of a GIF file what the `image` crate does not tell, and what must be known before its decoder asks for memory.

use std::io::Cursor;

use gif::streaming_decoder::{Block, Decoded, OutputBuffer, StreamingDecoder};
use gif::{DecodeOptions, Extension};

use super::findings::Findings;
use super::refuse_animation;
use crate::error::Result;

/// Finds the metadata, notes what is not read, and checks that the file has one picture, of a size within the limits: it
/// need not be that of the whole, with which the decoder compares it late.
pub(super) fn look_into(bytes: &[u8], found: &mut Findings) -> Result<()> {
    // What cannot be followed, here and below, is the decoder's to complain about.
    if let Ok(decoder) = DecodeOptions::new().read_info(Cursor::new(bytes)) {
        found.add_icc(decoder.icc_profile().unwrap_or_default().to_vec())?;
        found.add_xmp(decoder.xmp_metadata().unwrap_or_default())?;
    }
    let mut decoder = StreamingDecoder::new();
    let mut has_picture = false;
    let mut rest = bytes;
    while !rest.is_empty()
        && let Ok((length, event)) = decoder.update(rest, &mut OutputBuffer::None)
    {
        rest = &rest[length..];
        match event {
            Decoded::FrameMetadata(_) => {
                refuse_animation(has_picture)?;
                let frame = decoder.current_frame();
                found
                    .limits
                    .check_pixels(frame.width.into(), frame.height.into())?;
                has_picture = true;
            }
            Decoded::SubBlock { ext, .. } => match ext.into_known() {
                Some(Extension::Comment) => found.notes.not_kept("comments"),
                Some(Extension::Text) => found.notes.left_out("text over the picture"),
                _ => {}
            },
            Decoded::BlockStart(Block::Trailer) => {
                found.behind(rest);
                break;
            }
            _ => {}
        }
    }
    Ok(())
}
