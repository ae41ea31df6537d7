//! The alpha channel, coded without loss tile by tile (codec-spec.md, Alpha).

use super::area::Area;
use crate::bitstream::{AlphaPayload, Header, TileRect};
use crate::depth::Depth;
use crate::entropy::{decode_plane, encode_plane};
use crate::error::{Error, Result};
use crate::picture::Alpha;

/// The alpha samples of a tile, coded.
pub(super) struct EncodedAlpha {
    checksum: u32,
    stream: Vec<u8>,
}

impl EncodedAlpha {
    /// What goes into the file.
    pub(super) fn payload(&self) -> AlphaPayload<'_> {
        AlphaPayload {
            checksum: self.checksum,
            stream: &self.stream,
        }
    }
}

/// The pixels of a tile that are not padding.
pub(super) fn inside(header: &Header, rect: TileRect) -> Area {
    let (width, height) = (header.width as usize, header.height as usize);
    Area::from(rect)
        .intersection(&Area::whole(width, height))
        .expect("the picture is padded by less than a tile")
}

/// Codes the samples of a tile.
pub(super) fn encode_tile(alpha: &Alpha, header: &Header, rect: TileRect) -> EncodedAlpha {
    let whole = Area::whole(header.width as usize, header.height as usize);
    let place = inside(header, rect);
    let mut samples = vec![0; place.width * place.height];
    place.copy_from(&mut samples, &whole, alpha.samples(), &place, 1);
    EncodedAlpha {
        checksum: checksum(&samples, alpha.depth()),
        stream: encode_plane(samples, place.width, alpha.depth().max()),
    }
}

/// Decodes and checks the samples of a tile, rows of `place.width`.
///
/// # Errors
/// [`Error::Corrupt`] when the stream is damaged.
pub(super) fn decode_tile(payload: &AlphaPayload, depth: Depth, place: &Area) -> Result<Vec<u16>> {
    let samples = decode_plane(payload.stream, place.width, place.height, depth.max())?;
    if checksum(&samples, depth) != payload.checksum {
        return Err(Error::Corrupt(
            "decoded alpha does not match its checksum".into(),
        ));
    }
    Ok(samples)
}

/// CRC-32 of the samples, each in as many little-endian bytes as it needs.
fn checksum(samples: &[u16], depth: Depth) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for chunk in samples.chunks(4096) {
        let bytes: Vec<u8> = match depth {
            // Samples of 8 bits are not larger.
            Depth::Eight => chunk.iter().map(|&sample| sample as u8).collect(),
            Depth::Sixteen => chunk.iter().flat_map(|s| s.to_le_bytes()).collect(),
        };
        crc.update(&bytes);
    }
    crc.finalize()
}
