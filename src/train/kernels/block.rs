//! The depth-conv block: parameter layout, packed weights and the forward pass.
//!
//! `h1 = act(W1 x + b1)`, `u = dw3x3(h1) + bd`, `x1 = x + W2 u + b2`, `y = x1 + W4 act(W3 x1 + b3) + b4`.
//!
//! One task takes a group of samples and keeps the inner tensors of one sample in the second-level cache, as bf16.

use std::cell::Cell;
use std::ops::Range;

use rayon::prelude::*;

use super::depthwise::{Plane, TAPS, convolve_rows};
use super::engine::{Engine, Task};
use super::epilogue::{Activate, Affine, Base};
use super::gemm::{Panels, product};
use super::lanes::{Bf16, Lanes, padded};
use super::pack::{Direction, Matrix, Precision, pack_rows, pack_weights, packed_weights_len};
use super::scratch::{Buffer, with_kept};

/// Pixels that the forward pass takes through the second half of the block at a time (at least one row).
pub(super) const FORWARD_PIXELS: usize = 64;

/// Numbers in the parameters of a block of `c` channels.
pub const fn block_param_len(c: usize) -> usize {
    6 * c * c + 15 * c
}

/// Ranges of the parts in the parameter slice of a block. Weights are `[outputs, inputs]`, row major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockLayout {
    /// `[c, c]`, before the depthwise convolution.
    pub w1: Range<usize>,
    /// `[c]`.
    pub b1: Range<usize>,
    /// Taps of the depthwise convolution in raster order, `[9, c]`.
    pub dw: Range<usize>,
    /// Bias of the depthwise convolution, `[c]`.
    pub bd: Range<usize>,
    /// `[c, c]`, after the depthwise convolution.
    pub w2: Range<usize>,
    /// `[c]`.
    pub b2: Range<usize>,
    /// `[2c, c]`.
    pub w3: Range<usize>,
    /// `[2c]`.
    pub b3: Range<usize>,
    /// `[c, 2c]`.
    pub w4: Range<usize>,
    /// `[c]`.
    pub b4: Range<usize>,
}

impl BlockLayout {
    /// The layout for `c` channels.
    pub fn new(c: usize) -> Self {
        let mut end = 0;
        let mut next = |len: usize| {
            end += len;
            end - len..end
        };
        Self {
            w1: next(c * c),
            b1: next(c),
            dw: next(TAPS * c),
            bd: next(c),
            w2: next(c * c),
            b2: next(c),
            w3: next(2 * c * c),
            b3: next(2 * c),
            w4: next(2 * c * c),
            b4: next(c),
        }
    }
}

/// Size of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub h: usize,
    pub w: usize,
    pub c: usize,
}

impl Shape {
    pub(super) fn pixels(self) -> usize {
        self.h * self.w
    }

    pub(super) fn len(self) -> usize {
        self.pixels() * self.c
    }

    /// Image rows that hold about `pixels` pixels.
    pub(super) fn rows_of(self, pixels: usize) -> usize {
        (pixels / self.w).clamp(1, self.h)
    }
}

/// The four weight matrices in the order of use: sizes as `[outputs, inputs]` in units of c.
const WEIGHTS: [[usize; 2]; 4] = [[1, 1], [1, 1], [2, 1], [1, 2]];

/// Packed weights of one direction.
#[derive(Default)]
pub(super) struct PackedWeights([Buffer; 4]);

impl PackedWeights {
    /// Packs W1..W4 of `params`.
    pub(super) fn pack(
        &mut self,
        engine: Engine,
        direction: Direction,
        params: &[f32],
        c: usize,
    ) -> [Panels<'_>; 4] {
        let layout = BlockLayout::new(c);
        let ranges = [layout.w1, layout.w2, layout.w3, layout.w4];
        let mut index = 0;
        self.0.each_mut().map(|buffer| {
            let [outputs, inputs] = WEIGHTS[index].map(|n| n * c);
            let weights = Matrix::dense(&params[ranges[index].clone()], outputs, inputs);
            index += 1;
            let precision = Precision::Bf16;
            let data = buffer.bf16(packed_weights_len(outputs, inputs, precision, direction));
            pack_weights(engine, weights, precision, direction, data);
            let (depth, columns) = match direction {
                Direction::Forward => (inputs, outputs),
                Direction::Backward => (outputs, inputs),
            };
            Panels {
                data,
                depth: padded(depth),
                columns,
            }
        })
    }
}

/// Named views of the parameters that are not products.
#[derive(Clone, Copy)]
pub(super) struct Biases<'a> {
    pub b1: &'a [f32],
    pub dw: &'a [f32],
    pub bd: &'a [f32],
    pub b2: &'a [f32],
    pub b3: &'a [f32],
    pub b4: &'a [f32],
}

impl<'a> Biases<'a> {
    pub(super) fn new(params: &'a [f32], c: usize) -> Self {
        let layout = BlockLayout::new(c);
        Self {
            b1: &params[layout.b1],
            dw: &params[layout.dw],
            bd: &params[layout.bd],
            b2: &params[layout.b2],
            b3: &params[layout.b3],
            b4: &params[layout.b4],
        }
    }
}

/// Buffers of a task.
#[derive(Default)]
pub(super) struct Scratch {
    /// act(W1 x + b1): the whole sample forward, rows around the strip backward.
    pub hidden: Buffer,
    /// The derivative there, then the gradient of W1 x, of the same rows.
    pub hidden_slope: Buffer,
    /// Gradient of u, of the same rows.
    pub spatial_gradient: Buffer,
    /// x, then W2 u + x, of one piece.
    pub rows: Buffer,
    /// u of one piece.
    pub spatial: Buffer,
    /// act(W3 x1 + b3) of one piece.
    pub wide: Buffer,
    /// The derivative there, then the gradient of W3 x1, of one piece.
    pub wide_slope: Buffer,
    /// Gradient of y or of x1, of one piece.
    pub gradient: Buffer,
    /// Operands of the products for weight gradients.
    pub left: Buffer,
    /// As `left`.
    pub right: Buffer,
}

thread_local! {
    pub(super) static SCRATCH: Cell<Scratch> = Cell::default();
    static WEIGHTS_KEPT: Cell<PackedWeights> = Cell::default();
}

/// First layer of the block over some pixels `x [pixels, c]`: `hidden = act(W1 x + b1)`, and the derivative of the
/// activation where wanted. `rows` is scratch for a piece of `x`.
#[inline(always)]
pub(super) fn expand<L: Lanes>(
    lanes: L,
    x: &[f32],
    w1: Panels<'_>,
    b1: &[f32],
    rows: &mut [Bf16],
    hidden: &mut [Bf16],
    mut slope: Option<&mut [Bf16]>,
) {
    let (c, cp) = (w1.columns, w1.depth);
    for (i, x) in x.chunks(FORWARD_PIXELS * c).enumerate() {
        let pixels = x.len() / c;
        let start = i * FORWARD_PIXELS * cp;
        pack_rows(lanes, Matrix::dense(x, pixels, c), rows, cp);
        let slope = slope.as_deref_mut().map(|slope| &mut slope[start..]);
        let out = &mut hidden[start..];
        product(
            lanes,
            rows,
            pixels,
            w1,
            &mut Activate {
                bias: b1,
                out,
                slope,
                stride: cp,
            },
        );
    }
}

/// The forward pass of some samples.
struct Forward<'a> {
    x: &'a [f32],
    y: &'a mut [f32],
    shape: Shape,
    weights: &'a [Panels<'a>; 4],
    biases: Biases<'a>,
    scratch: &'a mut Scratch,
}

impl Task for Forward<'_> {
    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) {
        let len = self.shape.len();
        let x = self.x;
        let y = std::mem::take(&mut self.y);
        for (x, y) in x.chunks_exact(len).zip(y.chunks_exact_mut(len)) {
            self.sample(lanes, x, y);
        }
    }
}

impl Forward<'_> {
    #[inline(always)]
    fn sample<L: Lanes>(&mut self, lanes: L, x: &[f32], y: &mut [f32]) {
        let Shape { h, w, c } = self.shape;
        let (cp, wide_stride) = (padded(c), padded(2 * c));
        let [w1, w2, w3, w4] = *self.weights;
        let Biases {
            b1,
            dw,
            bd,
            b2,
            b3,
            b4,
        } = self.biases;
        let step = self.shape.rows_of(FORWARD_PIXELS);
        let most = padded((step * w).max(FORWARD_PIXELS));
        let rows = self.scratch.rows.bf16(most * cp);
        let spatial = self.scratch.spatial.bf16(most * cp);
        let wide = self.scratch.wide.bf16(most * wide_stride);
        let hidden = self.scratch.hidden.bf16(h * w * cp);
        expand(lanes, x, w1, b1, rows, hidden, None);
        let plane = Plane {
            data: hidden,
            top: 0,
            h,
            w,
            stride: cp,
        };
        let pieces = x.chunks(step * w * c).zip(y.chunks_mut(step * w * c));
        for (i, (x, y)) in pieces.enumerate() {
            let pixels = x.len() / c;
            convolve_rows(lanes, plane, i * step, dw, bd, &mut spatial[..pixels * cp]);
            let mut residual = Affine {
                wide: Some(y),
                narrow: Some(rows),
                ..Affine::new(b2, Base::Tensor(x), c)
            };
            product(lanes, spatial, pixels, w2, &mut residual);
            let mut activate = Activate {
                bias: b3,
                out: wide,
                slope: None,
                stride: wide_stride,
            };
            product(lanes, rows, pixels, w3, &mut activate);
            let mut residual = Affine {
                wide: Some(y),
                ..Affine::new(b4, Base::Output, c)
            };
            product(lanes, wide, pixels, w4, &mut residual);
        }
    }
}

/// Forward pass of a block: `x` and `y` are `[batch, h, w, c]`, `params` is laid out as [`BlockLayout`] says.
/// Nothing is kept for the backward pass.
///
/// # Panics
/// If a length does not fit the sizes, or `c` is 0.
pub fn block_forward(
    x: &[f32],
    batch: usize,
    h: usize,
    w: usize,
    c: usize,
    params: &[f32],
    y: &mut [f32],
) {
    block_forward_on(Engine::best(), x, batch, [h, w, c], params, y);
}

/// [`block_forward`] on a chosen engine; `shape` is h, w, c.
pub fn block_forward_on(
    engine: Engine,
    x: &[f32],
    batch: usize,
    shape: [usize; 3],
    params: &[f32],
    y: &mut [f32],
) {
    let [h, w, c] = shape;
    let shape = Shape { h, w, c };
    assert!(
        c > 0 && params.len() == block_param_len(c),
        "block: parameters do not fit the sizes"
    );
    assert!(
        x.len() == batch * shape.len() && y.len() == x.len(),
        "block: tensors do not fit the sizes"
    );
    if x.is_empty() {
        return;
    }
    let biases = Biases::new(params, c);
    with_kept(&WEIGHTS_KEPT, |weights| {
        let weights = &weights.pack(engine, Direction::Forward, params, c);
        x.par_chunks(shape.len())
            .zip(y.par_chunks_mut(shape.len()))
            .for_each(|(x, y)| {
                with_kept(&SCRATCH, |scratch| {
                    engine.run(Forward {
                        x,
                        y,
                        shape,
                        weights,
                        biases,
                        scratch,
                    })
                });
            });
    });
}
