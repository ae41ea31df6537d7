//! Sums of the parameter gradients of a block: one set for each task, added up at the end.

use super::block::BlockLayout;
use super::depthwise::TAPS;
use super::gemm::{Panels, product_into};
use super::lanes::{Bf16, Element, Lanes, padded};
use super::pack::{Matrix, pack_pairs, pack_transposed};
use super::pointwise::add_tasks;

/// Gradient of a weight matrix, `[padded(outputs), padded(inputs)]`.
pub(super) struct WeightSum<'a> {
    sums: &'a mut [f32],
    /// Nothing was added yet; what `sums` holds is left over from another call.
    is_empty: bool,
}

/// Parameter gradients of one task, with padded rows.
pub(super) struct Gradients<'a> {
    pub w1: WeightSum<'a>,
    pub w2: WeightSum<'a>,
    pub w3: WeightSum<'a>,
    pub w4: WeightSum<'a>,
    /// `[9, padded(c)]`
    pub dw: &'a mut [f32],
    pub bd: &'a mut [f32],
    pub b1: &'a mut [f32],
    pub b2: &'a mut [f32],
    pub b3: &'a mut [f32],
    pub b4: &'a mut [f32],
}

/// Lengths of the parts of [`Gradients`] in their order.
pub(super) fn gradient_lens(c: usize) -> [usize; 10] {
    let (cp, wide) = (padded(c), padded(2 * c));
    [
        cp * cp,
        cp * cp,
        wide * cp,
        cp * wide,
        TAPS * cp,
        cp,
        cp,
        cp,
        wide,
        cp,
    ]
}

impl<'a> Gradients<'a> {
    /// Starts new sums in a slice of the total length.
    pub(super) fn new(sums: &'a mut [f32], c: usize) -> Self {
        let lens = gradient_lens(c);
        let weights = lens[..4].iter().sum();
        sums[weights..].fill(0.0);
        let mut rest = sums;
        let [w1, w2, w3, w4, dw, bd, b1, b2, b3, b4] = lens.map(|len| {
            let (part, tail) = std::mem::take(&mut rest).split_at_mut(len);
            rest = tail;
            part
        });
        let [w1, w2, w3, w4] = [w1, w2, w3, w4].map(|sums| WeightSum {
            sums,
            is_empty: true,
        });
        Self {
            w1,
            w2,
            w3,
            w4,
            dw,
            bd,
            b1,
            b2,
            b3,
            b4,
        }
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
        sum: &mut WeightSum<'_>,
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
