//! Scale tables and the rANS decoder (§8.1, §9).

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
pub struct Decoder<'a> {
    tables: &'a Tables,
    words: Vec<u32>,
    x: u64,
    /// Number of escapes so far.
    pub escapes: usize,
}

impl<'a> Decoder<'a> {
    pub fn start(tables: &'a Tables, stream: &[u8]) -> Result<Self> {
        if stream.last() == Some(&0) {
            return Err(Class::Corrupt);
        }
        let mut bytes = stream.to_vec();
        bytes.resize(stream.len().div_ceil(4) * 4, 0);
        let words = bytes
            .chunks(4)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        let mut decoder = Self {
            tables,
            words,
            x: 0,
            escapes: 0,
        };
        while decoder.refill() {}
        Ok(decoder)
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

    fn interval(&mut self, t: usize) -> usize {
        let q = self.x % 65_536;
        let mut cumulative = 0;
        for (i, frequency) in self.tables.0[t].frequencies.iter().enumerate() {
            if q < cumulative + frequency {
                self.advance(cumulative, *frequency);
                return i;
            }
            cumulative += frequency;
        }
        unreachable!("the frequencies sum to 65536")
    }

    fn bit(&mut self) -> bool {
        let b = (self.x >> 15) & 1;
        self.advance(b << 15, 1 << 15);
        b == 1
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
        let negative = self.bit();
        let mut n = 0;
        while self.bit() {
            n += 1;
            if n > 19 {
                return Err(Class::Corrupt);
            }
        }
        let e = (0..n).fold(1, |e, _| 2 * e + i32::from(self.bit()));
        if e + reach > 1 << 20 {
            return Err(Class::Corrupt);
        }
        Ok(if negative { -(e + reach) } else { e + reach })
    }

    pub fn finish(&self) -> Result<()> {
        if self.x == 0 {
            Ok(())
        } else {
            Err(Class::Corrupt)
        }
    }
}
