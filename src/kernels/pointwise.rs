//! The pointwise (1x1) convolution in binary32, one matrix product per picture: for the
//! gradients of the encoder's search.
//!
//! `out[p][n]` is `bias[n]`, then `fma(weight[n][k], x[p][k], acc)` for `k`
//! ascending, with one accumulator per output value: vectors run over outputs,
//! never over `k`.

use super::aligned::AlignedBuffer;
use super::dispatch::{self, Kernel, KernelPath};
use super::lanes::Lanes;
use super::{check_length, product};
use rayon::prelude::*;

/// Outputs per panel of packed weights.
const PANEL: usize = 32;

/// Most pixels per parallel task: a multiple of every register block, small
/// enough that the task's inputs stay in the second-level cache while one
/// panel after another passes over them.
const CHUNK: usize = 96;

/// Pixels per parallel task are a multiple of this.
const CHUNK_STEP: usize = 12;

/// The weights and bias of a pointwise convolution, packed for the kernels.
///
/// Panels of 32 outputs, each stored `[inputs, 32]`; outputs that do not exist
/// are zero.
#[derive(Debug, Clone)]
pub struct PackedPointwise {
    inputs: usize,
    outputs: usize,
    panels: AlignedBuffer,
    bias: AlignedBuffer,
}

impl PackedPointwise {
    /// Packs `weight` (`[outputs, inputs]`) and `bias` (`[outputs]`).
    ///
    /// # Panics
    /// When a count is zero or a slice has another length.
    pub fn new(inputs: usize, outputs: usize, weight: &[f32], bias: &[f32]) -> Self {
        assert!(inputs > 0 && outputs > 0, "pointwise: no channels");
        check_length(weight.len(), [inputs, outputs], "pointwise: weight length");
        assert_eq!(bias.len(), outputs, "pointwise: bias length");
        let padded = outputs.next_multiple_of(PANEL);
        let mut panels = AlignedBuffer::zeros(product([padded, inputs]));
        for (output, row) in weight.chunks_exact(inputs).enumerate() {
            let panel = &mut panels.values_mut()[output / PANEL * PANEL * inputs..];
            let column = panel[output % PANEL..].iter_mut().step_by(PANEL);
            column.zip(row).for_each(|(to, from)| *to = *from);
        }
        let mut padded_bias = AlignedBuffer::zeros(padded);
        padded_bias.values_mut()[..outputs].copy_from_slice(bias);
        Self {
            inputs,
            outputs,
            panels,
            bias: padded_bias,
        }
    }

    /// The transposed weights without a bias: what takes the gradient of the outputs to that of
    /// the inputs.
    pub fn transposed(&self) -> Self {
        let mut weight = vec![0.0; self.inputs * self.outputs];
        for input in 0..self.inputs {
            for output in 0..self.outputs {
                let panel = output / PANEL * PANEL * self.inputs;
                weight[input * self.outputs + output] =
                    self.panels.values()[panel + input * PANEL + output % PANEL];
            }
        }
        Self::new(self.outputs, self.inputs, &weight, &vec![0.0; self.inputs])
    }

    /// Number of input channels.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of output channels.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Panics unless the slices hold the same whole number of pixels.
    fn check(&self, x: &[f32], residual: Option<&[f32]>, out: &[f32]) {
        let pixels = out.len() / self.outputs;
        check_length(
            out.len(),
            [pixels, self.outputs],
            "pointwise: output length",
        );
        check_length(x.len(), [pixels, self.inputs], "pointwise: input length");
        if let Some(residual) = residual {
            assert_eq!(residual.len(), out.len(), "pointwise: residual length");
        }
    }
}

/// `out = weight * x + bias [+ residual]` for every pixel. Parallel.
///
/// `x` is `[pixels, inputs]`, `out` and `residual` are `[pixels, outputs]`;
/// the number of pixels follows from `out` and may be zero.
///
/// # Panics
/// When the lengths do not agree.
pub fn pointwise(x: &[f32], weights: &PackedPointwise, residual: Option<&[f32]>, out: &mut [f32]) {
    let path = dispatch::active();
    let pixels = out.len() / weights.outputs;
    let share = pixels.div_ceil(rayon::current_num_threads());
    let chunk = share.next_multiple_of(CHUNK_STEP).clamp(CHUNK_STEP, CHUNK);
    weights.check(x, residual, out);
    let rows = out.par_chunks_mut(chunk * weights.outputs).enumerate();
    rows.for_each(|(index, out)| {
        let first = index * chunk;
        let last = first + out.len() / weights.outputs;
        let x = &x[first * weights.inputs..last * weights.inputs];
        let residual = residual.map(|r| &r[first * weights.outputs..last * weights.outputs]);
        pointwise_chunk(path, x, weights, residual, out);
    });
}

/// [`pointwise`] of a few pixels (tens to hundreds) on this thread.
pub(super) fn pointwise_chunk(
    path: KernelPath,
    x: &[f32],
    weights: &PackedPointwise,
    residual: Option<&[f32]>,
    out: &mut [f32],
) {
    weights.check(x, residual, out);
    let chunk = Chunk {
        x,
        weights,
        residual,
        out,
    };
    dispatch::run(path, chunk);
}

/// A pointwise convolution of some pixels; lengths agree (checked above).
struct Chunk<'a> {
    x: &'a [f32],
    weights: &'a PackedPointwise,
    residual: Option<&'a [f32]>,
    out: &'a mut [f32],
}

impl Kernel for Chunk<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Lanes, const ROWS: usize, const VECTORS: usize>(mut self) {
        let pixels = self.out.len() / self.weights.outputs;
        for column in (0..self.weights.outputs).step_by(VECTORS * V::COUNT) {
            let mut pixel = 0;
            // SAFETY: `pixel + rows <= pixels` in each call, and the CPU has
            // the instruction set of `V` (contract).
            unsafe {
                while pixel + ROWS <= pixels {
                    self.block::<V, ROWS, VECTORS>(pixel, column);
                    pixel += ROWS;
                }
                while pixel + 4 <= pixels {
                    self.block::<V, 4, VECTORS>(pixel, column);
                    pixel += 4;
                }
                while pixel < pixels {
                    self.block::<V, 1, VECTORS>(pixel, column);
                    pixel += 1;
                }
            }
        }
    }
}

impl Chunk<'_> {
    /// Computes `VECTORS` vectors of outputs from `column` on, for `ROWS`
    /// pixels from `pixel` on.
    ///
    /// # Safety
    /// `pixel + ROWS` is at most the number of pixels, `column` is below the
    /// number of outputs and a multiple of the vectors' width, which divides
    /// [`PANEL`]; the CPU has the instruction set of `V`.
    #[inline(always)]
    unsafe fn block<V: Lanes, const ROWS: usize, const VECTORS: usize>(
        &mut self,
        pixel: usize,
        column: usize,
    ) {
        let inputs = self.weights.inputs;
        let start = column / PANEL * PANEL * inputs + column % PANEL;
        // SAFETY: the panel that holds `column` is whole, so `start` plus
        // `inputs` rows of PANEL values and the padded bias are in bounds;
        // so are the ROWS pixels from `pixel` on.
        let sums = unsafe {
            let x = self.x.as_ptr().add(pixel * inputs);
            let panel = self.weights.panels.values().as_ptr().add(start);
            let bias = self.weights.bias.values().as_ptr().add(column);
            accumulate::<V, ROWS, VECTORS>(x, inputs, panel, bias)
        };
        let whole = column + VECTORS * V::COUNT <= self.weights.outputs;
        for (row, sums) in sums.into_iter().enumerate() {
            let at = (pixel + row) * self.weights.outputs + column;
            // SAFETY: `pixel + row` is a pixel; `whole` says whether all
            // columns of the block exist.
            unsafe {
                match whole {
                    true => self.store_whole(sums, at),
                    false => self.store_part(sums, at, self.weights.outputs - column),
                }
            }
        }
    }

    /// Adds the residual and stores all of `sums` at `out[at..]`.
    ///
    /// # Safety
    /// `out` has `VECTORS * COUNT` values from `at` on.
    #[inline(always)]
    unsafe fn store_whole<V: Lanes, const VECTORS: usize>(
        &mut self,
        sums: [V; VECTORS],
        at: usize,
    ) {
        for (index, mut sum) in sums.into_iter().enumerate() {
            let at = at + index * V::COUNT;
            // SAFETY: in bounds of `out` (contract) and of the residual, which
            // is as long; a `V` exists, so the CPU has its instructions.
            unsafe {
                if let Some(residual) = self.residual {
                    sum = sum.plus(V::load(residual.as_ptr().add(at)));
                }
                sum.store(self.out.as_mut_ptr().add(at));
            }
        }
    }

    /// Adds the residual and stores the first `count` values of `sums` at
    /// `out[at..]`, where fewer than a whole block of outputs are left.
    #[inline(always)]
    fn store_part<V: Lanes, const VECTORS: usize>(
        &mut self,
        sums: [V; VECTORS],
        at: usize,
        count: usize,
    ) {
        let mut values = [0.0f32; PANEL];
        for (index, sum) in sums.into_iter().enumerate() {
            // SAFETY: a block of outputs is at most PANEL wide.
            unsafe { sum.store(values.as_mut_ptr().add(index * V::COUNT)) };
        }
        let values = &mut values[..count];
        if let Some(residual) = self.residual {
            for (value, residual) in values.iter_mut().zip(&residual[at..]) {
                *value += residual;
            }
        }
        self.out[at..at + count].copy_from_slice(values);
    }
}

/// The whole chain over `k` of `ROWS` pixels times `VECTORS` vectors of
/// outputs, held in registers.
///
/// # Safety
/// `x` is readable for `ROWS * inputs` values, `panel` for `inputs` rows of
/// [`PANEL`] values less the offset of its first column, `bias` for
/// `VECTORS` vectors; the CPU has the instruction set of `V`.
#[inline(always)]
unsafe fn accumulate<V: Lanes, const ROWS: usize, const VECTORS: usize>(
    x: *const f32,
    inputs: usize,
    panel: *const f32,
    bias: *const f32,
) -> [[V; VECTORS]; ROWS] {
    // SAFETY: every pointer stays inside what the contract grants.
    unsafe {
        let mut weights = [V::splat(0.0); VECTORS];
        for (index, weight) in weights.iter_mut().enumerate() {
            *weight = V::load(bias.add(index * V::COUNT));
        }
        let mut sums = [weights; ROWS];
        for k in 0..inputs {
            for (index, weight) in weights.iter_mut().enumerate() {
                *weight = V::load(panel.add(k * PANEL + index * V::COUNT));
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = V::splat(x.add(row * inputs + k).read());
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum = weight.fused(x, *sum);
                }
            }
        }
        sums
    }
}
