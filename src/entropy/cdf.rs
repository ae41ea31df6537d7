//! The 64 frozen frequency tables of the entropy model (spec: "Scale tables").
//!
//! Table `i` is a zero-mean Gaussian of standard deviation `sigma(i)`, rounded to integer
//! frequencies that sum to 65536. A model is made with tables from the formula and stores
//! the integers; coding uses the stored integers only.

use std::borrow::Borrow;
use std::num::NonZeroU16;

use constriction::stream::model::{DecoderModel, EncoderModel, EntropyModel};

use super::escape;
use crate::error::{Error, Result};
use crate::format::{LN_SIGMA_RANGE, MAX_REACH, PRECISION, SCALE_LEVELS, SIGMA_MIN};
use crate::math;

/// Reach of a table in standard deviations. At 4 a Gaussian source pays at most 0.005 bit per symbol over
/// its entropy in every table (0.011 at 5, 0.008 at 3), and one that is 30 % Laplacian at most 0.015 (0.013
/// at 5, 0.030 at 3).
const REACH_IN_SIGMAS: f64 = 4.0;
/// A quantile's top 8 bits choose where the search for its symbol starts.
const BUCKETS: usize = 256;

/// One symbol's interval `cumulative .. cumulative + frequency` of the 65536 quantiles.
#[derive(Debug, Clone, Copy)]
struct Interval {
    cumulative: u16,
    frequency: NonZeroU16,
}

/// One frequency table.
///
/// Intervals are ordered 0, -1, 1, -2, 2, ... , escape: the likely symbols come first, which makes the
/// search short, and zeros pushed on an empty coder cost nothing.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// Largest magnitude with an interval of its own.
    reach: u16,
    /// `2 * reach + 2` intervals.
    intervals: Vec<Interval>,
    /// First interval that overlaps each 1/256 of the quantiles.
    bucket_start: [u16; BUCKETS],
    /// Cost in bits by magnitude, then of the escape alone.
    cost: Vec<f32>,
}

impl Table {
    /// Builds a table from the frequencies of magnitudes `0..=reach` (one sign) and of the escape.
    pub(super) fn new(magnitudes: &[u16], escape: u16) -> Result<Self> {
        let signed = magnitudes.iter().skip(1).flat_map(|&f| [f, f]);
        let frequencies = magnitudes
            .iter()
            .copied()
            .take(1)
            .chain(signed)
            .chain([escape]);
        let mut intervals = Vec::with_capacity(2 * magnitudes.len());
        let mut next = 0_u32;
        for frequency in frequencies {
            let (Ok(cumulative), Some(frequency)) =
                (u16::try_from(next), NonZeroU16::new(frequency))
            else {
                return Err(invalid("a frequency is 0 or the sum is over 65536"));
            };
            next += u32::from(frequency.get());
            intervals.push(Interval {
                cumulative,
                frequency,
            });
        }
        if next != 1 << PRECISION {
            return Err(invalid("the frequencies do not sum to 65536"));
        }
        let bits = |f: &u16| (PRECISION as f64 - math::log2(u32::from(*f))) as f32;
        Ok(Self {
            reach: (magnitudes.len() - 1) as u16,
            bucket_start: bucket_start(&intervals),
            intervals,
            cost: magnitudes.iter().chain([&escape]).map(bits).collect(),
        })
    }

    /// The table of a zero-mean Gaussian with standard deviation `sigma`.
    ///
    /// Every interval gets 1, and the rest is shared in proportion to the probabilities by
    /// rounding the upper tail at each half-integer.
    pub(super) fn gaussian(sigma: f64) -> Self {
        let reach = (REACH_IN_SIGMAS * sigma).round() as u16 + 1;
        let shared = f64::from(65536 - (2 * u32::from(reach) + 2));
        let tail = |k: u16| {
            (shared * math::normal_tail((f64::from(k) - 0.5) / sigma) + 0.5).floor() as u16
        };
        let zero = shared as u32 + 1 - 2 * u32::from(tail(1));
        let others = (1..=reach).map(|k| 1 + tail(k) - tail(k + 1));
        let magnitudes: Vec<u16> = std::iter::once(zero as u16).chain(others).collect();
        Self::new(&magnitudes, 1 + 2 * tail(reach + 1))
            .expect("tails decrease, so every share is positive and they telescope")
    }

    /// Interval number of `symbol`, or of the escape when it is out of reach.
    #[inline]
    pub(super) fn index_of(&self, symbol: i32) -> u16 {
        if symbol.unsigned_abs() > u32::from(self.reach) {
            return self.escape_index();
        }
        ((symbol << 1) ^ (symbol >> 31)) as u16
    }

    /// Symbol of an interval other than the escape's.
    #[inline]
    pub(super) fn symbol_of(index: u16) -> i32 {
        i32::from(index >> 1) ^ -i32::from(index & 1)
    }

    /// Interval number of the escape.
    #[inline]
    pub(super) fn escape_index(&self) -> u16 {
        2 * self.reach + 1
    }

    /// Largest magnitude that needs no escape.
    #[inline]
    pub(super) fn reach(&self) -> u32 {
        u32::from(self.reach)
    }

    #[inline]
    pub(super) fn bits(&self, symbol: i32) -> f32 {
        let magnitude = symbol.unsigned_abs();
        let escape = usize::from(self.reach) + 1;
        match self.cost.get(magnitude as usize) {
            Some(&bits) if (magnitude as usize) < escape => bits,
            _ => self.cost[escape] + escape::bits(magnitude, self.reach()) as f32,
        }
    }
}

/// For each bucket, the interval that holds the bucket's first quantile.
fn bucket_start(intervals: &[Interval]) -> [u16; BUCKETS] {
    let mut index = 0;
    std::array::from_fn(|bucket| {
        let quantile = (bucket << 8) as u16;
        while index + 1 < intervals.len() && intervals[index + 1].cumulative <= quantile {
            index += 1;
        }
        index as u16
    })
}

fn invalid(what: &str) -> Error {
    Error::Weights(format!("scale tables: {what}"))
}

impl EntropyModel<PRECISION> for Table {
    type Symbol = u16;
    type Probability = u16;
}

impl EncoderModel<PRECISION> for Table {
    #[inline]
    fn left_cumulative_and_probability(
        &self,
        index: impl Borrow<u16>,
    ) -> Option<(u16, NonZeroU16)> {
        self.intervals
            .get(usize::from(*index.borrow()))
            .map(|i| (i.cumulative, i.frequency))
    }
}

impl DecoderModel<PRECISION> for Table {
    #[inline]
    fn quantile_function(&self, quantile: u16) -> (u16, u16, NonZeroU16) {
        let mut index = self.bucket_start[usize::from(quantile >> 8)];
        loop {
            // The intervals cover every quantile, so the search ends inside the table; and an interval
            // holds at least one quantile, so it ends within 256 steps.
            let Interval {
                cumulative,
                frequency,
            } = self.intervals[usize::from(index)];
            if quantile.wrapping_sub(cumulative) < frequency.get() {
                return (index, cumulative, frequency);
            }
            index += 1;
        }
    }
}

/// The 64 frequency tables that all symbols are coded with.
///
/// Table indices above 63 mean table 63 everywhere.
#[derive(Debug, Clone)]
pub struct ScaleTables {
    tables: Vec<Table>,
}

impl ScaleTables {
    /// Builds the tables from the Gaussian formula; every machine builds the same integers.
    pub fn gaussian() -> Self {
        Self {
            tables: (0..SCALE_LEVELS)
                .map(|i| Table::gaussian(Self::sigma(i)))
                .collect(),
        }
    }

    /// The given tables, one per scale.
    pub(super) fn from_tables(tables: Vec<Table>) -> Self {
        debug_assert_eq!(tables.len(), SCALE_LEVELS);
        Self { tables }
    }

    /// Standard deviation of table `i`: log-spaced from 0.12 at 0 to 160 at 63.
    pub fn sigma(i: usize) -> f64 {
        SIGMA_MIN * math::exp(i as f64 * LN_SIGMA_RANGE / (SCALE_LEVELS - 1) as f64)
    }

    /// The stored form: for each table its reach `h`, the frequencies of magnitudes `0..=h` (of one
    /// sign), and the frequency of the escape.
    pub fn to_words(&self) -> Vec<u16> {
        let mut words = Vec::new();
        for table in &self.tables {
            words.push(table.reach);
            // Intervals 0, 2, 4, ... are the symbols 0, 1, 2, ...; the last is the escape.
            let magnitudes = table.intervals.iter().step_by(2);
            words.extend(
                magnitudes
                    .chain(table.intervals.last())
                    .map(|i| i.frequency.get()),
            );
        }
        words
    }

    /// Reads the stored form back, trusting nothing.
    ///
    /// # Errors
    /// [`Error::Weights`] unless there are exactly 64 tables, each with a reach in `1..=4095`, no zero frequency
    /// and a sum of 65536.
    pub fn from_words(words: &[u16]) -> Result<Self> {
        let mut rest = words;
        let mut tables = Vec::with_capacity(SCALE_LEVELS);
        while tables.len() < SCALE_LEVELS {
            let Some((&reach, tail)) = rest.split_first() else {
                return Err(invalid("fewer than 64 tables"));
            };
            if !(1..=MAX_REACH).contains(&reach) {
                return Err(invalid("a reach is not in 1..=4095"));
            }
            let count = usize::from(reach) + 1;
            let (Some(magnitudes), Some(&escape)) = (tail.get(..count), tail.get(count)) else {
                return Err(invalid("the last table is cut short"));
            };
            tables.push(Table::new(magnitudes, escape)?);
            rest = &tail[count + 1..];
        }
        if !rest.is_empty() {
            return Err(invalid("more than 64 tables"));
        }
        Ok(Self { tables })
    }

    /// Cost in bits of coding `symbol` with table `table`, the escape code included.
    #[inline]
    pub fn bits(&self, table: u8, symbol: i32) -> f32 {
        self.table(table).bits(symbol)
    }

    #[inline]
    pub(super) fn table(&self, index: u8) -> &Table {
        &self.tables[usize::from(index).min(SCALE_LEVELS - 1)]
    }
}
