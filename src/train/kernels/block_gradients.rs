//! Sums of the parameter gradients of a block: one set for each task, added up at the end.

use super::block::BlockParts;
use super::gemm::{Panels, product_into};
use super::lanes::{BLOCK, Bf16, Element, Lanes, padded};
use super::pack::{Matrix, pack_pairs, pack_transposed};
use super::pointwise::add_tasks;

/// Gradient of one part, rows and those of weight matrices padded.
pub(super) struct PartSum<'a> {
    pub sums: &'a mut [f32],
    /// Of a weight matrix: nothing was added yet; what `sums` holds is left over from another call.
    is_empty: bool,
}

/// Parameter gradients of one task.
pub(super) type Gradients<'a> = BlockParts<PartSum<'a>>;

/// Rows and columns of the parts of [`Gradients`].
fn padded_sizes(c: usize) -> BlockParts<[usize; 2]> {
    BlockParts::sizes(padded(c), padded(2 * c))
}

/// Numbers in [`Gradients`].
pub(super) fn gradient_len(c: usize) -> usize {
    let sizes = padded_sizes(c).into_array();
    sizes.map(|[rows, columns]| rows * columns).iter().sum()
}

impl<'a> Gradients<'a> {
    /// Starts new sums in a slice of the total length.
    pub(super) fn new(mut sums: &'a mut [f32], c: usize) -> Self {
        padded_sizes(c).map(|[rows, columns]| {
            let sums = sums.split_off_mut(..rows * columns);
            let sums = sums.expect("the slice has the length of all parts");
            // Only those of a matrix are padded; taps and biases have nine and one.
            let is_matrix = rows.is_multiple_of(BLOCK);
            if !is_matrix {
                sums.fill(0.0);
            }
            PartSum {
                sums,
                is_empty: is_matrix,
            }
        })
    }
}

/// Buffers to pack the operands of a weight gradient into.
pub(super) struct Operands<'a> {
    pub left: &'a mut [Bf16],
    pub right: &'a mut [Bf16],
}

impl Operands<'_> {
    /// `sum += gradient^T input`, over the rows of both.
    #[inline(always)]
    pub(super) fn add<L: Lanes, G: Element, X: Element>(
        &mut self,
        lanes: L,
        gradient: Matrix<'_, G>,
        input: Matrix<'_, X>,
        sum: &mut PartSum<'_>,
    ) {
        let depth = padded(gradient.rows);
        pack_transposed(lanes, gradient, self.left, depth);
        pack_pairs(lanes, input, self.right);
        let panels = Panels::new(self.right, depth, input.columns);
        let (rows, is_sum) = (padded(gradient.columns), !sum.is_empty);
        product_into(lanes, self.left, rows, panels, sum.sums, is_sum);
        sum.is_empty = false;
    }
}

/// Adds up the gradients of all tasks.
pub(super) fn reduce(sums: &[f32], c: usize, gparams: &mut [f32]) {
    let total = gradient_len(c);
    let padded = padded_sizes(c).into_array().into_iter();
    let sizes = padded.zip(BlockParts::sizes(c, 2 * c).into_array());
    let (mut from, mut to) = (0, 0);
    for ([padded_rows, stride], [rows, columns]) in sizes {
        let part = &mut gparams[to..to + rows * columns];
        add_tasks(sums, total, from, stride, part, columns);
        from += padded_rows * stride;
        to += rows * columns;
    }
}
