//! What a reader finds in a file besides samples, and what there is to say about it.

use crate::error::Result;
use crate::limits::{Limits, at_most};
use crate::metadata::Metadata;
use crate::orientation::Orientation;
use crate::picture::notes::{Notes, Warning};
use crate::picture::tone::ToneCurve;
use crate::resolution::Resolution;

/// The identifier that JPEG puts before an Exif block; some WebP files keep it by mistake.
pub(super) const EXIF_IDENTIFIER: &[u8] = b"Exif\0\0";

/// The identifier that JPEG puts before an XMP packet.
pub(super) const XMP_IDENTIFIER: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

/// What was found so far; of each block the first.
pub(super) struct Findings<'a> {
    pub limits: &'a Limits,
    pub notes: Notes,
    pub icc: Option<Vec<u8>>,
    pub exif: Option<Vec<u8>>,
    pub xmp: Option<Vec<u8>>,
    pub resolution: Option<Resolution>,
    /// Orientation by other means than Exif and XMP.
    pub orientation: Option<Orientation>,
    /// The curve that samples are on, unless it is that of sRGB.
    pub curve: Option<ToneCurve>,
}

impl<'a> Findings<'a> {
    /// Nothing, of a file that must keep to `limits`.
    pub(super) fn new(limits: &'a Limits) -> Self {
        Self {
            limits,
            notes: Notes::default(),
            icc: None,
            exif: None,
            xmp: None,
            resolution: None,
            orientation: None,
            curve: None,
        }
    }

    /// Takes a profile.
    ///
    /// # Errors
    /// [`LimitExceeded`](crate::Error::LimitExceeded) when it is too long, here and below.
    pub(super) fn add_icc(&mut self, icc: Vec<u8>) -> Result<()> {
        self.check("ICC profile size", &icc)?;
        put(&mut self.icc, icc, "a second ICC profile", &mut self.notes);
        Ok(())
    }

    /// Takes an Exif block, with or without the identifier.
    pub(super) fn add_exif(&mut self, exif: &[u8]) -> Result<()> {
        let exif = exif.strip_prefix(EXIF_IDENTIFIER).unwrap_or(exif).to_vec();
        self.check("Exif size", &exif)?;
        put(&mut self.exif, exif, "a second Exif block", &mut self.notes);
        Ok(())
    }

    /// Takes an XMP packet, with or without the identifier. One of UTF-16 becomes UTF-8.
    pub(super) fn add_xmp(&mut self, xmp: &[u8]) -> Result<()> {
        let xmp = xmp.strip_prefix(XMP_IDENTIFIER).unwrap_or(xmp);
        let xmp = from_utf16(xmp).unwrap_or_else(|| xmp.to_vec());
        self.check("XMP size", &xmp)?;
        put(&mut self.xmp, xmp, "a second XMP packet", &mut self.notes);
        Ok(())
    }

    /// Notes what follows the picture in its file, unless it is padding of zeros.
    pub(super) fn behind(&mut self, rest: &[u8]) {
        let padding = rest.iter().take_while(|&&byte| byte == 0).count();
        let count = rest.len() - padding;
        if count > 0 {
            let unit = if count == 1 { "byte" } else { "bytes" };
            self.notes
                .left_out(format!("{count} {unit} behind the picture"));
        }
    }

    fn check(&self, what: &'static str, block: &[u8]) -> Result<()> {
        at_most(what, block.len() as u64, self.limits.max_metadata_bytes)
    }

    /// The metadata of a picture that is gray or of color, and the warnings. A profile of another kind of samples is
    /// left out.
    pub(super) fn finish(self, has_color: bool) -> (Metadata, Vec<Warning>) {
        let mut notes = self.notes;
        let keeps = |icc: &Vec<u8>| keeps_profile(icc, has_color, &mut notes);
        let mut metadata = Metadata {
            icc: self.icc.filter(keeps),
            exif: self.exif,
            xmp: self.xmp,
            resolution: self.resolution,
            orientation: Orientation::NoTransforms,
        };
        metadata.read_orientation();
        if let Some(orientation) = self.orientation {
            metadata.orientation = orientation;
        }
        (metadata, notes.finish())
    }
}

/// Puts `block` into its place, unless it is empty or another one is there.
fn put(place: &mut Option<Vec<u8>>, block: Vec<u8>, second: &str, notes: &mut Notes) {
    match place {
        _ if block.is_empty() => {}
        Some(first) if *first != block => notes.not_kept(second),
        Some(_) => {}
        None => *place = Some(block),
    }
}

/// Whether a profile applies to samples that are gray or of color; gray ones may have a profile of RGB.
fn keeps_profile(icc: &[u8], has_color: bool, notes: &mut Notes) -> bool {
    let stated = icc
        .first_chunk()
        .map_or(0, |&length| u32::from_be_bytes(length));
    if stated as usize > icc.len() {
        notes.damaged("the ICC profile is cut short; it is kept as it is");
    }
    let space = super::color::profile_space(icc);
    match space {
        Some(b"CMYK") => {
            notes.not_kept("the ICC profile of CMYK, whose inks became RGB without it")
        }
        Some(b"GRAY") if has_color => notes.not_kept("an ICC profile of gray for a picture of RGB"),
        Some(b"RGB " | b"GRAY") => return true,
        Some(other) if other.is_ascii() && icc.get(36..40) == Some(b"acsp") => {
            let name = String::from_utf8_lossy(other);
            notes.not_kept(format!("an ICC profile of {}", name.trim()));
        }
        _ => {
            notes.damaged("the ICC profile is damaged; it is kept as it is");
            return true;
        }
    }
    false
}

/// The text of a UTF-16 packet, which XMP may be, as UTF-8; `None` for anything else.
fn from_utf16(xmp: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = xmp.as_chunks::<2>();
    let units: Vec<u16> = match xmp {
        [0xfe, 0xff, ..] | [0, b'<', ..] => {
            pairs.iter().map(|&pair| u16::from_be_bytes(pair)).collect()
        }
        [0xff, 0xfe, ..] | [b'<', 0, ..] => {
            pairs.iter().map(|&pair| u16::from_le_bytes(pair)).collect()
        }
        _ => return None,
    };
    let text = String::from_utf16(&units)
        .ok()
        .filter(|_| rest.is_empty())?;
    Some(text.trim_start_matches('\u{feff}').as_bytes().to_vec())
}
