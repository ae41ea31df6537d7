//! Operand layouts of the products.
//!
//! The left operand is row-major bf16 with rows padded to whole blocks. The right operand is in panels of 32 columns;
//! a panel row holds, for each column, two adjacent numbers of the summed dimension. Padding of the summed dimension
//! is zero on both sides.

use rayon::prelude::*;

use super::engine::{Engine, on_engine};
use super::gemm::Panels;
use super::lanes::{BLOCK, Bf16, Element, LANES, Lanes, Rest, padded};
use super::scratch::Buffer;

/// A row-major matrix to read from.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a, E> {
    pub data: &'a [E],
    pub rows: usize,
    pub columns: usize,
    /// Distance between rows.
    pub stride: usize,
}

impl<'a, E> Matrix<'a, E> {
    /// Rows padded to whole blocks.
    #[inline(always)]
    pub(super) fn in_blocks(data: &'a [E], rows: usize, columns: usize) -> Self {
        Self {
            stride: padded(columns),
            ..Self::dense(data, rows, columns)
        }
    }

    /// Rows without gaps.
    #[inline(always)]
    pub(super) fn dense(data: &'a [E], rows: usize, columns: usize) -> Self {
        Self {
            data,
            rows,
            columns,
            stride: columns,
        }
    }

    /// Row `row` from `column` on; empty outside of the matrix.
    #[inline(always)]
    fn tail(&self, row: usize, column: usize) -> &'a [E] {
        if row >= self.rows || column >= self.columns {
            return &[];
        }
        &self.data[row * self.stride + column..row * self.stride + self.columns]
    }
}

impl<'a> Matrix<'a, f32> {
    /// The same matrix, read as what rounding to bf16 leaves over.
    #[inline(always)]
    pub(super) fn rest(self) -> Matrix<'a, Rest> {
        Matrix {
            data: Rest::of(self.data),
            rows: self.rows,
            columns: self.columns,
            stride: self.stride,
        }
    }
}

/// Precision of products: how binary32 operands become bf16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Rounded.
    Bf16,
    /// As a sum of two bf16 numbers; the product of the two small parts is dropped. Relative error about 2^-17: for the
    /// linear path, whose errors reach the picture directly.
    F32,
}

/// Which part of the operand a segment of the summed dimension holds.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Rounded,
    Rest,
}

impl Precision {
    /// Segments of the summed dimension.
    pub(super) const fn segments(self) -> usize {
        match self {
            Precision::Bf16 => 1,
            Precision::F32 => 3,
        }
    }

    /// Parts in the segments of the left operand.
    pub(super) const fn left(self) -> &'static [Part] {
        match self {
            Precision::Bf16 => &[Part::Rounded],
            Precision::F32 => &[Part::Rounded, Part::Rounded, Part::Rest],
        }
    }

    /// Parts in the segments of the right operand.
    pub(super) const fn right(self) -> &'static [Part] {
        match self {
            Precision::Bf16 => &[Part::Rounded],
            Precision::F32 => &[Part::Rounded, Part::Rest, Part::Rounded],
        }
    }
}

/// Rounds the rows of `from` into `to` (stride given, a multiple of 32), zeros behind the last column up to the block.
#[inline(always)]
pub(super) fn pack_rows<L: Lanes, E: Element>(
    lanes: L,
    from: Matrix<'_, E>,
    to: &mut [Bf16],
    to_stride: usize,
) {
    let width = padded(from.columns);
    for (row, to) in to.chunks_mut(to_stride).take(from.rows).enumerate() {
        for (i, to) in to[..width].chunks_exact_mut(LANES).enumerate() {
            lanes.store_bf16(to, E::load(lanes, from.tail(row, i * LANES)));
        }
    }
}

/// [`pack_rows`] into the segments of a left operand.
#[inline(always)]
pub(super) fn pack_left<L: Lanes>(
    lanes: L,
    precision: Precision,
    from: Matrix<'_, f32>,
    to: &mut [Bf16],
) {
    let width = padded(from.columns);
    let stride = width * precision.segments();
    for (i, part) in precision.left().iter().enumerate() {
        match part {
            Part::Rounded => pack_rows(lanes, from, &mut to[i * width..], stride),
            Part::Rest => pack_rows(lanes, from.rest(), &mut to[i * width..], stride),
        }
    }
}

/// One panel of 32 columns of a right operand whose summed dimension is the rows of `from`:
/// `padded(rows) / 2` panel rows.
#[inline(always)]
pub(super) fn pack_pairs_panel<L: Lanes, E: Element>(
    lanes: L,
    from: Matrix<'_, E>,
    column: usize,
    to: &mut [Bf16],
) {
    let pairs = padded(from.rows) / 2;
    for (i, to) in to.chunks_exact_mut(2 * BLOCK).take(pairs).enumerate() {
        for (half, to) in to.as_chunks_mut().0.iter_mut().enumerate() {
            let column = column + half * LANES;
            let first = from.tail(2 * i, column);
            let second = from.tail(2 * i + 1, column);
            lanes.store_pairs(to, E::load_pair(lanes, first, second));
        }
    }
}

/// All panels of a right operand whose summed dimension is the rows of `from`.
#[inline(always)]
pub(super) fn pack_pairs<L: Lanes, E: Element>(lanes: L, from: Matrix<'_, E>, to: &mut [Bf16]) {
    let panel = padded(from.rows) * BLOCK;
    let panels = to.chunks_exact_mut(panel);
    for (i, to) in panels.take(from.columns.div_ceil(BLOCK)).enumerate() {
        pack_pairs_panel(lanes, from, i * BLOCK, to);
    }
}

/// The transpose of `from` as a left operand with rows of `stride` numbers: `padded(columns)` rows of
/// `padded(rows)` numbers.
#[inline(always)]
pub(super) fn pack_transposed<L: Lanes, E: Element>(
    lanes: L,
    from: Matrix<'_, E>,
    to: &mut [Bf16],
    stride: usize,
) {
    for column in (0..padded(from.columns)).step_by(LANES) {
        for row in (0..padded(from.rows)).step_by(BLOCK) {
            let mut pairs = [lanes.zero_pairs(); LANES];
            for (i, pairs) in pairs.iter_mut().enumerate() {
                let row = row + 2 * i;
                *pairs = E::load_pair(lanes, from.tail(row, column), from.tail(row + 1, column));
            }
            for (i, pairs) in lanes.transpose(pairs).into_iter().enumerate() {
                if let Some(to) = to[(column + i) * stride + row..].first_chunk_mut() {
                    lanes.store_pairs(to, pairs);
                }
            }
        }
    }
}

/// One panel of a right operand whose summed dimension is the columns of `from` (its transpose is multiplied):
/// 32 rows of `from` from `row` on.
#[inline(always)]
fn pack_adjacent_panel<L: Lanes, E: Element>(
    lanes: L,
    from: Matrix<'_, E>,
    row: usize,
    to: &mut [Bf16],
) {
    for column in (0..padded(from.columns)).step_by(BLOCK) {
        for half in 0..BLOCK / LANES {
            let mut pairs = [lanes.zero_pairs(); LANES];
            for (i, pairs) in pairs.iter_mut().enumerate() {
                let row = row + half * LANES + i;
                let low = E::load(lanes, from.tail(row, column));
                *pairs = lanes.pair_adjacent(low, E::load(lanes, from.tail(row, column + LANES)));
            }
            for (i, pairs) in lanes.transpose(pairs).into_iter().enumerate() {
                let at = (column / 2 + i) * 2 * BLOCK + half * BLOCK;
                if let Some(to) = to[at..].first_chunk_mut() {
                    lanes.store_pairs(to, pairs);
                }
            }
        }
    }
}

/// All panels of a right operand whose summed dimension is the columns of `from`.
#[inline(always)]
pub(super) fn pack_adjacent<L: Lanes, E: Element>(lanes: L, from: Matrix<'_, E>, to: &mut [Bf16]) {
    let panel = padded(from.columns) * BLOCK;
    let panels = to.chunks_exact_mut(panel).take(from.rows.div_ceil(BLOCK));
    for (i, to) in panels.enumerate() {
        pack_adjacent_panel(lanes, from, i * BLOCK, to);
    }
}

/// Which product of a layer's weights `[outputs, inputs]` is wanted.
#[derive(Clone, Copy)]
pub(super) enum Direction {
    /// Sum over inputs.
    Forward,
    /// Sum over outputs, for the gradient of the input.
    Backward,
}

/// Panel `index` of weights.
#[inline(always)]
fn pack_weights_panel<L: Lanes, E: Element>(
    lanes: L,
    direction: Direction,
    weights: Matrix<'_, E>,
    index: usize,
    to: &mut [Bf16],
) {
    match direction {
        Direction::Forward => pack_adjacent_panel(lanes, weights, index * BLOCK, to),
        Direction::Backward => pack_pairs_panel(lanes, weights, index * BLOCK, to),
    }
}

/// Packs weights `[outputs, inputs]` as a right operand, in parallel.
pub(super) fn pack_weights<'a>(
    engine: Engine,
    weights: Matrix<'_, f32>,
    precision: Precision,
    direction: Direction,
    buffer: &'a mut Buffer,
) -> Panels<'a> {
    let (depth, columns) = match direction {
        Direction::Forward => (weights.columns, weights.rows),
        Direction::Backward => (weights.rows, weights.columns),
    };
    let depth = padded(depth) * precision.segments();
    let data = buffer.at_least(depth * padded(columns));
    let panels = data.par_chunks_exact_mut(depth * BLOCK).enumerate();
    panels.for_each(|(index, to)| {
        on_engine!(engine, <'a> |lanes| {
            weights: Matrix<'a, f32>, precision: Precision, direction: Direction, index: usize, to: &'a mut [Bf16]
        } => {
            let segment = to.len() / precision.segments();
            for (to, part) in to.chunks_exact_mut(segment).zip(precision.right()) {
                match part {
                    Part::Rounded => pack_weights_panel(lanes, direction, weights, index, to),
                    Part::Rest => pack_weights_panel(lanes, direction, weights.rest(), index, to),
                }
            }
        });
    });
    Panels::new(data, depth, columns)
}
