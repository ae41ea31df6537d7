//! Backward pass of the depth-conv block. The inner tensors are computed again, sample by sample.

use std::cell::Cell;

use rayon::prelude::*;

use super::block::{
    BlockParts, FORWARD_PIXELS, PackedWeights, Parameters, SCRATCH, Scratch, Shape, expand,
};
use super::block_gradients::{Gradients, Operands, gradient_len, reduce};
use super::depthwise::{Plane, Sums, convolve_backward, convolve_rows};
use super::engine::{Engine, on_engine};
use super::epilogue::{Activate, Affine, Base, Chain, add_column_sums};
use super::gemm::{Panels, product};
use super::lanes::{BLOCK, Bf16, Lanes, padded};
use super::pack::{Direction, Matrix, pack_rows};
use super::scratch::{Buffer, with_kept};

/// Pixels in one product for the gradient of weights (at least one row of the image).
const STRIP_PIXELS: usize = 256;

/// Rows of a strip that the next one needs.
const LEFT_OVER: usize = 2;

/// Input, gradient of the output and gradient of the input over the same pixels.
struct Tensors<'a> {
    x: &'a [f32],
    gy: &'a [f32],
    gx: &'a mut [f32],
}

/// Buffers of one strip of a sample.
struct Strip<'a> {
    spatial: &'a mut [Bf16],
    rows: &'a mut [Bf16],
    wide: &'a mut [Bf16],
    wide_slope: &'a mut [Bf16],
    gradient: &'a mut [Bf16],
    operands: Operands<'a>,
}

/// The backward pass of some samples.
struct Task<'a> {
    shape: Shape,
    weights: &'a [Panels<'a>; 4],
    back: &'a [Panels<'a>; 4],
    params: Parameters<'a>,
    gradients: Gradients<'a>,
}

impl Task<'_> {
    /// Goes down the sample in strips of rows, so that what a strip touches stays in the second-level cache: the first
    /// layer runs one row ahead of the second half of the block, its gradient one row behind. Of their tensors only the
    /// rows around the strip are kept, in windows that move down with it.
    #[inline(always)]
    fn sample<L: Lanes>(&mut self, lanes: L, tensors: Tensors<'_>, scratch: &mut Scratch) {
        let Tensors { x, gy, gx } = tensors;
        let Shape { h, w, c } = self.shape;
        let (cp, wide_stride) = (padded(c), padded(2 * c));
        let (line, packed_line) = (w * c, w * cp);
        let step = self.shape.rows_of(STRIP_PIXELS);
        let most = padded(((step + 1) * w).max(FORWARD_PIXELS));
        let window = (step + LEFT_OVER + 1) * packed_line;
        let hidden = scratch.hidden.at_least(window);
        let slope = scratch.hidden_slope.at_least(window + BLOCK * cp);
        let gu = scratch.spatial_gradient.at_least(window);
        let mut strip = Strip {
            spatial: scratch.spatial.at_least(most * cp),
            rows: scratch.rows.at_least(most * cp),
            wide: scratch.wide.at_least(most * wide_stride),
            wide_slope: scratch.wide_slope.at_least(most * wide_stride),
            gradient: scratch.gradient.at_least(most * cp),
            operands: Operands {
                left: scratch.left.at_least(most * wide_stride),
                right: scratch.right.at_least(most * wide_stride),
            },
        };
        // The row that the windows start with; rows of the first layer and of its gradient that are done.
        let (mut top, mut ahead, mut behind) = (0, 0, 0);
        for start in (0..h).step_by(step) {
            let end = h.min(start + step);
            let next = h.min(end + 1);
            let (at, b1) = ((ahead - top) * packed_line, self.params.b1);
            let (x_ahead, w1) = (&x[ahead * line..next * line], self.weights[0]);
            let (to, slope_to) = (&mut hidden[at..], Some(&mut slope[at..]));
            expand(lanes, x_ahead, w1, b1, strip.rows, to, slope_to);
            ahead = next;

            let plane = Plane {
                data: &*hidden,
                top,
                h,
                w,
                stride: cp,
            };
            let spatial = &mut strip.spatial[..(end - start) * packed_line];
            convolve_rows(lanes, plane, start, self.params.dw, self.params.bd, spatial);
            let range = start * line..end * line;
            let tensors = Tensors {
                x: &x[range.clone()],
                gy: &gy[range.clone()],
                gx: &mut gx[range],
            };
            let of_strip = &mut gu[(start - top) * packed_line..(end - top) * packed_line];
            self.second_half(lanes, tensors, of_strip, &mut strip);

            let next = if end == h { h } else { end - 1 };
            // Through the depthwise convolution and the first activation: `slope` becomes the gradient of W1 x + b1.
            let BlockParts { dw, bd, b1, .. } = &mut self.gradients;
            let mut sums = Sums {
                taps: dw.sums,
                bias: bd.sums,
                input: b1.sums,
            };
            let (rows, taps) = (behind..next, self.params.dw);
            convolve_backward(lanes, plane, rows, gu, taps, slope, &mut sums);
            let range = behind * line..next * line;
            let gradient = &slope[(behind - top) * packed_line..];
            let (x, gx) = (&x[range.clone()], &mut gx[range]);
            self.first_layer(lanes, x, gx, gradient, &mut strip.operands);
            behind = next;

            let keep = end.saturating_sub(LEFT_OVER);
            for (window, end) in [(&mut *hidden, ahead), (&mut *slope, ahead), (&mut *gu, end)] {
                window.copy_within((keep - top) * packed_line..(end - top) * packed_line, 0);
            }
            top = keep;
        }
    }

    /// From the gradient of y to the gradients of x1 (into `gx`) and u (into `gu`), over one strip.
    #[inline(always)]
    fn second_half<L: Lanes>(
        &mut self,
        lanes: L,
        tensors: Tensors<'_>,
        gu: &mut [Bf16],
        strip: &mut Strip<'_>,
    ) {
        let Tensors { x, gy, gx } = tensors;
        let c = self.shape.c;
        let (cp, wide_stride) = (padded(c), padded(2 * c));
        let pixels = x.len() / c;
        let Strip {
            spatial,
            rows,
            wide,
            wide_slope,
            gradient,
            operands,
        } = strip;
        let [_, w2, w3, _] = *self.weights;
        let [_, back2, back3, back4] = *self.back;
        let Parameters { b2, b3, .. } = self.params;
        let sums = &mut self.gradients;

        let mut residual = Affine {
            narrow: Some(rows),
            ..Affine::new(b2, Base::Tensor(x), c)
        };
        product(lanes, spatial, pixels, w2, &mut residual);
        let slope = Some(&mut **wide_slope);
        let mut activate = Activate {
            bias: b3,
            out: wide,
            slope,
            stride: wide_stride,
        };
        product(lanes, rows, pixels, w3, &mut activate);

        pack_rows(lanes, Matrix::dense(gy, pixels, c), gradient, cp);
        add_column_sums(lanes, gy, c, sums.b4.sums);
        let hidden = Matrix::in_blocks(wide, pixels, 2 * c);
        let of_output = Matrix::in_blocks(gradient, pixels, c);
        operands.add(lanes, of_output, hidden, &mut sums.w4);

        let mut chain = Chain {
            out: wide_slope,
            stride: wide_stride,
            sums: sums.b3.sums,
        };
        product(lanes, gradient, pixels, back4, &mut chain);
        let of_hidden = Matrix::in_blocks(wide_slope, pixels, 2 * c);
        let middle = Matrix::in_blocks(rows, pixels, c);
        operands.add(lanes, of_hidden, middle, &mut sums.w3);

        let mut residual = Affine {
            wide: Some(gx),
            narrow: Some(gradient),
            sums: Some(sums.b2.sums),
            ..Affine::new(&[], Base::Tensor(gy), c)
        };
        product(lanes, wide_slope, pixels, back3, &mut residual);
        let of_middle = Matrix::in_blocks(gradient, pixels, c);
        let input = Matrix::in_blocks(spatial, pixels, c);
        operands.add(lanes, of_middle, input, &mut sums.w2);

        let mut plain = Affine {
            narrow: Some(gu),
            ..Affine::new(&[], Base::None, c)
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
        let pixels = x.len() / c;
        if pixels == 0 {
            return;
        }
        let gradient_rows = Matrix::in_blocks(gradient, pixels, c);
        let input = Matrix::dense(x, pixels, c);
        operands.add(lanes, gradient_rows, input, &mut self.gradients.w1);
        let mut add = Affine {
            wide: Some(gx),
            ..Affine::new(&[], Base::Output, c)
        };
        product(lanes, gradient, pixels, self.back[0], &mut add);
    }
}

/// Buffers of the calling thread.
#[derive(Default)]
struct Shared {
    weights: PackedWeights,
    back: PackedWeights,
    sums: Buffer<f32>,
}

thread_local! {
    static SHARED: Cell<Shared> = Cell::default();
}

/// Gradients of [`super::block_forward`] from that of its output: `gx` as `x`, `gparams` as `params`; both are
/// overwritten. Sums over samples are in a fixed order for a given number of threads.
///
/// # Panics
/// If a length does not fit the sizes, or there are no channels.
pub fn block_backward(
    engine: Engine,
    x: &[f32],
    gy: &[f32],
    shape: Shape,
    params: &[f32],
    gx: &mut [f32],
    gparams: &mut [f32],
) {
    shape.check([x, gy, gx], params);
    assert_eq!(
        gparams.len(),
        params.len(),
        "block: parameter gradient does not fit the sizes"
    );
    if x.is_empty() {
        gparams.fill(0.0);
        return;
    }
    let batch = x.len() / shape.numbers();
    let samples = batch.div_ceil(rayon::current_num_threads());
    let piece = samples * shape.numbers();
    let (c, sums_len) = (shape.c, gradient_len(shape.c));
    let params = Parameters::new(params, c);
    with_kept(&SHARED, |shared| {
        let Shared {
            weights,
            back,
            sums,
        } = shared;
        let weights = &weights.pack(engine, Direction::Forward, params, c);
        let back = &back.pack(engine, Direction::Backward, params, c);
        let sums = sums.at_least(batch.div_ceil(samples) * sums_len);
        let inputs = x.par_chunks(piece).zip(gy.par_chunks(piece));
        let tensors = inputs.zip(gx.par_chunks_mut(piece));
        let tasks = tensors.zip(sums.par_chunks_exact_mut(sums_len));
        tasks.for_each(|(((x, gy), gx), sums)| {
            with_kept(&SCRATCH, |scratch| {
                let tensors = Tensors { x, gy, gx };
                let task = Task {
                    shape,
                    weights,
                    back,
                    params,
                    gradients: Gradients::new(sums, c),
                };
                on_engine!(engine, <'a> |lanes| {
                    task: Task<'a>, tensors: Tensors<'a>, scratch: &'a mut Scratch
                } => {
                    let (mut task, Tensors { x, gy, gx }) = (task, tensors);
                    let len = task.shape.numbers();
                    let inputs = x.chunks_exact(len).zip(gy.chunks_exact(len));
                    for ((x, gy), gx) in inputs.zip(gx.chunks_exact_mut(len)) {
                        task.sample(lanes, Tensors { x, gy, gx }, scratch);
                    }
                });
            });
        });
        reduce(sums, c, gparams);
    });
}
