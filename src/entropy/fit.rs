//! Frequency tables fitted to symbols that an encoder really wrote.
//!
//! A Gaussian is what the networks are trained with; what they leave is a mixture of many
//! scales, with more zeros and longer tails. The format stores tables as integers, so fitted
//! ones cost a decoder nothing.

use super::cdf::{ScaleTables, Table};
use crate::format::{MAX_REACH, SCALE_LEVELS};

/// Quantiles that a table shares out.
const TOTAL: f64 = 65536.0;
/// Symbols of the Gaussian table that are mixed into the counted ones: what is rarely seen
/// keeps the shape that it was trained with.
const PRIOR: f64 = 2000.0;
/// Magnitudes over which counts are averaged, in standard deviations: neighboring symbols of
/// a wide table are about equally likely, and each is rarely seen.
const WINDOW: f64 = 0.15;
/// Reaches that are tried, in standard deviations.
const REACHES: [f64; 5] = [3.0, 4.0, 5.0, 6.5, 8.0];
/// A table's average cost must fall by this part before a longer reach is worth its intervals.
const WORTH: f64 = 2e-4;

/// How often each table coded each magnitude.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolCounts {
    /// By table, then by magnitude.
    magnitudes: Vec<Vec<u64>>,
}

impl Default for SymbolCounts {
    fn default() -> Self {
        Self {
            magnitudes: vec![Vec::new(); SCALE_LEVELS],
        }
    }
}

impl SymbolCounts {
    /// Counts a symbol that `table` coded. Magnitudes over 65535 count as that.
    pub fn add(&mut self, table: u8, symbol: i32) {
        let counts = &mut self.magnitudes[usize::from(table).min(SCALE_LEVELS - 1)];
        let magnitude = symbol.unsigned_abs().min(65535) as usize;
        if counts.len() <= magnitude {
            counts.resize(magnitude + 1, 0);
        }
        counts[magnitude] += 1;
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (counts, others) in self.magnitudes.iter_mut().zip(&other.magnitudes) {
            if counts.len() < others.len() {
                counts.resize(others.len(), 0);
            }
            counts.iter_mut().zip(others).for_each(|(a, b)| *a += b);
        }
    }

    /// Symbols in all.
    pub fn total(&self) -> u64 {
        self.magnitudes.iter().flatten().sum()
    }

    /// Bits that `tables` take for the counted symbols.
    pub fn bits(&self, tables: &ScaleTables) -> f64 {
        let of_table = |(table, counts): (u8, &Vec<u64>)| cost(counts, tables.table(table));
        (0..).zip(&self.magnitudes).map(of_table).sum()
    }
}

/// Bits that a table takes for counted magnitudes.
fn cost(counts: &[u64], table: &Table) -> f64 {
    let bits = |(magnitude, count): (i32, &u64)| *count as f64 * f64::from(table.bits(magnitude));
    (0..).zip(counts).map(bits).sum()
}

impl ScaleTables {
    /// Tables that take few bits for what was counted: smooth, falling from zero outwards,
    /// with the Gaussian's shape where little was seen.
    pub fn fitted(counts: &SymbolCounts) -> Self {
        let fit = |(i, counts): (usize, &Vec<u64>)| fit_table(counts, Self::sigma(i));
        Self::from_tables(counts.magnitudes.iter().enumerate().map(fit).collect())
    }
}

/// The best table of one scale over the reaches that are tried.
fn fit_table(counts: &[u64], sigma: f64) -> Table {
    let seen: u64 = counts.iter().sum();
    let gaussian = Table::gaussian(sigma);
    let mut best: Option<(f64, Table)> = None;
    for reach in REACHES {
        let reach = (reach * sigma).round() as usize + 1;
        let table = with_reach(counts, &gaussian, sigma, reach.min(usize::from(MAX_REACH)));
        let bits = cost(counts, &table) / seen.max(1) as f64;
        if best
            .as_ref()
            .is_none_or(|(least, _)| bits < least * (1.0 - WORTH))
        {
            best = Some((bits, table));
        }
    }
    if seen == 0 {
        return gaussian;
    }
    best.map_or(gaussian, |(_, table)| table)
}

/// A table of the given reach: counts and prior, averaged, falling, as frequencies.
fn with_reach(counts: &[u64], gaussian: &Table, sigma: f64, reach: usize) -> Table {
    // One sign's share of a magnitude.
    let counted = |k: usize| {
        let count = counts.get(k).copied().unwrap_or(0) as f64;
        if k == 0 { count } else { count / 2.0 }
    };
    let window = (WINDOW * sigma) as usize;
    let averaged = |k: usize| {
        if k == 0 {
            return counted(0);
        }
        let (first, last) = (k.saturating_sub(window).max(1), k + window);
        (first..=last).map(counted).sum::<f64>() / (last - first + 1) as f64
    };
    let prior = |k: usize| PRIOR * (-f64::from(gaussian.bits(k as i32))).exp2();
    let mut shares: Vec<f64> = (0..=reach).map(|k| averaged(k) + prior(k)).collect();
    make_falling(&mut shares);
    let beyond: u64 = counts.iter().skip(reach + 1).sum();
    let prior_beyond: f64 = (reach + 1..=4 * reach).map(|k| 2.0 * prior(k)).sum();
    frequencies(&shares, beyond as f64 + prior_beyond)
}

/// Replaces values that rise by the mean of their run, so that none is larger than the one
/// before (the pool-adjacent-violators algorithm). The first value stands alone.
fn make_falling(values: &mut [f64]) {
    let mut runs: Vec<(f64, usize)> = Vec::with_capacity(values.len());
    for value in values.iter().skip(1) {
        runs.push((*value, 1));
        while let [.., (a, m), (b, n)] = runs[..]
            && a / (m as f64) < b / (n as f64)
        {
            runs.pop();
            runs.pop();
            runs.push((a + b, m + n));
        }
    }
    let means = runs
        .iter()
        .flat_map(|(sum, n)| std::iter::repeat_n(sum / *n as f64, *n));
    values
        .iter_mut()
        .skip(1)
        .zip(means)
        .for_each(|(v, m)| *v = m);
    if let [zero, one, ..] = values {
        *zero = zero.max(*one);
    }
}

/// Shares of magnitudes (one sign) and of the escape as frequencies that sum to 65536, each at
/// least 1. What rounding leaves goes to zero, whose frequency is the largest.
fn frequencies(shares: &[f64], escape: f64) -> Table {
    let sum = shares[0] + 2.0 * shares[1..].iter().sum::<f64>() + escape;
    let free = TOTAL - (2 * shares.len()) as f64;
    let frequency = |share: f64| 1 + (share / sum * free).floor() as u16;
    let mut magnitudes: Vec<u16> = shares.iter().map(|share| frequency(*share)).collect();
    let escape = frequency(escape);
    let others: u32 = magnitudes[1..].iter().map(|f| 2 * u32::from(*f)).sum();
    magnitudes[0] = (TOTAL as u32 - others - u32::from(escape)) as u16;
    Table::new(&magnitudes, escape).expect("the frequencies are positive and sum to 65536")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Symbols of a two-sided exponential distribution of the given scale.
    fn exponential(seed: u64, count: usize, scale: f64) -> impl Iterator<Item = i32> {
        let mut state = seed;
        (0..count).map(move |_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let uniform = ((state >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
            let size = -uniform.ln() * scale;
            let sign = if state & 1024 == 0 { 1.0 } else { -1.0 };
            (sign * size).round() as i32
        })
    }

    /// Symbols whose standard deviation is that of their table, in a few tables.
    fn counts(seed: u64, count: usize) -> SymbolCounts {
        let mut counts = SymbolCounts::default();
        for table in [3u8, 10, 20, 35, 50] {
            let scale = ScaleTables::sigma(usize::from(table)) / 2f64.sqrt();
            exponential(seed + u64::from(table), count, scale)
                .for_each(|symbol| counts.add(table, symbol));
        }
        counts
    }

    #[test]
    fn fitted_tables_cost_less_on_symbols_that_they_have_not_seen() {
        let tables = ScaleTables::fitted(&counts(1, 40_000));
        let others = counts(99, 40_000);
        let (fitted, gaussian) = (others.bits(&tables), others.bits(&ScaleTables::gaussian()));
        assert!(fitted < 0.985 * gaussian, "{fitted} {gaussian}");
    }

    #[test]
    fn fitted_tables_are_valid_fall_and_keep_unseen_ones() {
        let tables = ScaleTables::fitted(&counts(1, 5_000));
        let words = tables.to_words();
        assert_eq!(
            ScaleTables::from_words(&words).expect("valid").to_words(),
            words
        );
        for table in [3u8, 10, 20, 35, 50] {
            for k in 1..tables.table(table).reach() as i32 {
                assert!(
                    tables.bits(table, k) <= tables.bits(table, k + 1),
                    "{table} {k}"
                );
            }
        }
        let gaussian = ScaleTables::gaussian();
        for symbol in -3..=3 {
            assert_eq!(tables.bits(7, symbol), gaussian.bits(7, symbol));
        }
    }

    #[test]
    fn few_symbols_change_little_and_none_breaks_a_table() {
        let mut counts = SymbolCounts::default();
        counts.add(0, 0);
        counts.add(63, 1 << 20);
        counts.add(200, -5);
        assert_eq!(counts.total(), 3);
        let (tables, gaussian) = (ScaleTables::fitted(&counts), ScaleTables::gaussian());
        assert!((tables.bits(63, 40) - gaussian.bits(63, 40)).abs() < 0.1);
        assert!(ScaleTables::from_words(&tables.to_words()).is_ok());
        let mut twice = counts.clone();
        twice.merge(&counts);
        assert_eq!(twice.total(), 6);
    }
}
