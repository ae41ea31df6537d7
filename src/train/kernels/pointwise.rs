//! The pointwise (1x1) convolution: `y = W x + b` for every pixel.

use std::cell::Cell;

use rayon::prelude::*;

use super::engine::{Engine, Task};
use super::epilogue::{Affine, Base, add_column_sums};
use super::gemm::{Panels, product, product_into};
use super::lanes::{Lanes, padded};
use super::pack::{
    Direction, Matrix, Part, Precision, pack_left, pack_pairs, pack_transposed, pack_weights,
    packed_weights_len,
};
use super::scratch::{Buffer, with_kept};

/// Pixels in one product.
const PIXELS: usize = 64;
/// Pixels in one product for the gradient of the weights.
const GRADIENT_PIXELS: usize = 256;

/// Numbers in the parameters of a pointwise layer: `w [n, k] | b [n]`.
pub const fn pointwise_param_len(k: usize, n: usize) -> usize {
    n * k + n
}

/// Sizes of a pointwise layer.
#[derive(Clone, Copy)]
struct Layer {
    k: usize,
    n: usize,
    precision: Precision,
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
    sums: Buffer,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
    static SHARED: Cell<Shared> = Cell::default();
}

/// `y = x B + bias` over some pixels.
struct Multiply<'a> {
    x: &'a [f32],
    k: usize,
    precision: Precision,
    panels: Panels<'a>,
    bias: &'a [f32],
    y: &'a mut [f32],
    rows: &'a mut Buffer,
}

impl Task for Multiply<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let n = self.panels.columns;
        let rows = self.rows.bf16(PIXELS * self.panels.depth);
        for (x, y) in self
            .x
            .chunks(PIXELS * self.k)
            .zip(self.y.chunks_mut(PIXELS * n))
        {
            let pixels = x.len() / self.k;
            pack_left(
                lanes,
                self.precision,
                Matrix::dense(x, pixels, self.k),
                rows,
            );
            let mut epilogue = Affine {
                wide: Some(y),
                ..Affine::new(self.bias, Base::None, n)
            };
            product(lanes, rows, pixels, self.panels, &mut epilogue);
        }
    }
}

/// Sums of the parameter gradients over the pixels of one task: `[padded(n), padded(k)] | [padded(n)]`.
struct Gradient<'a> {
    x: &'a [f32],
    gy: &'a [f32],
    layer: Layer,
    sums: &'a mut [f32],
    scratch: &'a mut Scratch,
}

impl Task for Gradient<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Layer { k, n, precision } = self.layer;
        let (kp, np) = (padded(k), padded(n));
        let (weights, bias) = self.sums.split_at_mut(np * kp);
        bias.fill(0.0);
        let depth = GRADIENT_PIXELS * precision.segments();
        let left = self.scratch.left.bf16(np * depth);
        let right = self.scratch.right.bf16(kp * depth);
        let pieces = self
            .x
            .chunks(GRADIENT_PIXELS * k)
            .zip(self.gy.chunks(GRADIENT_PIXELS * n));
        for (i, (x, gy)) in pieces.enumerate() {
            let pixels = x.len() / k;
            let length = padded(pixels);
            let (x, gy) = (Matrix::dense(x, pixels, k), Matrix::dense(gy, pixels, n));
            add_column_sums(lanes, gy.data, n, bias);
            for (j, (l, r)) in precision.left().iter().zip(precision.right()).enumerate() {
                match l {
                    Part::Rounded => pack_transposed(lanes, gy, left, length),
                    Part::Rest => pack_transposed(lanes, gy.rest(), left, length),
                }
                match r {
                    Part::Rounded => pack_pairs(lanes, x, right),
                    Part::Rest => pack_pairs(lanes, x.rest(), right),
                }
                let panels = Panels {
                    data: right,
                    depth: length,
                    columns: k,
                };
                product_into(lanes, left, np, panels, weights, i + j > 0);
            }
        }
    }
}

fn check(x: &[f32], pixels: usize, layer: Layer, params: &[f32], y: &[f32]) {
    let Layer { k, n, .. } = layer;
    assert!(k > 0 && n > 0, "pointwise: no channels");
    assert!(
        x.len() == pixels * k && y.len() == pixels * n,
        "pointwise: tensors do not fit the sizes"
    );
    assert_eq!(
        params.len(),
        pointwise_param_len(k, n),
        "pointwise: parameters do not fit the sizes"
    );
}

/// Pixels of one task.
fn pixels_per_task(pixels: usize) -> usize {
    pixels
        .div_ceil(rayon::current_num_threads())
        .max(1)
        .next_multiple_of(PIXELS)
}

/// `y = x W^T + bias` (forward; the bias may be left out) or `y = x W` (backward), in parallel over pixels.
fn multiply_rows(
    engine: Engine,
    x: &[f32],
    layer: Layer,
    direction: Direction,
    params: &[f32],
    weights: &mut Buffer,
    y: &mut [f32],
) {
    let Layer { k, n, precision } = layer;
    let (w, b) = params.split_at(n * k);
    let packed = weights.bf16(packed_weights_len(n, k, precision, direction));
    pack_weights(engine, Matrix::dense(w, n, k), precision, direction, packed);
    let (inputs, outputs, bias) = match direction {
        Direction::Forward => (k, n, b),
        Direction::Backward => (n, k, &[][..]),
    };
    let depth = padded(inputs) * precision.segments();
    let panels = Panels {
        data: packed,
        depth,
        columns: outputs,
    };
    let pixels = pixels_per_task(x.len() / inputs)
        .div_ceil(4)
        .next_multiple_of(PIXELS);
    x.par_chunks(pixels * inputs)
        .zip(y.par_chunks_mut(pixels * outputs))
        .for_each(|(x, y)| {
            with_kept(&SCRATCH, |scratch| {
                engine.run(Multiply {
                    x,
                    k: inputs,
                    precision,
                    panels,
                    bias,
                    y,
                    rows: &mut scratch.rows,
                });
            });
        });
}

fn gradient(
    engine: Engine,
    x: &[f32],
    gy: &[f32],
    layer: Layer,
    sums: &mut Buffer,
    gparams: &mut [f32],
) {
    let Layer { k, n, .. } = layer;
    let (kp, np) = (padded(k), padded(n));
    let pixels = pixels_per_task(x.len() / k);
    let tasks = (x.len() / k).div_ceil(pixels);
    let len = np * kp + np;
    let sums = sums.f32(tasks * len);
    let inputs = x.par_chunks(pixels * k).zip(gy.par_chunks(pixels * n));
    inputs
        .zip(sums.par_chunks_exact_mut(len))
        .for_each(|((x, gy), sums)| {
            with_kept(&SCRATCH, |scratch| {
                engine.run(Gradient {
                    x,
                    gy,
                    layer,
                    sums,
                    scratch,
                })
            });
        });
    let (gw, gb) = gparams.split_at_mut(n * k);
    add_tasks(sums, len, 0, kp, gw, k);
    add_tasks(sums, len, np * kp, np, gb, n);
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
    to.par_chunks_mut(columns * 32)
        .enumerate()
        .for_each(|(piece, to)| {
            for (i, to) in to.chunks_exact_mut(columns).enumerate() {
                let at = offset + (piece * 32 + i) * stride;
                to.fill(0.0);
                for task in sums.chunks_exact(len) {
                    for (to, sum) in to.iter_mut().zip(&task[at..at + columns]) {
                        *to += sum;
                    }
                }
            }
        });
}

/// Pointwise layer: `x` is `[pixels, k]`, `y` is `[pixels, n]`, `params` is `w [n, k] | b [n]`.
///
/// # Panics
/// If a length does not fit the sizes.
pub fn pointwise_forward(
    precision: Precision,
    x: &[f32],
    pixels: usize,
    k: usize,
    n: usize,
    params: &[f32],
    y: &mut [f32],
) {
    forward_on(Engine::best(), precision, x, pixels, [k, n], params, y);
}

/// Forward pass on a chosen engine; `sizes` is k, n.
pub(super) fn forward_on(
    engine: Engine,
    precision: Precision,
    x: &[f32],
    pixels: usize,
    sizes: [usize; 2],
    params: &[f32],
    y: &mut [f32],
) {
    let [k, n] = sizes;
    let layer = Layer { k, n, precision };
    check(x, pixels, layer, params, y);
    if pixels > 0 {
        with_kept(&SHARED, |shared| {
            multiply_rows(
                engine,
                x,
                layer,
                Direction::Forward,
                params,
                &mut shared.weights,
                y,
            );
        });
    }
}

/// Gradients of [`pointwise_forward`]: `gx` as `x` (left out when `None`), `gparams` as `params`; both are overwritten.
///
/// # Panics
/// If a length does not fit the sizes.
#[allow(clippy::too_many_arguments)] // a precision, two tensors, their sizes, two gradients
pub fn pointwise_backward(
    precision: Precision,
    x: &[f32],
    gy: &[f32],
    pixels: usize,
    k: usize,
    n: usize,
    params: &[f32],
    gx: Option<&mut [f32]>,
    gparams: &mut [f32],
) {
    backward_on(
        Engine::best(),
        precision,
        x,
        gy,
        pixels,
        [k, n],
        params,
        gx,
        gparams,
    );
}

/// Backward pass on a chosen engine; `sizes` is k, n.
#[allow(clippy::too_many_arguments)] // as above
pub(super) fn backward_on(
    engine: Engine,
    precision: Precision,
    x: &[f32],
    gy: &[f32],
    pixels: usize,
    sizes: [usize; 2],
    params: &[f32],
    gx: Option<&mut [f32]>,
    gparams: &mut [f32],
) {
    let [k, n] = sizes;
    let layer = Layer { k, n, precision };
    check(x, pixels, layer, params, gy);
    assert_eq!(
        gparams.len(),
        params.len(),
        "pointwise: parameter gradient does not fit the sizes"
    );
    if pixels == 0 {
        gparams.fill(0.0);
        return;
    }
    with_kept(&SHARED, |shared| {
        if let Some(gx) = gx {
            assert_eq!(
                gx.len(),
                x.len(),
                "pointwise: input gradient does not fit the sizes"
            );
            multiply_rows(
                engine,
                gy,
                layer,
                Direction::Backward,
                params,
                &mut shared.weights,
                gx,
            );
        }
        gradient(engine, x, gy, layer, &mut shared.sums, gparams);
    });
}
