//! The chunks of a PNG file: metadata wherever it stands, and what the colors mean.

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::picture::io::blocks::{Blocks, XMP_IDENTIFIER};
use crate::picture::io::color::PngColor;
use crate::picture::notes::Notes;
use crate::resolution::Resolution;

use super::XMP_KEYWORD;
use super::mark::SOFTWARE_TEXT;
use super::raw_profile::{self, KEYWORD_PREFIX};

/// Length of the signature.
pub(super) const SIGNATURE_BYTES: usize = 8;

/// A chunk, as far as the file goes.
struct Chunk<'a> {
    tag: [u8; 4],
    data: &'a [u8],
    /// Whether the whole chunk lies within the file.
    is_complete: bool,
    is_intact: bool,
}

impl Chunk<'_> {
    /// The tag as text.
    fn name(&self) -> String {
        let is_name = self.tag.iter().all(u8::is_ascii_alphabetic);
        let name = if is_name { &self.tag } else { b"????" };
        String::from_utf8_lossy(name).into_owned()
    }

    fn is_critical(&self) -> bool {
        self.tag[0].is_ascii_uppercase()
    }
}

fn chunks(bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut rest = bytes.get(SIGNATURE_BYTES..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (&length, tail) = rest.split_first_chunk()?;
        let (&tag, tail) = tail.split_first_chunk()?;
        let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
        let data = tail.get(..length).unwrap_or(tail);
        let crc = tail.get(length..).and_then(|crc| crc.first_chunk::<4>());
        rest = tail.get(length.saturating_add(4)..).unwrap_or_default();
        let mut own = crc32fast::Hasher::new();
        own.update(&tag);
        own.update(data);
        Some(Chunk {
            tag,
            data,
            is_complete: crc.is_some(),
            is_intact: crc.is_some_and(|crc| own.finalize() == u32::from_be_bytes(*crc)),
        })
    })
}

/// What a file says besides its samples.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub blocks: Blocks,
    pub color: PngColor,
    pub is_animated: bool,
}

impl Parts {
    /// Reads all chunks.
    ///
    /// # Errors
    /// [`Error::Image`] when a chunk that is needed is damaged or missing, [`Error::LimitExceeded`] for what
    /// `limits` forbid.
    pub(super) fn read(bytes: &[u8], limits: &Limits, notes: &mut Notes) -> Result<Self> {
        let mut parts = Self::default();
        let mut has_data = false;
        for chunk in chunks(bytes) {
            match &chunk.tag {
                b"IEND" => return parts.finish(has_data),
                _ if !chunk.is_complete => break,
                _ if !chunk.is_intact && chunk.is_critical() => {
                    return Err(Error::Image(format!(
                        "the PNG is damaged in its {} chunk",
                        chunk.name()
                    )));
                }
                _ if !chunk.is_intact => {
                    notes.damaged(format!("chunk {} is damaged and left out", chunk.name()))
                }
                b"IDAT" => has_data = true,
                b"acTL" => parts.is_animated = true,
                _ => parts.add(&chunk, limits, notes)?,
            }
        }
        // Whether samples are missing shows when they are decoded.
        notes.damaged("the PNG data has no end");
        parts.finish(has_data)
    }

    fn finish(self, has_data: bool) -> Result<Self> {
        if !has_data {
            return Err(Error::Image("the PNG has no picture data".into()));
        }
        Ok(self)
    }

    fn add(&mut self, chunk: &Chunk, limits: &Limits, notes: &mut Notes) -> Result<()> {
        let data = chunk.data;
        match &chunk.tag {
            b"iCCP" => match after_zero(data).and_then(|(_, rest)| rest.split_first()) {
                Some((0, profile)) => match inflate(profile, "ICC profile size", limits)? {
                    Some(profile) => self.blocks.add_icc(profile, limits, notes)?,
                    None => notes.damaged("the ICC profile is damaged and left out"),
                },
                _ => notes.damaged("the ICC profile is damaged and left out"),
            },
            b"eXIf" => self.blocks.add_exif(data, limits, notes)?,
            // Our own mark, which is written again.
            b"tEXt" if data == SOFTWARE_TEXT => {}
            b"tEXt" | b"zTXt" | b"iTXt" => self.add_text(chunk, limits, notes)?,
            b"pHYs" => self.blocks.resolution = read_resolution(data),
            b"gAMA" => self.color.gamma = data.try_into().ok().map(u32::from_be_bytes),
            b"cHRM" => self.color.chromaticities = read_chromaticities(data),
            b"sRGB" => self.color.is_srgb = true,
            b"cICP" => self.color.code_points = data.try_into().ok(),
            b"caBX" => notes.not_kept("content credentials (caBX)"),
            b"tIME" => notes.not_kept("the time of the last change"),
            _ => {}
        }
        Ok(())
    }

    fn add_text(&mut self, chunk: &Chunk, limits: &Limits, notes: &mut Notes) -> Result<()> {
        let Some((keyword, rest)) = after_zero(chunk.data) else {
            notes.damaged(format!("chunk {} is damaged and left out", chunk.name()));
            return Ok(());
        };
        let keyword = String::from_utf8_lossy(keyword);
        let raw = keyword.strip_prefix(KEYWORD_PREFIX);
        if keyword != XMP_KEYWORD && raw.is_none() {
            notes.not_kept(format!("the text \"{}\"", keyword.escape_debug()));
            return Ok(());
        }
        let Some(text) = text(&chunk.tag, rest, limits)? else {
            notes.damaged(format!(
                "the text \"{}\" is damaged and left out",
                keyword.escape_debug()
            ));
            return Ok(());
        };
        match raw {
            None => self.blocks.add_xmp(&text, limits, notes),
            Some(kind) => match raw_profile::read(&text) {
                Some(block) => self.add_raw(kind, block, limits, notes),
                None => {
                    notes.damaged(format!(
                        "the text \"{}\" is damaged and left out",
                        keyword.escape_debug()
                    ));
                    Ok(())
                }
            },
        }
    }

    /// Takes a block that was kept as text.
    fn add_raw(
        &mut self,
        kind: &str,
        block: Vec<u8>,
        limits: &Limits,
        notes: &mut Notes,
    ) -> Result<()> {
        match kind.to_ascii_lowercase().as_str() {
            "exif" | "app1" | "xmp" if block.starts_with(XMP_IDENTIFIER) => {
                self.blocks.add_xmp(&block, limits, notes)
            }
            "exif" | "app1" => self.blocks.add_exif(&block, limits, notes),
            "xmp" => self.blocks.add_xmp(&block, limits, notes),
            "icc" | "icm" => self.blocks.add_icc(block, limits, notes),
            "iptc" | "8bim" => {
                notes.not_kept("IPTC data");
                Ok(())
            }
            other => {
                notes.not_kept(format!("a block \"{}\"", other.escape_debug()));
                Ok(())
            }
        }
    }
}

/// What stands before and behind the first zero byte.
fn after_zero(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = data.iter().position(|&byte| byte == 0)?;
    Some((&data[..at], &data[at + 1..]))
}

/// The text of a chunk, whose keyword was read; `None` if it is damaged.
fn text(tag: &[u8; 4], rest: &[u8], limits: &Limits) -> Result<Option<Vec<u8>>> {
    const WHAT: &str = "size of a text chunk";
    match (tag, rest) {
        (b"tEXt", text) => Ok(Some(text.to_vec())),
        (b"zTXt", [0, text @ ..]) => inflate(text, WHAT, limits),
        (b"iTXt", [is_compressed, 0, rest @ ..]) => {
            let text = after_zero(rest).and_then(|(_language, rest)| after_zero(rest));
            match text {
                Some((_keyword, text)) if *is_compressed == 1 => inflate(text, WHAT, limits),
                Some((_keyword, text)) => Ok(Some(text.to_vec())),
                None => Ok(None),
            }
        }
        _ => Ok(None),
    }
}

/// Inflates zlib data, at most as much as `limits` allow a block to have; `None` if it is damaged.
fn inflate(data: &[u8], what: &'static str, limits: &Limits) -> Result<Option<Vec<u8>>> {
    let limit = limits.max_metadata_bytes;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    match miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(data, most) {
        Ok(inflated) => Ok(Some(inflated)),
        Err(error) if error.status == miniz_oxide::inflate::TINFLStatus::HasMoreOutput => {
            // How much there is, is not known.
            let found = limit.saturating_add(1);
            Err(Error::LimitExceeded { what, found, limit })
        }
        Err(_) => Ok(None),
    }
}

fn read_resolution(data: &[u8]) -> Option<Resolution> {
    let &[x0, x1, x2, x3, y0, y1, y2, y3, unit] = data else {
        return None;
    };
    let [x, y] = [[x0, x1, x2, x3], [y0, y1, y2, y3]].map(u32::from_be_bytes);
    match unit {
        0 => Resolution::ratio(x, y),
        1 => Resolution::per_meter(x, y),
        _ => None,
    }
}

fn read_chromaticities(data: &[u8]) -> Option<[u32; 8]> {
    let (numbers, rest) = data.as_chunks::<4>();
    let numbers: [_; 8] = numbers.try_into().ok()?;
    rest.is_empty().then(|| numbers.map(u32::from_be_bytes))
}
