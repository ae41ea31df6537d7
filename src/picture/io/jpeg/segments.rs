//! The segments of a JPEG file, in one pass: metadata, and whether every scan is whole.

use ::image::ImageFormat;
use jpeg_decoder::ColorTransform;

use super::frame::Frame;
use super::long_xmp::{self, LongXmp};
use super::scan::{Huffman, Scan};
use crate::error::{Error, Result};
use crate::picture::io::findings::{EXIF_IDENTIFIER, Findings, XMP_IDENTIFIER};
use crate::picture::io::truncated;
use crate::resolution::Resolution;

/// Most scans of a picture. Encoders make about ten; each may cost as much as the whole picture.
const MOST_SCANS: usize = 100;

const ICC_IDENTIFIER: &[u8] = b"ICC_PROFILE\0";
const MPF_IDENTIFIER: &[u8] = b"MPF\0";
const GAIN_MAP_IDENTIFIER: &[u8] = b"urn:iso:std:iso:ts:21496:-1\0";
const PHOTOSHOP_IDENTIFIER: &[u8] = b"Photoshop 3.0\0";
/// Signature and number of the Photoshop resource that holds IPTC data.
const IPTC_RESOURCE: &[u8] = b"8BIM\x04\x04";

const SECOND_PICTURE: &str = "a second picture, such as a gain map";

/// What the segments of a file say.
pub(super) struct Segments<'a, 'f> {
    bytes: &'a [u8],
    found: &'f mut Findings<'a>,
    /// Where the picture ends, its end marker not included.
    pub end: usize,
    /// Number, count and content of the parts of the ICC profile.
    icc: Vec<(u8, u8, &'a [u8])>,
    long_xmp: LongXmp<'a>,
    frame: Option<Frame>,
    /// Huffman tables for DC, then for AC.
    tables: [[Option<Huffman>; 4]; 2],
    restart_interval: u32,
    scans: usize,
    is_jfif: bool,
    /// Color transform of the Adobe segment.
    adobe: Option<u8>,
    has_second_picture: bool,
}

impl<'a, 'f> Segments<'a, 'f> {
    /// Reads all segments and walks through all scans.
    ///
    /// # Errors
    /// [`Error::Image`] when picture data is missing, [`Error::Unsupported`] for kinds of JPEG that are not
    /// read, [`Error::LimitExceeded`] for what the limits forbid.
    pub(super) fn read(bytes: &'a [u8], found: &'f mut Findings<'a>) -> Result<Self> {
        let mut segments = Self {
            bytes,
            found,
            end: 0,
            icc: Vec::new(),
            long_xmp: LongXmp::default(),
            frame: None,
            tables: Default::default(),
            restart_interval: 0,
            scans: 0,
            is_jfif: false,
            adobe: None,
            has_second_picture: false,
        };
        segments.end = segments.read_all()?;
        segments.finish()?;
        Ok(segments)
    }

    /// How components become RGB, decided as libjpeg does.
    pub(super) fn color_transform(&self) -> ColorTransform {
        let components = self.frame.iter().flat_map(|frame| &frame.components);
        let ids: Vec<u8> = components.map(|component| component.id).collect();
        match (ids.as_slice(), self.adobe) {
            ([_], _) => ColorTransform::Grayscale,
            ([_, _, _], _) if self.is_jfif => ColorTransform::YCbCr,
            ([_, _, _], Some(0)) | (b"RGB", None) => ColorTransform::RGB,
            ([_, _, _], _) => ColorTransform::YCbCr,
            (_, Some(2)) => ColorTransform::YCCK,
            _ => ColorTransform::CMYK,
        }
    }

    /// Reads up to the end marker, and gives its place.
    fn read_all(&mut self) -> Result<usize> {
        let mut at = 2;
        loop {
            let Some((marker, start)) = next_marker(self.bytes, at) else {
                self.found.notes.damaged("the JPEG data has no end marker");
                return Ok(self.bytes.len());
            };
            if marker == 0xd9 {
                self.look_behind(start);
                return Ok(start - 2);
            }
            if !has_length(marker) {
                at = start;
                continue;
            }
            let Some(content) = content(self.bytes, start) else {
                // Whether anything is missing shows when the scans are counted.
                self.found.notes.damaged("the JPEG data has no end marker");
                return Ok(at);
            };
            at = start + 2 + content.len();
            match marker {
                0xc4 => self.read_tables(content),
                0xda => at = self.read_scan(content, at)?,
                0xdd => {
                    let interval = content.first_chunk().copied();
                    self.restart_interval = interval.map_or(0, u16::from_be_bytes).into();
                }
                0xfe => self.found.notes.not_kept("a comment"),
                0xe0..=0xef => self.read_application(marker, content)?,
                _ if is_frame(marker) => self.read_frame(marker, content)?,
                _ => {}
            }
        }
    }

    fn read_frame(&mut self, marker: u8, content: &[u8]) -> Result<()> {
        let kind = match marker {
            0xc0..=0xc2 => None,
            0xc3 => Some("lossless JPEG"),
            0xc9..=0xcb => Some("JPEG with arithmetic coding"),
            _ => Some("hierarchical JPEG"),
        };
        if let Some(kind) = kind {
            return Err(Error::Unsupported(kind.into()));
        }
        if self.frame.is_some() {
            return Err(Error::Unsupported("JPEG with several frames".into()));
        }
        let mut frame = Frame::read(marker, content)
            .map_err(|what| Error::Unsupported(format!("JPEG: {what}")))?;
        self.found
            .limits
            .check_pixels(frame.width.into(), frame.height.into())?;
        frame.note_coefficients();
        self.frame = Some(frame);
        Ok(())
    }

    fn read_tables(&mut self, mut content: &[u8]) {
        while let Some((&class, rest)) = content.split_first() {
            let Some((counts, rest)) = rest.split_first_chunk() else {
                return;
            };
            let length = counts.iter().map(|&count| usize::from(count)).sum();
            let Some((symbols, rest)) = rest.split_at_checked(length) else {
                return;
            };
            let kind = usize::from(class >> 4 & 1);
            self.tables[kind][usize::from(class & 3)] = Huffman::new(counts, symbols);
            content = rest;
        }
    }

    /// Walks through a scan; gives where it ends.
    fn read_scan(&mut self, header: &[u8], at: usize) -> Result<usize> {
        let damaged = || Error::Image("a scan header of the JPEG is damaged".into());
        let frame = self.frame.as_mut().ok_or_else(damaged)?;
        self.scans += 1;
        if self.scans > MOST_SCANS {
            return Err(Error::Unsupported(format!(
                "JPEG of more than {MOST_SCANS} scans"
            )));
        }
        let (&count, rest) = header.split_first().ok_or_else(damaged)?;
        let parts = rest.split_at_checked(2 * usize::from(count));
        let Some((list, &[first, last, approximation, ..])) = parts else {
            return Err(damaged());
        };
        let mut components = Vec::new();
        for &[id, tables] in list.as_chunks::<2>().0 {
            let mut ids = frame.components.iter().map(|component| component.id);
            let index = ids.position(|known| known == id).ok_or_else(damaged)?;
            let table =
                |kind: usize, number: u8| self.tables[kind][usize::from(number & 3)].as_ref();
            components.push((index, table(0, tables >> 4), table(1, tables)));
        }
        if components.is_empty() || components.len() > 4 || first > last || last > 63 {
            return Err(damaged());
        }
        let (band, missing_bits) = if frame.is_progressive {
            (first..=last, approximation & 15)
        } else {
            (0..=63, 0)
        };
        for (index, ..) in &components {
            for k in band.clone() {
                frame.components[*index].missing_bits[usize::from(k)] = missing_bits;
            }
        }
        let scan = Scan {
            components,
            band: (first, last),
            is_refinement: approximation >> 4 > 0,
            restart_interval: self.restart_interval,
        };
        let walked = scan.walk(frame, self.bytes, at);
        if walked.done < walked.blocks {
            return Err(cut(frame, walked.done, walked.blocks));
        }
        if walked.is_damaged {
            let what = "the JPEG data is damaged: parts of the picture may be wrong";
            self.found.notes.damaged(what);
        }
        Ok(walked.end)
    }

    fn read_application(&mut self, marker: u8, content: &'a [u8]) -> Result<()> {
        match marker {
            0xe0 if content.starts_with(b"JFIF\0") => self.read_jfif(content),
            0xe1 if content.starts_with(EXIF_IDENTIFIER) => self.found.add_exif(content)?,
            0xe1 if content.starts_with(XMP_IDENTIFIER) => self.found.add_xmp(content)?,
            0xe1 if content.starts_with(long_xmp::IDENTIFIER) => {
                self.long_xmp.add(&content[long_xmp::IDENTIFIER.len()..]);
            }
            0xe2 => {
                if let Some([number, count, part @ ..]) = content.strip_prefix(ICC_IDENTIFIER) {
                    self.icc.push((*number, *count, part));
                }
                let mut identifiers = [MPF_IDENTIFIER, GAIN_MAP_IDENTIFIER].into_iter();
                self.has_second_picture |= identifiers.any(|id| content.starts_with(id));
            }
            0xeb if content.starts_with(b"JP") => {
                self.found.notes.not_kept("content credentials (JUMBF)")
            }
            0xed if content.starts_with(PHOTOSHOP_IDENTIFIER) => {
                let mut parts = content.windows(IPTC_RESOURCE.len());
                let has_iptc = parts.any(|part| part == IPTC_RESOURCE);
                let what = if has_iptc { "IPTC" } else { "Photoshop" };
                self.found.notes.not_kept(format!("{what} data"));
            }
            0xee => {
                if let Some([_, _, _, _, _, _, transform, ..]) = content.strip_prefix(b"Adobe") {
                    self.adobe = Some(*transform);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn read_jfif(&mut self, content: &[u8]) {
        self.is_jfif = true;
        if let Some(&[unit, x0, x1, y0, y1]) = content.get(7..12) {
            let (x, y) = (u16::from_be_bytes([x0, x1]), u16::from_be_bytes([y0, y1]));
            self.found.resolution = match unit {
                0 => Resolution::ratio(x.into(), y.into()),
                1 => Resolution::per_inch(x.into(), y.into()),
                2 => Resolution::per_meter(u32::from(x) * 100, u32::from(y) * 100),
                _ => None,
            };
        }
    }

    /// Notes what follows the picture.
    fn look_behind(&mut self, at: usize) {
        let rest = &self.bytes[at..];
        let rest = &rest[rest.iter().take_while(|&&byte| byte == 0).count()..];
        if rest.starts_with(&[0xff, 0xd8]) {
            self.has_second_picture = true;
        } else if rest.iter().any(|&byte| byte != 0xff) && !self.has_second_picture {
            self.found.behind(rest);
        }
    }

    fn finish(&mut self) -> Result<()> {
        self.join_profile()?;
        let long_xmp = std::mem::take(&mut self.long_xmp);
        long_xmp.merge_into(self.found);
        if self.has_second_picture {
            self.found.notes.left_out(SECOND_PICTURE);
        }
        let frame = self.frame.as_ref();
        let frame = frame.filter(|frame| frame.has_all_components());
        let frame = frame.ok_or_else(|| truncated(ImageFormat::Jpeg))?;
        if !frame.is_precise() {
            let what = "the JPEG data ends before its last scans: the picture lacks details";
            self.found.notes.damaged(what);
        }
        Ok(())
    }

    /// Puts the ICC profile together.
    fn join_profile(&mut self) -> Result<()> {
        let Some(&(_, count, _)) = self.icc.first() else {
            return Ok(());
        };
        self.icc.sort_by_key(|&(number, ..)| number);
        let is_whole = self.icc.len() == usize::from(count)
            && (1..=u8::MAX)
                .zip(&self.icc)
                .all(|(wanted, part)| part.0 == wanted && part.1 == count);
        if !is_whole {
            let what = "the ICC profile is incomplete and left out";
            self.found.notes.damaged(what);
            return Ok(());
        }
        let profile = self.icc.iter().flat_map(|part| part.2).copied().collect();
        self.found.add_icc(profile)
    }
}

/// The next marker from byte `at` on, and where its segment starts.
fn next_marker(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let mut rest = bytes.get(at..)?.iter().enumerate();
    rest.by_ref().find(|(_, byte)| **byte == 0xff)?;
    let (skip, &marker) = rest.find(|(_, byte)| **byte != 0xff)?;
    Some((marker, at + skip + 1))
}

/// The content of a segment whose length stands at byte `at`.
fn content(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let (&length, rest) = bytes.get(at..)?.split_first_chunk()?;
    rest.get(..usize::from(u16::from_be_bytes(length)).checked_sub(2)?)
}

fn has_length(marker: u8) -> bool {
    !matches!(marker, 0 | 0x01 | 0xd0..=0xd9)
}

fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xcf) && ![0xc4, 0xc8, 0xcc].contains(&marker)
}

/// The error for a scan whose data ends too early.
fn cut(frame: &Frame, done: u64, blocks: u64) -> Error {
    if frame.is_progressive {
        return truncated(ImageFormat::Jpeg);
    }
    let percent = 100 * done / blocks;
    Error::Image(format!(
        "the JPEG data ends too early, after {percent} % of the picture"
    ))
}
