//! Metadata carried across the codec: ICC profile, Exif, XMP, resolution, orientation.
//!
//! Blocks are bytes to us. The main exception is the orientation, which is read
//! from Exif, or else from XMP, and reset in both once the samples have been rotated, so
//! that no viewer rotates them a second time.

use std::ops::Range;

use crate::orientation::{Orientation, swaps_sides};
use crate::resolution::Resolution;

/// What a picture carries besides its samples.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// ICC color profile.
    pub icc: Option<Vec<u8>>,
    /// Exif block, starting at its TIFF header (`II` or `MM`). An orientation in it does not count until
    /// [`read_orientation`](Self::read_orientation) is called.
    pub exif: Option<Vec<u8>>,
    /// XMP packet, UTF-8 XML as a rule.
    pub xmp: Option<Vec<u8>>,
    /// How large the pixels are meant to be shown or printed.
    pub resolution: Option<Resolution>,
    /// How to turn the samples for display.
    pub orientation: Orientation,
}

impl Default for Metadata {
    fn default() -> Self {
        Self {
            icc: None,
            exif: None,
            xmp: None,
            resolution: None,
            orientation: Orientation::NoTransforms,
        }
    }
}

impl Metadata {
    /// Sets the orientation to that which the Exif block states, or the XMP packet if Exif states none, or to none.
    ///
    /// For blocks of a picture whose samples are as they were stored: what counts in coding is
    /// [`orientation`](Self::orientation) alone, and the blocks are made to agree with it when the picture is decoded.
    pub fn read_orientation(&mut self) {
        let exif = self.exif.as_deref().and_then(Orientation::from_exif_chunk);
        let xmp = || xmp_orientations(self.xmp.as_deref()?).find_map(|(_, value)| value);
        self.orientation = exif.or_else(xmp).unwrap_or(Orientation::NoTransforms);
    }

    /// Drops Exif and XMP. The ICC profile, the resolution and the orientation stay: they decide how the
    /// picture looks.
    pub fn strip(&mut self) {
        self.exif = None;
        self.xmp = None;
    }

    /// What holds after the samples were turned upright: resets the orientation here, in the Exif block and in the
    /// XMP packet, and exchanges the sides of the resolution if those of the picture were.
    pub fn reset_orientation(&mut self) {
        if swaps_sides(self.orientation)
            && let Some(resolution) = &mut self.resolution
        {
            std::mem::swap(&mut resolution.x, &mut resolution.y);
        }
        self.orientation = Orientation::NoTransforms;
        if let Some(exif) = &mut self.exif {
            // The value read is of no use here: `orientation` decided.
            let _ = Orientation::remove_from_exif_chunk(exif);
        }
        if let Some(xmp) = &mut self.xmp {
            reset_xmp_orientation(xmp);
        }
    }
}

/// Sets `tiff:Orientation` to 1, written as an attribute or as an element.
fn reset_xmp_orientation(xmp: &mut [u8]) {
    let places: Vec<Range<usize>> = xmp_orientations(xmp)
        .filter(|(_, value)| value.is_some())
        .map(|(place, _)| place)
        .collect();
    for place in places {
        xmp[place].fill(b'1');
    }
}

/// Where the values of `tiff:Orientation` stand in a packet, and those that are valid.
fn xmp_orientations(xmp: &[u8]) -> impl Iterator<Item = (Range<usize>, Option<Orientation>)> {
    const KEY: &[u8] = b"tiff:Orientation";
    let mut from = 0;
    std::iter::from_fn(move || {
        from += find(&xmp[from..], KEY)? + KEY.len();
        // `="6"` of an attribute, in either kind of quotes, or `>6` of an element, with white space anywhere.
        let is_between = |byte: &&u8| byte.is_ascii_whitespace() || b"=\"'>".contains(*byte);
        let start = from + xmp[from..].iter().take_while(is_between).count();
        let is_alone = |byte: &u8| !byte.is_ascii_digit();
        let value = match xmp.get(start..) {
            Some([digit @ b'1'..=b'8', next, ..]) if start > from && is_alone(next) => {
                Orientation::from_exif(digit - b'0')
            }
            _ => None,
        };
        from = start;
        Some((start..(start + 1).min(xmp.len()), value))
    })
}

/// Position of the first `needle` in `haystack`.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

#[cfg(test)]
pub(crate) mod tests;
