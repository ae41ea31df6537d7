//! The pointwise (1x1) convolution: `y = W x + b` for every pixel.

use std::cell::Cell;

use rayon::prelude::*;

use super::engine::{Engine, on_engine};
use super::epilogue::{Affine, Base, add_column_sums};
use super::gemm::{Panels, product, product_into};
use super::lanes::padded;
use super::pack::{
    Direction, Matrix, Part, Precision, pack_left, pack_pairs, pack_transposed, pack_weights,
};
use super::scratch::{Buffer, with_kept};

/// Pixels in one product.
const PIXELS: usize = 64;
/// Pixels in one product for the gradient of the weights.
const GRADIENT_PIXELS: usize = 256;

/// A pointwise layer with the parameters `W [outputs, inputs] | b [outputs]`.
#[derive(Clone, Copy, Debug)]
pub struct PointwiseLayer {
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Precision of the products.
    pub precision: Precision,
}

#[derive(Default)]
struct Scratch {
    rows: Buffer,
    left: Buffer,
    right: Buffer,
}

#[derive(Default)]
struct Shared {
    weights: Buffer,
    sums: Buffer<f32>,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
    static SHARED: Cell<Shared> = Cell::default();
}

/// Pixels of one task.
fn pixels_per_task(pixels: usize) -> usize {
    pixels
        .div_ceil(rayon::current_num_threads())
        .max(1)
        .next_multiple_of(PIXELS)
}

impl PointwiseLayer {
    /// Numbers in the parameters.
    pub const fn parameters(self) -> usize {
        self.outputs * self.inputs + self.outputs
    }

    fn check(self, x: &[f32], params: &[f32], y: &[f32]) {
        assert!(
            self.inputs > 0 && self.outputs > 0,
            "pointwise: no channels"
        );
        let pixels = x.len() / self.inputs;
        assert!(
            x.len() == pixels * self.inputs && y.len() == pixels * self.outputs,
            "pointwise: tensors do not fit the sizes"
        );
        assert_eq!(
            params.len(),
            self.parameters(),
            "pointwise: parameters do not fit the sizes"
        );
    }

    /// `y` (`[pixels, outputs]`) of `x` (`[pixels, inputs]`).
    ///
    /// # Panics
    /// If a length does not fit the sizes.
    pub fn forward(self, engine: Engine, x: &[f32], params: &[f32], y: &mut [f32]) {
        self.check(x, params, y);
        with_kept(&SHARED, |Shared { weights, .. }| {
            self.multiply(engine, Direction::Forward, x, params, weights, y);
        });
    }

    /// Gradients of [`forward`](Self::forward) from that of `y`: `gx` as `x` (left out when `None`), `gparams` as
    /// `params`; both are overwritten.
    ///
    /// # Panics
    /// If a length does not fit the sizes.
    pub fn backward(
        self,
        engine: Engine,
        x: &[f32],
        gy: &[f32],
        params: &[f32],
        gx: Option<&mut [f32]>,
        gparams: &mut [f32],
    ) {
        self.check(x, params, gy);
        assert_eq!(
            gparams.len(),
            params.len(),
            "pointwise: parameter gradient does not fit the sizes"
        );
        with_kept(&SHARED, |Shared { weights, sums }| {
            if let Some(gx) = gx {
                assert_eq!(
                    gx.len(),
                    x.len(),
                    "pointwise: input gradient does not fit the sizes"
                );
                self.multiply(engine, Direction::Backward, gy, params, weights, gx);
            }
            self.gradient(engine, x, gy, sums, gparams);
        });
    }

    /// `y = x W^T + b` (forward) or `y = x W` (backward), in parallel over pixels.
    fn multiply(
        self,
        engine: Engine,
        direction: Direction,
        x: &[f32],
        params: &[f32],
        weights: &mut Buffer,
        y: &mut [f32],
    ) {
        let (k, n, precision) = (self.inputs, self.outputs, self.precision);
        let (w, b) = params.split_at(n * k);
        let matrix = Matrix::dense(w, n, k);
        let panels = pack_weights(engine, matrix, precision, direction, weights);
        let (k, n, bias) = match direction {
            Direction::Forward => (k, n, b),
            Direction::Backward => (n, k, &[][..]),
        };
        let pixels = pixels_per_task(x.len() / k)
            .div_ceil(4)
            .next_multiple_of(PIXELS);
        let tasks = x.par_chunks(pixels * k).zip(y.par_chunks_mut(pixels * n));
        tasks.for_each(|(x, y)| {
            with_kept(&SCRATCH, |Scratch { rows, .. }| {
                on_engine!(engine, <'a> |lanes| {
                    x: &'a [f32], k: usize, precision: Precision, panels: Panels<'a>, bias: &'a [f32],
                    y: &'a mut [f32], rows: &'a mut Buffer
                } => {
                    let n = panels.columns;
                    let rows = rows.at_least(PIXELS * panels.depth);
                    for (x, y) in x.chunks(PIXELS * k).zip(y.chunks_mut(PIXELS * n)) {
                        let pixels = x.len() / k;
                        pack_left(lanes, precision, Matrix::dense(x, pixels, k), rows);
                        let mut epilogue = Affine {
                            wide: Some(y),
                            ..Affine::new(bias, Base::None, n)
                        };
                        product(lanes, rows, pixels, panels, &mut epilogue);
                    }
                });
            });
        });
    }

    /// The gradient of the parameters: sums over the pixels of each task, `[padded(outputs), padded(inputs)] |
    /// [padded(outputs)]`, which are then added up.
    fn gradient(
        self,
        engine: Engine,
        x: &[f32],
        gy: &[f32],
        sums: &mut Buffer<f32>,
        gparams: &mut [f32],
    ) {
        let (k, n, precision) = (self.inputs, self.outputs, self.precision);
        let (kp, np) = (padded(k), padded(n));
        let pixels = pixels_per_task(x.len() / k);
        let tasks = (x.len() / k).div_ceil(pixels);
        let len = np * kp + np;
        let sums = sums.at_least(tasks * len);
        let inputs = x.par_chunks(pixels * k).zip(gy.par_chunks(pixels * n));
        let tasks = inputs.zip(sums.par_chunks_exact_mut(len));
        tasks.for_each(|((x, gy), sums)| {
            with_kept(&SCRATCH, |scratch| {
                on_engine!(engine, <'a> |lanes| {
                    x: &'a [f32], gy: &'a [f32], k: usize, n: usize, precision: Precision,
                    sums: &'a mut [f32], scratch: &'a mut Scratch
                } => {
                    let (kp, np) = (padded(k), padded(n));
                    let (weights, bias) = sums.split_at_mut(np * kp);
                    bias.fill(0.0);
                    let depth = GRADIENT_PIXELS * precision.segments();
                    let left = scratch.left.at_least(np * depth);
                    let right = scratch.right.at_least(kp * depth);
                    let pieces = x.chunks(GRADIENT_PIXELS * k).zip(gy.chunks(GRADIENT_PIXELS * n));
                    for (i, (x, gy)) in pieces.enumerate() {
                        let pixels = x.len() / k;
                        let depth = padded(pixels);
                        let (x, gy) = (Matrix::dense(x, pixels, k), Matrix::dense(gy, pixels, n));
                        add_column_sums(lanes, gy.data, n, bias);
                        for (j, (l, r)) in precision.left().iter().zip(precision.right()).enumerate() {
                            match l {
                                Part::Rounded => pack_transposed(lanes, gy, left, depth),
                                Part::Rest => pack_transposed(lanes, gy.rest(), left, depth),
                            }
                            match r {
                                Part::Rounded => pack_pairs(lanes, x, right),
                                Part::Rest => pack_pairs(lanes, x.rest(), right),
                            }
                            let panels = Panels::new(right, depth, k);
                            product_into(lanes, left, np, panels, weights, i + j > 0);
                        }
                    }
                });
            });
        });
        let (gw, gb) = gparams.split_at_mut(n * k);
        add_tasks(sums, len, 0, kp, gw, k);
        add_tasks(sums, len, np * kp, np, gb, n);
    }
}

/// Sums over tasks, in their order: rows of `to` (`columns` numbers) from rows of `stride` numbers at `offset` in the
/// `len` numbers of each task.
pub(super) fn add_tasks(
    sums: &[f32],
    len: usize,
    offset: usize,
    stride: usize,
    to: &mut [f32],
    columns: usize,
) {
    let rows = to.par_chunks_exact_mut(columns).enumerate();
    rows.with_min_len(32).for_each(|(row, to)| {
        let at = offset + row * stride;
        to.fill(0.0);
        for task in sums.chunks_exact(len) {
            for (to, sum) in to.iter_mut().zip(&task[at..at + columns]) {
                *to += sum;
            }
        }
    });
}
