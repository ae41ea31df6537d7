//! Depthwise 3x3 convolution of the block, zero padded, channels last: loops over rows.

use std::ops::Range;

use super::epilogue::{add_to, from};
use super::lanes::{Bf16, LANES, Lanes};

/// Taps of the kernel.
pub(super) const TAPS: usize = 9;

/// One sample, `[h, w, channels]`, pixels `stride` numbers apart, or as many of its rows as are at work.
#[derive(Clone, Copy)]
pub(super) struct Plane<'a> {
    pub data: &'a [Bf16],
    /// The row that `data` starts with.
    pub top: usize,
    pub h: usize,
    pub w: usize,
    pub stride: usize,
}

/// The three rows around one row, without those outside of the plane.
struct Rows<'a> {
    rows: [Option<&'a [Bf16]>; 3],
    w: usize,
    stride: usize,
}

impl<'a> Plane<'a> {
    #[inline(always)]
    fn rows(&self, y: usize) -> Rows<'a> {
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

impl Rows<'_> {
    /// Sixteen channels of the three pixels in column `x`; zeros outside.
    #[inline(always)]
    fn column<L: Lanes>(&self, lanes: L, x: usize, channel: usize) -> [L::F; 3] {
        let mut column = [lanes.splat(0.0); 3];
        if x < self.w {
            for (to, row) in column.iter_mut().zip(&self.rows) {
                if let Some(row) = row {
                    let pixel = &row[x * self.stride..(x + 1) * self.stride];
                    *to = lanes.load_bf16(&pixel[channel..]);
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
pub(super) fn convolve_rows<L: Lanes>(
    lanes: L,
    plane: Plane<'_>,
    first: usize,
    taps: &[f32],
    bias: &[f32],
    out: &mut [Bf16],
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
                lanes.store_bf16(&mut out[x * stride + channel..(x + 1) * stride], sum);
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
    /// Sums of the gradient of the input.
    pub input: &'a mut [f32],
}

/// Gradients of rows `ys` of one sample, of which `gy` must hold one row more on each side: the input gradient goes to
/// `gx` (the same rows as `x` and `gy` hold), sums over the pixels are added to `sums`. Before, `gx` holds factors (the
/// derivative of the activation before the convolution) that the input gradient is multiplied with.
#[inline(always)]
pub(super) fn convolve_backward<L: Lanes>(
    lanes: L,
    x: Plane<'_>,
    ys: Range<usize>,
    gy: &[Bf16],
    taps: &[f32],
    gx: &mut [Bf16],
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
                let value = lanes.load_bf16(&x.data[at + channel..at + stride]);
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
                sum = lanes.mul(sum, lanes.load_bf16(gx));
                g_input = lanes.add(g_input, sum);
                lanes.store_bf16(gx, sum);
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
        add_to(lanes, &mut sums.input[channel..channel + LANES], g_input);
    }
}
