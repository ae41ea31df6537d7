//! Walks through the entropy-coded data of a JPEG scan without decoding samples.
//!
//! Decoders fill what is missing with gray and go on after damage; none says so. The walk follows every
//! code to the last block, and so tells a scan that is whole from one that is cut or damaged.

use super::frame::{Component, Frame};

/// Coefficients of a block.
const BLOCK: u8 = 64;

/// The Huffman code of a table: length and symbol for every 16 bits that may come next.
#[derive(Clone)]
pub(super) struct Huffman {
    /// Length in the upper byte, 0 for bits that start no code; symbol in the lower one.
    codes: Vec<u16>,
}

impl Huffman {
    /// The code with `counts[i]` codes of `i + 1` bits for `symbols`; `None` if there are too many for that.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut codes = Vec::with_capacity(1 << 16);
        let mut symbols = symbols.iter();
        for (length, &count) in (1_u16..=16).zip(counts) {
            for symbol in symbols.by_ref().take(usize::from(count)) {
                let end = codes.len() + (1 << (16 - length));
                if end > 1 << 16 {
                    return None;
                }
                codes.resize(end, length << 8 | u16::from(*symbol));
            }
        }
        codes.resize(1 << 16, 0);
        Some(Self { codes })
    }
}

/// What stops a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The data ends before the last block.
    End,
    /// A code that does not exist, or a marker in the wrong place.
    Damage,
}

/// What a walk found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Walked {
    /// Blocks that are there, of `blocks`.
    pub done: u64,
    /// Blocks of the scan.
    pub blocks: u64,
    /// Whether the data does not make sense somewhere.
    pub is_damaged: bool,
    /// Where the next marker is, or the end of the file.
    pub end: usize,
}

/// How a scan is coded.
pub(super) struct Scan<'a> {
    /// Index of each component in the frame, and its tables for DC and AC.
    pub components: Vec<(usize, Option<&'a Huffman>, Option<&'a Huffman>)>,
    /// First and last coefficient.
    pub band: (u8, u8),
    /// Whether it refines coefficients that earlier scans started.
    pub is_refinement: bool,
    /// Units between restart markers, 0 without.
    pub restart_interval: u32,
}

impl Scan<'_> {
    /// Walks through the data that starts at byte `at`. `frame` keeps which coefficients are not zero.
    pub(super) fn walk(&self, frame: &mut Frame, bytes: &[u8], at: usize) -> Walked {
        let units = self.units(frame);
        let blocks = units * self.blocks_per_unit(frame);
        let mut bits = Bits::new(bytes, at);
        let mut end_of_band = 0;
        let mut stop = None;
        let mut done = 0;
        for unit in 0..units {
            let interval = u64::from(self.restart_interval);
            if interval > 0 && unit > 0 && unit.is_multiple_of(interval) {
                end_of_band = 0;
                stop = bits.restart().err();
            }
            stop = stop.or_else(|| self.unit(frame, &mut bits, unit, &mut end_of_band).err());
            if stop.is_some() {
                break;
            }
            done += self.blocks_per_unit(frame);
        }
        let (end, has_rest) = bits.find_end();
        Walked {
            done: if stop == Some(Stop::Damage) {
                blocks
            } else {
                done
            },
            blocks,
            is_damaged: stop == Some(Stop::Damage) || (stop.is_none() && has_rest),
            end,
        }
    }

    /// Whether blocks of several components are interleaved.
    fn is_interleaved(&self) -> bool {
        self.components.len() > 1
    }

    /// Number of units: of blocks in a scan of one component, else of groups of blocks.
    fn units(&self, frame: &Frame) -> u64 {
        let (columns, rows) = match self.components[..] {
            [(index, ..)] => frame.components[index].blocks,
            _ => frame.units,
        };
        u64::from(columns) * u64::from(rows)
    }

    fn blocks_per_unit(&self, frame: &Frame) -> u64 {
        if !self.is_interleaved() {
            return 1;
        }
        let blocks = |&(index, ..): &(usize, Option<&Huffman>, Option<&Huffman>)| {
            let Component { h, v, .. } = frame.components[index];
            u64::from(h) * u64::from(v)
        };
        self.components.iter().map(blocks).sum()
    }

    #[allow(clippy::cast_possible_truncation)] // an index of a block
    fn unit(
        &self,
        frame: &mut Frame,
        bits: &mut Bits,
        unit: u64,
        end_of_band: &mut u32,
    ) -> Result<(), Stop> {
        let units_across = u64::from(frame.units.0);
        for &(index, dc, ac) in &self.components {
            let is_progressive = frame.is_progressive;
            let component = &mut frame.components[index];
            let (h, v) = (u64::from(component.h), u64::from(component.v));
            let (across, down) = if self.is_interleaved() {
                (h, v)
            } else {
                (1, 1)
            };
            for block in 0..across * down {
                let at = if self.is_interleaved() {
                    let x = unit % units_across * h + block % h;
                    let y = unit / units_across * v + block / h;
                    y * component.stride + x
                } else {
                    let columns = u64::from(component.blocks.0);
                    unit / columns * component.stride + unit % columns
                };
                if is_progressive {
                    let coded = &mut component.coded[at as usize];
                    self.progressive_block(bits, coded, (dc, ac), end_of_band)?;
                } else {
                    sequential_block(bits, dc, ac)?;
                }
            }
        }
        Ok(())
    }

    /// One block of a progressive scan; bit `k` of `coded` says whether coefficient `k` is not zero.
    fn progressive_block(
        &self,
        bits: &mut Bits,
        coded: &mut u64,
        (dc, ac): (Option<&Huffman>, Option<&Huffman>),
        end_of_band: &mut u32,
    ) -> Result<(), Stop> {
        match (self.band.0, self.is_refinement) {
            (0, false) => {
                let size = bits.code(dc)?;
                bits.skip(size)
            }
            (0, true) => bits.skip(1),
            (_, false) => self.first_band(bits, coded, ac, end_of_band),
            (_, true) => self.refine_band(bits, coded, ac, end_of_band),
        }
    }

    fn first_band(
        &self,
        bits: &mut Bits,
        coded: &mut u64,
        ac: Option<&Huffman>,
        end_of_band: &mut u32,
    ) -> Result<(), Stop> {
        if *end_of_band > 0 {
            *end_of_band -= 1;
            return Ok(());
        }
        let (mut k, last) = self.band;
        while k <= last {
            let (run, size) = bits.run_and_size(ac)?;
            if size > 0 {
                k += run;
                if k > last {
                    return Err(Stop::Damage);
                }
                *coded |= 1 << k;
                bits.skip(size)?;
            } else if run < 15 {
                *end_of_band = (1 << run) - 1 + bits.take(run)?;
                break;
            } else {
                k += run;
            }
            k += 1;
        }
        Ok(())
    }

    fn refine_band(
        &self,
        bits: &mut Bits,
        coded: &mut u64,
        ac: Option<&Huffman>,
        end_of_band: &mut u32,
    ) -> Result<(), Stop> {
        let (mut k, last) = self.band;
        while *end_of_band == 0 && k <= last {
            let (mut run, size) = bits.run_and_size(ac)?;
            match size {
                0 if run < 15 => {
                    *end_of_band = (1 << run) + bits.take(run)?;
                    break;
                }
                0 => {}
                1 => bits.skip(1)?,
                _ => return Err(Stop::Damage),
            }
            // A bit for each coefficient that is coded already, up to the end of the run of others.
            while k <= last {
                if *coded >> k & 1 == 1 {
                    bits.skip(1)?;
                } else if run > 0 {
                    run -= 1;
                } else {
                    *coded |= u64::from(size) << k;
                    k += 1;
                    break;
                }
                k += 1;
            }
        }
        if *end_of_band > 0 {
            for k in k..=last {
                bits.skip(u8::from(*coded >> k & 1 == 1))?;
            }
            *end_of_band -= 1;
        }
        Ok(())
    }
}

/// One block of a scan that is not progressive.
fn sequential_block(
    bits: &mut Bits,
    dc: Option<&Huffman>,
    ac: Option<&Huffman>,
) -> Result<(), Stop> {
    let size = bits.code(dc)?;
    bits.skip(size)?;
    let mut k = 1;
    while k < BLOCK {
        let (run, size) = bits.run_and_size(ac)?;
        if size == 0 && run < 15 {
            break;
        }
        k += run + 1;
        if k > BLOCK {
            return Err(Stop::Damage);
        }
        bits.skip(size)?;
    }
    Ok(())
}

/// The bits of entropy-coded data, up to a marker.
struct Bits<'a> {
    bytes: &'a [u8],
    /// Next byte to be taken into `held`.
    at: usize,
    /// Bits that were taken, the next one highest, zeros behind them.
    held: u64,
    count: u8,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8], at: usize) -> Self {
        Self {
            bytes,
            at,
            held: 0,
            count: 0,
        }
    }

    /// Takes bytes while there is room, up to a marker.
    fn fill(&mut self) {
        while self.count <= 56 {
            let Some(&byte) = self.bytes.get(self.at) else {
                return;
            };
            if byte == 0xff {
                if self.bytes.get(self.at + 1) != Some(&0) {
                    return;
                }
                self.at += 1;
            }
            self.at += 1;
            self.held |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    fn skip(&mut self, count: u8) -> Result<(), Stop> {
        self.take(count).map(drop)
    }

    /// The next `count` bits, at most 16.
    #[allow(clippy::cast_possible_truncation)] // at most 16 bits
    fn take(&mut self, count: u8) -> Result<u32, Stop> {
        if count > 16 {
            return Err(Stop::Damage);
        }
        if self.count < count {
            self.fill();
            if self.count < count {
                return Err(self.stop());
            }
        }
        if count == 0 {
            return Ok(0);
        }
        let value = self.held >> (64 - count);
        self.held <<= count;
        self.count -= count;
        // At most 16 bits.
        Ok(value as u32)
    }

    /// The next symbol of a code.
    fn code(&mut self, table: Option<&Huffman>) -> Result<u8, Stop> {
        let table = table.ok_or(Stop::Damage)?;
        if self.count < 16 {
            self.fill();
        }
        let [length, symbol] = table.codes[(self.held >> 48) as usize].to_be_bytes();
        if length == 0 || length > self.count {
            // Without enough bits, what looks like a code or like none is filled up.
            return Err(if self.count < 16 {
                self.stop()
            } else {
                Stop::Damage
            });
        }
        self.held <<= length;
        self.count -= length;
        Ok(symbol)
    }

    /// A symbol for AC coefficients: zeros before the next one, and its bits.
    fn run_and_size(&mut self, table: Option<&Huffman>) -> Result<(u8, u8), Stop> {
        self.code(table).map(|symbol| (symbol >> 4, symbol & 15))
    }

    /// Why there are no more bits.
    fn stop(&self) -> Stop {
        match self.marker() {
            Some(0xd0..=0xd7) => Stop::Damage,
            _ => Stop::End,
        }
    }

    /// The marker before which the bits end, past fill bytes.
    fn marker(&self) -> Option<u8> {
        let rest = self.bytes.get(self.at..)?;
        rest.iter().copied().find(|&byte| byte != 0xff)
    }

    /// Skips the rest of a byte and a restart marker.
    fn restart(&mut self) -> Result<(), Stop> {
        self.fill();
        if self.count >= 8 {
            return Err(Stop::Damage);
        }
        match self.marker() {
            Some(0xd0..=0xd7) => {}
            _ => return Err(Stop::End),
        }
        let rest = &self.bytes[self.at..];
        let fill = rest.iter().take_while(|&&byte| byte == 0xff).count();
        *self = Self::new(self.bytes, self.at + fill + 1);
        Ok(())
    }

    /// Where the next marker is that is not a restart marker, and whether more than padding is left before it.
    fn find_end(mut self) -> (usize, bool) {
        self.fill();
        // Some encoders pad to more than a byte, with zeros or ones.
        let is_padding =
            self.held == 0 || self.held == !(u64::MAX.unbounded_shr(self.count.into()));
        let mut has_rest = self.count >= 8 && !is_padding;
        let mut at = self.at;
        loop {
            let Some(skip) = self.bytes[at..].iter().position(|&byte| byte == 0xff) else {
                return (self.bytes.len(), has_rest);
            };
            has_rest |= skip > 0;
            at += skip;
            match self.bytes.get(at + 1) {
                None => return (self.bytes.len(), has_rest),
                Some(0 | 0xd0..=0xd7) => {
                    has_rest = true;
                    at += 2;
                }
                Some(0xff) => at += 1,
                Some(_) => return (at, has_rest),
            }
        }
    }
}
