//! Lossless coding of a plane of samples (spec: "Alpha").
//!
//! Made for alpha channels: mostly constant, with smooth or sharp edges between. Blocks of 16 x 16 that
//! repeat their left neighbor are one bit each; in the others every sample is predicted from its neighbors,
//! and the difference is coded bit by bit with probabilities that depend on them. [`PlaneCoder`] is the same
//! code on both sides; a [`BitCoder`] takes the bits from the samples or from the stream.

mod contexts;
mod neighbors;

#[cfg(test)]
mod tests;

use super::adaptive::{BitCoder, BitDecoder, BitEncoder};
use crate::error::{Error, Result};
use contexts::Contexts;
use neighbors::{KnownRows, Neighbors};

/// Side of a block.
const BLOCK: usize = 16;

/// Codes `samples`, rows of `width >= 1` samples `0..=max`, into a stream.
///
/// `max` must be 255 or 65535, and the samples whole rows within it.
pub fn encode_plane(mut samples: Vec<u16>, width: usize, max: u16) -> Vec<u8> {
    let mut coder = PlaneCoder::new(BitEncoder::default(), width, max);
    coder
        .code(&mut samples)
        .expect("only samples that are decoded can be out of range");
    coder.bits.finish()
}

/// Decodes `height` rows of `width >= 1` samples `0..=max` from a stream.
///
/// Asks for `2 * width * height` bytes of memory, whatever the stream; the time is in proportion too.
///
/// # Errors
/// [`Error::Corrupt`] when a sample is out of range, and when the stream does not end with the last one.
pub fn decode_plane(stream: &[u8], width: usize, height: usize, max: u16) -> Result<Vec<u16>> {
    let mut samples = vec![0; width * height];
    let mut coder = PlaneCoder::new(BitDecoder::new(stream)?, width, max);
    coder.code(&mut samples)?;
    coder.bits.finish()?;
    Ok(samples)
}

/// Codes a plane. The samples of an encoder are read, those of a decoder written.
struct PlaneCoder<C> {
    bits: C,
    contexts: Contexts,
    rows: KnownRows,
    width: usize,
    max: u16,
}

impl<C: BitCoder> PlaneCoder<C> {
    fn new(bits: C, width: usize, max: u16) -> Self {
        Self {
            bits,
            contexts: Contexts::new(),
            rows: KnownRows::new(width, max),
            width,
            max,
        }
    }

    fn code(&mut self, samples: &mut [u16]) -> Result<()> {
        let blocks = self.width.div_ceil(BLOCK);
        // One more on the right, so that every block has one above right of it.
        let mut above = vec![true; blocks + 1];
        for y in (0..samples.len() / self.width).step_by(BLOCK) {
            let flat = self.code_flags(samples, y, &above);
            for row in samples[y * self.width..]
                .chunks_exact_mut(self.width)
                .take(BLOCK)
                .enumerate()
            {
                self.code_row(row, &flat)?;
            }
            above = flat;
        }
        Ok(())
    }

    /// For each block of the row of blocks at `y`, whether all its samples are that to its left.
    fn code_flags(&mut self, samples: &[u16], y: usize, above: &[bool]) -> Vec<bool> {
        let (width, max) = (self.width, self.max);
        let mut flat = vec![true; above.len()];
        for (block, x) in (0..width).step_by(BLOCK).enumerate() {
            let left = block == 0 || flat[block - 1];
            let context = self.contexts.flat(left, above[block], above[block + 1]);
            let is_flat = || is_flat(samples, width, max, x, y);
            flat[block] = !self.bits.code(context, || !is_flat());
        }
        flat
    }

    /// Row `index` of a row of blocks.
    fn code_row(&mut self, (index, row): (usize, &mut [u16]), flat: &[bool]) -> Result<()> {
        self.rows.start();
        for (block, part) in row.chunks_mut(BLOCK).enumerate() {
            let x = block * BLOCK;
            if flat[block] {
                let value = self.rows.repeated(x, index == 0);
                part.fill(value);
                self.rows.set(x, part);
                continue;
            }
            for (i, sample) in part.iter_mut().enumerate() {
                let neighbors = self.rows.neighbors(x + i);
                *sample = self.code_sample(&neighbors, *sample)?;
                self.rows.set(x + i, &[*sample]);
            }
        }
        Ok(())
    }

    /// Codes a sample; `actual` is its value when encoding.
    #[inline]
    fn code_sample(&mut self, neighbors: &Neighbors, actual: u16) -> Result<u16> {
        let (max, prediction) = (self.max, neighbors.prediction());
        let context = self.contexts.miss(neighbors, prediction, max);
        if !self.bits.code(context, || actual != prediction) {
            return Ok(prediction);
        }
        let is_extreme = |value: u16| value == 0 || value == max;
        let context = self.contexts.between(neighbors, prediction, max);
        if self.bits.code(context, || !is_extreme(actual)) {
            return self.code_difference(neighbors, prediction, actual);
        }
        if is_extreme(prediction) {
            return Ok(max - prediction);
        }
        let context = self.contexts.top(neighbors, max);
        let is_top = self.bits.code(context, || actual == max);
        Ok(if is_top { max } else { 0 })
    }

    /// Codes a sample that is neither the prediction nor 0 nor `max`.
    fn code_difference(
        &mut self,
        neighbors: &Neighbors,
        prediction: u16,
        actual: u16,
    ) -> Result<u16> {
        let is_below = match prediction {
            0 => false,
            p if p == self.max => true,
            _ => {
                let context = self.contexts.below(neighbors);
                self.bits.code(context, || actual < prediction)
            }
        };
        let magnitude = i32::from(self.code_magnitude(neighbors, actual.abs_diff(prediction)));
        let value = i32::from(prediction) + if is_below { -magnitude } else { magnitude };
        u16::try_from(value)
            .ok()
            .filter(|value| (1..self.max).contains(value))
            .ok_or_else(|| Error::Corrupt("a sample of alpha is out of range".into()))
    }

    /// Codes a magnitude of at least 1 as an Exp-Golomb code: the number of bits after the highest one
    /// in ones and a zero, then those bits, highest first.
    fn code_magnitude(&mut self, neighbors: &Neighbors, actual: u16) -> u16 {
        let most = self.max.ilog2();
        let actual_length = actual.max(1).ilog2();
        let mut length = 0;
        while length < most
            && self.bits.code(self.contexts.longer(neighbors, length), || {
                length < actual_length
            })
        {
            length += 1;
        }
        let mut value = 1_u16;
        for i in (0..length).rev() {
            let bit = || (actual >> i) & 1 == 1;
            let bit = match self.contexts.high_bit(length, value) {
                Some(context) => self.bits.code(context, bit),
                None => self.bits.code_even(bit),
            };
            value = 2 * value + u16::from(bit);
        }
        value
    }
}

/// Whether all samples of the block at `(x, y)` are the one to the left of its first.
fn is_flat(samples: &[u16], width: usize, max: u16, x: usize, y: usize) -> bool {
    let value = match (x, y) {
        (0, 0) => max,
        (0, _) => samples[(y - 1) * width],
        _ => samples[y * width + x - 1],
    };
    samples[y * width..]
        .chunks_exact(width)
        .take(BLOCK)
        .all(|row| row[x..].iter().take(BLOCK).all(|&v| v == value))
}
