//! The symbol coder (spec: "rANS coder"): 64-bit state, 32-bit words, 16-bit frequencies.
//!
//! rANS is a stack: what is pushed last is popped first. The encoder therefore keeps the symbols and
//! pushes them in reverse when it finishes, so that the decoder pops in coding order. A stream is the words in
//! little-endian order without trailing zero bytes; the coder starts at state 0, so a stream that
//! codes only zeros is empty, and a fully decoded stream must end at state 0.

use std::borrow::Borrow;
use std::num::NonZeroU16;

use constriction::UnwrapInfallible;
use constriction::stream::model::{DecoderModel, EncoderModel, EntropyModel};
use constriction::stream::stack::AnsCoder;
use constriction::stream::{Code, Decode, Encode};

use super::cdf::{ScaleTables, Table};
use super::escape;
use crate::error::{Error, Result};
use crate::format::{MAX_SYMBOL, PRECISION};

/// The rANS coder of all streams.
pub(super) type Coder = AnsCoder<u32, u64>;

/// The model of a bit, of which 0 has the first `2 * zero` quantiles.
#[derive(Clone, Copy)]
pub(super) struct Bit {
    /// Neither 0 nor 32768.
    pub(super) zero: u16,
}

impl Bit {
    /// A bypass bit: 0 and 1 have half of the quantiles each.
    const EVEN: Self = Self { zero: 1 << 14 };

    #[inline]
    fn of(self, bit: bool) -> (u16, NonZeroU16) {
        let boundary = 2 * self.zero;
        let (start, frequency) = if bit {
            (boundary, boundary.wrapping_neg())
        } else {
            (0, boundary)
        };
        let frequency = NonZeroU16::new(frequency).expect("the boundary is neither 0 nor 65536");
        (start, frequency)
    }
}

impl EntropyModel<PRECISION> for Bit {
    type Symbol = bool;
    type Probability = u16;
}

impl EncoderModel<PRECISION> for Bit {
    #[inline]
    fn left_cumulative_and_probability(&self, bit: impl Borrow<bool>) -> Option<(u16, NonZeroU16)> {
        Some(self.of(*bit.borrow()))
    }
}

impl DecoderModel<PRECISION> for Bit {
    #[inline]
    fn quantile_function(&self, quantile: u16) -> (bool, u16, NonZeroU16) {
        let bit = quantile >= 2 * self.zero;
        let (start, frequency) = self.of(bit);
        (bit, start, frequency)
    }
}

/// Collects symbols in coding order and codes them into one stream.
#[derive(Debug)]
pub struct SymbolEncoder<'a> {
    tables: &'a ScaleTables,
    /// Symbol in the upper 24 bits, table in the lower 8: [`MAX_SYMBOL`] fits.
    symbols: Vec<i32>,
}

impl<'a> SymbolEncoder<'a> {
    /// Starts an empty stream.
    pub fn new(tables: &'a ScaleTables) -> Self {
        Self {
            tables,
            symbols: Vec::new(),
        }
    }

    /// Appends a symbol, to be coded with table `table`.
    ///
    /// Symbols are clamped to `-MAX_SYMBOL..=MAX_SYMBOL`, which the caller must do as well where it goes on with
    /// the coded value.
    #[inline]
    pub fn push(&mut self, table: u8, symbol: i32) {
        self.symbols
            .push((symbol.clamp(-MAX_SYMBOL, MAX_SYMBOL) << 8) | i32::from(table));
    }

    /// Codes everything that was pushed, and returns the stream.
    pub fn finish(self) -> Vec<u8> {
        let mut coder = Coder::new();
        for packed in self.symbols.into_iter().rev() {
            encode(&mut coder, self.tables.table(packed as u8), packed >> 8);
        }
        to_stream(coder)
    }
}

/// The bytes of everything that was pushed.
pub(super) fn to_stream(coder: Coder) -> Vec<u8> {
    let words = coder.into_compressed().unwrap_infallible();
    let mut bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    // The last word is not zero, so at most three bytes go.
    bytes.truncate(
        bytes
            .iter()
            .rposition(|&b| b != 0)
            .map_or(0, |last| last + 1),
    );
    bytes
}

/// A coder that pops what [`to_stream`] wrote.
///
/// # Errors
/// [`Error::Corrupt`] when the last byte is 0, which no encoder writes.
pub(super) fn from_stream(stream: &[u8]) -> Result<Coder> {
    if stream.last() == Some(&0) {
        return Err(Error::Corrupt("a symbol stream ends in a zero byte".into()));
    }
    let word = |chunk: &[u8]| {
        let mut bytes = [0; 4];
        bytes[..chunk.len()].copy_from_slice(chunk);
        u32::from_le_bytes(bytes)
    };
    let words: Vec<u32> = stream.chunks(4).map(word).collect();
    Coder::from_compressed(words)
        .map_err(|_| Error::Corrupt("a symbol stream ends in a zero word".into()))
}

/// Checks that a stream ended exactly here.
///
/// # Errors
/// [`Error::Corrupt`] when words are left or the final state is not the encoder's initial one.
pub(super) fn check_end(coder: &Coder) -> Result<()> {
    if !coder.is_empty() {
        return Err(Error::Corrupt(
            "a symbol stream does not end where it should".into(),
        ));
    }
    Ok(())
}

/// Pushes one symbol: what is decoded first, the interval, goes last.
#[inline]
fn encode(coder: &mut Coder, table: &Table, symbol: i32) {
    let index = table.index_of(symbol);
    if index == table.escape_index() {
        let code = escape::code(symbol, table.reach());
        for i in 0..code.len {
            let bit = (code.bits >> i) & 1 == 1;
            coder
                .encode_symbol(bit, Bit::EVEN)
                .expect("both bits have a nonzero frequency");
        }
    }
    coder
        .encode_symbol(index, table)
        .expect("index_of returns an interval of this table");
}

/// Decodes a stream symbol by symbol, in the order they were pushed.
#[derive(Debug)]
pub struct SymbolDecoder<'a> {
    tables: &'a ScaleTables,
    coder: Coder,
}

impl<'a> SymbolDecoder<'a> {
    /// Starts decoding a stream.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the last byte is 0, which no encoder writes.
    pub fn new(tables: &'a ScaleTables, stream: &[u8]) -> Result<Self> {
        let coder = from_stream(stream)?;
        Ok(Self { tables, coder })
    }

    /// Decodes the next symbol, with table `table`.
    ///
    /// Past the end of a stream the state shrinks to 0, which yields zeros without end: there is no error
    /// before [`finish`](Self::finish) and the checksum.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when an escape code gives a magnitude over [`MAX_SYMBOL`].
    #[inline]
    pub fn pop(&mut self, table: u8) -> Result<i32> {
        let table = self.tables.table(table);
        let index = self.coder.decode_symbol(table).unwrap_infallible();
        if index == table.escape_index() {
            return self.pop_escape(table.reach());
        }
        Ok(Table::symbol_of(index))
    }

    #[cold]
    fn pop_escape(&mut self, reach: u32) -> Result<i32> {
        escape::read(reach, || {
            self.coder.decode_symbol(Bit::EVEN).unwrap_infallible()
        })
    }

    /// Bits that are left: the logarithm of the number that the rest of the stream stands for. By
    /// how much it falls with a symbol is what that symbol cost.
    pub fn bits_left(&self) -> f64 {
        let words = self.coder.bulk().len() as f64;
        words * f64::from(u32::BITS) + (self.coder.state() as f64 + 1.0).log2()
    }

    /// Checks that the stream ended exactly here.
    ///
    /// A stream that passes is byte for byte the one [`SymbolEncoder`] writes for the decoded symbols. Whether those are
    /// the symbols that were meant, only a checksum of them can tell.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when words are left or the final state is not the encoder's initial one.
    pub fn finish(self) -> Result<()> {
        check_end(&self.coder)
    }
}
