//! The depthwise 3x3 convolution in binary32, for the gradients of the encoder's search.
//!
//! `out[y][x][c]` is `bias[c]`, then `fma(tap, input, acc)` for the nine taps
//! in raster order. Pixels outside the picture are +0.0 and their taps are
//! executed like the others.

use super::aligned::AlignedBuffer;
use super::check_length;
use super::dispatch::{self, Kernel, KernelPath};
use super::lanes::Lanes;
use std::ops::Range;

/// Pixels of a row computed together, so that a tap is loaded once for all.
const PIXELS: usize = 4;

/// The taps and bias of a depthwise 3x3 convolution.
#[derive(Debug, Clone)]
pub struct PackedDepthwise {
    channels: usize,
    /// `[9, channels]`.
    taps: AlignedBuffer,
    bias: AlignedBuffer,
    /// One pixel of zeros: what lies outside the picture.
    outside: AlignedBuffer,
}

impl PackedDepthwise {
    /// Packs `taps` (`[9, channels]`, taps in raster order) and `bias` (`[channels]`).
    ///
    /// # Panics
    /// When `channels` is zero or a slice has another length.
    pub fn new(channels: usize, taps: &[f32], bias: &[f32]) -> Self {
        assert!(channels > 0, "depthwise: no channels");
        check_length(taps.len(), [9, channels], "depthwise: taps length");
        assert_eq!(bias.len(), channels, "depthwise: bias length");
        Self {
            channels,
            taps: AlignedBuffer::from(taps),
            bias: AlignedBuffer::from(bias),
            outside: AlignedBuffer::zeros(channels),
        }
    }

    /// The same taps turned around, without a bias: what takes the gradient of the output to
    /// that of the input.
    pub fn turned(&self) -> Self {
        let rows = self.taps.values().chunks_exact(self.channels).rev();
        let taps: Vec<f32> = rows.flatten().copied().collect();
        Self::new(self.channels, &taps, &vec![0.0; self.channels])
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.channels
    }
}

/// Some rows of a picture, `[rows, width, channels]`, and which rows they are. Those above and
/// below count as outside the picture.
#[derive(Debug, Clone, Copy)]
pub struct RowsOf<'a> {
    /// The first row.
    pub top: usize,
    /// Pixels per row.
    pub width: usize,
    /// The values of whole rows.
    pub values: &'a [f32],
}

/// Computes rows `rows` and columns `columns` of the picture into `out`
/// (`[rows, columns, channels]`) on this thread.
pub(super) fn depthwise_rows(
    path: KernelPath,
    x: RowsOf<'_>,
    weights: &PackedDepthwise,
    rows: Range<usize>,
    columns: Range<usize>,
    out: &mut [f32],
) {
    let channels = weights.channels;
    check_length(
        out.len(),
        [rows.len(), columns.len(), channels],
        "depthwise: output length",
    );
    dispatch::run(
        path,
        Piece {
            x,
            height: x.values.len() / (x.width * channels).max(1),
            weights,
            rows,
            columns,
            out,
        },
    );
}

/// A piece of a depthwise convolution; lengths agree (checked above).
struct Piece<'a> {
    x: RowsOf<'a>,
    /// Rows of `x`.
    height: usize,
    weights: &'a PackedDepthwise,
    rows: Range<usize>,
    columns: Range<usize>,
    out: &'a mut [f32],
}

/// Where the inputs of [`PIXELS`] neighboring output pixels start.
type Inputs = [[*const f32; PIXELS + 2]; 3];

impl Kernel for Piece<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Lanes, const ROWS: usize, const VECTORS: usize>(self) {
        let channels = self.weights.channels;
        let whole = channels / V::COUNT * V::COUNT;
        let groups = self.out.chunks_mut((self.columns.len() * channels).max(1));
        for (y, row) in self.rows.clone().zip(groups) {
            for (group, out) in row.chunks_mut(PIXELS * channels).enumerate() {
                let x = self.columns.start + group * PIXELS;
                let inputs = inputs(self.x, self.height, (y, x), self.weights);
                // SAFETY: `inputs` point to whole pixels, `out` holds one to
                // PIXELS of them, the ranges end at `channels`, and the CPU
                // has the instruction set of `V` (contract).
                unsafe {
                    pixels::<V>(&inputs, self.weights, 0..whole, out);
                    pixels::<f32>(&inputs, self.weights, whole..channels, out);
                }
            }
        }
    }
}

/// The inputs of the output pixels in row `y` from column `x` on: pointers to `channels` values
/// each.
#[inline(always)]
fn inputs(
    from: RowsOf<'_>,
    height: usize,
    (y, x): (usize, usize),
    weights: &PackedDepthwise,
) -> Inputs {
    let mut inputs = [[weights.outside.values().as_ptr(); PIXELS + 2]; 3];
    for (dy, inputs) in inputs.iter_mut().enumerate() {
        // Above or left of the rows wraps to a number beyond their size.
        let row = (y + dy).wrapping_sub(from.top + 1);
        for (dx, input) in inputs.iter_mut().enumerate() {
            let column = (x + dx).wrapping_sub(1);
            if row < height && column < from.width {
                let pixel = row * from.width + column;
                *input = from.values[pixel * weights.channels..].as_ptr();
            }
        }
    }
    inputs
}

/// Computes the channels `range` of the pixels in `out` (at most [`PIXELS`]).
///
/// # Safety
/// Every input is readable for `weights.channels` values, `range` ends at most
/// there and its length is a multiple of the lanes of `V`; the CPU has the
/// instruction set of `V`.
#[inline(always)]
unsafe fn pixels<V: Lanes>(
    inputs: &Inputs,
    weights: &PackedDepthwise,
    range: Range<usize>,
    out: &mut [f32],
) {
    let channels = weights.channels;
    let count = out.len() / channels;
    for channel in range.step_by(V::COUNT) {
        // SAFETY: `channel + COUNT <= channels` (contract), which bounds the
        // inputs, each of the nine taps, the bias, and each pixel of `out`.
        unsafe {
            let bias = V::load(weights.bias.values().as_ptr().add(channel));
            let mut sums = [bias; PIXELS];
            for (dy, inputs) in inputs.iter().enumerate() {
                for dx in 0..3 {
                    let tap = (dy * 3 + dx) * channels + channel;
                    let tap = V::load(weights.taps.values().as_ptr().add(tap));
                    for (pixel, sum) in sums.iter_mut().enumerate() {
                        let input = V::load(inputs[pixel + dx].add(channel));
                        *sum = tap.fused(input, *sum);
                    }
                }
            }
            for (pixel, sum) in sums.into_iter().enumerate().take(count) {
                sum.store(out.as_mut_ptr().add(pixel * channels + channel));
            }
        }
    }
}
