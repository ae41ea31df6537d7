//! What a bitmap's header says besides what the `image` crate tells of it.

use super::findings::Findings;
use crate::resolution::Resolution;

/// Places in the file of what the header says: where the pixels are, its own length, sides, bits of a pixel, how they are
/// coded, resolution, kind of color space.
const PIXELS: usize = 10;
const HEADER_LENGTH: usize = 14;
const WIDTH: usize = 18;
const HEIGHT: usize = 22;
const BITS: usize = 28;
const CODING: usize = 30;
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
    } else if header >= 40 {
        let sides = (word(WIDTH).unwrap_or(0), word(HEIGHT).unwrap_or(0));
        let (bits, coding) = (word(BITS).unwrap_or(0) & 0xffff, word(CODING).unwrap_or(0));
        let start = u64::from(word(PIXELS).unwrap_or(0));
        let end = start.saturating_add(pixel_bytes(sides, bits));
        if [RAW, MASKED].contains(&coding)
            && let Some(rest) = usize::try_from(end).ok().and_then(|end| bytes.get(end..))
        {
            found.behind(rest);
        }
    }
}

/// Codings that store every pixel as it is.
const RAW: u32 = 0;
const MASKED: u32 = 3;

/// Bytes that such pixels take, in rows of whole words; a negative height is that of a picture stored from its top.
fn pixel_bytes((width, height): (u32, u32), bits: u32) -> u64 {
    let row = (u64::from(width) * u64::from(bits)).div_ceil(32) * 4;
    row.saturating_mul(height.cast_signed().unsigned_abs().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    #[test]
    fn pixels_that_end_beyond_all_numbers_are_followed_by_nothing() {
        let mut file = vec![1; 80];
        let mut put = |at: usize, value: &[u8]| file[at..at + value.len()].copy_from_slice(value);
        put(PIXELS, &[54, 0, 0, 0]);
        put(HEADER_LENGTH, &[40, 0, 0, 0]);
        put(WIDTH, &[0xff; 4]);
        put(HEIGHT, &[0, 0, 0, 0x80]);
        put(BITS, &[0xff; 2]);
        put(CODING, &[0; 4]);
        let limits = Limits::default();
        let mut found = Findings::new(&limits);
        look_into(&file, &mut found);
        assert!(found.finish(true).1.is_empty());
    }
}
