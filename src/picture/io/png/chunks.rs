//! The chunks of a PNG file: metadata wherever it stands, and what the colors mean.

use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_zlib_with_limit};

use crate::error::{Error, Result};
use crate::limits::at_most;
use crate::picture::io::color::PngColor;
use crate::picture::io::findings::{Findings, XMP_IDENTIFIER};
use crate::picture::io::refuse_animation;
use crate::resolution::Resolution;

use super::XMP_KEYWORD;
use super::mark::SOFTWARE_TEXT;
use super::raw_profile::{self, KEYWORD_PREFIX};

/// Length of the signature.
const SIGNATURE_BYTES: usize = 8;

/// A chunk, as far as the file goes.
struct Chunk<'a> {
    tag: [u8; 4],
    data: &'a [u8],
    /// Whether the whole chunk lies within the file.
    is_complete: bool,
    is_intact: bool,
    /// What follows it in the file.
    rest: &'a [u8],
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
            rest,
        })
    })
}

/// Reads all chunks: gives what the colors mean.
///
/// # Errors
/// [`Error::Image`] when a chunk that is needed is damaged or missing, [`Error::Unsupported`] for animations,
/// [`Error::LimitExceeded`] for what the limits forbid.
pub(super) fn read(bytes: &[u8], found: &mut Findings) -> Result<PngColor> {
    let mut color = PngColor::default();
    let (mut has_data, mut is_animated, mut has_end) = (false, false, false);
    for chunk in chunks(bytes) {
        match &chunk.tag {
            b"IEND" => {
                has_end = true;
                found.behind(chunk.rest);
                break;
            }
            tag if !chunk.is_complete => {
                has_data |= tag == b"IDAT";
                break;
            }
            _ if !chunk.is_intact && chunk.is_critical() => {
                let what = format!("the PNG is damaged in its {} chunk", chunk.name());
                return Err(Error::Image(what));
            }
            _ if !chunk.is_intact => note_damaged_chunk(&chunk, found),
            b"IHDR" => check_size(chunk.data, found)?,
            b"IDAT" => has_data = true,
            b"acTL" => is_animated = true,
            _ => add(&chunk, &mut color, found)?,
        }
    }
    if !has_end {
        // Whether samples are missing shows when they are decoded.
        found.notes.damaged("the PNG data has no end");
    }
    if !has_data {
        return Err(Error::Image("the PNG has no picture data".into()));
    }
    refuse_animation(is_animated)?;
    Ok(color)
}

fn note_damaged_chunk(chunk: &Chunk, found: &mut Findings) {
    let what = format!("chunk {} is damaged and left out", chunk.name());
    found.notes.damaged(what);
}

/// Checks the size in a header.
fn check_size(header: &[u8], found: &Findings) -> Result<()> {
    if let ([width, height, ..], _) = header.as_chunks() {
        let [width, height] = [width, height].map(|side| u32::from_be_bytes(*side));
        found.limits.check_pixels(width, height)?;
    }
    Ok(())
}

/// Takes what a chunk holds besides samples.
fn add(chunk: &Chunk, color: &mut PngColor, found: &mut Findings) -> Result<()> {
    let data = chunk.data;
    match &chunk.tag {
        b"iCCP" => add_profile(data, found)?,
        b"eXIf" => found.add_exif(data)?,
        // Our own mark, which is written again.
        b"tEXt" if data == SOFTWARE_TEXT => {}
        b"tEXt" | b"zTXt" | b"iTXt" => add_text(chunk, found)?,
        b"pHYs" => found.resolution = read_resolution(data),
        b"gAMA" => color.gamma = data.try_into().ok().map(u32::from_be_bytes),
        b"cHRM" => color.chromaticities = read_chromaticities(data),
        b"sRGB" => color.is_srgb = true,
        b"cICP" => color.code_points = data.try_into().ok(),
        b"caBX" => found.notes.not_kept("content credentials (caBX)"),
        b"tIME" => found.notes.not_kept("the time of the last change"),
        _ => {}
    }
    Ok(())
}

fn add_profile(data: &[u8], found: &mut Findings) -> Result<()> {
    let profile = match after_zero(data) {
        Some((_name, [0, profile @ ..])) => inflate(profile, "ICC profile size", found)?,
        _ => None,
    };
    match profile {
        Some(profile) => found.add_icc(profile),
        None => {
            let what = "the ICC profile is damaged and left out";
            found.notes.damaged(what);
            Ok(())
        }
    }
}

/// Takes a text, if it is one that holds a block.
fn add_text(chunk: &Chunk, found: &mut Findings) -> Result<()> {
    let Some((keyword, rest)) = after_zero(chunk.data) else {
        note_damaged_chunk(chunk, found);
        return Ok(());
    };
    let keyword = String::from_utf8_lossy(keyword);
    let raw = keyword.strip_prefix(KEYWORD_PREFIX);
    if keyword != XMP_KEYWORD && raw.is_none() {
        let name = keyword.escape_debug();
        found.notes.not_kept(format!("the text \"{name}\""));
        return Ok(());
    }
    let text = text(&chunk.tag, rest, found)?;
    match (text, raw) {
        (Some(packet), None) => return found.add_xmp(&packet),
        (Some(text), Some(kind)) => {
            if let Some(block) = raw_profile::read(&text) {
                return add_raw(kind, block, found);
            }
        }
        (None, _) => {}
    }
    let name = keyword.escape_debug();
    let what = format!("the text \"{name}\" is damaged and left out");
    found.notes.damaged(what);
    Ok(())
}

/// Takes a block that was kept as text.
fn add_raw(kind: &str, block: Vec<u8>, found: &mut Findings) -> Result<()> {
    match kind.to_ascii_lowercase().as_str() {
        "exif" | "app1" if !block.starts_with(XMP_IDENTIFIER) => found.add_exif(&block)?,
        "exif" | "app1" | "xmp" => found.add_xmp(&block)?,
        "icc" | "icm" => found.add_icc(block)?,
        "iptc" | "8bim" => found.notes.not_kept("IPTC data"),
        other => {
            let name = other.escape_debug();
            found.notes.not_kept(format!("a block \"{name}\""));
        }
    }
    Ok(())
}

/// What stands before and behind the first zero byte.
fn after_zero(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = data.iter().position(|&byte| byte == 0)?;
    Some((&data[..at], &data[at + 1..]))
}

/// The text of a chunk, whose keyword was read; `None` if it is damaged.
fn text(tag: &[u8; 4], rest: &[u8], found: &Findings) -> Result<Option<Vec<u8>>> {
    const WHAT: &str = "size of a text chunk";
    match (tag, rest) {
        (b"tEXt", text) => Ok(Some(text.to_vec())),
        (b"zTXt", [0, text @ ..]) => inflate(text, WHAT, found),
        (b"iTXt", [is_compressed, 0, rest @ ..]) => {
            let text = after_zero(rest).and_then(|(_language, rest)| after_zero(rest));
            match text {
                Some((_keyword, text)) if *is_compressed == 1 => inflate(text, WHAT, found),
                Some((_keyword, text)) => Ok(Some(text.to_vec())),
                None => Ok(None),
            }
        }
        _ => Ok(None),
    }
}

/// Inflates zlib data, at most as much as the limits allow a block to have; `None` if it is damaged.
fn inflate(data: &[u8], what: &'static str, found: &Findings) -> Result<Option<Vec<u8>>> {
    let limit = found.limits.max_metadata_bytes;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    match decompress_to_vec_zlib_with_limit(data, most) {
        Ok(inflated) => Ok(Some(inflated)),
        Err(error) if error.status == TINFLStatus::HasMoreOutput => {
            // How much there is, is not known.
            at_most(what, limit.saturating_add(1), limit)?;
            Ok(None)
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
