//! What `aec info` shows of one file, as text and as JSON.

use std::fmt::Write;

use serde_json::json;

use crate::bitstream::{Container, Section, VERSION};
use crate::cli::text;
use crate::depth::Depth;
use crate::error::Result;

/// The facts about one file.
pub(super) struct Report {
    name: String,
    bytes: u64,
    width: u32,
    height: u32,
    is_gray: bool,
    alpha_bits: Option<u32>,
    orientation: u8,
    quality: f64,
    tile_size: u32,
    header_bytes: u64,
    sections: Vec<SectionReport>,
    model_id: String,
    /// Name of the model, where it is at hand.
    pub(super) model_name: Option<String>,
    /// Whether the text lists the sections one by one.
    pub(super) lists_sections: bool,
    /// Whether the file was decoded and all checksums matched.
    pub(super) is_verified: bool,
}

/// One section; its length on file includes tag, length field and checksum.
struct SectionReport {
    tag: String,
    offset: u64,
    file_bytes: u64,
    payload_bytes: u64,
    crc32: u32,
}

impl SectionReport {
    /// The facts about `section`, which ends at byte `end` of the file.
    fn new(section: &Section, end: usize) -> Self {
        Self {
            tag: section.name().trim_end().into(),
            offset: section.offset as u64,
            file_bytes: end.saturating_sub(section.offset) as u64,
            payload_bytes: section.payload.len() as u64,
            crc32: section.crc,
        }
    }

    /// The facts about all sections of a file.
    fn all(bytes: &[u8]) -> Result<Vec<Self>> {
        let sections = Container::sections(bytes)?.collect::<Result<Vec<_>>>()?;
        let ends = sections
            .iter()
            .skip(1)
            .map(|next| next.offset)
            .chain([bytes.len()]);
        Ok(sections
            .iter()
            .zip(ends)
            .map(|(section, end)| Self::new(section, end))
            .collect())
    }
}

impl Report {
    /// The facts about a parsed file of `bytes`.
    ///
    /// # Errors
    /// Those of [`Container::sections`]; none when `container` was parsed from `bytes`.
    pub(super) fn new(name: &str, bytes: &[u8], container: &Container) -> Result<Self> {
        let header = &container.header;
        let sections = SectionReport::all(bytes)?;
        let bytes = bytes.len() as u64;
        Ok(Self {
            name: name.into(),
            bytes,
            width: header.width,
            height: header.height,
            is_gray: header.is_gray,
            alpha_bits: header.alpha.map(Depth::bits),
            orientation: header.orientation,
            quality: header.quality.percent(),
            tile_size: header.tile_size,
            header_bytes: sections.first().map_or(bytes, |section| section.offset),
            sections,
            model_id: header.model.to_string(),
            model_name: None,
            lists_sections: false,
            is_verified: false,
        })
    }

    fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Bytes by kind of section, in the order of the file; they add up to the file.
    fn shares(&self) -> Vec<(&str, u64)> {
        let mut shares = vec![("header", self.header_bytes)];
        for section in &self.sections {
            let kind = match section.tag.as_str() {
                "TILE" => "tiles",
                "ALPH" => "alpha",
                "TIDX" => "tile index",
                "iccP" => "ICC",
                "exif" => "Exif",
                "xmp" => "XMP",
                "phys" => "resolution",
                "END" => "end",
                _ => "other",
            };
            match shares.iter_mut().find(|(name, _)| *name == kind) {
                Some((_, bytes)) => *bytes += section.file_bytes,
                None => shares.push((kind, section.file_bytes)),
            }
        }
        shares
    }

    /// Two lines, and a table of sections if asked for.
    pub(super) fn text(&self) -> String {
        let color = if self.is_gray { "gray" } else { "RGB" };
        let alpha = self
            .alpha_bits
            .map_or(String::new(), |bits| format!(" with {bits}-bit alpha"));
        let model = match &self.model_name {
            Some(name) => format!("{name} ({})", self.model_id),
            None => self.model_id.clone(),
        };
        let mut text = format!(
            "{}: AEC {VERSION}, {}x{}, {color} 8-bit{alpha}, quality {}, ",
            self.name, self.width, self.height, self.quality
        );
        if self.orientation != 1 {
            // Writing to a string cannot fail, here and below.
            let _ = write!(text, "orientation {}, ", self.orientation);
        }
        let _ = write!(text, "tiles of {}, model {model}", self.tile_size);
        let shares = self.shares();
        let shares: Vec<String> = shares
            .iter()
            .map(|(kind, bytes)| format!("{kind} {}", text::thousands(*bytes)))
            .collect();
        let _ = write!(
            text,
            "\n  {} bytes, {}: {}",
            text::thousands(self.bytes),
            text::bits_per_pixel(self.bytes, self.pixels()),
            shares.join(", ")
        );
        if self.is_verified {
            text.push_str("\n  verified: every checksum matches");
        }
        if self.lists_sections {
            text.push_str("\n  tag       offset     payload  crc-32");
            for section in &self.sections {
                let _ = write!(
                    text,
                    "\n  {:<4} {:>11} {:>11}  {:08x}",
                    section.tag,
                    text::thousands(section.offset),
                    text::thousands(section.payload_bytes),
                    section.crc32
                );
            }
        }
        text
    }

    /// One JSON object on one line.
    pub(super) fn json(&self) -> String {
        let section = |section: &SectionReport| {
            json!({
                "tag": section.tag,
                "offset": section.offset,
                "payload_bytes": section.payload_bytes,
                "crc32": format!("{:08x}", section.crc32),
            })
        };
        let mut object = json!({
            "file": self.name,
            "format_version": VERSION,
            "bytes": self.bytes,
            "rate_bpp": self.bytes as f64 * 8.0 / self.pixels() as f64,
            "width": self.width,
            "height": self.height,
            "gray": self.is_gray,
            "alpha_bits": self.alpha_bits,
            "orientation": self.orientation,
            "quality": self.quality,
            "tile_size": self.tile_size,
            "model_id": self.model_id,
            "verified": self.is_verified,
        });
        if self.lists_sections {
            object["sections"] = self.sections.iter().map(section).collect();
        }
        object.to_string()
    }
}
