//! The outside of the alpha payload of a tile (spec: "Alpha payload").

use super::reader::Reader;
use super::section::payload_error;
use crate::error::Result;

/// The payload of one `ALPH` section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlphaPayload<'a> {
    /// CRC-32 of the tile's decoded samples.
    pub checksum: u32,
    /// The stream of adaptive bits.
    pub stream: &'a [u8],
}

impl<'a> AlphaPayload<'a> {
    /// Fewest bytes of a payload: the checksum.
    pub(super) const MIN_LENGTH: usize = 4;

    /// The payload's bytes.
    pub fn write(&self) -> Vec<u8> {
        [&self.checksum.to_le_bytes()[..], self.stream].concat()
    }

    /// Reads a payload; the stream is not looked into.
    ///
    /// # Errors
    /// [`Corrupt`](crate::Error::Corrupt) when it is too short.
    pub fn read(payload: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(payload);
        let checksum = reader.u32("alpha").map_err(payload_error)?;
        let stream = reader.bytes("alpha", reader.remaining())?;
        Ok(Self { checksum, stream })
    }
}
