//! The depthwise 3x3 convolution (spec: Arithmetic).
//!
//! Every output is the sum of nine products of int16 inputs and int8 taps;
//! pixels outside the picture are zero.

use super::layer::Depthwise;
use super::rows::{Rows, Window};
use super::scale::Scale;
use super::session::Session;
use super::unit::{Kernel, Unit};
use crate::kernels::{check_length, dispatch};
use std::ops::Range;

/// A depthwise 3x3 convolution of the picture `x` (`[height, width, channels]`)
/// into `out` of the same shape, in steps of `scale`. On this thread.
///
/// # Panics
/// When the lengths do not agree.
pub fn depthwise3x3(
    x: &[i16],
    (height, width): (usize, usize),
    layer: &Depthwise,
    out: &mut [i16],
    scale: Scale,
) {
    let window = Window::whole(x, (height, width));
    let session = Session::begin(dispatch::active());
    let whole = (0..height, 0..width);
    depthwise_rows(&session, window, layer, whole, out, scale);
}

/// Computes pixels of the picture, one after another in raster order from the one with this
/// number on, into `out` (`[pixels, channels]`) on this thread. The window is as wide as the
/// picture.
pub(super) fn depthwise_pixels(
    session: &Session,
    window: Window<'_>,
    layer: &Depthwise,
    mut pixel: usize,
    mut out: &mut [i16],
    scale: Scale,
) {
    let (width, channels) = (window.width, layer.channels());
    while !out.is_empty() {
        let (row, column, count) = (pixel / width, pixel % width, out.len() / channels);
        // As many whole rows as there are, or what there is of one.
        let (rows, columns) = match column == 0 && count >= width {
            true => (row..row + count / width, 0..width),
            false => (row..row + 1, column..width.min(column + count)),
        };
        let done = rows.len() * columns.len();
        let (now, later) = out.split_at_mut(done * channels);
        depthwise_rows(session, window, layer, (rows, columns), now, scale);
        (pixel, out) = (pixel + done, later);
    }
}

/// Computes some rows and columns of the picture into `out`
/// (`[rows, columns, channels]`) on this thread.
fn depthwise_rows(
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
    check_length(
        out.len(),
        [rows.len(), columns.len(), channels],
        "depthwise: output length",
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

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<U: Unit>(self) {
        // SAFETY: the same contract.
        unsafe { U::depthwise(self) }
    }
}
