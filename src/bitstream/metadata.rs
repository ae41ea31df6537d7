//! Ancillary sections that are known (spec: "Metadata"): blocks, which are compressed, and the resolution.

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::reader::{Reader, write_varint};
use super::section::{Section, payload_error};
use crate::error::{Error, Result};
use crate::format::tag;
use crate::limits::{Limits, at_most};
use crate::metadata::Metadata;
use crate::resolution::Resolution;

/// How hard the compressor tries, 0 to 10. Blocks are small.
const EFFORT: u8 = 10;

impl Metadata {
    /// The tags and payloads of the sections, in the order they are written.
    pub(crate) fn payloads(&self) -> Vec<([u8; 4], Vec<u8>)> {
        let blocks = [
            (tag::ICC, &self.icc),
            (tag::EXIF, &self.exif),
            (tag::XMP, &self.xmp),
        ];
        let blocks = blocks.into_iter();
        let blocks = blocks.filter_map(|(tag, block)| Some((tag, write_block(block.as_ref()?))));
        let resolution = self.resolution.map(write_resolution);
        let resolution = resolution.map(|payload| (tag::RESOLUTION, payload));
        blocks.chain(resolution).collect()
    }

    /// Takes the content of a section, unless it is not metadata.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] when it is too long; [`Error::Corrupt`] when it is malformed, or there is such a section
    /// already.
    pub(super) fn add(&mut self, section: &Section, limits: &Limits) -> Result<()> {
        let is_second = match section.tag {
            tag::ICC => replace_block(&mut self.icc, section, limits)?,
            tag::EXIF => replace_block(&mut self.exif, section, limits)?,
            tag::XMP => replace_block(&mut self.xmp, section, limits)?,
            tag::RESOLUTION => {
                let resolution = read_resolution(section.payload).map_err(payload_error)?;
                self.resolution.replace(resolution).is_some()
            }
            _ => false,
        };
        if is_second {
            return Err(Error::Corrupt(format!(
                "section {} comes twice",
                section.name()
            )));
        }
        Ok(())
    }
}

/// Reads a block into its place; says whether there was one.
fn replace_block(place: &mut Option<Vec<u8>>, section: &Section, limits: &Limits) -> Result<bool> {
    let block = read_block(section.payload, limits).map_err(payload_error)?;
    Ok(place.replace(block).is_some())
}

/// The payload for a block: its length and its compressed bytes, or 0 and the bytes as they are if that is shorter.
fn write_block(block: &[u8]) -> Vec<u8> {
    let compressed = compress_to_vec(block, EFFORT);
    let mut payload = Vec::new();
    // A block of more than 32 bits is refused when its section is written.
    if let Ok(length) = u32::try_from(block.len()) {
        write_varint(&mut payload, length);
    }
    if payload.len() + compressed.len() > block.len() {
        return [&[0], block].concat();
    }
    payload.extend(compressed);
    payload
}

fn read_block(payload: &[u8], limits: &Limits) -> Result<Vec<u8>> {
    let mut reader = Reader::new(payload);
    let length = reader.varint("metadata")?;
    let rest = reader.rest();
    let found = if length == 0 {
        rest.len() as u64
    } else {
        u64::from(length)
    };
    at_most("size of a metadata block", found, limits.max_metadata_bytes)?;
    if length == 0 {
        return Ok(rest.to_vec());
    }
    // No two bits stand for more than 258 bytes.
    if found > rest.len() as u64 * 1032 {
        return Err(Error::Corrupt(
            "a metadata block is too short for its length".into(),
        ));
    }
    let (mut state, mut block) = (DecompressorOxide::new(), vec![0; length as usize]);
    let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (status, read, written) = decompress(&mut state, rest, &mut block, 0, flags);
    if status != TINFLStatus::Done || read != rest.len() || written != block.len() {
        return Err(Error::Corrupt(
            "a metadata block does not decompress to its length".into(),
        ));
    }
    Ok(block)
}

/// The payload for a resolution.
fn write_resolution(resolution: Resolution) -> Vec<u8> {
    let mut payload = vec![u8::from(resolution.is_per_meter)];
    write_varint(&mut payload, resolution.x);
    write_varint(&mut payload, resolution.y);
    payload
}

fn read_resolution(payload: &[u8]) -> Result<Resolution> {
    let mut reader = Reader::new(payload);
    let unit = reader.u8("resolution")?;
    let (x, y) = (reader.varint("resolution")?, reader.varint("resolution")?);
    if unit > 1 || x == 0 || y == 0 || reader.remaining() > 0 {
        return Err(Error::Corrupt("the resolution is malformed".into()));
    }
    Ok(Resolution {
        x,
        y,
        is_per_meter: unit == 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        max_pixels: 1,
        max_side: 1,
        max_metadata_bytes: 1000,
    };

    fn read(payload: &[u8]) -> Result<Vec<u8>> {
        read_block(payload, &LIMITS).map_err(payload_error)
    }

    #[test]
    fn blocks_are_compressed_where_that_is_shorter() {
        let noise: Vec<u8> = (0..200_u64)
            .map(|i| (i * i * 2_654_435).to_le_bytes()[1])
            .collect();
        for (block, is_compressed) in [(vec![7; 1000], true), (noise, false), (vec![], false)] {
            let payload = write_block(&block);
            assert_eq!(payload[0] != 0, is_compressed);
            assert!(payload.len() <= block.len() + 1);
            assert_eq!(read(&payload).unwrap(), block);
        }
    }

    #[test]
    fn malformed_blocks_are_refused() {
        let whole = write_block(&[7; 1000]);
        let mut longer = whole.clone();
        longer.push(0);
        let mut other_length = whole.clone();
        other_length[0] -= 1;
        for payload in [
            &[][..],
            &whole[..whole.len() - 1],
            &longer,
            &other_length,
            &[5, 0xff, 0xff],
        ] {
            assert!(
                matches!(read(payload), Err(Error::Corrupt(_))),
                "{payload:?}"
            );
        }
    }

    #[test]
    fn limits_hold_before_anything_is_decompressed() {
        let limits = Limits {
            max_metadata_bytes: 999,
            ..LIMITS
        };
        for payload in [
            write_block(&[7; 1000]),
            vec![0; 1001],
            vec![0xff, 0xff, 0xff, 0xff, 0x0f],
        ] {
            let error = read_block(&payload, &limits).unwrap_err();
            assert!(
                matches!(error, Error::LimitExceeded { limit: 999, .. }),
                "{error}"
            );
        }
        assert!(read_block(&[0; 1000], &limits).is_ok());
    }

    #[test]
    fn resolutions_come_back_and_malformed_ones_do_not() {
        for is_per_meter in [false, true] {
            let resolution = Resolution {
                x: 11_811,
                y: u32::MAX,
                is_per_meter,
            };
            assert_eq!(
                read_resolution(&write_resolution(resolution)).unwrap(),
                resolution
            );
        }
        for payload in [
            &[][..],
            &[1, 5],
            &[2, 5, 5],
            &[1, 0, 5],
            &[1, 5, 0],
            &[1, 5, 5, 5],
        ] {
            assert!(read_resolution(payload).is_err(), "{payload:?}");
        }
    }
}
