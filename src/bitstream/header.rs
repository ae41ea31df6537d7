//! The file header (spec: "Header"): what a decoder must know before any section.

use super::model_id::ModelId;
use super::quality::Quality;
use super::reader::{Reader, write_varint};
use super::tile::TileGrid;
use crate::depth::Depth;
use crate::error::{Error, Result};
use crate::format::{MAX_DIMENSION, MAX_TILE_UNITS, SIGNATURE, TILE_UNIT, VERSION, flag};
use crate::orientation::Orientation;

/// Everything the header says. [`Header::checked`] checks the values of a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Width in pixels, as stored (before `orientation` is applied), `1..=MAX_DIMENSION`.
    pub width: u32,
    /// Height in pixels, as stored, `1..=MAX_DIMENSION`.
    pub height: u32,
    /// Whether the picture is gray: red, green and blue are equal on output.
    pub is_gray: bool,
    /// Bits per sample of the alpha channel, if there is one.
    pub alpha: Option<Depth>,
    /// How to turn the picture for display.
    pub orientation: Orientation,
    /// Quality the picture was coded with.
    pub quality: Quality,
    /// Side of a tile in pixels: a multiple of 64 up to 4096.
    pub tile_size: u32,
    /// The model the file needs.
    pub model: ModelId,
}

impl Header {
    /// The header, if its values are valid.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] when one is outside the range its field states.
    pub fn checked(self) -> Result<Self> {
        self.check().map_err(Error::InvalidOption)?;
        Ok(self)
    }

    /// The tiles of the picture.
    pub fn tile_grid(&self) -> TileGrid {
        TileGrid::new(self.width, self.height, self.tile_size)
    }

    /// Appends the signature and the header.
    #[allow(clippy::cast_possible_truncation)] // a tile has at most 255 units
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend(SIGNATURE);
        out.push(VERSION);
        out.push(self.flags());
        out.push(self.orientation.to_exif());
        out.extend(self.quality.raw().to_le_bytes());
        out.push((self.tile_size / TILE_UNIT) as u8);
        write_varint(out, self.width);
        write_varint(out, self.height);
        out.extend(self.model.0);
        let crc = crc32fast::hash(&out[start..]);
        out.extend(crc.to_le_bytes());
    }

    fn flags(&self) -> u8 {
        let alpha = match self.alpha {
            None => 0,
            Some(Depth::Eight) => flag::ALPHA,
            Some(Depth::Sixteen) => flag::ALPHA | flag::WIDE_ALPHA,
        };
        alpha | if self.is_gray { flag::GRAY } else { 0 }
    }

    /// Reads the signature and the header.
    ///
    /// # Errors
    /// [`Error::NotAec`] for a wrong signature, [`Error::UnsupportedVersion`] for another version,
    /// [`Error::Truncated`] and [`Error::Corrupt`] for damage, and [`Error::Unsupported`] for reserved flags.
    pub fn read(reader: &mut Reader) -> Result<Self> {
        let start = reader.position();
        read_signature(reader)?;
        let version = reader.u8("header")?;
        if version != VERSION {
            return Err(Error::UnsupportedVersion {
                found: version,
                supported: VERSION,
            });
        }
        let flags = reader.u8("header")?;
        let orientation = reader.u8("header")?;
        let quality = reader.u16("header")?;
        let tile_units = reader.u8("header")?;
        let width = reader.varint("width")?;
        let height = reader.varint("height")?;
        let model = ModelId(reader.array("header")?);
        let crc = crc32fast::hash(reader.since(start));
        if reader.u32("header")? != crc {
            return Err(Error::Corrupt(
                "the header's checksum does not match".into(),
            ));
        }
        let is_gray = flags & flag::GRAY != 0;
        let alpha = match flags & !flag::GRAY {
            0 => None,
            flag::ALPHA => Some(Depth::Eight),
            both if both == flag::ALPHA | flag::WIDE_ALPHA => Some(Depth::Sixteen),
            _ => return Err(Error::Unsupported(format!("header flags {flags:#04x}"))),
        };
        let orientation = Orientation::from_exif(orientation)
            .ok_or_else(|| Error::Corrupt(format!("orientation {orientation} is not in 1..=8")))?;
        let quality = Quality::from_raw(quality).map_err(|_| {
            let most = Quality::MAX_RAW;
            Error::Corrupt(format!("quality {quality} is not in 0..={most}"))
        })?;
        let tile_size = u32::from(tile_units) * TILE_UNIT;
        let header = Self {
            width,
            height,
            is_gray,
            alpha,
            orientation,
            quality,
            tile_size,
            model,
        };
        header.check().map_err(Error::Corrupt)?;
        Ok(header)
    }

    /// Says which value is out of range.
    fn check(&self) -> std::result::Result<(), String> {
        for (name, value) in [("width", self.width), ("height", self.height)] {
            if !(1..=MAX_DIMENSION).contains(&value) {
                return Err(format!("{name} {value} is not in 1..={MAX_DIMENSION}"));
            }
        }
        check_tile_size(self.tile_size)
    }
}

/// Says what sides a tile may have, if this is none of them.
pub fn check_tile_size(size: u32) -> std::result::Result<(), String> {
    if size.is_multiple_of(TILE_UNIT) && (1..=MAX_TILE_UNITS).contains(&(size / TILE_UNIT)) {
        return Ok(());
    }
    let largest = MAX_TILE_UNITS * TILE_UNIT;
    Err(format!(
        "tile size {size} is not a multiple of {TILE_UNIT} in {TILE_UNIT}..={largest}"
    ))
}

/// Reads the signature; a file that ends inside a right one is truncated, not foreign.
fn read_signature(reader: &mut Reader) -> Result<()> {
    let count = reader.remaining().min(SIGNATURE.len());
    if reader.bytes("signature", count)? != &SIGNATURE[..count] {
        return Err(Error::NotAec);
    }
    let missing = SIGNATURE.len() - count;
    reader.bytes("signature", missing).map(|_| ())
}
