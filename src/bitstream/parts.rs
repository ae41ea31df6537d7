//! Reading a file part by part, and what can still be read of a damaged one (spec: "Integrity and errors").
//!
//! The tile index says where every section of a tile lies, so that damage to one does not lose the
//! others. Without it, sections are taken as they come, up to the first that cannot be told apart.

use super::alpha::AlphaPayload;
use super::header::Header;
use super::reader::Reader;
use super::section::{Section, payload_error};
use super::tile::TilePayload;
use crate::error::{Error, Result};
use crate::format::tag;
use crate::limits::Limits;
use crate::metadata::Metadata;

/// How often the bytes of a tag that is looked for are taken for a section: each try may read the
/// rest of the file.
const MOST_TRIES: usize = 16;

/// A part of a file, tiles by their number; ordered as damage is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DamagedPart {
    /// Metadata, the tile index, or the end.
    File,
    /// The colors of a tile.
    Tile(usize),
    /// The alpha of a tile.
    Alpha(usize),
}

/// A file as far as it is intact.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The header.
    pub header: Header,
    /// The metadata that is intact.
    pub metadata: Metadata,
    /// Per tile of `header.tile_grid()` its payload; none where it is damaged.
    pub tiles: Vec<Option<TilePayload<'a>>>,
    /// With an alpha channel, the same for each tile's alpha; else empty.
    pub alpha: Vec<Option<AlphaPayload<'a>>>,
    /// What is wrong with which part.
    pub damage: Vec<(DamagedPart, Error)>,
}

impl<'a> Parts<'a> {
    /// Reads what is left of a file. The memory it asks for is in proportion to the number of tiles,
    /// whether or not they are there.
    ///
    /// # Errors
    /// As [`Container::parse`](super::Container::parse) for the header, for what `limits` forbid, and for
    /// what is intact but not supported.
    pub fn salvaged(bytes: &'a [u8], limits: &Limits) -> Result<Self> {
        let mut parts = Self::read(bytes, limits)?;
        parts.refuse_what_is_not_damaged()?;
        Ok(parts)
    }

    /// Reads a file behind its header, whatever is wrong with it: the first damage in the list is the first in the file.
    pub(super) fn read(bytes: &'a [u8], limits: &Limits) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let header = Header::read(&mut reader)?;
        limits.check_coded_pixels(header.width, header.height)?;
        let mut parts = Self {
            header,
            metadata: Metadata::default(),
            tiles: Vec::new(),
            alpha: Vec::new(),
            damage: Vec::new(),
        };
        parts.read_metadata(&mut reader, limits);
        parts.read_tiles(reader);
        Ok(parts)
    }

    /// Fails when something is newer than this decoder, or over the limits, rather than damaged.
    fn refuse_what_is_not_damaged(&mut self) -> Result<()> {
        let is_intact = |(part, error): &(DamagedPart, Error)| {
            matches!(error, Error::Unsupported(_) | Error::LimitExceeded { .. })
                && !matches!(part, DamagedPart::Alpha(_))
        };
        match self.damage.iter().position(is_intact) {
            Some(index) => Err(self.damage.swap_remove(index).1),
            None => Ok(()),
        }
    }

    /// Notes what is wrong besides tiles.
    fn note(&mut self, error: Error) {
        self.damage.push((DamagedPart::File, error));
    }

    /// Reads up to the tile index, or to the tile if there is only one.
    fn read_metadata(&mut self, reader: &mut Reader<'a>, limits: &Limits) {
        let first = if self.count() > 1 {
            tag::TILE_INDEX
        } else {
            tag::TILE
        };
        // Behind the last intact section: a damaged one may be longer or shorter than it says.
        let mut trusted = reader.clone();
        loop {
            let start = reader.clone();
            let section = match Section::read_unchecked(reader) {
                Ok(section) if section.tag == first => {
                    *reader = start;
                    return;
                }
                Ok(section) => section,
                Err(error) => {
                    self.note(error);
                    *reader = find_section(&trusted, first).unwrap_or(reader.ahead(u64::MAX));
                    return;
                }
            };
            match section.check() {
                Ok(()) if section.is_critical() => {
                    expect(section, first).map_or_else(|e| self.note(e), drop);
                    *reader = find_section(&trusted, first).unwrap_or(start);
                    return;
                }
                Ok(()) => {
                    let added = self.metadata.add(&section, limits);
                    added.unwrap_or_else(|error| self.note(error));
                    trusted = reader.clone();
                }
                Err(error) => self.note(error),
            }
        }
    }

    /// The number of tiles, which the number of pixels bounds.
    #[allow(clippy::cast_possible_truncation)] // bounded by the pixels
    fn count(&self) -> usize {
        self.header.tile_grid().count() as usize
    }

    /// Reads the tile index, the tiles and the end.
    fn read_tiles(&mut self, mut reader: Reader<'a>) {
        if self.count() == 1 {
            return self.read_in_order(reader);
        }
        let start = reader.clone();
        let length = self.count() * tile_tags(&self.header).len();
        let (section, is_found) = read_tagged(&mut reader, tag::TILE_INDEX);
        match section.and_then(|section| read_index(section.payload, length)) {
            Ok(lengths) => self.read_indexed(&reader, &lengths),
            Err(error) => {
                self.note(error);
                self.read_in_order(if is_found { reader } else { start });
            }
        }
    }

    /// Reads every section of a tile from where the tile index says it is.
    fn read_indexed(&mut self, reader: &Reader<'a>, lengths: &[u32]) {
        let tags = tile_tags(&self.header);
        let mut offset = 0_u64;
        for (&length, &tag) in lengths.iter().zip(tags.iter().cycle()) {
            let section = Section::read(&mut reader.ahead(offset))
                .and_then(|section| expect(section, tag))
                .and_then(|section| check_length(section, length));
            self.place(tag, section);
            offset = offset.saturating_add(Section::file_bytes(length));
        }
        self.read_end(reader.ahead(offset));
    }

    /// Reads the sections of tiles as they come, up to one that is no such section.
    fn read_in_order(&mut self, mut reader: Reader<'a>) {
        let tags = tile_tags(&self.header);
        let mut is_lost = false;
        for &tag in tags.iter().cycle().take(self.count() * tags.len()) {
            if is_lost {
                let behind = "it lies behind damage".into();
                self.place(tag, Err(Error::Corrupt(behind)));
                continue;
            }
            let (section, is_found) = read_tagged(&mut reader, tag);
            is_lost = !is_found;
            self.place(tag, section);
        }
        if !is_lost {
            self.read_end(reader);
        }
    }

    /// Adds the next tile's payload, or that of its alpha.
    fn place(&mut self, tag: [u8; 4], section: Result<Section<'a>>) {
        let payload = section.map(|section| section.payload);
        let error = if tag == tag::TILE {
            let tile = payload.and_then(TilePayload::read);
            keep(&mut self.tiles, tile, DamagedPart::Tile)
        } else {
            let alpha = payload.and_then(AlphaPayload::read);
            keep(&mut self.alpha, alpha, DamagedPart::Alpha)
        };
        self.damage.extend(error);
    }

    /// Notes what is wrong with the end of the file.
    fn read_end(&mut self, mut reader: Reader<'a>) {
        let end = Section::read(&mut reader).and_then(|section| check_end(section, &reader));
        end.unwrap_or_else(|error| self.note(error));
    }
}

/// The sections that each tile has.
fn tile_tags(header: &Header) -> &'static [[u8; 4]] {
    match header.alpha {
        None => &[tag::TILE],
        Some(_) => &[tag::TILE, tag::ALPHA],
    }
}

/// Checks that `section` is the one that must come here.
fn expect<'a>(section: Section<'a>, tag: [u8; 4]) -> Result<Section<'a>> {
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
fn check_length(section: Section, length: u32) -> Result<Section> {
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
fn check_end(section: Section, reader: &Reader) -> Result<()> {
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
fn read_index(payload: &[u8], count: usize) -> Result<Vec<u32>> {
    let mut reader = Reader::new(payload);
    // Each length has at least one byte, so a short payload cannot ask for much memory.
    if count > payload.len() {
        return Err(Error::Corrupt("the tile index is too short".into()));
    }
    let lengths = (0..count).map(|_| reader.varint("tile index"));
    let lengths = lengths.collect::<Result<_>>().map_err(payload_error)?;
    if reader.remaining() > 0 {
        return Err(Error::Corrupt("the tile index is too long".into()));
    }
    Ok(lengths)
}

/// Adds what is intact to a list, and gives what is not.
fn keep<T>(
    list: &mut Vec<Option<T>>,
    payload: Result<T>,
    part: fn(usize) -> DamagedPart,
) -> Option<(DamagedPart, Error)> {
    let (payload, error) = match payload {
        Ok(payload) => (Some(payload), None),
        Err(error) => (None, Some((part(list.len()), error))),
    };
    list.push(payload);
    error
}

/// Reads a section that should be `tag`, and whether it is, damaged or not.
fn read_tagged<'a>(reader: &mut Reader<'a>, tag: [u8; 4]) -> (Result<Section<'a>>, bool) {
    match Section::read_unchecked(reader) {
        Err(error) => (Err(error), false),
        Ok(section) => {
            let checked = section.check().and_then(|()| expect(section, tag));
            (checked, section.tag == tag)
        }
    }
}

/// The first intact section `tag` behind `reader`.
fn find_section<'a>(reader: &Reader<'a>, tag: [u8; 4]) -> Option<Reader<'a>> {
    let places = reader.rest().windows(4).enumerate();
    let places = places.filter(|(_, four)| **four == tag).take(MOST_TRIES);
    let mut found = places.map(|(offset, _)| reader.ahead(offset as u64));
    found.find(|found| Section::read(&mut found.clone()).is_ok())
}
