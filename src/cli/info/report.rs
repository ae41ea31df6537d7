//! What `aec info` shows of one file, as text and as JSON.

use std::io::Write;

use serde_json::json;

use crate::bitstream::{Container, Section};
use crate::cli::text;
use crate::depth::Depth;
use crate::error::Result;
use crate::format::VERSION;
use crate::orientation::{Orientation, swaps_sides};

/// The facts about one file. Its sections are read again for every list of them: a file can have millions.
pub(super) struct Report<'a> {
    name: String,
    file: &'a [u8],
    width: u32,
    height: u32,
    is_gray: bool,
    alpha_bits: Option<u32>,
    orientation: Orientation,
    quality: f64,
    tile_size: u32,
    /// Bytes by kind of section, in the order of the file; they add up to the file.
    shares: Vec<(&'static str, u64)>,
    model_id: String,
    /// Name of the model, where it is at hand.
    pub(super) model_name: Option<String>,
    /// Whether the sections are listed one by one.
    pub(super) lists_sections: bool,
    /// Whether the file was decoded and all checksums matched.
    pub(super) is_verified: bool,
}

/// The sections of a file that was parsed.
fn sections(file: &[u8]) -> Result<impl Iterator<Item = Result<Section<'_>>>> {
    Container::sections(file)
}

/// Bytes by kind of section, in the order of the file.
fn shares(file: &[u8]) -> Result<Vec<(&'static str, u64)>> {
    let mut shares = vec![("header", 0)];
    // A section ends where the next one starts.
    let (mut kind, mut start) = ("header", 0);
    let mut add = |kind, bytes| match shares.iter_mut().find(|(name, _)| *name == kind) {
        Some((_, sum)) => *sum += bytes,
        None => shares.push((kind, bytes)),
    };
    for section in sections(file)? {
        let section = section?;
        add(kind, (section.offset - start) as u64);
        (kind, start) = (kind_of(section.tag), section.offset);
    }
    add(kind, (file.len() - start) as u64);
    Ok(shares)
}

/// What a section holds.
fn kind_of(tag: [u8; 4]) -> &'static str {
    match &tag {
        b"TILE" => "tiles",
        b"ALPH" => "alpha",
        b"TIDX" => "tile index",
        b"iccP" => "ICC",
        b"exif" => "Exif",
        b"xmp " => "XMP",
        b"phys" => "resolution",
        b"END " => "end",
        _ => "other",
    }
}

impl<'a> Report<'a> {
    /// The facts about a parsed file of these bytes.
    ///
    /// # Errors
    /// Those of [`Container::sections`]; none when `container` was parsed from `file`.
    pub(super) fn new(name: &str, file: &'a [u8], container: &Container) -> Result<Self> {
        let header = &container.header;
        Ok(Self {
            name: name.into(),
            file,
            width: header.width,
            height: header.height,
            is_gray: header.is_gray,
            alpha_bits: header.alpha.map(Depth::bits),
            orientation: header.orientation,
            quality: header.quality.percent(),
            tile_size: header.tile_size,
            shares: shares(file)?,
            model_id: header.model.to_string(),
            model_name: None,
            lists_sections: false,
            is_verified: false,
        })
    }

    fn bytes(&self) -> u64 {
        self.file.len() as u64
    }

    fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Width and height as the picture is seen: upright.
    fn upright_size(&self) -> (u32, u32) {
        if swaps_sides(self.orientation) {
            (self.height, self.width)
        } else {
            (self.width, self.height)
        }
    }

    /// Prints two lines, and a table of sections if asked for.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub(super) fn write_text(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let color = if self.is_gray { "gray" } else { "RGB" };
        let alpha = self
            .alpha_bits
            .map_or(String::new(), |bits| format!(" with {bits}-bit alpha"));
        let model = match &self.model_name {
            Some(name) => format!("{} ({})", text::printable(name), self.model_id),
            None => self.model_id.clone(),
        };
        let (width, height) = self.upright_size();
        let orientation = if self.orientation == Orientation::NoTransforms {
            String::new()
        } else {
            let (width, height) = (self.width, self.height);
            format!(
                "stored as {width}x{height} with orientation {}, ",
                self.orientation.to_exif()
            )
        };
        writeln!(
            out,
            "{}: AEC {VERSION}, {width}x{height}, {color} 8-bit{alpha}, quality {}, {orientation}tiles of {}, model {model}",
            self.name, self.quality, self.tile_size
        )?;
        let shares: Vec<String> = self
            .shares
            .iter()
            .map(|(kind, bytes)| format!("{kind} {}", text::thousands(*bytes)))
            .collect();
        writeln!(
            out,
            "  {} bytes, {}: {}",
            text::thousands(self.bytes()),
            text::bits_per_pixel(self.bytes(), self.pixels()),
            shares.join(", ")
        )?;
        if self.is_verified {
            writeln!(out, "  verified: every checksum matches")?;
        }
        if self.lists_sections {
            writeln!(out, "  tag       offset     payload  crc-32")?;
            for section in sections(self.file)? {
                let section = section?;
                writeln!(
                    out,
                    "  {:<4} {:>11} {:>11}  {:08x}",
                    section.name().trim_end(),
                    text::thousands(section.offset as u64),
                    text::thousands(section.payload.len() as u64),
                    section.crc
                )?;
            }
        }
        Ok(())
    }

    /// Prints one JSON object on one line.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub(super) fn write_json(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let (width, height) = self.upright_size();
        let object = json!({
            "file": self.name,
            "format_version": VERSION,
            "bytes": self.bytes(),
            "rate_bpp": self.bytes() as f64 * 8.0 / self.pixels() as f64,
            "width": width,
            "height": height,
            "gray": self.is_gray,
            "alpha_bits": self.alpha_bits,
            "orientation": self.orientation.to_exif(),
            "quality": self.quality,
            "tile_size": self.tile_size,
            "model_id": self.model_id,
            "verified": self.is_verified,
        })
        .to_string();
        if !self.lists_sections {
            return Ok(writeln!(out, "{object}")?);
        }
        // The list is the last member of the object, added piece by piece.
        write!(out, "{},\"sections\":[", object.trim_end_matches('}'))?;
        for (i, section) in sections(self.file)?.enumerate() {
            let section = section?;
            let object = json!({
                "tag": section.name().trim_end(),
                "offset": section.offset,
                "payload_bytes": section.payload.len(),
                "crc32": format!("{:08x}", section.crc),
            });
            write!(out, "{}{object}", if i > 0 { "," } else { "" })?;
        }
        Ok(writeln!(out, "]}}")?)
    }
}
