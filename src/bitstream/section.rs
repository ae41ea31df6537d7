//! Sections (spec: "Sections"): tag, length, payload, checksum.

use super::reader::{Reader, write_varint};
use crate::error::{Error, Result};
use crate::limits::at_most;

/// One section of a file, its checksum verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section<'a> {
    /// Four printable ASCII characters, the first one a letter.
    pub tag: [u8; 4],
    /// The content.
    pub payload: &'a [u8],
    /// Offset of the tag from the start of the file.
    pub offset: usize,
    /// CRC-32 of tag and payload.
    pub crc: u32,
}

impl<'a> Section<'a> {
    /// Reads the next section.
    ///
    /// # Errors
    /// [`Error::Truncated`] when it does not end, [`Error::Corrupt`] for a malformed tag or length and for a wrong
    /// checksum.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self> {
        let section = Self::read_unchecked(reader)?;
        section.check()?;
        Ok(section)
    }

    /// As [`read`](Self::read), whatever the checksum is.
    pub(super) fn read_unchecked(reader: &mut Reader<'a>) -> Result<Self> {
        let offset = reader.position();
        let tag: [u8; 4] = reader.array("section")?;
        if !tag[0].is_ascii_alphabetic() || !tag.iter().all(|b| (0x20..0x7F).contains(b)) {
            return Err(Error::Corrupt(format!(
                "no section starts at byte {offset}"
            )));
        }
        let length = reader.varint("section length")?;
        let payload = reader.bytes("section", length as usize)?;
        let crc = reader.u32("section")?;
        Ok(Self {
            tag,
            payload,
            offset,
            crc,
        })
    }

    /// Compares the checksum.
    pub(super) fn check(&self) -> Result<()> {
        if self.crc == checksum(self.tag, self.payload) {
            return Ok(());
        }
        Err(Error::Corrupt(format!(
            "the checksum of section {} does not match",
            self.name()
        )))
    }

    /// Bytes in the file of a section with `payload` bytes.
    pub(super) fn file_bytes(payload: u32) -> u64 {
        let mut length = Vec::new();
        write_varint(&mut length, payload);
        4 + length.len() as u64 + u64::from(payload) + 4
    }

    /// The tag as text.
    pub fn name(&self) -> String {
        self.tag.iter().map(|&b| char::from(b)).collect()
    }

    /// Whether a decoder that does not know the section must refuse the file: the first letter is a capital.
    pub fn is_critical(&self) -> bool {
        self.tag[0].is_ascii_uppercase()
    }
}

/// Appends a section.
///
/// # Errors
/// [`Error::LimitExceeded`] when the payload has more than `u32::MAX` bytes.
#[allow(clippy::cast_possible_truncation)] // checked
pub fn write_section(out: &mut Vec<u8>, tag: [u8; 4], payload: &[u8]) -> Result<()> {
    at_most("size of a section", payload.len() as u64, u32::MAX.into())?;
    out.extend(tag);
    write_varint(out, payload.len() as u32);
    out.extend(payload);
    out.extend(checksum(tag, payload).to_le_bytes());
    Ok(())
}

/// Turns [`Error::Truncated`] inside a payload into [`Error::Corrupt`]: its section is complete, so more bytes of
/// the file would not help.
pub(super) fn payload_error(error: Error) -> Error {
    if let Error::Truncated { what, .. } = error {
        return Error::Corrupt(format!("{what} is cut short"));
    }
    error
}

fn checksum(tag: [u8; 4], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&tag);
    crc.update(payload);
    crc.finalize()
}
