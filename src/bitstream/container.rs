//! The file as a whole (spec: "File structure"): which sections, in which order, how often.

use super::alpha::AlphaPayload;
use super::header::Header;
use super::reader::{Reader, write_varint};
use super::section::{Section, SectionReader, payload_error, write_section};
use super::tile::TilePayload;
use crate::error::{Error, Result};
use crate::format::tag;
use crate::limits::Limits;
use crate::metadata::Metadata;

/// Fewest bytes a section with `payload` bytes can have: tag, length, payload, checksum.
const fn min_section(payload: usize) -> usize {
    4 + 1 + payload + 4
}

/// A whole file, its structure checked and its payloads borrowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container<'a> {
    /// The header.
    pub header: Header,
    /// ICC, Exif, XMP and resolution; the orientation is the header's.
    pub metadata: Metadata,
    /// One payload per tile of `header.tile_grid()`, in its order.
    pub tiles: Vec<TilePayload<'a>>,
    /// With an alpha channel, one payload per tile; else none.
    pub alpha: Vec<AlphaPayload<'a>>,
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
        limits.check_coded_pixels(header.width, header.height)?;
        let tags = tile_tags(&header);
        let count = tile_count(&header, reader.remaining())?;
        let (metadata, mut section) = read_metadata(&mut reader, limits)?;
        let index = if count > 1 {
            let index = expect(section, tag::TILE_INDEX)?;
            let lengths = read_index(index.payload, count * tags.len())?;
            section = Section::read(&mut reader)?;
            Some(lengths)
        } else {
            None
        };
        let (mut tiles, mut alpha) = (Vec::with_capacity(count), Vec::new());
        for i in 0..count * tags.len() {
            let tag = tags[i % tags.len()];
            section = expect(section, tag)?;
            if let Some(lengths) = &index {
                section = check_length(section, lengths[i])?;
            }
            if tag == tag::TILE {
                tiles.push(TilePayload::read(section.payload)?);
            } else {
                alpha.push(AlphaPayload::read(section.payload)?);
            }
            section = Section::read(&mut reader)?;
        }
        check_end(section, &reader)?;
        Ok(Self {
            header,
            metadata,
            tiles,
            alpha,
        })
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] when the number of payloads is not the one the header asks for or a zero map is too large;
    /// [`Error::LimitExceeded`] when a section would have more than `u32::MAX` bytes.
    #[allow(clippy::cast_possible_truncation)] // else refused below
    pub fn write(&self) -> Result<Vec<u8>> {
        let tiles = self.header.tile_grid().count();
        let alpha = if self.header.alpha.is_some() {
            tiles
        } else {
            0
        };
        for (what, found, wanted) in [
            ("tiles", self.tiles.len(), tiles),
            ("alpha payloads", self.alpha.len(), alpha),
        ] {
            if found as u64 != wanted {
                return Err(Error::InvalidOption(format!(
                    "{found} {what} instead of {wanted}"
                )));
            }
        }
        let mut out = Vec::new();
        self.header.write(&mut out);
        for (tag, payload) in self.metadata.payloads() {
            write_section(&mut out, tag, &payload)?;
        }
        let payloads = self.payloads()?;
        if self.tiles.len() > 1 {
            let mut index = Vec::new();
            for (_, payload) in &payloads {
                // A length over 32 bits is refused below, when the payload itself is written.
                write_varint(&mut index, payload.len() as u32);
            }
            write_section(&mut out, tag::TILE_INDEX, &index)?;
        }
        for (tag, payload) in &payloads {
            write_section(&mut out, *tag, payload)?;
        }
        write_section(&mut out, tag::END, &[])?;
        Ok(out)
    }

    /// Tags and payloads of the tiles, each tile's alpha behind it.
    fn payloads(&self) -> Result<Vec<([u8; 4], Vec<u8>)>> {
        let mut alpha = self.alpha.iter();
        let mut payloads = Vec::with_capacity(self.tiles.len() + self.alpha.len());
        for tile in &self.tiles {
            payloads.push((tag::TILE, tile.write()?));
            payloads.extend(alpha.next().map(|alpha| (tag::ALPHA, alpha.write())));
        }
        Ok(payloads)
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

/// The sections that each tile has.
pub(super) fn tile_tags(header: &Header) -> &'static [[u8; 4]] {
    match header.alpha {
        None => &[tag::TILE],
        Some(_) => &[tag::TILE, tag::ALPHA],
    }
}

/// The number of tiles, which `remaining` bytes must be able to hold.
#[allow(clippy::cast_possible_truncation)] // at most `remaining`
fn tile_count(header: &Header, remaining: usize) -> Result<usize> {
    let count = header.tile_grid().count();
    let mut each = min_section(TilePayload::MIN_LENGTH);
    if header.alpha.is_some() {
        each += min_section(AlphaPayload::MIN_LENGTH);
    }
    let needed = count.saturating_mul(each as u64);
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
fn read_metadata<'a>(reader: &mut Reader<'a>, limits: &Limits) -> Result<(Metadata, Section<'a>)> {
    let mut metadata = Metadata::default();
    loop {
        let section = Section::read(reader)?;
        if section.is_critical() {
            return Ok((metadata, section));
        }
        metadata.add(&section, limits)?;
    }
}

/// Checks that `section` is the one that must come here.
pub(super) fn expect<'a>(section: Section<'a>, tag: [u8; 4]) -> Result<Section<'a>> {
    let is_known = [tag::TILE_INDEX, tag::TILE, tag::ALPHA, tag::END].contains(&section.tag);
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

/// Checks that `section` has the length that the tile index says.
pub(super) fn check_length(section: Section, length: u32) -> Result<Section> {
    if section.payload.len() == length as usize {
        return Ok(section);
    }
    Err(Error::Corrupt(format!(
        "the length of section {} at byte {} is not the one in the tile index",
        section.name(),
        section.offset
    )))
}

/// Checks that `section` is the last one, and that `reader` is at the end.
pub(super) fn check_end(section: Section, reader: &Reader) -> Result<()> {
    if !expect(section, tag::END)?.payload.is_empty() {
        return Err(Error::Corrupt("the END section is not empty".into()));
    }
    if reader.remaining() > 0 {
        return Err(Error::Corrupt(format!(
            "{} bytes follow the END section",
            reader.remaining()
        )));
    }
    Ok(())
}

/// Reads the payload lengths of `count` sections.
pub(super) fn read_index(payload: &[u8], count: usize) -> Result<Vec<u32>> {
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
