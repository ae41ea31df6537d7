//! Metadata blocks carried across the codec: ICC profile, Exif, XMP, orientation.
//!
//! Blocks are bytes to us. The main exception is the orientation, which is read
//! from Exif and reset in Exif and XMP once the samples have been rotated, so
//! that no viewer rotates them a second time.

use std::ops::Range;

use ::image::metadata::Orientation;

use crate::error::{Error, Result};
use crate::limits::Limits;

/// The identifier that JPEG puts before an Exif block; some WebP files keep it by mistake.
const EXIF_IDENTIFIER: &[u8] = b"Exif\0\0";

/// Where an ICC profile says of what color space the samples are.
const ICC_COLOR_SPACE: Range<usize> = 16..20;

/// What a picture carries besides its samples.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// ICC color profile.
    pub icc: Option<Vec<u8>>,
    /// Exif block, starting at its TIFF header (`II` or `MM`).
    pub exif: Option<Vec<u8>>,
    /// XMP packet, UTF-8 XML.
    pub xmp: Option<Vec<u8>>,
    /// How to turn the samples for display: 1..=8 in Exif numbering, 1 as stored.
    pub orientation: u8,
}

impl Default for Metadata {
    fn default() -> Self {
        Self {
            icc: None,
            exif: None,
            xmp: None,
            orientation: 1,
        }
    }
}

impl Metadata {
    /// Metadata from the blocks of a picture file; the orientation is read from `exif`.
    ///
    /// Empty blocks count as absent, and so does a profile of CMYK: the readers make RGB of such samples, to
    /// which it does not apply.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] when a block is longer than `limits` allow.
    pub fn from_blocks(
        icc: Option<Vec<u8>>,
        exif: Option<Vec<u8>>,
        xmp: Option<Vec<u8>>,
        limits: &Limits,
    ) -> Result<Self> {
        let exif = exif.map(|block| match block.strip_prefix(EXIF_IDENTIFIER) {
            Some(tiff) => tiff.to_vec(),
            None => block,
        });
        let orientation = exif.as_deref().and_then(Orientation::from_exif_chunk);
        let icc = icc.filter(|profile| profile.get(ICC_COLOR_SPACE) != Some(b"CMYK"));
        Ok(Self {
            icc: checked(icc, "ICC profile size", limits)?,
            exif: checked(exif, "Exif size", limits)?,
            xmp: checked(xmp, "XMP size", limits)?,
            orientation: orientation.map_or(1, Orientation::to_exif),
        })
    }

    /// Drops Exif and XMP. The ICC profile and the orientation stay: they decide how the
    /// picture looks.
    pub fn strip(&mut self) {
        self.exif = None;
        self.xmp = None;
    }

    /// Sets the orientation to 1 here, in the Exif block and in the XMP packet.
    pub fn reset_orientation(&mut self) {
        self.orientation = 1;
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
    for key in [
        &b"tiff:Orientation=\""[..],
        b"tiff:Orientation='",
        b"<tiff:Orientation>",
    ] {
        let mut from = 0;
        while let Some(at) = find(&xmp[from..], key) {
            from += at + key.len();
            if let Some(digit @ b'2'..=b'8') = xmp.get_mut(from) {
                *digit = b'1';
            }
        }
    }
}

/// Position of the first `needle` in `haystack`.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

/// `block`, unless it is empty (then `None`) or over the limit.
fn checked(block: Option<Vec<u8>>, what: &'static str, limits: &Limits) -> Result<Option<Vec<u8>>> {
    let found = block.as_ref().map_or(0, Vec::len) as u64;
    let limit = limits.max_metadata_bytes;
    if found > limit {
        return Err(Error::LimitExceeded { what, found, limit });
    }
    Ok(block.filter(|bytes| !bytes.is_empty()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A minimal Exif block: one IFD with the orientation as its only entry.
    pub fn exif_with_orientation(big_endian: bool, orientation: u8) -> Vec<u8> {
        let (order, count): (&[u8], &[u8]) = if big_endian {
            (b"MM\0\x2a\0\0\0\x08", &[0, 0, 0, 1])
        } else {
            (b"II\x2a\0\x08\0\0\0", &[1, 0, 0, 0])
        };
        let word = |value: u16| {
            if big_endian {
                value.to_be_bytes()
            } else {
                value.to_le_bytes()
            }
        };
        let [entries, tag, short] = [word(1), word(0x112), word(3)];
        let value = word(u16::from(orientation));
        [
            order, &entries, &tag, &short, count, &value, &[0; 2], &[0; 4],
        ]
        .concat()
    }

    #[test]
    fn orientation_is_read_and_reset() {
        for big_endian in [false, true] {
            for orientation in 1..=8 {
                let exif = exif_with_orientation(big_endian, orientation);
                let limits = Limits::default();
                let mut metadata = Metadata::from_blocks(None, Some(exif), None, &limits).unwrap();
                assert_eq!(metadata.orientation, orientation);
                metadata.reset_orientation();
                assert_eq!(metadata.orientation, 1);
                let expected = exif_with_orientation(big_endian, 1);
                assert_eq!(metadata.exif, Some(expected));
            }
        }
    }

    #[test]
    fn invalid_orientation_counts_as_upright() {
        for block in [
            exif_with_orientation(true, 0),
            exif_with_orientation(true, 9),
            vec![1, 2],
        ] {
            let metadata =
                Metadata::from_blocks(None, Some(block), None, &Limits::default()).unwrap();
            assert_eq!(metadata.orientation, 1);
        }
    }

    #[test]
    fn jpeg_identifier_before_exif_is_dropped() {
        let tiff = exif_with_orientation(false, 6);
        let block = [EXIF_IDENTIFIER, &tiff].concat();
        let metadata = Metadata::from_blocks(None, Some(block), None, &Limits::default()).unwrap();
        assert_eq!(metadata.orientation, 6);
        assert_eq!(metadata.exif, Some(tiff));
    }

    #[test]
    fn xmp_orientation_is_reset_in_every_spelling() {
        let packet = "<a tiff:Orientation=\"6\" tiff:Orientation='8'/>\
            <tiff:Orientation>3</tiff:Orientation><tiff:Orientation>";
        let mut metadata = Metadata {
            xmp: Some(packet.into()),
            ..Metadata::default()
        };
        metadata.reset_orientation();
        let expected = packet.replace(['6', '8', '3'], "1");
        assert_eq!(metadata.xmp, Some(expected.into()));
    }

    #[test]
    fn long_blocks_are_refused_and_empty_ones_dropped() {
        let limits = Limits {
            max_metadata_bytes: 3,
            ..Limits::default()
        };
        let long = Some(vec![0; 4]);
        for blocks in [
            (long.clone(), None, None),
            (None, long.clone(), None),
            (None, None, long),
        ] {
            let (icc, exif, xmp) = blocks;
            assert!(matches!(
                Metadata::from_blocks(icc, exif, xmp, &limits),
                Err(Error::LimitExceeded {
                    found: 4,
                    limit: 3,
                    ..
                })
            ));
        }
        let empty = Metadata::from_blocks(Some(vec![]), None, None, &limits).unwrap();
        assert_eq!(empty, Metadata::default());
    }

    #[test]
    fn strip_keeps_what_decides_the_look() {
        let mut metadata = Metadata {
            icc: Some(vec![1]),
            exif: Some(vec![2]),
            xmp: Some(vec![3]),
            orientation: 6,
        };
        metadata.strip();
        assert_eq!(metadata.icc, Some(vec![1]));
        assert_eq!((metadata.exif, metadata.xmp), (None, None));
        assert_eq!(metadata.orientation, 6);
    }
}
