//! The file as a whole (spec: "File structure"): which sections, in which order, how often.

use super::alpha::AlphaPayload;
use super::header::Header;
use super::parts::Parts;
use super::reader::{Reader, write_varint};
use super::section::{Section, write_section};
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
        check_room(bytes, limits)?;
        let parts = Parts::read(bytes, limits)?;
        if let Some((_, error)) = parts.damage.into_iter().next() {
            return Err(error);
        }
        Ok(Self {
            header: parts.header,
            metadata: parts.metadata,
            tiles: parts.tiles.into_iter().flatten().collect(),
            alpha: parts.alpha.into_iter().flatten().collect(),
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
        let alpha = self.header.alpha.map_or(0, |_| tiles);
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

    /// Lists the sections of a file as they come, for display; the first error ends the list. It says nothing about
    /// their order and number: [`parse`](Self::parse) checks those.
    ///
    /// # Errors
    /// Those of [`Header::read`].
    pub fn sections(bytes: &'a [u8]) -> Result<impl Iterator<Item = Result<Section<'a>>>> {
        let mut reader = Reader::new(bytes);
        Header::read(&mut reader)?;
        let mut rest = Some(reader);
        Ok(std::iter::from_fn(move || {
            let mut reader = rest.take().filter(|reader| reader.remaining() > 0)?;
            let section = Section::read(&mut reader);
            rest = section.is_ok().then_some(reader);
            Some(section)
        }))
    }
}

impl<'a> From<Container<'a>> for Parts<'a> {
    fn from(container: Container<'a>) -> Self {
        Self {
            header: container.header,
            metadata: container.metadata,
            tiles: container.tiles.into_iter().map(Some).collect(),
            alpha: container.alpha.into_iter().map(Some).collect(),
            damage: Vec::new(),
        }
    }
}

/// Checks that a picture is within `limits` and its file long enough for its tiles, before anything is made of them.
fn check_room(bytes: &[u8], limits: &Limits) -> Result<()> {
    let mut reader = Reader::new(bytes);
    let header = Header::read(&mut reader)?;
    limits.check_coded_pixels(header.width, header.height)?;
    let mut each = min_section(TilePayload::MIN_LENGTH);
    if header.alpha.is_some() {
        each += min_section(AlphaPayload::MIN_LENGTH);
    }
    let needed = header.tile_grid().count().saturating_mul(each as u64);
    let left = reader.remaining() as u64;
    if needed > left {
        let what = "tiles";
        return Err(Error::Truncated { what, needed, left });
    }
    Ok(())
}
