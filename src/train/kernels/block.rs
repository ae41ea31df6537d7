//! The depth-conv block: parameter layout, packed weights and the forward pass.
//!
//! `h1 = act(W1 x + b1)`, `u = dw3x3(h1) + bd`, `x1 = x + W2 u + b2`, `y = x1 + W4 act(W3 x1 + b3) + b4`.
//!
//! One task takes a group of samples and keeps the inner tensors of one sample in the second-level cache, as bf16.

use std::cell::Cell;
use std::ops::Range;

use rayon::prelude::*;

use super::depthwise::{Plane, TAPS, convolve_rows};
use super::engine::{Engine, on_engine};
use super::epilogue::{Activate, Affine, Base};
use super::gemm::{Panels, product};
use super::lanes::{Bf16, Lanes, padded};
use super::pack::{Direction, Matrix, Precision, pack_rows, pack_weights};
use super::scratch::{Buffer, with_kept};

/// Pixels that the forward pass takes through the second half of the block at a time (at least one row).
pub(super) const FORWARD_PIXELS: usize = 64;

/// Numbers in the parameters of a block of `c` channels.
pub const fn block_param_len(c: usize) -> usize {
    6 * c * c + 15 * c
}

/// Something about each part of a block's parameters, in their order. Weights are `[outputs, inputs]`, row major.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockParts<T> {
    /// `[c, c]`, before the depthwise convolution.
    pub w1: T,
    /// `[c]`.
    pub b1: T,
    /// Taps of the depthwise convolution in raster order, `[9, c]`.
    pub dw: T,
    /// Bias of the depthwise convolution, `[c]`.
    pub bd: T,
    /// `[c, c]`, after the depthwise convolution.
    pub w2: T,
    /// `[c]`.
    pub b2: T,
    /// `[2c, c]`.
    pub w3: T,
    /// `[2c]`.
    pub b3: T,
    /// `[c, 2c]`.
    pub w4: T,
    /// `[c]`.
    pub b4: T,
}

impl<T> BlockParts<T> {
    /// In order.
    pub(super) fn into_array(self) -> [T; 10] {
        [
            self.w1, self.b1, self.dw, self.bd, self.w2, self.b2, self.w3, self.b3, self.w4,
            self.b4,
        ]
    }

    /// Those of the weight matrices, in the order of use.
    fn weights(self) -> [T; 4] {
        [self.w1, self.w2, self.w3, self.w4]
    }

    /// Something else about each, called in order.
    pub(super) fn map<U>(self, of: impl FnMut(T) -> U) -> BlockParts<U> {
        let [w1, b1, dw, bd, w2, b2, w3, b3, w4, b4] = self.into_array().map(of);
        BlockParts {
            w1,
            b1,
            dw,
            bd,
            w2,
            b2,
            w3,
            b3,
            w4,
            b4,
        }
    }
}

impl BlockParts<[usize; 2]> {
    /// Rows and columns, where c and 2c are `narrow` and `wide`.
    pub(super) fn sizes(narrow: usize, wide: usize) -> Self {
        Self {
            w1: [narrow, narrow],
            b1: [1, narrow],
            dw: [TAPS, narrow],
            bd: [1, narrow],
            w2: [narrow, narrow],
            b2: [1, narrow],
            w3: [wide, narrow],
            b3: [1, wide],
            w4: [narrow, wide],
            b4: [1, narrow],
        }
    }
}

/// Ranges of the parts in the parameter slice of a block.
pub type BlockLayout = BlockParts<Range<usize>>;

impl BlockLayout {
    /// The layout for `c` channels.
    pub fn new(c: usize) -> Self {
        let mut end = 0;
        BlockParts::sizes(c, 2 * c).map(|[rows, columns]| {
            let start = end;
            end += rows * columns;
            start..end
        })
    }
}

/// Size of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// Channels.
    pub c: usize,
}

impl Shape {
    pub(super) fn numbers(self) -> usize {
        self.h * self.w * self.c
    }

    /// Image rows that hold about `pixels` pixels.
    pub(super) fn rows_of(self, pixels: usize) -> usize {
        (pixels / self.w).clamp(1, self.h)
    }

    /// Panics unless the slices are whole samples of this shape, and the parameters those of its channels.
    pub(super) fn check<const N: usize>(self, tensors: [&[f32]; N], params: &[f32]) {
        assert!(
            self.c > 0 && params.len() == block_param_len(self.c),
            "block: parameters do not fit the sizes"
        );
        let length = tensors[0].len();
        let fits = |x: &&[f32]| x.len() == length && x.len().is_multiple_of(self.numbers().max(1));
        assert!(
            tensors.iter().all(fits),
            "block: tensors do not fit the sizes"
        );
    }
}

/// The parts of parameters.
pub(super) type Parameters<'a> = BlockParts<&'a [f32]>;

impl<'a> Parameters<'a> {
    pub(super) fn new(params: &'a [f32], c: usize) -> Self {
        BlockLayout::new(c).map(|range| &params[range])
    }
}

/// Packed weights of one direction.
#[derive(Default)]
pub(super) struct PackedWeights([Buffer; 4]);

impl PackedWeights {
    /// Packs W1..W4 of a block of `c` channels.
    pub(super) fn pack(
        &mut self,
        engine: Engine,
        direction: Direction,
        params: Parameters<'_>,
        c: usize,
    ) -> [Panels<'_>; 4] {
        let sizes = BlockParts::sizes(c, 2 * c).weights();
        let mut layers = params.weights().into_iter().zip(sizes);
        self.0.each_mut().map(|buffer| {
            let (weights, [outputs, inputs]) = layers.next().expect("as many as buffers");
            let weights = Matrix::dense(weights, outputs, inputs);
            pack_weights(engine, weights, Precision::Bf16, direction, buffer)
        })
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
        let mut activate = Activate {
            bias: b1,
            out: &mut hidden[start..],
            slope,
            stride: cp,
        };
        product(lanes, rows, pixels, w1, &mut activate);
    }
}

/// The forward pass of one sample.
#[inline(always)]
fn forward_sample<L: Lanes>(
    lanes: L,
    x: &[f32],
    shape: Shape,
    weights: &[Panels<'_>; 4],
    params: Parameters<'_>,
    scratch: &mut Scratch,
    y: &mut [f32],
) {
    let Shape { h, w, c } = shape;
    let (cp, wide_stride) = (padded(c), padded(2 * c));
    let [w1, w2, w3, w4] = *weights;
    let step = shape.rows_of(FORWARD_PIXELS);
    let most = padded((step * w).max(FORWARD_PIXELS));
    let rows = scratch.rows.at_least(most * cp);
    let spatial = scratch.spatial.at_least(most * cp);
    let wide = scratch.wide.at_least(most * wide_stride);
    let hidden = scratch.hidden.at_least(h * w * cp);
    expand(lanes, x, w1, params.b1, rows, hidden, None);
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
        let of_piece = &mut spatial[..pixels * cp];
        convolve_rows(lanes, plane, i * step, params.dw, params.bd, of_piece);
        let mut residual = Affine {
            wide: Some(y),
            narrow: Some(rows),
            ..Affine::new(params.b2, Base::Tensor(x), c)
        };
        product(lanes, spatial, pixels, w2, &mut residual);
        let mut activate = Activate {
            bias: params.b3,
            out: wide,
            slope: None,
            stride: wide_stride,
        };
        product(lanes, rows, pixels, w3, &mut activate);
        let mut residual = Affine {
            wide: Some(y),
            ..Affine::new(params.b4, Base::Output, c)
        };
        product(lanes, wide, pixels, w4, &mut residual);
    }
}

/// Forward pass of a block: `x` and `y` are samples of `shape`, `params` is laid out as [`BlockLayout`] says.
/// Nothing is kept for the backward pass.
///
/// # Panics
/// If a length does not fit the sizes, or there are no channels.
pub fn block_forward(engine: Engine, x: &[f32], shape: Shape, params: &[f32], y: &mut [f32]) {
    shape.check([x, y], params);
    if x.is_empty() {
        return;
    }
    let params = Parameters::new(params, shape.c);
    with_kept(&WEIGHTS_KEPT, |weights| {
        let weights = &weights.pack(engine, Direction::Forward, params, shape.c);
        let sample = shape.numbers();
        let samples = x.par_chunks(sample).zip(y.par_chunks_mut(sample));
        samples.for_each(|(x, y)| {
            with_kept(&SCRATCH, |scratch| {
                on_engine!(engine, <'a> |lanes| {
                    x: &'a [f32], shape: Shape, weights: &'a [Panels<'a>; 4], params: Parameters<'a>,
                    scratch: &'a mut Scratch, y: &'a mut [f32]
                } => {
                    forward_sample(lanes, x, shape, weights, params, scratch, y);
                });
            });
        });
    });
}
