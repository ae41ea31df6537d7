//! The file: header, sections, tiles (§5, §6).

use super::bytes::{Reader, crc32};
use super::inflate::inflate;
use super::{Class, Result};

const SIGNATURE: [u8; 6] = [0x8a, 0x41, 0x45, 0x43, 0x0d, 0x0a];
const MAX_SIDE: u32 = 1_048_560;
const MAX_PIXELS: u64 = 1 << 28;
const MAX_METADATA: usize = 1 << 26;

pub struct Header {
    pub is_gray: bool,
    pub alpha_bits: Option<u32>,
    pub orientation: u8,
    pub quality: u16,
    pub tile_size: usize,
    pub width: usize,
    pub height: usize,
    pub model_id: [u8; 8],
}

/// A tile's place in the padded picture, in pixels.
pub struct Rect {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

pub struct Payload<'a> {
    pub zero_map: Option<&'a [u8]>,
    pub checksum: u32,
    pub stream: &'a [u8],
}

pub struct AlphaPayload<'a> {
    pub checksum: u32,
    pub stream: &'a [u8],
}

pub struct File<'a> {
    pub header: Header,
    pub blocks: Vec<([u8; 4], Vec<u8>)>,
    payloads: Vec<Payload<'a>>,
    alpha: Vec<AlphaPayload<'a>>,
}

type Section<'a> = ([u8; 4], &'a [u8]);

impl<'a> File<'a> {
    pub fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut r = Reader { rest: bytes };
        let header = read_header(&mut r, bytes)?;
        if header.width as u64 * header.height as u64 > MAX_PIXELS {
            return Err(Class::LimitExceeded);
        }
        let mut file = Self {
            header,
            blocks: Vec::new(),
            payloads: Vec::new(),
            alpha: Vec::new(),
        };
        let smallest = if file.header.alpha_bits.is_some() {
            27
        } else {
            14
        };
        if smallest * file.columns() * file.rows() > r.rest.len() {
            return Err(Class::Truncated);
        }
        file.read_sections(&mut r)?;
        if r.rest.is_empty() {
            Ok(file)
        } else {
            Err(Class::Corrupt)
        }
    }

    fn read_sections(&mut self, r: &mut Reader<'a>) -> Result<()> {
        let n = self.columns() * self.rows();
        let each = if self.header.alpha_bits.is_some() {
            2
        } else {
            1
        };
        let mut section = self.read_ancillary(r)?;
        let mut index = None;
        if n > 1 {
            index = Some(read_index(wanted(section, b"TIDX")?, n * each)?);
            section = read_section(r)?;
        }
        for i in 0..n * each {
            let is_alpha = i % each == 1;
            let payload = wanted(section, if is_alpha { b"ALPH" } else { b"TILE" })?;
            if index
                .as_ref()
                .is_some_and(|lengths| lengths[i] as usize != payload.len())
            {
                return Err(Class::Corrupt);
            }
            if is_alpha {
                self.alpha
                    .push(read_alpha(payload).map_err(inside_payload)?);
            } else {
                self.payloads
                    .push(read_payload(payload).map_err(inside_payload)?);
            }
            section = read_section(r)?;
        }
        if wanted(section, b"END ")?.is_empty() {
            Ok(())
        } else {
            Err(Class::Corrupt)
        }
    }

    /// Reads sections up to the first critical one.
    fn read_ancillary(&mut self, r: &mut Reader<'a>) -> Result<Section<'a>> {
        let mut seen = Vec::new();
        loop {
            let (tag, payload) = read_section(r)?;
            match &tag {
                b"iccP" | b"exif" | b"xmp " => {
                    let block = read_block(payload).map_err(inside_payload)?;
                    self.blocks.push((tag, block));
                }
                b"phys" => read_resolution(payload).map_err(inside_payload)?,
                _ if tag[0].is_ascii_uppercase() => return Ok((tag, payload)),
                _ => continue,
            }
            if seen.contains(&tag) {
                return Err(Class::Corrupt);
            }
            seen.push(tag);
        }
    }

    pub fn padded_width(&self) -> usize {
        self.header.width.div_ceil(64) * 64
    }

    pub fn padded_height(&self) -> usize {
        self.header.height.div_ceil(64) * 64
    }

    fn columns(&self) -> usize {
        self.padded_width().div_ceil(self.header.tile_size)
    }

    fn rows(&self) -> usize {
        self.padded_height().div_ceil(self.header.tile_size)
    }

    /// Place and payload of every tile.
    pub fn tiles(&self) -> impl Iterator<Item = (Rect, &Payload<'a>)> {
        self.places().zip(&self.payloads)
    }

    /// Place of every tile and payload of its alpha samples.
    pub fn alpha(&self) -> impl Iterator<Item = (Rect, &AlphaPayload<'a>)> {
        self.places().zip(&self.alpha)
    }

    fn places(&self) -> impl Iterator<Item = Rect> {
        (0..self.columns() * self.rows()).map(|t| {
            let size = self.header.tile_size;
            let (x, y) = (t % self.columns() * size, t / self.columns() * size);
            let (width, height) = (
                size.min(self.padded_width() - x),
                size.min(self.padded_height() - y),
            );
            Rect {
                x,
                y,
                width,
                height,
            }
        })
    }
}

/// Signature and header (§5.1).
fn read_header(r: &mut Reader, file: &[u8]) -> Result<Header> {
    let start = &file[..file.len().min(6)];
    if start != &SIGNATURE[..start.len()] {
        return Err(Class::NotAec);
    }
    r.bytes(6)?;
    if r.u8()? != 1 {
        return Err(Class::UnsupportedVersion);
    }
    let (flags, orientation, quality, units) = (r.u8()?, r.u8()?, r.u16()?, r.u8()?);
    let (width, height) = (r.varint()?, r.varint()?);
    let model_id = r.bytes(8)?.try_into().unwrap();
    let crc = crc32(&file[..file.len() - r.rest.len()]);
    if r.u32()? != crc {
        return Err(Class::Corrupt);
    }
    if ![0, 1, 2, 3, 6, 7].contains(&flags) {
        return Err(Class::Unsupported);
    }
    let sides = 1..=MAX_SIDE;
    let in_range = (1..=8).contains(&orientation) && quality <= 50_000 && (1..=64).contains(&units);
    if !in_range || !sides.contains(&width) || !sides.contains(&height) {
        return Err(Class::Corrupt);
    }
    let (width, height, tile_size) = (width as usize, height as usize, 64 * usize::from(units));
    Ok(Header {
        is_gray: flags % 2 == 1,
        alpha_bits: [None, Some(8), None, Some(16)][usize::from(flags / 2)],
        orientation,
        quality,
        tile_size,
        width,
        height,
        model_id,
    })
}

/// One section (§5.2).
fn read_section<'a>(r: &mut Reader<'a>) -> Result<Section<'a>> {
    let tag: [u8; 4] = r.bytes(4)?.try_into().unwrap();
    if !tag[0].is_ascii_alphabetic() || tag.iter().any(|byte| !(0x20..=0x7e).contains(byte)) {
        return Err(Class::Corrupt);
    }
    let length = r.varint()?;
    let payload = r.bytes(length as usize)?;
    if r.u32()? != crc32(tag.iter().chain(payload)) {
        return Err(Class::Corrupt);
    }
    Ok((tag, payload))
}

/// A metadata block (§5.7).
fn read_block(payload: &[u8]) -> Result<Vec<u8>> {
    let mut r = Reader { rest: payload };
    let length = r.varint()? as usize;
    if length > MAX_METADATA || length == 0 && r.rest.len() > MAX_METADATA {
        Err(Class::LimitExceeded)
    } else if length == 0 {
        Ok(r.rest.to_vec())
    } else {
        inflate(r.rest, length)
    }
}

/// The resolution (§5.7).
fn read_resolution(payload: &[u8]) -> Result<()> {
    let mut r = Reader { rest: payload };
    let (unit, x, y) = (r.u8()?, r.varint()?, r.varint()?);
    if unit > 1 || x == 0 || y == 0 || !r.rest.is_empty() {
        return Err(Class::Corrupt);
    }
    Ok(())
}

/// The payload of the section that must come here.
fn wanted<'a>((tag, payload): Section<'a>, name: &[u8; 4]) -> Result<&'a [u8]> {
    let is_known = [b"TIDX", b"TILE", b"ALPH", b"END "].contains(&&tag);
    if &tag == name {
        Ok(payload)
    } else if tag[0].is_ascii_uppercase() && !is_known {
        Err(Class::Unsupported)
    } else {
        Err(Class::Corrupt)
    }
}

fn read_index(payload: &[u8], n: usize) -> Result<Vec<u32>> {
    let mut r = Reader { rest: payload };
    let lengths = (0..n)
        .map(|_| r.varint())
        .collect::<Result<_>>()
        .map_err(inside_payload)?;
    if r.rest.is_empty() {
        Ok(lengths)
    } else {
        Err(Class::Corrupt)
    }
}

/// A tile's payload (§5.4).
fn read_payload(payload: &[u8]) -> Result<Payload<'_>> {
    let mut r = Reader { rest: payload };
    let flags = r.u8()?;
    if flags > 1 {
        return Err(Class::Unsupported);
    }
    let zero_map = if flags == 1 {
        Some(read_zero_map(&mut r)?)
    } else {
        None
    };
    Ok(Payload {
        zero_map,
        checksum: r.u32()?,
        stream: r.rest,
    })
}

/// The payload of a tile's alpha samples (§5.6).
fn read_alpha(payload: &[u8]) -> Result<AlphaPayload<'_>> {
    let mut r = Reader { rest: payload };
    Ok(AlphaPayload {
        checksum: r.u32()?,
        stream: r.rest,
    })
}

fn read_zero_map<'a>(r: &mut Reader<'a>) -> Result<&'a [u8]> {
    match r.varint()? {
        length @ 1..=65_535 => r.bytes(length as usize),
        _ => Err(Class::Corrupt),
    }
}

/// The section is complete, so its payload is not truncated but corrupt.
fn inside_payload(class: Class) -> Class {
    if class == Class::Truncated {
        Class::Corrupt
    } else {
        class
    }
}
