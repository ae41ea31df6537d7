//! The depth-conv block in binary32, and its gradient with respect to its input: what the encoder's search runs
//! through.
//!
//! `u = dw(act(W1 x + b1)); x1 = (W2 u + b2) + x; y = (W4 act(W3 x1 + b3) + b4) + x1`.
//!
//! With `p1 = W1 x + b1` and `p3 = W3 x1 + b3` kept from the forward pass, and `a` the slope
//! of the activation, the gradient `gx` follows from that of the output, `gy`:
//! `gx1 = gy + W3' (a(p3) W4' gy)`; `gx = gx1 + W1' (a(p1) dw'(W2' gx1))`.
//!
//! The products are those of [`super::pointwise`] with transposed weights and those of
//! [`super::depthwise`] with the taps turned around. No bit depends on threads, on the
//! instruction set, or on the rows computed at once.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use super::aligned::AlignedBuffer;
use super::check_length;
use super::depthwise::{PackedDepthwise, RowsOf, depthwise_rows};
use super::dispatch::{self, KernelPath, on_path};
use super::pointwise::{PackedPointwise, pointwise_chunk};

/// Most pixels per task: what lies between two layers stays in the second-level cache.
const CHUNK: usize = 96;

/// The weights of a block of `C` channels.
#[derive(Debug, Clone)]
pub struct PackedBlock {
    /// `C` to `C`, followed by the activation.
    pub w1: PackedPointwise,
    /// `C` channels.
    pub dw: PackedDepthwise,
    /// `C` to `C`, followed by the first residual.
    pub w2: PackedPointwise,
    /// `C` to the hidden channels (2C), followed by the activation.
    pub w3: PackedPointwise,
    /// The hidden channels to `C`, followed by the second residual.
    pub w4: PackedPointwise,
}

impl PackedBlock {
    /// Number of channels of the input and the output.
    pub fn channels(&self) -> usize {
        self.dw.channels()
    }

    /// The weights that the block's gradient is computed with: transposed and turned, without biases.
    pub fn transposed(&self) -> Self {
        Self {
            w1: self.w1.transposed(),
            dw: self.dw.turned(),
            w2: self.w2.transposed(),
            w3: self.w3.transposed(),
            w4: self.w4.transposed(),
        }
    }
}

/// The first layer of a block: `before = W1 x + b1`, and its activation in `after`. All are
/// `[pixels, C]`. Parallel.
///
/// # Panics
/// When the lengths do not agree.
pub fn block_first_layer(x: &[f32], block: &PackedBlock, before: &mut [f32], after: &mut [f32]) {
    let path = dispatch::active();
    let piece = CHUNK * block.channels();
    assert_eq!(before.len(), x.len(), "block: first layer");
    assert_eq!(after.len(), x.len(), "block: first layer");
    x.par_chunks(piece)
        .zip(before.par_chunks_mut(piece))
        .zip(after.par_chunks_mut(piece))
        .for_each(|((x, before), after)| {
            pointwise_chunk(path, x, &block.w1, None, before);
            activate_all(path, before, after);
        });
}

/// The other layers, for `rows` of the picture: `hidden = W3 x1 + b3` (`[rows, width, 2C]`)
/// and the block's output `y`. `first` holds the activated first layer of these rows and of
/// those above and below, `x` the block's input of these rows. Parallel.
///
/// # Panics
/// When the lengths do not agree.
pub fn block_other_layers(
    first: RowsOf<'_>,
    x: &[f32],
    block: &PackedBlock,
    rows: Range<usize>,
    hidden: &mut [f32],
    y: &mut [f32],
) {
    let path = dispatch::active();
    let (channels, wide) = (block.channels(), block.w3.outputs());
    let width = first.width;
    check_length(x.len(), [rows.len(), width, channels], "block: input");
    assert_eq!(y.len(), x.len(), "block: output");
    check_length(hidden.len(), [rows.len(), width, wide], "block: hidden");
    x.par_chunks(width * channels)
        .zip(y.par_chunks_mut(width * channels))
        .zip(hidden.par_chunks_mut(width * wide))
        .enumerate()
        .for_each(|(row, ((x, y), hidden))| {
            let row = rows.start + row;
            x.par_chunks(CHUNK * channels)
                .zip(y.par_chunks_mut(CHUNK * channels))
                .zip(hidden.par_chunks_mut(CHUNK * wide))
                .enumerate()
                .for_each(|(index, ((x, y), hidden))| {
                    let left = index * CHUNK;
                    let columns = left..left + x.len() / channels;
                    with_scratch(
                        [x.len(), x.len(), hidden.len()],
                        |[u, middle, activated]| {
                            depthwise_rows(path, first, &block.dw, row..row + 1, columns, u);
                            pointwise_chunk(path, u, &block.w2, Some(x), middle);
                            pointwise_chunk(path, middle, &block.w3, None, hidden);
                            activate_all(path, hidden, activated);
                            pointwise_chunk(path, activated, &block.w4, Some(middle), y);
                        },
                    );
                });
        });
}

/// The first half of the gradient, pixel by pixel: from the gradient `gy` of the output and
/// the kept `hidden` to that of `x1` (`middle`) and that of the depthwise output (`inner`).
/// Parallel.
///
/// # Panics
/// When the lengths do not agree.
pub fn block_gradient_pointwise(
    gy: &[f32],
    hidden: &[f32],
    transposed: &PackedBlock,
    middle: &mut [f32],
    inner: &mut [f32],
) {
    let path = dispatch::active();
    let (channels, wide) = (transposed.channels(), transposed.w4.outputs());
    assert_eq!(hidden.len(), gy.len() / channels * wide, "block: hidden");
    assert_eq!(middle.len(), gy.len(), "block: gradient");
    assert_eq!(inner.len(), gy.len(), "block: gradient");
    gy.par_chunks(CHUNK * channels)
        .zip(hidden.par_chunks(CHUNK * wide))
        .zip(middle.par_chunks_mut(CHUNK * channels))
        .zip(inner.par_chunks_mut(CHUNK * channels))
        .for_each(|(((gy, hidden), middle), inner)| {
            with_scratch([hidden.len(), 0, 0], |[gradient, ..]| {
                pointwise_chunk(path, gy, &transposed.w4, None, gradient);
                multiply_by_slope(path, hidden, gradient);
                pointwise_chunk(path, gradient, &transposed.w3, Some(gy), middle);
                pointwise_chunk(path, middle, &transposed.w2, None, inner);
            });
        });
}

/// The second half, for `rows` of the picture: the gradient `gx` of the block's input.
/// `inner` holds these rows and those above and below; `before` (the kept first layer) and
/// `middle` hold these rows. Parallel.
///
/// # Panics
/// When the lengths do not agree.
pub fn block_gradient_spatial(
    inner: RowsOf<'_>,
    before: &[f32],
    middle: &[f32],
    transposed: &PackedBlock,
    rows: Range<usize>,
    gx: &mut [f32],
) {
    let path = dispatch::active();
    let channels = transposed.channels();
    let stride = inner.width * channels;
    check_length(gx.len(), [rows.len(), stride], "block: gradient");
    assert_eq!(before.len(), gx.len(), "block: gradient");
    assert_eq!(middle.len(), gx.len(), "block: gradient");
    let of_row = before.par_chunks(stride).zip(middle.par_chunks(stride));
    of_row
        .zip(gx.par_chunks_mut(stride))
        .enumerate()
        .for_each(|(row, ((before, middle), gx))| {
            let row = rows.start + row;
            before
                .par_chunks(CHUNK * channels)
                .zip(middle.par_chunks(CHUNK * channels))
                .zip(gx.par_chunks_mut(CHUNK * channels))
                .enumerate()
                .for_each(|(index, ((before, middle), gx))| {
                    let left = index * CHUNK;
                    let columns = left..left + gx.len() / channels;
                    with_scratch([gx.len(), 0, 0], |[u, ..]| {
                        depthwise_rows(path, inner, &transposed.dw, row..row + 1, columns, u);
                        multiply_by_slope(path, before, u);
                        pointwise_chunk(path, u, &transposed.w1, Some(middle), gx);
                    });
                });
        });
}

thread_local! {
    /// Each thread's memory between two layers, kept from one task to the next.
    static SCRATCH: RefCell<[AlignedBuffer; 3]> = RefCell::default();
}

/// Runs `work` with three pieces of scratch memory of these lengths.
fn with_scratch(lengths: [usize; 3], work: impl FnOnce([&mut [f32]; 3])) {
    SCRATCH.with_borrow_mut(|scratch| {
        for (buffer, length) in scratch.iter_mut().zip(lengths) {
            buffer.resize(length);
        }
        work(scratch.each_mut().map(AlignedBuffer::values_mut));
    });
}

/// `out = activate(x)`.
fn activate_all(path: KernelPath, x: &[f32], out: &mut [f32]) {
    on_path!(path, <'a> { x: &'a [f32], out: &'a mut [f32] } => {
        for (out, x) in out.iter_mut().zip(x) {
            *out = activate(*x);
        }
    });
}

/// `out *= slope(x)`.
fn multiply_by_slope(path: KernelPath, x: &[f32], out: &mut [f32]) {
    on_path!(path, <'a> { x: &'a [f32], out: &'a mut [f32] } => {
        for (out, x) in out.iter_mut().zip(x) {
            *out *= slope(*x);
        }
    });
}

/// The activation `x * min(max(fma(x, 0.25, 0.5), 0), 1)`.
#[inline(always)]
pub(super) fn activate(x: f32) -> f32 {
    let ramp = x.mul_add(0.25, 0.5);
    let floor = if ramp > 0.0 { ramp } else { 0.0 };
    x * if floor < 1.0 { floor } else { 1.0 }
}

/// The derivative of [`activate`]: 0 up to -2, 1 from 2 on, `x / 2 + 1 / 2` between them.
#[inline(always)]
fn slope(x: f32) -> f32 {
    let ramp = x.mul_add(0.25, 0.5);
    let between = ramp + ramp - 0.5;
    let below = if ramp > 0.0 { between } else { 0.0 };
    if ramp < 1.0 { below } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_that_of_the_activation() {
        for step in -400..400 {
            let x = step as f32 / 100.0 + 0.005;
            let exact = (activate(x + 0.001) - activate(x - 0.001)) / 0.002;
            assert!((slope(x) - exact).abs() < 2e-3, "{x}: {} {exact}", slope(x));
        }
    }

    #[test]
    fn every_path_gives_the_same_values() {
        let x: Vec<f32> = (0..1000).map(|i| i as f32 / 150.0 - 3.3).collect();
        let of = |path| {
            let mut out = vec![0.0; x.len()];
            activate_all(path, &x, &mut out);
            multiply_by_slope(path, &x, &mut out);
            out.iter().map(|value| value.to_bits()).collect::<Vec<_>>()
        };
        let plain = of(dispatch::KernelPath::Portable);
        for path in dispatch::available() {
            assert!(of(path) == plain, "{path}");
        }
    }
}
