//! Scale tables, the rANS decoder and adaptive bits (§8.1, §9).

use super::{Class, Result};

/// One frequency table.
struct Table {
    reach: i32,
    /// Frequencies of the intervals 0, -1, +1, -2, .., escape.
    frequencies: Vec<u64>,
}

/// The 64 tables of a model.
pub struct Tables(Vec<Table>);

impl Tables {
    pub fn read(words: &[u16]) -> Result<Self> {
        let mut rest = words;
        let tables = (0..64)
            .map(|_| Table::read(&mut rest))
            .collect::<Option<_>>();
        tables
            .filter(|_| rest.is_empty())
            .map(Self)
            .ok_or(Class::Weights)
    }
}

impl Table {
    /// Takes a table from the front of `words`.
    fn read(words: &mut &[u16]) -> Option<Self> {
        let (&reach, rest) = words.split_first()?;
        let (stored, rest) = rest.split_at_checked(usize::from(reach) + 2)?;
        *words = rest;
        let (&escape, symbols) = stored.split_last()?;
        let mut frequencies = vec![u64::from(symbols[0])];
        for frequency in &symbols[1..] {
            frequencies.extend([u64::from(*frequency); 2]);
        }
        frequencies.push(u64::from(escape));
        let is_valid = (1..=4095).contains(&reach)
            && frequencies.iter().sum::<u64>() == 65_536
            && frequencies.iter().all(|frequency| *frequency > 0);
        is_valid.then_some(Self {
            reach: i32::from(reach),
            frequencies,
        })
    }
}

/// A stream that is being decoded.
pub struct Stream {
    words: Vec<u32>,
    x: u64,
}

impl Stream {
    pub fn start(stream: &[u8]) -> Result<Self> {
        if stream.last() == Some(&0) {
            return Err(Class::Corrupt);
        }
        let mut bytes = stream.to_vec();
        bytes.resize(stream.len().div_ceil(4) * 4, 0);
        let words = bytes
            .chunks(4)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        let mut stream = Self { words, x: 0 };
        while stream.refill() {}
        Ok(stream)
    }

    fn refill(&mut self) -> bool {
        if self.x >= 1 << 32 {
            return false;
        }
        let word = self.words.pop();
        if let Some(word) = word {
            self.x = (self.x << 32) | u64::from(word);
        }
        word.is_some()
    }

    fn advance(&mut self, c: u64, f: u64) {
        self.x = f * (self.x >> 16) + self.x % 65_536 - c;
        self.refill();
    }

    pub fn bit(&mut self) -> bool {
        let b = (self.x >> 15) & 1;
        self.advance(b << 15, 1 << 15);
        b == 1
    }

    pub fn adaptive_bit(&mut self, a: &mut AdaptiveBit) -> i32 {
        let boundary = 2 * u64::from(a.p);
        let bit = if self.x % 65_536 < boundary {
            self.advance(0, boundary);
            0
        } else {
            self.advance(boundary, 65_536 - boundary);
            1
        };
        a.adapt(bit);
        bit
    }

    pub fn finish(&self) -> Result<()> {
        if self.x == 0 {
            Ok(())
        } else {
            Err(Class::Corrupt)
        }
    }
}

/// A probability that adapts (§9.5).
#[derive(Clone, Copy)]
pub struct AdaptiveBit {
    p: u32,
    n: u32,
}

impl AdaptiveBit {
    pub fn new() -> Self {
        Self { p: 16_384, n: 0 }
    }

    fn adapt(&mut self, bit: i32) {
        let shift = match self.n {
            0 => 1,
            1..=3 => 2,
            4..=9 => 3,
            10..=20 => 4,
            _ => 5,
        };
        if bit == 1 {
            self.p -= self.p >> shift;
        } else {
            self.p += (32_768 - self.p) >> shift;
        }
        self.n += 1;
    }
}

/// The symbols of a tile's stream.
pub struct Decoder<'a> {
    tables: &'a Tables,
    stream: Stream,
    /// Number of escapes so far.
    pub escapes: usize,
}

impl<'a> Decoder<'a> {
    pub fn start(tables: &'a Tables, stream: &[u8]) -> Result<Self> {
        Ok(Self {
            tables,
            stream: Stream::start(stream)?,
            escapes: 0,
        })
    }

    fn interval(&mut self, t: usize) -> usize {
        let q = self.stream.x % 65_536;
        let mut cumulative = 0;
        for (i, frequency) in self.tables.0[t].frequencies.iter().enumerate() {
            if q < cumulative + frequency {
                self.stream.advance(cumulative, *frequency);
                return i;
            }
            cumulative += frequency;
        }
        unreachable!("the frequencies sum to 65536")
    }

    pub fn symbol(&mut self, t: usize) -> Result<i32> {
        let reach = self.tables.0[t].reach;
        let i = self.interval(t) as i32;
        if i == 2 * reach + 1 {
            return self.escape(reach);
        }
        Ok(if i % 2 == 0 { i / 2 } else { -((i + 1) / 2) })
    }

    fn escape(&mut self, reach: i32) -> Result<i32> {
        self.escapes += 1;
        let negative = self.stream.bit();
        let mut n = 0;
        while self.stream.bit() {
            n += 1;
            if n > 19 {
                return Err(Class::Corrupt);
            }
        }
        let e = (0..n).fold(1, |e, _| 2 * e + i32::from(self.stream.bit()));
        if e + reach > 1 << 20 {
            return Err(Class::Corrupt);
        }
        Ok(if negative { -(e + reach) } else { e + reach })
    }

    pub fn finish(&self) -> Result<()> {
        self.stream.finish()
    }
}
