//! What the block and the pointwise layer do with the sums of a product.
//!
//! bf16 outputs have rows padded to 32 numbers and are written in full blocks (zeros behind the last column, since
//! packed operands are zero there); binary32 tensors are dense.

use super::gemm::{Epilogue, Place, Stage};
use super::lanes::{BLOCK, Bf16, LANES, Lanes, padded};

const HALVES: usize = BLOCK / LANES;

/// From `column` on; empty beyond the end.
#[inline(always)]
pub(super) fn from<T>(values: &[T], column: usize) -> &[T] {
    &values[column.min(values.len())..]
}

/// From `column` on; empty beyond the end.
#[inline(always)]
pub(super) fn from_mut<T>(values: &mut [T], column: usize) -> &mut [T] {
    let start = column.min(values.len());
    &mut values[start..]
}

/// Row `row` of a dense matrix from `column` on.
#[inline(always)]
fn dense<T>(values: &[T], columns: usize, row: usize, column: usize) -> &[T] {
    from(&values[row * columns..(row + 1) * columns], column)
}

/// Row `row` of a dense matrix from `column` on.
#[inline(always)]
fn dense_mut<T>(values: &mut [T], columns: usize, row: usize, column: usize) -> &mut [T] {
    from_mut(&mut values[row * columns..(row + 1) * columns], column)
}

/// Adds to sixteen running sums.
#[inline(always)]
pub(super) fn add_to<L: Lanes>(lanes: L, sums: &mut [f32], value: L::F) {
    let sum = lanes.add(lanes.load(sums), value);
    lanes.store(sums, sum);
}

/// `out = activation(v + bias)` and, if wanted, the derivative of the activation there.
pub(super) struct Activate<'a> {
    pub bias: &'a [f32],
    pub out: &'a mut [Bf16],
    pub slope: Option<&'a mut [Bf16]>,
    pub stride: usize,
}

impl Epilogue for Activate<'_> {
    #[inline(always)]
    fn block<L: Lanes>(&mut self, lanes: L, at: Place, stage: &Stage) {
        for half in 0..HALVES {
            let column = at.column + half * LANES;
            let bias = lanes.load(from(self.bias, column));
            for row in 0..at.rows {
                let value = lanes.add(stage.half(lanes, row, half), bias);
                let to = (at.row + row) * self.stride + column;
                lanes.store_bf16(&mut self.out[to..to + LANES], lanes.activate(value));
                if let Some(slope) = &mut self.slope {
                    lanes.store_bf16(&mut slope[to..to + LANES], lanes.slope(value));
                }
            }
        }
    }
}

/// What [`Affine`] adds beside the bias.
pub(super) enum Base<'a> {
    /// Nothing.
    None,
    /// What the output holds.
    Output,
    /// Another dense tensor.
    Tensor(&'a [f32]),
}

/// `v + bias + base` to a dense binary32 tensor, to a padded bf16 one, or both; sums over rows on the side.
pub(super) struct Affine<'a> {
    pub bias: &'a [f32],
    pub base: Base<'a>,
    pub columns: usize,
    pub wide: Option<&'a mut [f32]>,
    pub narrow: Option<&'a mut [Bf16]>,
    /// Padded column sums that the values are added to.
    pub sums: Option<&'a mut [f32]>,
}

impl<'a> Affine<'a> {
    /// Without any output.
    #[inline(always)]
    pub(super) fn new(bias: &'a [f32], base: Base<'a>, columns: usize) -> Self {
        Self {
            bias,
            base,
            columns,
            wide: None,
            narrow: None,
            sums: None,
        }
    }

    #[inline(always)]
    fn base<L: Lanes>(&self, lanes: L, row: usize, column: usize) -> L::F {
        match (&self.base, &self.wide) {
            (Base::Tensor(base), _) => lanes.load(dense(base, self.columns, row, column)),
            (Base::Output, Some(wide)) => lanes.load(dense(wide, self.columns, row, column)),
            _ => lanes.splat(0.0),
        }
    }
}

impl Epilogue for Affine<'_> {
    #[inline(always)]
    fn block<L: Lanes>(&mut self, lanes: L, at: Place, stage: &Stage) {
        let stride = padded(self.columns);
        for half in 0..HALVES {
            let column = at.column + half * LANES;
            let bias = lanes.load(from(self.bias, column));
            let mut sum = lanes.splat(0.0);
            for i in 0..at.rows {
                let row = at.row + i;
                let value = lanes.add(stage.half(lanes, i, half), bias);
                let value = lanes.add(value, self.base(lanes, row, column));
                if let Some(wide) = &mut self.wide {
                    lanes.store(dense_mut(wide, self.columns, row, column), value);
                }
                if let Some(narrow) = &mut self.narrow {
                    let to = row * stride + column;
                    lanes.store_bf16(&mut narrow[to..to + LANES], value);
                }
                sum = lanes.add(sum, value);
            }
            if let Some(sums) = &mut self.sums {
                add_to(lanes, &mut sums[column..column + LANES], sum);
            }
        }
    }
}

/// Multiplies the derivative of the activation in `out` by the gradient behind it; sums over rows on the side.
pub(super) struct Chain<'a> {
    pub out: &'a mut [Bf16],
    pub stride: usize,
    pub sums: &'a mut [f32],
}

impl Epilogue for Chain<'_> {
    #[inline(always)]
    fn block<L: Lanes>(&mut self, lanes: L, at: Place, stage: &Stage) {
        for half in 0..HALVES {
            let column = at.column + half * LANES;
            let mut sum = lanes.splat(0.0);
            for row in 0..at.rows {
                let to = (at.row + row) * self.stride + column;
                let out = &mut self.out[to..to + LANES];
                let value = lanes.mul(stage.half(lanes, row, half), lanes.load_bf16(out));
                lanes.store_bf16(out, value);
                sum = lanes.add(sum, value);
            }
            add_to(lanes, &mut self.sums[column..column + LANES], sum);
        }
    }
}

/// Adds the column sums of a dense tensor to padded `sums`.
#[inline(always)]
pub(super) fn add_column_sums<L: Lanes>(
    lanes: L,
    values: &[f32],
    columns: usize,
    sums: &mut [f32],
) {
    for column in (0..columns).step_by(LANES) {
        let mut sum = lanes.splat(0.0);
        for row in values.chunks_exact(columns) {
            sum = lanes.add(sum, lanes.load(&row[column..]));
        }
        add_to(lanes, &mut sums[column..column + LANES], sum);
    }
}
