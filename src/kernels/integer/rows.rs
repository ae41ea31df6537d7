//! Rows of a depthwise convolution, on vectors or in plain Rust.

use super::lanes::{IntegerLanes, PairSums, Sums, to_integer};
use super::layer::Depthwise;
use crate::kernels::lanes::Lanes;
use std::ops::Range;

/// Lanes of the longest vector.
const MAX_LANES: usize = 16;

/// How sums of products compute depthwise convolutions.
pub(super) trait DepthwiseSums: Sums {
    /// Computes some rows.
    ///
    /// # Safety
    /// As [`Sums::zero`].
    unsafe fn depthwise(rows: Rows<'_>);
}

/// A rectangle of a picture, `[height, width, channels]`, that starts at row
/// `top` and column `left` of it. What lies outside the rectangle counts as
/// outside the picture.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    /// Its values.
    pub data: &'a [i16],
    /// Its first row in the picture.
    pub top: usize,
    /// Its first column.
    pub left: usize,
    /// Its rows.
    pub height: usize,
    /// Its columns.
    pub width: usize,
}

/// Some rows of a depthwise convolution. Lengths agree: who makes one checks them.
pub(super) struct Rows<'a> {
    pub(super) window: Window<'a>,
    pub(super) layer: &'a Depthwise,
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
    pub(super) out: &'a mut [i16],
    /// Steps of the output per unit.
    pub(super) inverse: f32,
}

/// The three rows that a row of outputs is computed from.
#[derive(Clone, Copy)]
struct Inputs<'a> {
    window: Window<'a>,
    channels: usize,
    /// Where each starts in the window, if it is inside.
    rows: [Option<usize>; 3],
}

impl Inputs<'_> {
    /// Channels from `channel` on of the pixel in column `x` of the picture
    /// and row `row` of the three, if it is inside.
    #[inline(always)]
    fn pixel(&self, row: usize, x: usize, channel: usize) -> Option<&[i16]> {
        // Left of the window wraps to a number beyond its size.
        let column = x.wrapping_sub(self.window.left);
        let start = self.rows[row].filter(|_| column < self.window.width)?;
        Some(&self.window.data[start + column * self.channels..][channel..self.channels])
    }

    /// The first `2 * COUNT` of these channels in the three rows; zeros outside.
    ///
    /// # Safety
    /// There are as many; the CPU has the instruction set of `S`.
    #[inline(always)]
    unsafe fn vectors<S: PairSums>(&self, x: usize, channel: usize) -> [S::Factors; 3] {
        // SAFETY: the contract.
        unsafe {
            let mut vectors = [S::no_factors(); 3];
            for (row, vector) in vectors.iter_mut().enumerate() {
                if let Some(pixel) = self.pixel(row, x, channel) {
                    *vector = S::weights(pixel.as_ptr());
                }
            }
            vectors
        }
    }
}

impl<'a> Window<'a> {
    /// All of a picture of `size` (height, width).
    pub fn whole(data: &'a [i16], (height, width): (usize, usize)) -> Self {
        Self {
            data,
            top: 0,
            left: 0,
            height,
            width,
        }
    }

    /// The inputs of output row `y`.
    #[inline(always)]
    fn inputs(self, y: usize, channels: usize) -> Inputs<'a> {
        let rows = [0, 1, 2].map(|dy| {
            // Above the window wraps to a number beyond its size.
            let row = (y + dy).wrapping_sub(self.top + 1);
            (row < self.height).then(|| row * self.width * channels)
        });
        Inputs {
            window: self,
            channels,
            rows,
        }
    }
}

impl Rows<'_> {
    /// Channels from `first` on, one pixel after another.
    #[inline(always)]
    pub(super) fn compute_plainly(self, first: usize) {
        /// Channels whose sums are kept.
        const SUMS: usize = 32;
        let channels = self.layer.channels();
        for start in (first..channels).step_by(SUMS) {
            let part = start..channels.min(start + SUMS);
            let multiplier = &self.layer.rescale.multiplier()[part.clone()];
            let bias = &self.layer.rescale.bias()[part.clone()];
            let mut pixels = 0..;
            for y in self.rows.clone() {
                let inputs = self.window.inputs(y, channels);
                for (x, pixel) in self.columns.clone().zip(&mut pixels) {
                    let mut sums = [0_i32; SUMS];
                    let taps = self.layer.taps.chunks_exact(channels);
                    for (tap, taps) in taps.enumerate() {
                        // Left of the picture wraps to a number beyond the window.
                        let column = (x + tap % 3).wrapping_sub(1);
                        if let Some(input) = inputs.pixel(tap / 3, column, start) {
                            let products = input.iter().zip(&taps[part.clone()]);
                            for (sum, (input, tap)) in sums.iter_mut().zip(products) {
                                *sum += i32::from(*input) * i32::from(*tap);
                            }
                        }
                    }
                    let out = &mut self.out[pixel * channels..][part.clone()];
                    let constants = multiplier.iter().zip(bias);
                    for (out, (sum, (m, b))) in out.iter_mut().zip(sums.iter().zip(constants)) {
                        *out = to_integer((*sum as f32 * m + b) * self.inverse);
                    }
                }
            }
        }
    }

    /// Whole vectors of channels in pairs of taps, the rest plainly.
    ///
    /// Pairs are the first two taps of a column, and the third ones of two
    /// neighboring columns; a column's inputs are put side by side once, for
    /// all outputs that they are part of.
    ///
    /// # Safety
    /// The CPU has the instruction set of `S`.
    #[inline(always)]
    pub(super) unsafe fn compute<S: PairSums>(self) {
        let channels = self.layer.channels();
        let step = 2 * S::COUNT;
        let whole = channels / step * step;
        for channel in (0..whole).step_by(step) {
            // SAFETY: a pair of vectors of channels exists from `channel` on.
            unsafe {
                let taps = Taps::<S>::new(self.layer, channel, self.inverse);
                let mut at = channel;
                for y in self.rows.clone() {
                    let inputs = self.window.inputs(y, channels);
                    let start = self.columns.start;
                    // Left of the picture wraps to a number beyond the window.
                    let first = inputs.vectors::<S>(start.wrapping_sub(1), channel);
                    let mut now = inputs.vectors::<S>(start, channel);
                    let mut upper_first = S::interleaved(first[0], first[1]);
                    let mut upper = S::interleaved(now[0], now[1]);
                    let mut lower = S::interleaved(first[2], now[2]);
                    for x in self.columns.clone() {
                        let next = inputs.vectors::<S>(x + 1, channel);
                        let upper_next = S::interleaved(next[0], next[1]);
                        let lower_next = S::interleaved(now[2], next[2]);
                        let pairs = [upper_first, upper, upper_next, lower, lower_next];
                        let (low, high) = (taps.values(&pairs, 0), taps.values(&pairs, 1));
                        let to = self.out[at..][..step].as_mut_ptr();
                        S::Lanes::store_interleaved(low, high, to);
                        at += channels;
                        now = next;
                        (upper_first, upper) = (upper, upper_next);
                        lower = lower_next;
                    }
                }
            }
        }
        if whole < channels {
            self.compute_plainly(whole);
        }
    }
}

/// The constants of two vectors of channels.
struct Taps<S: PairSums> {
    /// The pairs: the upper two taps of each column, the lower ones of the
    /// first two columns, and a zero with that of the last.
    pairs: [[S::Factors; 2]; 5],
    /// Multipliers in steps of the output.
    multiplier: [S::Lanes; 2],
    /// Biases in steps of the output.
    bias: [S::Lanes; 2],
}

impl<S: PairSums> Taps<S> {
    /// # Safety
    /// Two vectors of channels exist from `channel` on; the CPU has the
    /// instruction set of `S`.
    #[inline(always)]
    unsafe fn new(layer: &Depthwise, channel: usize, inverse: f32) -> Self {
        let step = 2 * S::COUNT;
        let taps = layer.taps.chunks_exact(layer.channels());
        let mut widened = [[0; 2 * MAX_LANES]; 9];
        for (to, taps) in widened.iter_mut().zip(taps) {
            let taps = &taps[channel..][..step];
            to.iter_mut()
                .zip(taps)
                .for_each(|(to, tap)| *to = i16::from(*tap));
        }
        // SAFETY: arrays hold two vectors of the longest; the CPU has the
        // instructions (contract).
        unsafe {
            let none = S::no_factors();
            let mut taps = [none; 9];
            for (taps, widened) in taps.iter_mut().zip(&widened) {
                *taps = S::weights(widened.as_ptr());
            }
            Self {
                pairs: [
                    S::interleaved(taps[0], taps[3]),
                    S::interleaved(taps[1], taps[4]),
                    S::interleaved(taps[2], taps[5]),
                    S::interleaved(taps[6], taps[7]),
                    S::interleaved(none, taps[8]),
                ],
                multiplier: constants::<S>(layer.rescale.multiplier(), channel, inverse),
                bias: constants::<S>(layer.rescale.bias(), channel, inverse),
            }
        }
    }

    /// The outputs of half of the channels, from their inputs pair by pair.
    #[inline(always)]
    fn values(&self, inputs: &[[S::Factors; 2]; 5], half: usize) -> S::Lanes {
        // SAFETY: a `Taps` exists, so the CPU has the instructions.
        let mut sums = unsafe { S::zero() };
        for (taps, inputs) in self.pairs.iter().zip(inputs) {
            sums = sums.plus_products(taps[half], inputs[half]);
        }
        let values = sums.values().times(self.multiplier[half]);
        values.plus(self.bias[half])
    }
}

/// Numbers of two vectors of channels in the order of interleaved sums, in
/// steps of the output.
///
/// # Safety
/// The CPU has the instruction set of `S`.
#[inline(always)]
unsafe fn constants<S: PairSums>(values: &[f32], channel: usize, inverse: f32) -> [S::Lanes; 2] {
    let values = &values[channel..][..2 * S::COUNT];
    let mut halves = [[0.0; MAX_LANES]; 2];
    for (at, four) in values.chunks_exact(4).enumerate() {
        halves[at % 2][at / 2 * 4..][..4].copy_from_slice(four);
    }
    // SAFETY: the arrays hold a vector of the longest.
    unsafe {
        let inverse = S::Lanes::splat(inverse);
        let [low, high] = &halves;
        [
            S::Lanes::load(low.as_ptr()).times(inverse),
            S::Lanes::load(high.as_ptr()).times(inverse),
        ]
    }
}
