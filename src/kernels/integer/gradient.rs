//! The gradient of the depth-conv block with respect to its input: what the encoder's search runs through.
//!
//! With `p1 = W1 x` and `p3 = W3 x1` kept from the forward pass, and `a` the slope of the activation, the gradient `gx`
//! follows from that of the output, `gy`: `gx1 = gy + W3' (a(p3) W4' gy)`; `gx = gx1 + W1' (a(p1) dw'(W2' gx1))`.
//!
//! Every tensor is int16 with a scale, like those of [`block`](super::block()), and the products are the same kernels'
//! with transposed weights: no bit depends on threads, on the unit, or on the rows computed at once. Unlike there, `p1`
//! and `p3` are rounded before the activation too, so that what the forward pass gives is near the block's result.

use std::ops::Range;

use rayon::prelude::*;

use super::block::{Block, CHUNK, with_scratch};
use super::depthwise::depthwise_pixels;
use super::lanes::to_integer;
use super::layer::{Depthwise, Output, Pointwise, Residual};
use super::pointwise::pointwise_chunk;
use super::rows::Window;
use super::scale::Scale;
use super::session::Session;
use crate::kernels::check_length;
use crate::kernels::dispatch::{self, KernelPath, on_path};

/// A block and what its gradient is computed with.
#[derive(Debug, Clone)]
pub struct BlockGradient {
    /// The block.
    pub block: Block,
    /// Its layers transposed and turned, without biases.
    pub back: BackwardLayers,
}

/// The layers that a gradient passes, last to first.
#[derive(Debug, Clone)]
pub struct BackwardLayers {
    /// `C` to the hidden channels.
    pub w4: Pointwise,
    /// The hidden channels to `C`.
    pub w3: Pointwise,
    /// `C` to `C`.
    pub w2: Pointwise,
    /// `C` channels.
    pub dw: Depthwise,
    /// `C` to `C`.
    pub w1: Pointwise,
    /// The scales of what they make.
    pub scales: BackwardScales,
}

/// The scales of what the layers of a block make of a gradient.
#[derive(Debug, Clone, Copy)]
pub struct BackwardScales {
    /// Of the gradient of the block's output.
    pub output: Scale,
    /// Of the result of `w4`, before and after the slope.
    pub hidden: Scale,
    /// Of that of `w3`, the gradient of `x1`.
    pub middle: Scale,
    /// Of that of `w2`.
    pub inner: Scale,
    /// Of that of `dw`, before and after the slope.
    pub first: Scale,
    /// Of that of `w1`, the gradient of the block's input.
    pub input: Scale,
}

/// The scale of what an activation that makes tensors of `scale` reads: the same, but never finer than it takes for all
/// of -2..2, where the slope changes.
fn before(scale: Scale) -> Scale {
    let coarse = Scale::from_exponent(-14).expect("it is in range");
    if scale.value() < coarse.value() {
        coarse
    } else {
        scale
    }
}

impl Block {
    /// The first layer of the block: `p1 = W1 x` in `kept`, and its activation in `activated`. All are `[pixels, C]`.
    /// Parallel.
    ///
    /// # Panics
    /// When the lengths do not agree.
    pub fn keep_first_layer(&self, x: &[i16], kept: &mut [i16], activated: &mut [i16]) {
        let path = dispatch::active();
        let piece = CHUNK * self.channels();
        assert_eq!(kept.len(), x.len(), "block: first layer");
        assert_eq!(activated.len(), x.len(), "block: first layer");
        let (from, to) = (before(self.first), self.first);
        x.par_chunks(piece)
            .zip(kept.par_chunks_mut(piece))
            .zip(activated.par_chunks_mut(piece))
            .for_each(|((x, kept), activated)| {
                let session = Session::begin(path);
                let out = Output::Integer(kept, from);
                pointwise_chunk(&session, x, &self.w1, false, None, out);
                activate(path, (kept, from), (activated, to));
            });
    }

    /// The other layers, for `rows` of the picture: `hidden = W3 x1` (`[rows, width, 2C]`) and the block's output `y`.
    /// `first` holds the activated first layer of these rows and of those above and below, `x` the block's input of
    /// these rows. Parallel.
    ///
    /// # Panics
    /// When the lengths do not agree.
    pub fn keep_other_layers(
        &self,
        first: Window<'_>,
        x: &[i16],
        rows: Range<usize>,
        hidden: &mut [i16],
        y: &mut [i16],
    ) {
        let path = dispatch::active();
        let (channels, wide) = (self.channels(), self.hidden_channels());
        check_length(x.len(), [rows.len(), first.width, channels], "block: input");
        assert_eq!(y.len(), x.len(), "block: output");
        assert_eq!(hidden.len(), x.len() / channels * wide, "block: hidden");
        x.par_chunks(CHUNK * channels)
            .zip(y.par_chunks_mut(CHUNK * channels))
            .zip(hidden.par_chunks_mut(CHUNK * wide))
            .enumerate()
            .for_each(|(index, ((x, y), hidden))| {
                let session = Session::begin(path);
                let pixel = rows.start * first.width + index * CHUNK;
                let lengths = [x.len(), x.len(), hidden.len()];
                with_scratch(lengths, |[u, middle, activated]| {
                    depthwise_pixels(&session, first, &self.dw, pixel, u, self.depthwise);
                    let x = residual(x, self.input);
                    let out = Output::Integer(middle, self.middle);
                    pointwise_chunk(&session, u, &self.w2, false, Some(x), out);
                    let from = before(self.hidden);
                    let out = Output::Integer(hidden, from);
                    pointwise_chunk(&session, middle, &self.w3, false, None, out);
                    activate(path, (hidden, from), (activated, self.hidden));
                    let x1 = residual(middle, self.middle);
                    let out = Output::Integer(y, self.output);
                    pointwise_chunk(&session, activated, &self.w4, false, Some(x1), out);
                });
            });
    }
}

impl BlockGradient {
    /// The first half of the gradient, pixel by pixel: from the gradient `gy` of the output and the kept `hidden` to
    /// that of `x1` (`middle`) and that of the depthwise output (`inner`). Parallel.
    ///
    /// # Panics
    /// When the lengths do not agree.
    pub fn pointwise_half(
        &self,
        gy: &[i16],
        hidden: &[i16],
        middle: &mut [i16],
        inner: &mut [i16],
    ) {
        let path = dispatch::active();
        let (channels, wide) = (self.block.channels(), self.block.hidden_channels());
        let (back, scales) = (&self.back, self.back.scales);
        assert_eq!(hidden.len(), gy.len() / channels * wide, "block: hidden");
        assert_eq!(middle.len(), gy.len(), "block: gradient");
        assert_eq!(inner.len(), gy.len(), "block: gradient");
        gy.par_chunks(CHUNK * channels)
            .zip(hidden.par_chunks(CHUNK * wide))
            .zip(middle.par_chunks_mut(CHUNK * channels))
            .zip(inner.par_chunks_mut(CHUNK * channels))
            .for_each(|(((gy, hidden), middle), inner)| {
                let session = Session::begin(path);
                with_scratch([hidden.len(), 0, 0], |[gradient, ..]| {
                    let out = Output::Integer(gradient, scales.hidden);
                    pointwise_chunk(&session, gy, &back.w4, false, None, out);
                    slope_chunk(path, (hidden, self.block.hidden), gradient);
                    let gy = residual(gy, scales.output);
                    let out = Output::Integer(middle, scales.middle);
                    pointwise_chunk(&session, gradient, &back.w3, false, Some(gy), out);
                    let out = Output::Integer(inner, scales.inner);
                    pointwise_chunk(&session, middle, &back.w2, false, None, out);
                });
            });
    }

    /// The second half, for `rows` of the picture: the gradient `gx` of the block's input. `inner` holds these rows and
    /// those above and below; `kept` (of the first layer) and `middle` hold these rows. Parallel.
    ///
    /// # Panics
    /// When the lengths do not agree.
    pub fn spatial_half(
        &self,
        inner: Window<'_>,
        kept: &[i16],
        middle: &[i16],
        rows: Range<usize>,
        gx: &mut [i16],
    ) {
        let path = dispatch::active();
        let channels = self.block.channels();
        let (back, scales) = (&self.back, self.back.scales);
        check_length(
            gx.len(),
            [rows.len(), inner.width, channels],
            "block: gradient",
        );
        assert_eq!(kept.len(), gx.len(), "block: gradient");
        assert_eq!(middle.len(), gx.len(), "block: gradient");
        kept.par_chunks(CHUNK * channels)
            .zip(middle.par_chunks(CHUNK * channels))
            .zip(gx.par_chunks_mut(CHUNK * channels))
            .enumerate()
            .for_each(|(index, ((kept, middle), gx))| {
                let session = Session::begin(path);
                let pixel = rows.start * inner.width + index * CHUNK;
                with_scratch([gx.len(), 0, 0], |[u, ..]| {
                    depthwise_pixels(&session, inner, &back.dw, pixel, u, scales.first);
                    slope_chunk(path, (kept, self.block.first), u);
                    let middle = residual(middle, scales.middle);
                    let out = Output::Integer(gx, scales.input);
                    pointwise_chunk(&session, u, &back.w1, false, Some(middle), out);
                });
            });
    }
}

fn residual(values: &[i16], scale: Scale) -> Residual<'_> {
    Residual { values, scale }
}

/// `out = v * clamp(v / 4 + 1 / 2, 0, 1)` for the values `v` of `x`, each a tensor with its scale: every operation
/// rounded once, then half to even and saturated.
fn activate(path: KernelPath, (x, from): (&[i16], Scale), (out, to): (&mut [i16], Scale)) {
    let (scale, inverse) = (from.value(), to.inverse());
    on_path!(path, <'a> { x: &'a [i16], out: &'a mut [i16], scale: f32, inverse: f32 } => {
        for (out, x) in out.iter_mut().zip(x) {
            let value = f32::from(*x) * scale;
            *out = to_integer(value * clamped(value * 0.25 + 0.5) * inverse);
        }
    });
}

/// `gradient *= slope` at what the forward pass kept, `x`, of an activation that made a tensor of `scale`: rounded half
/// to even.
///
/// # Panics
/// When the lengths differ.
pub fn multiply_by_slope(x: &[i16], scale: Scale, gradient: &mut [i16]) {
    assert_eq!(x.len(), gradient.len(), "slope: lengths differ");
    slope_chunk(dispatch::active(), (x, scale), gradient);
}

/// [`multiply_by_slope`] on this path.
fn slope_chunk(path: KernelPath, (x, scale): (&[i16], Scale), gradient: &mut [i16]) {
    let scale = before(scale).value();
    on_path!(path, <'a> { x: &'a [i16], gradient: &'a mut [i16], scale: f32 } => {
        for (gradient, x) in gradient.iter_mut().zip(x) {
            *gradient = to_integer(f32::from(*gradient) * slope(f32::from(*x) * scale));
        }
    });
}

#[inline(always)]
fn clamped(ramp: f32) -> f32 {
    let floor = if ramp > 0.0 { ramp } else { 0.0 };
    if floor < 1.0 { floor } else { 1.0 }
}

/// The derivative of the activation: 0 up to -2, 1 from 2 on, `x / 2 + 1 / 2` between them.
#[inline(always)]
fn slope(x: f32) -> f32 {
    let ramp = x * 0.25 + 0.5;
    let between = ramp + ramp - 0.5;
    let below = if ramp > 0.0 { between } else { 0.0 };
    if ramp < 1.0 { below } else { 1.0 }
}
