//! What `aec info` shows of one file, as text and as JSON.

use std::io::Write;
use std::path::Path;

use serde_json::json;

use crate::bitstream::{Container, Header};
use crate::cli::{stdio, text};
use crate::depth::Depth;
use crate::error::Result;
use crate::format::VERSION;
use crate::orientation::{Orientation, upright};

/// The facts about one file. Its sections are read again for every list of them: a file can have millions.
pub(super) struct Report<'a> {
    path: &'a Path,
    file: &'a [u8],
    header: Header,
    /// Bytes by kind of section, in the order of the file; they add up to the file.
    shares: Vec<(&'static str, u64)>,
    /// Name of the model, where it is at hand.
    pub(super) model_name: Option<String>,
    /// Whether the sections are listed one by one.
    pub(super) lists_sections: bool,
    /// Whether the file was decoded and all checksums matched.
    pub(super) is_verified: bool,
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
    for section in Container::sections(file)? {
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
    pub(super) fn new(path: &'a Path, file: &'a [u8], container: &Container) -> Result<Self> {
        Ok(Self {
            path,
            file,
            header: container.header,
            shares: shares(file)?,
            model_name: None,
            lists_sections: false,
            is_verified: false,
        })
    }

    fn bytes(&self) -> u64 {
        self.file.len() as u64
    }

    fn pixels(&self) -> u64 {
        u64::from(self.header.width) * u64::from(self.header.height)
    }

    /// Width and height as the picture is seen.
    fn upright_size(&self) -> (u32, u32) {
        let header = &self.header;
        upright(header.orientation, (header.width, header.height))
    }

    fn alpha_bits(&self) -> Option<u32> {
        self.header.alpha.map(Depth::bits)
    }

    /// Prints two lines, and a table of sections if asked for.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub(super) fn write_text(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let header = &self.header;
        let color = if header.is_gray { "gray" } else { "RGB" };
        let alpha = self
            .alpha_bits()
            .map_or(String::new(), |bits| format!(" with {bits}-bit alpha"));
        let model = match &self.model_name {
            Some(name) => format!("{} ({})", text::printable(name), header.model),
            None => header.model.to_string(),
        };
        let (width, height) = self.upright_size();
        let orientation = if header.orientation == Orientation::NoTransforms {
            String::new()
        } else {
            format!(
                "stored as {}x{} with orientation {}, ",
                header.width,
                header.height,
                header.orientation.to_exif()
            )
        };
        writeln!(
            out,
            "{}: AEC {VERSION}, {width}x{height}, {color} 8-bit{alpha}, quality {}, {orientation}tiles of {}, model {model}",
            stdio::plain_name(self.path),
            header.quality,
            header.tile_size
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
            for section in Container::sections(self.file)? {
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
        let header = &self.header;
        let (width, height) = self.upright_size();
        let object = json!({
            "file": self.path.to_string_lossy(),
            "format_version": VERSION,
            "bytes": self.bytes(),
            "rate_bpp": self.bytes() as f64 * 8.0 / self.pixels() as f64,
            "width": width,
            "height": height,
            "gray": header.is_gray,
            "alpha_bits": self.alpha_bits(),
            "orientation": header.orientation.to_exif(),
            "quality": header.quality.percent(),
            "tile_size": header.tile_size,
            "model_id": header.model.to_string(),
            "model_name": self.model_name,
            "verified": self.is_verified,
        })
        .to_string();
        if !self.lists_sections {
            return Ok(writeln!(out, "{object}")?);
        }
        // The list is the last member of the object, added piece by piece.
        write!(out, "{},\"sections\":[", object.trim_end_matches('}'))?;
        for (i, section) in Container::sections(self.file)?.enumerate() {
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
