//! A file taken apart and put together again with right checksums, so that tests can
//! change what lies behind them.

use aec::unstable::Result;
use aec::unstable::bitstream::{Reader, write_section, write_varint};

/// A section's tag and payload.
pub type Section = ([u8; 4], Vec<u8>);

/// Offset of the width in a header.
const SIZE_AT: usize = 12;

/// The parts of a file.
#[derive(Clone)]
pub struct Layout {
    /// Signature and header without the checksum.
    pub header: Vec<u8>,
    /// Sections in order.
    pub sections: Vec<Section>,
}

impl Layout {
    /// Takes a valid file apart.
    pub fn of(file: &[u8]) -> Self {
        Self::read(file).unwrap()
    }

    /// Takes a file apart that may have anything in its parts, and wrong checksums.
    pub fn read(file: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(file);
        reader.bytes("header", SIZE_AT)?;
        reader.varint("width")?;
        reader.varint("height")?;
        reader.bytes("model", 8)?;
        let header = reader.since(0).to_vec();
        reader.u32("checksum")?;
        let mut sections = Vec::new();
        while reader.remaining() > 0 {
            let tag = reader.array("tag")?;
            let length = reader.varint("length")? as usize;
            sections.push((tag, reader.bytes("payload", length)?.to_vec()));
            reader.u32("checksum")?;
        }
        Ok(Self { header, sections })
    }

    /// The file, with checksums that match.
    pub fn bytes(&self) -> Vec<u8> {
        let mut file = self.header.clone();
        file.extend(crc32fast::hash(&self.header).to_le_bytes());
        for (tag, payload) in &self.sections {
            write_section(&mut file, *tag, payload).unwrap();
        }
        file
    }

    /// Replaces width and height.
    pub fn set_size(&mut self, width: u32, height: u32) {
        let mut header = self.header[..SIZE_AT].to_vec();
        write_varint(&mut header, width);
        write_varint(&mut header, height);
        header.extend(&self.header[self.header.len() - 8..]);
        self.header = header;
    }

    /// The payload of the first section called `tag`.
    pub fn payload(&mut self, tag: &[u8; 4]) -> &mut Vec<u8> {
        &mut self
            .sections
            .iter_mut()
            .find(|section| &section.0 == tag)
            .unwrap()
            .1
    }

    /// Makes the tile index, where there is one, that of the tiles.
    pub fn index_tiles(&mut self) {
        let mut index = Vec::new();
        let is_tile = |section: &&Section| [b"TILE", b"ALPH"].contains(&&section.0);
        for (_, payload) in self.sections.iter().filter(is_tile) {
            write_varint(&mut index, payload.len() as u32);
        }
        for section in self
            .sections
            .iter_mut()
            .filter(|section| &section.0 == b"TIDX")
        {
            section.1.clone_from(&index);
        }
    }
}
