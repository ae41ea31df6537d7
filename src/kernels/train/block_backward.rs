//! Backward pass of the depth-conv block. The inner tensors are computed again, sample by sample.

use std::cell::Cell;

use rayon::prelude::*;

use super::block::{
    Biases, BlockLayout, PackedWeights, SCRATCH, Scratch, Shape, block_param_len, expand,
};
use super::depthwise::{Plane, Sums, TAPS, convolve_backward, convolve_rows};
use super::engine::{Engine, Task};
use super::epilogue::{Activate, Affine, Base, Chain, add_column_sums};
use super::gemm::{Panels, product, product_into};
use super::lanes::{Bf16, Element, Lanes, padded};
use super::pack::{Direction, Matrix, pack_pairs, pack_rows, pack_transposed};
use super::pointwise::add_tasks;
use super::scratch::{Buffer, with_kept};

/// Pixels in one product for the gradient of weights (at least one row of the image).
const PIECE_PIXELS: usize = 256;

/// Parameter gradients of one task, with padded rows.
struct Gradients<'a> {
    w1: &'a mut [f32],
    w2: &'a mut [f32],
    w3: &'a mut [f32],
    w4: &'a mut [f32],
    /// `[9, padded(c)]`
    dw: &'a mut [f32],
    bd: &'a mut [f32],
    b1: &'a mut [f32],
    b2: &'a mut [f32],
    b3: &'a mut [f32],
    b4: &'a mut [f32],
}

/// Lengths of the parts of [`Gradients`] in their order.
fn gradient_lens(c: usize) -> [usize; 10] {
    let (cp, wide) = (padded(c), padded(2 * c));
    [cp * cp, cp * cp, wide * cp, cp * wide, TAPS * cp, cp, cp, cp, wide, cp]
}

impl<'a> Gradients<'a> {
    fn split(mut sums: &'a mut [f32], c: usize) -> Self {
        let [w1, w2, w3, w4, dw, bd, b1, b2, b3, b4] = gradient_lens(c).map(|len| {
            let (part, rest) = std::mem::take(&mut sums).split_at_mut(len);
            sums = rest;
            part
        });
        Self { w1, w2, w3, w4, dw, bd, b1, b2, b3, b4 }
    }

    /// Clears what is added to; weights are overwritten by the first product.
    fn clear(&mut self) {
        for part in [&mut self.dw, &mut self.bd, &mut self.b1, &mut self.b2, &mut self.b3, &mut self.b4] {
            part.fill(0.0);
        }
    }
}

/// The backward pass of some samples.
struct Backward<'a> {
    x: &'a [f32],
    gy: &'a [f32],
    gx: &'a mut [f32],
    shape: Shape,
    weights: &'a [Panels<'a>; 4],
    back: &'a [Panels<'a>; 4],
    biases: Biases<'a>,
    sums: &'a mut [f32],
    scratch: &'a mut Scratch,
}

impl Task for Backward<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let len = self.shape.len();
        let mut gradients = Gradients::split(self.sums, self.shape.c);
        gradients.clear();
        let mut sample = Sample {
            shape: self.shape,
            weights: self.weights,
            back: self.back,
            biases: self.biases,
            gradients,
            is_first: true,
        };
        let inputs = self.x.chunks_exact(len).zip(self.gy.chunks_exact(len));
        for ((x, gy), gx) in inputs.zip(self.gx.chunks_exact_mut(len)) {
            sample.run(lanes, x, gy, gx, self.scratch);
        }
    }
}

/// Rows of two operands of a weight gradient, and buffers to pack them into.
struct Operands<'a> {
    left: &'a mut [Bf16],
    right: &'a mut [Bf16],
}

impl Operands<'_> {
    /// `sums += gradient^T input`, sums over rows.
    #[inline(always)]
    fn add<L: Lanes, G: Element, X: Element>(
        &mut self,
        lanes: L,
        gradient: Matrix<'_, G>,
        input: Matrix<'_, X>,
        sums: &mut [f32],
        is_first: bool,
    ) {
        let depth = padded(gradient.rows);
        pack_transposed(lanes, gradient, self.left, depth);
        pack_pairs(lanes, input, self.right);
        let panels = Panels { data: self.right, depth, columns: input.columns };
        product_into(lanes, self.left, padded(gradient.columns), panels, sums, !is_first);
    }
}

struct Sample<'a> {
    shape: Shape,
    weights: &'a [Panels<'a>; 4],
    back: &'a [Panels<'a>; 4],
    biases: Biases<'a>,
    gradients: Gradients<'a>,
    is_first: bool,
}

/// Buffers of one piece of a sample.
struct Piece<'a> {
    spatial: &'a mut [Bf16],
    rows: &'a mut [Bf16],
    wide: &'a mut [Bf16],
    wide_slope: &'a mut [Bf16],
    gradient: &'a mut [Bf16],
    operands: Operands<'a>,
}

impl Sample<'_> {
    #[inline(always)]
    fn run<L: Lanes>(&mut self, lanes: L, x: &[f32], gy: &[f32], gx: &mut [f32], scratch: &mut Scratch) {
        let Shape { h, w, c } = self.shape;
        let (cp, wide_stride) = (padded(c), padded(2 * c));
        let step = self.shape.rows_of(PIECE_PIXELS);
        let most = padded((step * w).max(PIECE_PIXELS));
        let hidden = scratch.hidden.bf16(h * w * cp);
        let slope = scratch.hidden_slope.bf16(padded(h * w) * cp);
        let spatial_gradient = scratch.spatial_gradient.bf16(h * w * cp);
        let mut piece = Piece {
            spatial: scratch.spatial.bf16(most * cp),
            rows: scratch.rows.bf16(most * cp),
            wide: scratch.wide.bf16(most * wide_stride),
            wide_slope: scratch.wide_slope.bf16(most * wide_stride),
            gradient: scratch.gradient.bf16(most * cp),
            operands: Operands {
                left: scratch.left.bf16(most * wide_stride),
                right: scratch.right.bf16(most * wide_stride),
            },
        };
        expand(lanes, x, self.shape, self.weights[0], self.biases.b1, piece.rows, hidden, Some(slope));
        let plane = Plane { data: hidden, h, w, stride: cp };
        let len = step * w * c;
        let tensors = x.chunks(len).zip(gy.chunks(len)).zip(gx.chunks_mut(len));
        for (i, (((x, gy), gx), gu)) in tensors.zip(spatial_gradient.chunks_mut(step * w * cp)).enumerate() {
            let spatial = &mut piece.spatial[..x.len() / c * cp];
            convolve_rows(lanes, plane, i * step, self.biases.dw, self.biases.bd, spatial);
            self.second_half(lanes, x, gy, gx, gu, &mut piece, self.is_first && i == 0);
        }
        let mut sums = Sums {
            taps: self.gradients.dw,
            bias: self.gradients.bd,
            input: Some(self.gradients.b1),
        };
        let slope_of_sample = &mut slope[..h * w * cp];
        convolve_backward::<L, Bf16, Bf16, Bf16, true>(
            lanes, plane, spatial_gradient, self.biases.dw, slope_of_sample, &mut sums,
        );
        self.first_layer(lanes, x, gx, slope, &mut piece.operands);
        self.is_first = false;
    }

    /// From the gradient of y to the gradients of x1 (into `gx`) and u (into `gu`), over one piece of a sample.
    #[inline(always)]
    fn second_half<L: Lanes>(
        &mut self,
        lanes: L,
        x: &[f32],
        gy: &[f32],
        gx: &mut [f32],
        gu: &mut [Bf16],
        piece: &mut Piece<'_>,
        is_first: bool,
    ) {
        let c = self.shape.c;
        let (cp, wide_stride) = (padded(c), padded(2 * c));
        let pixels = x.len() / c;
        let Piece { spatial, rows, wide, wide_slope, gradient, operands } = piece;
        let [_, w2, w3, _] = *self.weights;
        let [_, back2, back3, back4] = *self.back;
        let sums = &mut self.gradients;

        let mut residual = Affine {
            bias: self.biases.b2,
            base: Base::Tensor(x),
            columns: c,
            wide: None,
            narrow: Some(rows),
            stride: cp,
            sums: None,
        };
        product(lanes, spatial, pixels, w2, &mut residual);
        let mut activate = Activate {
            bias: self.biases.b3,
            out: wide,
            slope: Some(wide_slope),
            stride: wide_stride,
        };
        product(lanes, rows, pixels, w3, &mut activate);

        pack_rows(lanes, Matrix::dense(gy, pixels, c), gradient, cp);
        add_column_sums(lanes, gy, c, sums.b4);
        operands.add(lanes, Matrix::in_blocks(gradient, pixels, c), Matrix::in_blocks(wide, pixels, 2 * c), sums.w4, is_first);
        let mut chain = Chain { out: wide_slope, stride: wide_stride, sums: sums.b3 };
        product(lanes, gradient, pixels, back4, &mut chain);
        operands.add(lanes, Matrix::in_blocks(wide_slope, pixels, 2 * c), Matrix::in_blocks(rows, pixels, c), sums.w3, is_first);
        let mut residual = Affine {
            bias: &[],
            base: Base::Tensor(gy),
            columns: c,
            wide: Some(gx),
            narrow: Some(gradient),
            stride: cp,
            sums: Some(sums.b2),
        };
        product(lanes, wide_slope, pixels, back3, &mut residual);
        operands.add(lanes, Matrix::in_blocks(gradient, pixels, c), Matrix::in_blocks(spatial, pixels, c), sums.w2, is_first);
        let mut plain = Affine {
            bias: &[],
            base: Base::None,
            columns: c,
            wide: None,
            narrow: Some(gu),
            stride: cp,
            sums: None,
        };
        product(lanes, gradient, pixels, back2, &mut plain);
    }

    /// The gradient of W1 and what flows through it to x.
    #[inline(always)]
    fn first_layer<L: Lanes>(
        &mut self,
        lanes: L,
        x: &[f32],
        gx: &mut [f32],
        gradient: &[Bf16],
        operands: &mut Operands<'_>,
    ) {
        let c = self.shape.c;
        let cp = padded(c);
        let len = PIECE_PIXELS * c;
        for (i, (x, gx)) in x.chunks(len).zip(gx.chunks_mut(len)).enumerate() {
            let pixels = x.len() / c;
            let gradient = &gradient[i * PIECE_PIXELS * cp..];
            let matrix = Matrix::in_blocks(gradient, pixels, c);
            let is_first = self.is_first && i == 0;
            operands.add(lanes, matrix, Matrix::dense(x, pixels, c), self.gradients.w1, is_first);
            let mut add = Affine {
                bias: &[],
                base: Base::Output,
                columns: c,
                wide: Some(gx),
                narrow: None,
                stride: cp,
                sums: None,
            };
            product(lanes, gradient, pixels, self.back[0], &mut add);
        }
    }
}

/// Buffers of the calling thread.
#[derive(Default)]
struct Shared {
    weights: PackedWeights,
    back: PackedWeights,
    sums: Buffer,
}

thread_local! {
    static SHARED: Cell<Shared> = Cell::default();
}

/// Gradients of [`super::block_forward`]: `gx` as `x`, `gparams` as `params`; both are overwritten. Sums over samples
/// are in a fixed order for a given number of threads.
///
/// # Panics
/// If a length does not fit the sizes, or `c` is 0.
#[allow(clippy::too_many_arguments)] // the sizes of one tensor, then its slices
pub fn block_backward(
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
    block_backward_on(Engine::best(), x, gy, batch, [h, w, c], params, gx, gparams);
}

/// [`block_backward`] on a chosen engine; `shape` is h, w, c.
#[allow(clippy::too_many_arguments)] // as above
pub fn block_backward_on(
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
    let shape = Shape { h, w, c };
    let fits = x.len() == batch * shape.len() && gy.len() == x.len() && gx.len() == x.len();
    assert!(fits, "block: tensors do not fit the sizes");
    assert!(c > 0 && params.len() == block_param_len(c), "block: parameters do not fit the sizes");
    assert_eq!(gparams.len(), params.len(), "block: parameter gradient does not fit the sizes");
    if x.is_empty() {
        gparams.fill(0.0);
        return;
    }
    let samples = batch.div_ceil(rayon::current_num_threads());
    let piece = samples * shape.len();
    let sums_len = gradient_lens(c).iter().sum::<usize>();
    let biases = Biases::new(params, c);
    with_kept(&SHARED, |shared| {
        let weights = &shared.weights.pack(engine, Direction::Forward, params, c);
        let back = &shared.back.pack(engine, Direction::Backward, params, c);
        let sums = shared.sums.f32(batch.div_ceil(samples) * sums_len);
        let inputs = x.par_chunks(piece).zip(gy.par_chunks(piece)).zip(gx.par_chunks_mut(piece));
        inputs.zip(sums.par_chunks_exact_mut(sums_len)).for_each(|(((x, gy), gx), sums)| {
            with_kept(&SCRATCH, |scratch| {
                engine.run(Backward { x, gy, gx, shape, weights, back, biases, sums, scratch });
            });
        });
        reduce(sums, c, gparams);
    });
}

/// Adds up the gradients of all tasks.
fn reduce(sums: &[f32], c: usize, gparams: &mut [f32]) {
    let lens = gradient_lens(c);
    let total = lens.iter().sum();
    let (cp, wide) = (padded(c), padded(2 * c));
    let l = BlockLayout::new(c);
    let targets = [l.w1, l.w2, l.w3, l.w4, l.dw, l.bd, l.b1, l.b2, l.b3, l.b4];
    let strides = [cp, cp, cp, wide, cp, cp, cp, cp, wide, cp];
    let columns = [c, c, c, 2 * c, c, c, c, c, 2 * c, c];
    let mut offset = 0;
    for i in 0..lens.len() {
        let to = &mut gparams[targets[i].clone()];
        add_tasks(sums, total, offset, strides[i], to, columns[i]);
        offset += lens[i];
    }
}
