//! Tiles: where they lie in the picture, and the outside of their payload (spec: "Tiles", "Tile payload").

use super::reader::{Reader, write_varint};
use super::section::payload_error;
use crate::error::{Error, Result};
use crate::format::{MAX_ZERO_MAP, TILE_UNIT, flag};

/// How a picture is cut into tiles, in raster order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileGrid {
    /// Tiles per row.
    pub columns: u32,
    /// Rows of tiles.
    pub rows: u32,
    /// Side of a tile in pixels, a multiple of 64.
    pub tile_size: u32,
    /// Width in pixels of the padded picture that the tiles cover, a multiple of 64.
    pub width: u32,
    /// Height in pixels of the padded picture.
    pub height: u32,
}

/// A tile's place in the padded picture, in pixels; all four are multiples of 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileRect {
    /// Left edge, a multiple of the tile size.
    pub x: u32,
    /// Top edge, a multiple of the tile size.
    pub y: u32,
    /// Width; less than the tile size only in the last column.
    pub width: u32,
    /// Height; less than the tile size only in the last row.
    pub height: u32,
}

impl TileGrid {
    /// The grid of a picture of `width * height` pixels, which is first padded to multiples of 64.
    ///
    /// `tile_size` must be a multiple of 64; the sides may have at most 31 bits.
    pub fn new(width: u32, height: u32, tile_size: u32) -> Self {
        let tile_size = tile_size.max(TILE_UNIT);
        let width = width.next_multiple_of(TILE_UNIT);
        let height = height.next_multiple_of(TILE_UNIT);
        Self {
            columns: width.div_ceil(tile_size),
            rows: height.div_ceil(tile_size),
            tile_size,
            width,
            height,
        }
    }

    /// Number of tiles.
    pub fn count(&self) -> u64 {
        u64::from(self.columns) * u64::from(self.rows)
    }

    /// The place of tile `index < count()`.
    #[allow(clippy::cast_possible_truncation)] // columns and rows have 32 bits
    pub fn tile(&self, index: usize) -> TileRect {
        let columns = self.columns.max(1) as usize;
        let x = (index % columns) as u32 * self.tile_size;
        let y = (index / columns) as u32 * self.tile_size;
        TileRect {
            x,
            y,
            width: self.tile_size.min(self.width.saturating_sub(x)),
            height: self.tile_size.min(self.height.saturating_sub(y)),
        }
    }

    /// The places of all tiles, in coding order.
    #[allow(clippy::cast_possible_truncation)] // bounded by the pixels
    pub fn tiles(self) -> impl Iterator<Item = TileRect> {
        (0..self.count() as usize).map(move |index| self.tile(index))
    }
}

/// The payload of one `TILE` section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TilePayload<'a> {
    /// Bytes of the zero map, if there is one; at most 65535.
    pub zero_map: Option<&'a [u8]>,
    /// CRC-32 of the tile's decoded symbols.
    pub checksum: u32,
    /// The rANS stream.
    pub stream: &'a [u8],
}

impl<'a> TilePayload<'a> {
    /// Fewest bytes of a payload: flags and checksum.
    pub(super) const MIN_LENGTH: usize = 5;

    /// The payload's bytes.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] when the zero map has no bytes or more than 65535.
    #[allow(clippy::cast_possible_truncation)] // checked above
    pub fn write(&self) -> Result<Vec<u8>> {
        let map_bytes = self.zero_map.map_or(0, |map| map.len() + 3);
        let mut out = Vec::with_capacity(Self::MIN_LENGTH + map_bytes + self.stream.len());
        out.push(self.zero_map.map_or(0, |_| flag::ZERO_MAP));
        if let Some(map) = self.zero_map {
            let length = map.len();
            if !(1..=MAX_ZERO_MAP).contains(&length) {
                return Err(Error::InvalidOption(format!("zero map of {length} bytes")));
            }
            write_varint(&mut out, length as u32);
            out.extend(map);
        }
        out.extend(self.checksum.to_le_bytes());
        out.extend(self.stream);
        Ok(out)
    }

    /// Reads a payload; the zero map and the stream are not looked into.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for reserved flags; [`Error::Corrupt`] when it is too short, and for a zero map of no
    /// bytes or more than 65535.
    pub fn read(payload: &'a [u8]) -> Result<Self> {
        Self::read_fields(&mut Reader::new(payload)).map_err(payload_error)
    }

    fn read_fields(reader: &mut Reader<'a>) -> Result<Self> {
        let flags = reader.u8("tile")?;
        if flags & !flag::ZERO_MAP != 0 {
            return Err(Error::Unsupported(format!("tile flags {flags:#04x}")));
        }
        let has_map = flags & flag::ZERO_MAP != 0;
        let zero_map = has_map.then(|| Self::read_zero_map(reader));
        Ok(Self {
            zero_map: zero_map.transpose()?,
            checksum: reader.u32("tile")?,
            stream: reader.bytes("tile", reader.remaining())?,
        })
    }

    fn read_zero_map(reader: &mut Reader<'a>) -> Result<&'a [u8]> {
        let length = reader.varint("zero map length")? as usize;
        if !(1..=MAX_ZERO_MAP).contains(&length) {
            return Err(Error::Corrupt(format!("zero map of {length} bytes")));
        }
        reader.bytes("zero map", length)
    }
}
