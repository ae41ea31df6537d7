//! Depthwise 3x3 convolution, zero padded, channels last: loops over rows, and the layer on its own.

use std::cell::Cell;
use std::ops::Range;

use rayon::prelude::*;

use super::engine::{Engine, Task};
use super::epilogue::{add_to, from};
use super::lanes::{Element, LANES, Lanes, padded};
use super::scratch::{Buffer, with_kept};

/// Taps of the kernel.
pub(super) const TAPS: usize = 9;

/// One sample, `[h, w, channels]`, pixels `stride` numbers apart, or as many of its rows as are at work.
#[derive(Clone, Copy)]
pub(super) struct Plane<'a, E> {
    pub data: &'a [E],
    /// The row that `data` starts with.
    pub top: usize,
    pub h: usize,
    pub w: usize,
    pub stride: usize,
}

/// The three rows around one row, without those outside of the plane.
struct Rows<'a, E> {
    rows: [Option<&'a [E]>; 3],
    w: usize,
    stride: usize,
}

impl<'a, E: Element> Plane<'a, E> {
    #[inline(always)]
    fn rows(&self, y: usize) -> Rows<'a, E> {
        let line = self.w * self.stride;
        let row = |y: usize| {
            self.data
                .get((y - self.top) * line..(y - self.top + 1) * line)
        };
        let above = if y > 0 { row(y - 1) } else { None };
        let below = if y + 1 < self.h { row(y + 1) } else { None };
        Rows {
            rows: [above, row(y), below],
            w: self.w,
            stride: self.stride,
        }
    }
}

impl<E: Element> Rows<'_, E> {
    /// Sixteen channels of the three pixels in column `x`; zeros outside.
    #[inline(always)]
    fn column<L: Lanes>(&self, lanes: L, x: usize, channel: usize) -> [L::F; 3] {
        let mut column = [lanes.splat(0.0); 3];
        if x < self.w {
            for (to, row) in column.iter_mut().zip(&self.rows) {
                if let Some(row) = row {
                    *to = E::load(
                        lanes,
                        &row[x * self.stride + channel..(x + 1) * self.stride],
                    );
                }
            }
        }
        column
    }
}

/// Sixteen channels of the nine taps, `[9, c]`.
#[inline(always)]
fn load_taps<L: Lanes>(lanes: L, taps: &[f32], channel: usize) -> [L::F; TAPS] {
    let c = taps.len() / TAPS;
    let mut out = [lanes.splat(0.0); TAPS];
    for (i, out) in out.iter_mut().enumerate() {
        *out = lanes.load(from(&taps[i * c..(i + 1) * c], channel));
    }
    out
}

/// Convolves rows `first..first + out.len() / (w * stride)` of `plane`.
#[inline(always)]
pub(super) fn convolve_rows<L: Lanes, S: Element, D: Element>(
    lanes: L,
    plane: Plane<'_, S>,
    first: usize,
    taps: &[f32],
    bias: &[f32],
    out: &mut [D],
) {
    let (w, stride) = (plane.w, plane.stride);
    for channel in (0..stride).step_by(LANES) {
        let k = load_taps(lanes, taps, channel);
        let bias = lanes.load(from(bias, channel));
        for (y, out) in out.chunks_exact_mut(w * stride).enumerate() {
            let rows = plane.rows(first + y);
            let mut left = [lanes.splat(0.0); 3];
            let mut middle = rows.column(lanes, 0, channel);
            for x in 0..w {
                let right = rows.column(lanes, x + 1, channel);
                let mut sum = bias;
                for i in 0..3 {
                    sum = lanes.fma(left[i], k[3 * i], sum);
                    sum = lanes.fma(middle[i], k[3 * i + 1], sum);
                    sum = lanes.fma(right[i], k[3 * i + 2], sum);
                }
                D::store(lanes, &mut out[x * stride + channel..(x + 1) * stride], sum);
                left = middle;
                middle = right;
            }
        }
    }
}

/// Sums of a depthwise gradient for one task, all padded.
pub(super) struct Sums<'a> {
    /// Gradient of the taps, `[9, padded(c)]`.
    pub taps: &'a mut [f32],
    /// Gradient of the bias.
    pub bias: &'a mut [f32],
    /// Sums of the gradient of the input, where it is scaled.
    pub input: Option<&'a mut [f32]>,
}

/// Gradients of rows `ys` of one sample, of which `gy` must hold one row more on each side: the input gradient goes to
/// `gx` (the same rows as `x` and `gy` hold), sums over the pixels are added to `sums`. With `SCALE`, `gx` holds factors
/// (the derivative of the activation before the convolution) that the input gradient is multiplied with.
#[inline(always)]
pub(super) fn convolve_backward<L: Lanes, X: Element, G: Element, D: Element, const SCALE: bool>(
    lanes: L,
    x: Plane<'_, X>,
    ys: Range<usize>,
    gy: &[G],
    taps: &[f32],
    gx: &mut [D],
    sums: &mut Sums<'_>,
) {
    let stride = x.stride;
    let gy = Plane {
        data: gy,
        top: x.top,
        h: x.h,
        w: x.w,
        stride,
    };
    let sum_stride = sums.bias.len();
    for channel in (0..stride).step_by(LANES) {
        let k = load_taps(lanes, taps, channel);
        let mut g_taps = [lanes.splat(0.0); TAPS];
        let mut g_bias = lanes.splat(0.0);
        let mut g_input = lanes.splat(0.0);
        for y in ys.clone() {
            let rows = gy.rows(y);
            let mut left = [lanes.splat(0.0); 3];
            let mut middle = rows.column(lanes, 0, channel);
            for column in 0..x.w {
                let right = rows.column(lanes, column + 1, channel);
                let at = ((y - x.top) * x.w + column) * stride;
                let value = X::load(lanes, &x.data[at + channel..at + stride]);
                let mut sum = lanes.splat(0.0);
                // An output below and to the right of this pixel saw it through the upper left tap.
                for i in 0..3 {
                    let t = 3 * (2 - i);
                    sum = lanes.fma(left[i], k[t + 2], sum);
                    sum = lanes.fma(middle[i], k[t + 1], sum);
                    sum = lanes.fma(right[i], k[t], sum);
                    g_taps[t + 2] = lanes.fma(left[i], value, g_taps[t + 2]);
                    g_taps[t + 1] = lanes.fma(middle[i], value, g_taps[t + 1]);
                    g_taps[t] = lanes.fma(right[i], value, g_taps[t]);
                }
                g_bias = lanes.add(g_bias, middle[1]);
                let gx = &mut gx[at + channel..at + stride];
                if SCALE {
                    sum = lanes.mul(sum, D::load(lanes, gx));
                    g_input = lanes.add(g_input, sum);
                }
                D::store(lanes, gx, sum);
                left = middle;
                middle = right;
            }
        }
        for (i, &g) in g_taps.iter().enumerate() {
            add_to(
                lanes,
                &mut sums.taps[i * sum_stride + channel..][..LANES],
                g,
            );
        }
        add_to(lanes, &mut sums.bias[channel..channel + LANES], g_bias);
        if let Some(input) = &mut sums.input {
            add_to(lanes, &mut input[channel..channel + LANES], g_input);
        }
    }
}

/// Numbers in the parameters of a depthwise layer: `dw [9, c] | b [c]`.
pub const fn depthwise_param_len(c: usize) -> usize {
    (TAPS + 1) * c
}

struct Forward<'a> {
    plane: Plane<'a, f32>,
    params: &'a [f32],
    y: &'a mut [f32],
}

impl Task for Forward<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let (taps, bias) = self.params.split_at(TAPS * self.plane.stride);
        convolve_rows(lanes, self.plane, 0, taps, bias, self.y);
    }
}

/// Depthwise 3x3 convolution with zero padding: `x`, `y` are `[batch, h, w, c]`, `params` is `dw [9, c] | b [c]` with
/// the taps in raster order.
///
/// # Panics
/// If a length does not fit the sizes.
pub fn depthwise_forward(
    x: &[f32],
    batch: usize,
    h: usize,
    w: usize,
    c: usize,
    params: &[f32],
    y: &mut [f32],
) {
    depthwise_forward_on(Engine::best(), x, batch, [h, w, c], params, y);
}

/// [`depthwise_forward`] on a chosen engine; `shape` is h, w, c.
pub fn depthwise_forward_on(
    engine: Engine,
    x: &[f32],
    batch: usize,
    shape: [usize; 3],
    params: &[f32],
    y: &mut [f32],
) {
    let [h, w, c] = shape;
    let len = h * w * c;
    assert!(
        x.len() == batch * len && y.len() == x.len(),
        "depthwise: tensors do not fit the sizes"
    );
    assert_eq!(
        params.len(),
        depthwise_param_len(c),
        "depthwise: parameters do not fit the sizes"
    );
    if len == 0 {
        return;
    }
    x.par_chunks_exact(len)
        .zip(y.par_chunks_exact_mut(len))
        .for_each(|(data, y)| {
            engine.run(Forward {
                plane: Plane {
                    data,
                    top: 0,
                    h,
                    w,
                    stride: c,
                },
                params,
                y,
            });
        });
}

/// The samples of one task.
struct Backward<'a> {
    x: &'a [f32],
    gy: &'a [f32],
    shape: [usize; 3],
    taps: &'a [f32],
    gx: &'a mut [f32],
    sums: &'a mut [f32],
}

impl Task for Backward<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let [h, w, c] = self.shape;
        self.sums.fill(0.0);
        let (taps, bias) = self.sums.split_at_mut(TAPS * padded(c));
        let mut sums = Sums {
            taps,
            bias,
            input: None,
        };
        let len = h * w * c;
        let inputs = self.x.chunks_exact(len).zip(self.gy.chunks_exact(len));
        for ((data, gy), gx) in inputs.zip(self.gx.chunks_exact_mut(len)) {
            let x = Plane {
                data,
                top: 0,
                h,
                w,
                stride: c,
            };
            convolve_backward::<L, f32, f32, f32, false>(
                lanes,
                x,
                0..h,
                gy,
                self.taps,
                gx,
                &mut sums,
            );
        }
    }
}

/// Gradients of [`depthwise_forward`]: `gx` as `x`, `gparams` as `params`; both are overwritten.
///
/// # Panics
/// If a length does not fit the sizes.
#[allow(clippy::too_many_arguments)] // the sizes of one tensor, then its slices
pub fn depthwise_backward(
    x: &[f32],
    gy: &[f32],
    batch: usize,
    h: usize,
    w: usize,
    c: usize,
    params: &[f32],
    gx: &mut [f32],
    gparams: &mut [f32],
) {
    depthwise_backward_on(Engine::best(), x, gy, batch, [h, w, c], params, gx, gparams);
}

thread_local! {
    static SUMS: Cell<Buffer> = Cell::default();
}

/// [`depthwise_backward`] on a chosen engine; `shape` is h, w, c.
#[allow(clippy::too_many_arguments)] // as above
pub fn depthwise_backward_on(
    engine: Engine,
    x: &[f32],
    gy: &[f32],
    batch: usize,
    shape: [usize; 3],
    params: &[f32],
    gx: &mut [f32],
    gparams: &mut [f32],
) {
    let [h, w, c] = shape;
    let len = h * w * c;
    assert!(
        x.len() == batch * len && gy.len() == x.len() && gx.len() == x.len(),
        "depthwise: tensors do not fit"
    );
    assert!(
        params.len() == depthwise_param_len(c) && gparams.len() == params.len(),
        "depthwise: parameters do not fit"
    );
    gparams.fill(0.0);
    if x.is_empty() {
        return;
    }
    let samples = batch.div_ceil(rayon::current_num_threads());
    let (piece, cp) = (samples * len, padded(c));
    let taps = &params[..TAPS * c];
    with_kept(&SUMS, |sums| {
        let sums = sums.f32(batch.div_ceil(samples) * (TAPS + 1) * cp);
        let inputs = x
            .par_chunks(piece)
            .zip(gy.par_chunks(piece))
            .zip(gx.par_chunks_mut(piece));
        inputs
            .zip(sums.par_chunks_exact_mut((TAPS + 1) * cp))
            .for_each(|(((x, gy), gx), sums)| {
                engine.run(Backward {
                    x,
                    gy,
                    shape,
                    taps,
                    gx,
                    sums,
                });
            });
        for sums in sums.chunks_exact((TAPS + 1) * cp) {
            for (to, sums) in gparams.chunks_exact_mut(c).zip(sums.chunks_exact(cp)) {
                for (to, sum) in to.iter_mut().zip(sums) {
                    *to += sum;
                }
            }
        }
    });
}
