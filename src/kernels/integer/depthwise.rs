//! The depthwise 3x3 convolution (spec: Arithmetic).
//!
//! Every output is the sum of nine products of int16 inputs and int8 taps;
//! pixels outside the picture are zero.

use super::layer::Depthwise;
use super::rows::{Rows, Window};
use super::scale::Scale;
use super::session::Session;
use super::unit::{Kernel, Unit};
use crate::kernels::dispatch::{self, KernelPath};
use crate::kernels::product;
use rayon::prelude::*;
use std::ops::Range;

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

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<U: Unit>(self) {
        // SAFETY: the same contract.
        unsafe { U::depthwise(self) }
    }
}
