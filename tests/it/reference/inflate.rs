//! Decompressing metadata blocks (§5.7): DEFLATE as RFC 1951 defines it, bit by bit.

use super::{Class, Result};

/// Base and extra bits of the lengths and distances that codes stand for.
const LENGTHS: [(usize, u32); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];
const DISTANCES: [(usize, u32); 30] = [
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 1),
    (7, 1),
    (9, 2),
    (13, 2),
    (17, 3),
    (25, 3),
    (33, 4),
    (49, 4),
    (65, 5),
    (97, 5),
    (129, 6),
    (193, 6),
    (257, 7),
    (385, 7),
    (513, 8),
    (769, 8),
    (1025, 9),
    (1537, 9),
    (2049, 10),
    (3073, 10),
    (4097, 11),
    (6145, 11),
    (8193, 12),
    (12289, 12),
    (16385, 13),
    (24577, 13),
];
/// The order in which the lengths of the codes for lengths of codes are stored.
const ORDER: [usize; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];

/// The `length` bytes that a stream gives, which must end with its last byte.
pub fn inflate(stream: &[u8], length: usize) -> Result<Vec<u8>> {
    let mut bits = Bits { stream, at: 0 };
    let mut out = Vec::new();
    loop {
        let is_last = bits.take(1)? == 1;
        match bits.take(2)? {
            0 => stored(&mut bits, &mut out)?,
            1 => coded(
                &mut bits,
                &mut out,
                &fixed()?,
                &Code::new(&[5; 32], false)?,
                length,
            )?,
            2 => {
                let (literals, distances) = read_codes(&mut bits)?;
                coded(&mut bits, &mut out, &literals, &distances, length)?;
            }
            _ => return Err(Class::Corrupt),
        }
        if is_last {
            break;
        }
    }
    if out.len() == length && bits.at.div_ceil(8) == stream.len() {
        Ok(out)
    } else {
        Err(Class::Corrupt)
    }
}

/// Bits from the lowest of each byte on.
struct Bits<'a> {
    stream: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Result<usize> {
        let mut value = 0;
        for i in 0..count {
            let byte = self.stream.get(self.at / 8).ok_or(Class::Corrupt)?;
            value |= usize::from(byte >> (self.at % 8) & 1) << i;
            self.at += 1;
        }
        Ok(value)
    }
}

/// A prefix code: how many codes of each length there are, and their symbols in order.
struct Code {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Code {
    /// The code with these lengths. It must use every pattern of bits, except that it may have a single symbol, of one
    /// bit, or none, where `may_lack` says so.
    fn new(lengths: &[usize], may_lack: bool) -> Result<Self> {
        let mut counts = [0; 16];
        let mut symbols = Vec::new();
        let mut free = 1_i32;
        for (length, count) in counts.iter_mut().enumerate().skip(1) {
            let of_length = (0..lengths.len()).filter(|&symbol| lengths[symbol] == length);
            symbols.extend(of_length);
            *count = lengths.iter().filter(|&&other| other == length).count();
            free = 2 * free - *count as i32;
            if free < 0 {
                return Err(Class::Corrupt);
            }
        }
        let is_small = may_lack && symbols.len() == counts[1] && symbols.len() <= 1;
        if free > 0 && !is_small {
            return Err(Class::Corrupt);
        }
        Ok(Self { counts, symbols })
    }

    fn read(&self, bits: &mut Bits) -> Result<usize> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for length in 1..16 {
            code = code * 2 + bits.take(1)?;
            first *= 2;
            let count = self.counts[length];
            if code < first + count {
                return self
                    .symbols
                    .get(index + code - first)
                    .copied()
                    .ok_or(Class::Corrupt);
            }
            index += count;
            first += count;
        }
        Err(Class::Corrupt)
    }
}

fn fixed() -> Result<Code> {
    let lengths = [(144, 8), (112, 9), (24, 7), (8, 8)];
    let lengths: Vec<usize> = lengths
        .iter()
        .flat_map(|&(count, length)| vec![length; count])
        .collect();
    Code::new(&lengths, false)
}

/// The codes of a block that brings its own.
fn read_codes(bits: &mut Bits) -> Result<(Code, Code)> {
    let literals = bits.take(5)? + 257;
    let distances = bits.take(5)? + 1;
    let mut lengths = [0; 19];
    for &place in ORDER.iter().take(bits.take(4)? + 4) {
        lengths[place] = bits.take(3)?;
    }
    let code = Code::new(&lengths, false)?;
    let mut lengths = Vec::new();
    while lengths.len() < literals + distances {
        let (value, times) = match code.read(bits)? {
            16 => (*lengths.last().ok_or(Class::Corrupt)?, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            18 => (0, 11 + bits.take(7)?),
            length => (length, 1),
        };
        lengths.extend(std::iter::repeat_n(value, times));
    }
    if lengths.len() > literals + distances {
        return Err(Class::Corrupt);
    }
    // Without a code for the end there is none.
    if lengths[256] == 0 {
        return Err(Class::Corrupt);
    }
    let literals_code = Code::new(&lengths[..literals], true)?;
    Ok((literals_code, Code::new(&lengths[literals..], true)?))
}

fn stored(bits: &mut Bits, out: &mut Vec<u8>) -> Result<()> {
    bits.at = bits.at.next_multiple_of(8);
    let (length, inverse) = (bits.take(16)?, bits.take(16)?);
    if length != inverse ^ 0xffff {
        return Err(Class::Corrupt);
    }
    for _ in 0..length {
        out.push(bits.take(8)? as u8);
    }
    Ok(())
}

fn coded(
    bits: &mut Bits,
    out: &mut Vec<u8>,
    literals: &Code,
    distances: &Code,
    most: usize,
) -> Result<()> {
    while out.len() <= most {
        match literals.read(bits)? {
            symbol @ 0..256 => out.push(symbol as u8),
            256 => return Ok(()),
            symbol => {
                let &(base, extra) = LENGTHS.get(symbol - 257).ok_or(Class::Corrupt)?;
                let length = base + bits.take(extra)?;
                let &(base, extra) = DISTANCES.get(distances.read(bits)?).ok_or(Class::Corrupt)?;
                let distance = base + bits.take(extra)?;
                for _ in 0..length {
                    let from = out.len().checked_sub(distance).ok_or(Class::Corrupt)?;
                    out.push(out[from]);
                }
            }
        }
    }
    Err(Class::Corrupt)
}
