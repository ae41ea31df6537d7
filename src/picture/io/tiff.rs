//! The first directory of a TIFF file, for what its decoder does not tell.

use crate::error::{Error, Result};
use crate::picture::notes::Notes;
use crate::resolution::Resolution;

const SUBFILE_TYPE: u16 = 254;
const X_RESOLUTION: u16 = 282;
const Y_RESOLUTION: u16 = 283;
const RESOLUTION_UNIT: u16 = 296;
const EXTRA_SAMPLES: u16 = 338;
const IPTC: u16 = 33_723;
const PHOTOSHOP: u16 = 34_377;
const EXIF: u16 = 34_665;
const DNG_VERSION: u16 = 50_706;

/// Kind of a value that is two integers, numerator and denominator.
const RATIONAL: u16 = 5;
/// Kind of a value of 16 bits.
const SHORT: u16 = 3;

/// A list of tagged values.
pub(super) struct Directory<'a> {
    bytes: &'a [u8],
    is_big_endian: bool,
    entries: &'a [[u8; 12]],
    has_next: bool,
}

impl<'a> Directory<'a> {
    /// The first directory of a file with offsets of 32 bits.
    pub(super) fn first(bytes: &'a [u8]) -> Option<Self> {
        let is_big_endian = bytes.starts_with(b"MM\0*");
        if !is_big_endian && !bytes.starts_with(b"II*\0") {
            return None;
        }
        let mut directory = Self {
            bytes,
            is_big_endian,
            entries: &[],
            has_next: false,
        };
        let rest = bytes.get(directory.word(4)? as usize..)?;
        let (&count, rest) = rest.split_first_chunk()?;
        let count = usize::from(directory.short(count));
        let (entries, _) = rest.get(..12 * count)?.as_chunks();
        directory.entries = entries;
        directory.has_next = rest[12 * count..]
            .first_chunk()
            .is_some_and(|&[a, b, c, d]| a | b | c | d != 0);
        Some(directory)
    }

    fn short(&self, bytes: [u8; 2]) -> u16 {
        if self.is_big_endian {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        }
    }

    fn word(&self, at: usize) -> Option<u32> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.is_big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    }

    /// Kind and value field of a tag.
    fn get(&self, tag: u16) -> Option<(u16, [u8; 4])> {
        let entry = self
            .entries
            .iter()
            .find(|entry| self.short([entry[0], entry[1]]) == tag)?;
        let [_, _, k0, k1, _, _, _, _, a, b, c, d] = *entry;
        Some((self.short([k0, k1]), [a, b, c, d]))
    }

    /// A value that is small enough to stand in its field.
    fn small(&self, tag: u16) -> Option<u32> {
        let (kind, [a, b, c, d]) = self.get(tag)?;
        if kind == SHORT {
            return Some(self.short([a, b]).into());
        }
        Some(if self.is_big_endian {
            u32::from_be_bytes([a, b, c, d])
        } else {
            u32::from_le_bytes([a, b, c, d])
        })
    }

    fn ratio(&self, tag: u16) -> Option<f64> {
        if self.get(tag)?.0 != RATIONAL {
            return None;
        }
        let at = self.small(tag)? as usize;
        Some(f64::from(self.word(at)?) / f64::from(self.word(at + 4)?))
    }

    /// The resolution.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates
    pub(super) fn resolution(&self) -> Option<Resolution> {
        let (x, y) = (self.ratio(X_RESOLUTION)?, self.ratio(Y_RESOLUTION)?);
        let per_meter = match self.small(RESOLUTION_UNIT) {
            None | Some(2) => 1.0 / 0.0254,
            Some(3) => 100.0,
            Some(_) => return None,
        };
        // Saturates; what is no number becomes 0, which counts as none.
        Resolution::per_meter(
            (x * per_meter).round() as u32,
            (y * per_meter).round() as u32,
        )
    }

    /// Refuses files whose first page is not the picture.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for raw files of cameras, and for colors that are multiplied by alpha.
    pub(super) fn refuse_others(&self, bytes: &[u8]) -> Result<()> {
        let is_thumbnail = self.small(SUBFILE_TYPE).is_some_and(|kind| kind & 1 == 1);
        if is_thumbnail || self.get(DNG_VERSION).is_some() || bytes.get(8..10) == Some(b"CR") {
            return Err(Error::Unsupported(
                "camera raw pictures are not read; develop it first".into(),
            ));
        }
        if self.small(EXTRA_SAMPLES) == Some(1) {
            return Err(Error::Unsupported(
                "a TIFF whose colors are multiplied by alpha".into(),
            ));
        }
        Ok(())
    }

    /// Notes what is not read.
    pub(super) fn note_what_is_left_out(&self, notes: &mut Notes) {
        for (tag, name) in [
            (EXIF, "Exif"),
            (IPTC, "IPTC data"),
            (PHOTOSHOP, "Photoshop data"),
        ] {
            if self.get(tag).is_some() {
                notes.not_kept(name);
            }
        }
        if self.has_next {
            notes.not_kept("further pages");
        }
    }
}
