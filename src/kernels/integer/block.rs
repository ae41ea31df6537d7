//! The depth-conv block (spec: Arithmetic).
//!
//! `u = dw(act(W1 x)); x1 = W2 u + x; y = W4 act(W3 x1) + x1`, where every
//! result between is int16 with a scale of its own.
//!
//! It comes in two parts: the first layer, and all that follows from its rows.
//! A picture can so be computed a few rows at a time and nothing twice. A task
//! of the second part keeps what lies between its layers in scratch memory
//! that fits the second-level cache. No value depends on the cut.

use super::depthwise::depthwise_pixels;
use super::layer::{Depthwise, Output, Pointwise, Residual};
use super::pointwise::{pixels_per_task, pointwise, pointwise_chunk};
use super::rows::Window;
use super::scale::Scale;
use super::session::Session;
use crate::kernels::aligned::AlignedBuffer;
use crate::kernels::check_length;
use crate::kernels::dispatch;
use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::Range;

/// Most pixels per task: enough to reuse a panel of weights many times, few
/// enough for the scratch memory to stay small.
pub(super) const CHUNK: usize = 96;

/// The layers of a block of `C` channels and the scales of their results.
#[derive(Debug, Clone)]
pub struct Block {
    /// `C` to `C`, followed by the activation.
    pub w1: Pointwise,
    /// `C` channels.
    pub dw: Depthwise,
    /// `C` to `C`, followed by the first residual.
    pub w2: Pointwise,
    /// `C` to the hidden channels (2C), followed by the activation.
    pub w3: Pointwise,
    /// The hidden channels to `C`, followed by the second residual.
    pub w4: Pointwise,
    /// Of the block's input.
    pub input: Scale,
    /// Of the result of `w1`.
    pub first: Scale,
    /// Of the result of `dw`.
    pub depthwise: Scale,
    /// Of the result of `w2`.
    pub middle: Scale,
    /// Of the result of `w3`.
    pub hidden: Scale,
    /// Of the result of `w4`, the block's output.
    pub output: Scale,
}

/// Is told of pieces of the tensors that a block makes, which are numbered in the order of
/// [`Block`]'s scales from `first` on.
pub type Watch<'a> = dyn Fn(usize, &[i16]) + Sync + 'a;

impl Block {
    /// Number of channels of the input and the output.
    pub fn channels(&self) -> usize {
        self.dw.channels()
    }

    /// Number of hidden channels.
    pub fn hidden_channels(&self) -> usize {
        self.w3.outputs()
    }

    /// Whether the five layers fit together.
    pub fn is_consistent(&self) -> bool {
        let square = [&self.w1, &self.w2];
        square
            .iter()
            .all(|w| w.inputs() == self.channels() && w.outputs() == self.channels())
            && self.w3.inputs() == self.channels()
            && self.w4.outputs() == self.channels()
            && self.w3.outputs() == self.w4.inputs()
    }

    /// The activated first layer, `first = act(W1 x)`, both `[pixels, C]`. Parallel.
    ///
    /// # Panics
    /// When the lengths do not agree.
    pub fn first_layer(&self, x: &[i16], watch: Option<&Watch<'_>>, first: &mut [i16]) {
        let out = Output::Integer(first, self.first);
        pointwise(x, &self.w1, true, None, out);
        show(watch, 0, first);
    }

    /// The other layers, for `rows` of the picture: its output `y`. `first` holds the first
    /// layer of these rows and of those above and below, `x` the block's input of these rows.
    /// Parallel.
    ///
    /// # Panics
    /// When the lengths, or the layers of the block, do not agree.
    pub fn other_layers(
        &self,
        first: Window<'_>,
        x: &[i16],
        rows: Range<usize>,
        watch: Option<&Watch<'_>>,
        y: &mut [i16],
    ) {
        assert!(self.is_consistent(), "block: layers do not fit together");
        let (channels, path) = (self.channels(), dispatch::active());
        check_length(x.len(), [rows.len(), first.width, channels], "block: input");
        assert_eq!(y.len(), x.len(), "block: output");
        let chunk = pixels_per_task(x.len() / channels, CHUNK);
        x.par_chunks(chunk * channels)
            .zip(y.par_chunks_mut(chunk * channels))
            .enumerate()
            .for_each(|(index, (x, y))| {
                let session = Session::begin(path);
                let pixel = rows.start * first.width + index * chunk;
                self.other_layers_of(&session, first, (pixel, x), watch, y);
            });
    }

    /// [`Block::other_layers`] of a few pixels on this thread, given the number of the first one
    /// in the picture.
    fn other_layers_of(
        &self,
        session: &Session,
        first: Window<'_>,
        (pixel, x): (usize, &[i16]),
        watch: Option<&Watch<'_>>,
        y: &mut [i16],
    ) {
        let wide = x.len() / self.channels() * self.hidden_channels();
        with_scratch([x.len(), x.len(), wide], |[u, middle, hidden]| {
            depthwise_pixels(session, first, &self.dw, pixel, u, self.depthwise);
            show(watch, 1, u);
            let out = Output::Integer(middle, self.middle);
            let x = Residual {
                values: x,
                scale: self.input,
            };
            pointwise_chunk(session, u, &self.w2, false, Some(x), out);
            show(watch, 2, middle);
            let out = Output::Integer(hidden, self.hidden);
            pointwise_chunk(session, middle, &self.w3, true, None, out);
            show(watch, 3, hidden);
            let out = Output::Integer(y, self.output);
            let x1 = Residual {
                values: middle,
                scale: self.middle,
            };
            pointwise_chunk(session, hidden, &self.w4, false, Some(x1), out);
            show(watch, 4, y);
        });
    }
}

/// Applies a block to the whole picture `x` (`[height, width, C]`) and writes the result to
/// `out`, of the same shape. Parallel.
///
/// # Panics
/// When the lengths, or the layers of the block, do not agree.
pub fn block(
    x: &[i16],
    size: (usize, usize),
    layers: &Block,
    watch: Option<&Watch<'_>>,
    out: &mut [i16],
) {
    let mut first = vec![0; x.len()];
    layers.first_layer(x, watch, &mut first);
    layers.other_layers(Window::whole(&first, size), x, 0..size.0, watch, out);
}

/// Tells who watches of a tensor's values.
fn show(watch: Option<&Watch<'_>>, tensor: usize, values: &[i16]) {
    if let Some(watch) = watch {
        watch(tensor, values);
    }
}

thread_local! {
    /// Each thread's memory between two layers, kept from one task to the next.
    static SCRATCH: RefCell<[AlignedBuffer<i16>; 3]> = RefCell::default();
}

/// Runs `work`, which stays on this thread, with three pieces of scratch memory of these lengths.
pub(super) fn with_scratch(lengths: [usize; 3], work: impl FnOnce([&mut [i16]; 3])) {
    SCRATCH.with_borrow_mut(|scratch| {
        for (buffer, length) in scratch.iter_mut().zip(lengths) {
            buffer.resize(length);
        }
        work(scratch.each_mut().map(AlignedBuffer::values_mut));
    });
}
