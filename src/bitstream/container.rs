//! The file as a whole (spec: "File structure"): which sections, in which order, how often.

use super::header::Header;
use super::reader::{Reader, write_varint};
use super::section::{Section, SectionReader, payload_error, write_section};
use super::tile::TilePayload;
use crate::error::{Error, Result};
use crate::limits::Limits;

const TAG_ICC: [u8; 4] = *b"iccP";
const TAG_EXIF: [u8; 4] = *b"exif";
const TAG_XMP: [u8; 4] = *b"xmp ";
const TAG_TILE_INDEX: [u8; 4] = *b"TIDX";
const TAG_TILE: [u8; 4] = *b"TILE";
const TAG_END: [u8; 4] = *b"END ";

/// Fewest bytes a section with `payload` bytes can have: tag, length, payload, checksum.
const fn min_section(payload: usize) -> usize {
    4 + 1 + payload + 4
}

/// Data about the picture that the codec carries and does not interpret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metadata<'a> {
    /// ICC color profile.
    pub icc: Option<&'a [u8]>,
    /// Exif block, starting with the TIFF header.
    pub exif: Option<&'a [u8]>,
    /// XMP packet.
    pub xmp: Option<&'a [u8]>,
}

impl<'a> Metadata<'a> {
    /// The tags and contents, in the order they are written.
    fn entries(&self) -> [([u8; 4], Option<&'a [u8]>); 3] {
        [
            (TAG_ICC, self.icc),
            (TAG_EXIF, self.exif),
            (TAG_XMP, self.xmp),
        ]
    }

    /// Where a section's content belongs; `None` for tags that are not metadata.
    fn slot(&mut self, tag: [u8; 4]) -> Option<&mut Option<&'a [u8]>> {
        match tag {
            TAG_ICC => Some(&mut self.icc),
            TAG_EXIF => Some(&mut self.exif),
            TAG_XMP => Some(&mut self.xmp),
            _ => None,
        }
    }
}

/// A whole file, its structure checked and its payloads borrowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container<'a> {
    /// The header.
    pub header: Header,
    /// ICC, Exif and XMP.
    pub metadata: Metadata<'a>,
    /// One payload per tile of `header.tile_grid()`, in its order.
    pub tiles: Vec<TilePayload<'a>>,
}

impl<'a> Container<'a> {
    /// Reads a file and checks its whole structure and every checksum of bytes.
    ///
    /// # Errors
    /// Those of [`Header::read`] and [`Section::read`]; [`Error::LimitExceeded`] for what `limits` forbid;
    /// [`Error::Unsupported`] for unknown critical sections; [`Error::Corrupt`] for sections that are missing, repeated
    /// or out of order, and for bytes after the last.
    pub fn parse(bytes: &'a [u8], limits: &Limits) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let header = Header::read(&mut reader)?;
        limits.check_pixels(header.width, header.height)?;
        let count = tile_count(&header, reader.remaining())?;
        let (metadata, mut section) = read_metadata(&mut reader, limits)?;
        let index = if count > 1 {
            let index = expect(section, TAG_TILE_INDEX)?;
            section = Section::read(&mut reader)?;
            Some(read_index(index.payload, count)?)
        } else {
            None
        };
        let mut tiles = Vec::with_capacity(count);
        for i in 0..count {
            let payload = expect(section, TAG_TILE)?.payload;
            if index
                .as_ref()
                .is_some_and(|lengths| lengths[i] as usize != payload.len())
            {
                return Err(Error::Corrupt(format!(
                    "the length of tile {i} is not the one in the tile index"
                )));
            }
            tiles.push(TilePayload::read(payload)?);
            section = Section::read(&mut reader)?;
        }
        if !expect(section, TAG_END)?.payload.is_empty() {
            return Err(Error::Corrupt("the END section is not empty".into()));
        }
        if reader.remaining() > 0 {
            return Err(Error::Corrupt(format!(
                "{} bytes follow the END section",
                reader.remaining()
            )));
        }
        Ok(Self {
            header,
            metadata,
            tiles,
        })
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] when the number of tiles is not that of the header's grid or a zero map is too large;
    /// [`Error::LimitExceeded`] when a section would have more than `u32::MAX` bytes.
    pub fn write(&self) -> Result<Vec<u8>> {
        let wanted = self.header.tile_grid().count();
        if self.tiles.len() as u64 != wanted {
            return Err(Error::InvalidOption(format!(
                "{} tiles for a grid of {wanted}",
                self.tiles.len()
            )));
        }
        let mut out = Vec::new();
        self.header.write(&mut out);
        for (tag, content) in self.metadata.entries() {
            if let Some(content) = content {
                write_section(&mut out, tag, content)?;
            }
        }
        let payloads = self
            .tiles
            .iter()
            .map(TilePayload::write)
            .collect::<Result<Vec<_>>>()?;
        if payloads.len() > 1 {
            let mut index = Vec::new();
            for payload in &payloads {
                // A length over 32 bits is refused below, when the tile itself is written.
                write_varint(&mut index, payload.len() as u32);
            }
            write_section(&mut out, TAG_TILE_INDEX, &index)?;
        }
        for payload in &payloads {
            write_section(&mut out, TAG_TILE, payload)?;
        }
        write_section(&mut out, TAG_END, &[])?;
        Ok(out)
    }

    /// Lists the sections of a file as they come, for display.
    ///
    /// # Errors
    /// Those of [`Header::read`].
    pub fn sections(bytes: &'a [u8]) -> Result<SectionReader<'a>> {
        let mut reader = Reader::new(bytes);
        Header::read(&mut reader)?;
        Ok(SectionReader::new(reader))
    }
}

/// The number of tiles, which `remaining` bytes must be able to hold.
fn tile_count(header: &Header, remaining: usize) -> Result<usize> {
    let count = header.tile_grid().count();
    let needed = count.saturating_mul(min_section(TilePayload::MIN_LENGTH) as u64);
    if needed > remaining as u64 {
        return Err(Error::Truncated {
            what: "tiles",
            needed,
            left: remaining as u64,
        });
    }
    // Not more than `remaining`, which is a usize.
    Ok(count as usize)
}

/// Reads the ancillary sections, and the first critical one.
fn read_metadata<'a>(
    reader: &mut Reader<'a>,
    limits: &Limits,
) -> Result<(Metadata<'a>, Section<'a>)> {
    let mut metadata = Metadata::default();
    loop {
        let section = Section::read(reader)?;
        if section.is_critical() {
            return Ok((metadata, section));
        }
        let Some(slot) = metadata.slot(section.tag) else {
            continue;
        };
        let length = section.payload.len() as u64;
        if length > limits.max_metadata_bytes {
            return Err(Error::LimitExceeded {
                what: "size of a metadata section",
                found: length,
                limit: limits.max_metadata_bytes,
            });
        }
        if slot.replace(section.payload).is_some() {
            return Err(Error::Corrupt(format!(
                "section {} comes twice",
                section.name()
            )));
        }
    }
}

/// Checks that `section` is the one that must come here.
fn expect<'a>(section: Section<'a>, tag: [u8; 4]) -> Result<Section<'a>> {
    let is_known = [TAG_TILE_INDEX, TAG_TILE, TAG_END].contains(&section.tag);
    if section.tag == tag {
        Ok(section)
    } else if section.is_critical() && !is_known {
        Err(Error::Unsupported(format!(
            "critical section {}",
            section.name()
        )))
    } else {
        Err(Error::Corrupt(format!(
            "section {} at byte {} is out of place",
            section.name(),
            section.offset
        )))
    }
}

/// Reads the payload lengths of `count` tiles.
fn read_index(payload: &[u8], count: usize) -> Result<Vec<u32>> {
    let mut reader = Reader::new(payload);
    // Each length has at least one byte, so a short payload cannot ask for much memory.
    if count > payload.len() {
        return Err(Error::Corrupt("the tile index is too short".into()));
    }
    let lengths = (0..count)
        .map(|_| reader.varint("tile index"))
        .collect::<Result<_>>()
        .map_err(payload_error)?;
    if reader.remaining() > 0 {
        return Err(Error::Corrupt("the tile index is too long".into()));
    }
    Ok(lengths)
}
