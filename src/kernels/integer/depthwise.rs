//! The depthwise 3x3 convolution (spec: Arithmetic).
//!
//! Every output is the sum of nine products of int16 inputs and int8 taps;
//! pixels outside the picture are zero.

use super::lanes::to_integer;
use super::scale::{Rescale, Scale};
use super::unit::{Kernel, Session, Unit};
use crate::kernels::dispatch::{self, KernelPath};
use crate::kernels::product;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// The taps of a depthwise 3x3 convolution. Cheap to clone: copies share them.
#[derive(Debug, Clone)]
pub struct PackedDepthwise {
    channels: usize,
    /// `[9, channels]`.
    taps: Arc<[i8]>,
}

impl PackedDepthwise {
    /// Takes `taps` (`[9, channels]`, taps in raster order).
    ///
    /// `None` when there are no channels or the length is another one.
    pub fn new(channels: usize, taps: &[i8]) -> Option<Self> {
        let valid = channels > 0 && channels.checked_mul(9) == Some(taps.len());
        valid.then(|| Self {
            channels,
            taps: taps.into(),
        })
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The taps, `[9, channels]`.
    pub fn taps(&self) -> &[i8] {
        &self.taps
    }
}

/// A depthwise layer: its taps and what its sums are worth.
#[derive(Debug, Clone)]
pub struct Depthwise {
    weights: PackedDepthwise,
    rescale: Rescale,
}

impl Depthwise {
    /// `None` when the numbers of channels differ.
    pub fn new(weights: PackedDepthwise, rescale: Rescale) -> Option<Self> {
        let agree = weights.channels == rescale.outputs();
        agree.then_some(Self { weights, rescale })
    }

    /// The taps.
    pub fn weights(&self) -> &PackedDepthwise {
        &self.weights
    }

    /// Multipliers and biases.
    pub fn rescale(&self) -> &Rescale {
        &self.rescale
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.weights.channels
    }
}

/// A depthwise 3x3 convolution of the picture `x` (`[height, width, channels]`)
/// into `out` of the same shape, in steps of `scale`. Parallel over rows.
///
/// # Panics
/// When the lengths do not agree.
pub fn depthwise3x3(
    x: &[i16],
    height: usize,
    width: usize,
    layer: &Depthwise,
    out: &mut [i16],
    scale: Scale,
) {
    depthwise_on(dispatch::active(), x, (height, width), layer, out, scale);
}

/// [`depthwise3x3`] on a given path; `size` is height and width.
pub(super) fn depthwise_on(
    path: KernelPath,
    x: &[i16],
    (height, width): (usize, usize),
    layer: &Depthwise,
    out: &mut [i16],
    scale: Scale,
) {
    let row = product([width, layer.channels()]);
    let length = product([height, row]);
    assert_eq!(x.len(), length, "depthwise: input length");
    assert_eq!(out.len(), length, "depthwise: output length");
    if out.is_empty() {
        return;
    }
    let window = Window {
        data: x,
        top: 0,
        left: 0,
        height,
        width,
    };
    let rows = out.par_chunks_mut(row).enumerate();
    rows.for_each(|(y, out)| {
        let session = Session::begin(path);
        let part = (y..y + 1, 0..width);
        depthwise_rows(&session, window, layer, part, out, scale);
    });
}

/// A rectangle of a picture, `[height, width, channels]`, that starts at row
/// `top` and column `left` of it. What lies outside the rectangle counts as
/// outside the picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window<'a> {
    pub(super) data: &'a [i16],
    pub(super) top: usize,
    pub(super) left: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

/// Computes some rows and columns of the picture into `out`
/// (`[rows, columns, channels]`) on this thread.
pub(super) fn depthwise_rows(
    session: &Session,
    window: Window<'_>,
    layer: &Depthwise,
    (rows, columns): (Range<usize>, Range<usize>),
    out: &mut [i16],
    scale: Scale,
) {
    let channels = layer.channels();
    assert!(
        window.data.len() >= window.height * window.width * channels,
        "depthwise: window length"
    );
    assert_eq!(
        out.len(),
        rows.len() * columns.len() * channels,
        "depthwise: output length"
    );
    session.run(Rows {
        window,
        layer,
        rows,
        columns,
        out,
        inverse: scale.inverse(),
    });
}

/// Some rows of a depthwise convolution; lengths agree (checked above).
struct Rows<'a> {
    window: Window<'a>,
    layer: &'a Depthwise,
    rows: Range<usize>,
    columns: Range<usize>,
    out: &'a mut [i16],
    inverse: f32,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<U: Unit>(self) {
        let channels = self.layer.channels();
        let (taps, rescale) = (self.layer.weights.taps(), self.layer.rescale());
        let places = self
            .rows
            .clone()
            .flat_map(|y| self.columns.clone().map(move |x| (y, x)));
        for ((y, x), out) in places.zip(self.out.chunks_exact_mut(channels)) {
            for (channel, out) in out.iter_mut().enumerate() {
                let mut sum = 0;
                for tap in 0..9 {
                    let row = (y + tap / 3).wrapping_sub(self.window.top + 1);
                    let column = (x + tap % 3).wrapping_sub(self.window.left + 1);
                    if row < self.window.height && column < self.window.width {
                        let pixel = row * self.window.width + column;
                        let value = self.window.data[pixel * channels + channel];
                        sum += i32::from(value) * i32::from(taps[tap * channels + channel]);
                    }
                }
                let value = sum as f32 * rescale.multiplier()[channel] + rescale.bias()[channel];
                *out = to_integer(value * self.inverse);
            }
        }
    }
}
