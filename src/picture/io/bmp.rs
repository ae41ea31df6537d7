//! What a bitmap's header says besides what the `image` crate tells of it.

use super::findings::Findings;
use crate::resolution::Resolution;

/// Places in the file of the header's length, of the resolution and of the kind of color space.
const HEADER_LENGTH: usize = 14;
const RESOLUTION: usize = 38;
const COLOR_SPACE: usize = 70;

/// Finds the resolution, and notes what is not read.
pub(super) fn look_into(bytes: &[u8], found: &mut Findings) {
    let field = |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk());
    let word = |at: usize| field(at).map(|&word| u32::from_le_bytes(word));
    let header = word(HEADER_LENGTH).unwrap_or(0);
    if header >= 40
        && let (Some(x), Some(y)) = (word(RESOLUTION), word(RESOLUTION + 4))
    {
        found.resolution = Resolution::per_meter(x, y);
    }
    if header >= 124 && field(COLOR_SPACE) == Some(b"DEBM") {
        found.notes.not_kept("the ICC profile");
    }
}
