//! The weights of a pointwise convolution, in the order that each unit reads them.

use crate::format::MAX_WEIGHT_SUM;
use crate::kernels::aligned::{AlignedBuffer, Number};
use std::sync::{Arc, OnceLock};

/// Outputs per panel of packed weights.
pub(super) const PANEL: usize = 32;

/// Inputs per step of a tile product; packed weights are padded to whole steps.
pub(super) const TILE_INPUTS: usize = 64;

/// A weight of 16 bits as `256 * high + low`, both signed bytes; it is at most
/// [`MAX_WIDE`](crate::format::MAX_WIDE).
pub fn split_wide(weight: i16) -> (i8, i8) {
    let low = weight as i8;
    (((i32::from(weight) - i32::from(low)) >> 8) as i8, low)
}

/// Whether no sum of products with the weights of an output can overflow.
pub fn sums_fit(row: &[i8]) -> bool {
    let sum: u64 = row.iter().map(|w| u64::from(w.unsigned_abs())).sum();
    sum <= u64::from(MAX_WEIGHT_SUM)
}

/// A matrix of int8 weights.
#[derive(Debug)]
pub(super) struct Matrix {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// `[outputs, inputs]`.
    values: Arc<[i8]>,
    /// Panels `[inputs, 32]` of int16.
    singles: OnceLock<AlignedBuffer<i16>>,
    /// Panels `[inputs / 2, 32, 2]` of int16.
    pairs: OnceLock<AlignedBuffer<i16>>,
    /// Panels `[inputs / 4, 32, 4]`, inputs padded to whole tiles.
    quads: OnceLock<AlignedBuffer<i8>>,
}

impl Matrix {
    /// `None` when a count is zero, the length is another one, or a sum could overflow.
    pub(super) fn new(inputs: usize, outputs: usize, values: Arc<[i8]>) -> Option<Self> {
        let valid = inputs > 0
            && outputs > 0
            && inputs.checked_mul(outputs) == Some(values.len())
            && values.chunks_exact(inputs).all(sums_fit);
        valid.then(|| Self {
            inputs,
            outputs,
            values,
            singles: OnceLock::new(),
            pairs: OnceLock::new(),
            quads: OnceLock::new(),
        })
    }

    /// A panel with one input after another, as int16.
    #[inline(always)]
    pub(super) fn single_panel(&self, panel: usize) -> &[i16] {
        let packed = self.singles.get_or_init(|| self.pack::<i16, 1>(1));
        let length = self.inputs * PANEL;
        &packed.values()[panel * length..][..length]
    }

    /// A panel with pairs of inputs side by side, as int16.
    #[inline(always)]
    pub(super) fn pair_panel(&self, panel: usize) -> &[i16] {
        let packed = self.pairs.get_or_init(|| self.pack::<i16, 2>(1));
        let length = self.inputs.div_ceil(2) * 2 * PANEL;
        &packed.values()[panel * length..][..length]
    }

    /// A panel with four inputs side by side, padded to whole tiles.
    #[inline(always)]
    pub(super) fn quad_panel(&self, panel: usize) -> &[i8] {
        let quads = TILE_INPUTS / 4;
        let packed = self.quads.get_or_init(|| self.pack::<i8, 4>(quads));
        let length = self.inputs.next_multiple_of(TILE_INPUTS) * PANEL;
        &packed.values()[panel * length..][..length]
    }

    /// Panels `[groups, 32, GROUP]`: a multiple of `whole` groups of inputs,
    /// zero beyond the weights that exist.
    #[cold]
    fn pack<T: Number + From<i8>, const GROUP: usize>(&self, whole: usize) -> AlignedBuffer<T> {
        let groups = self.inputs.div_ceil(GROUP).next_multiple_of(whole);
        let panels = self.outputs.div_ceil(PANEL);
        let mut packed = AlignedBuffer::zeros(panels * groups * GROUP * PANEL);
        let panels = packed.values_mut().chunks_exact_mut(groups * GROUP * PANEL);
        let rows = self.values.chunks(PANEL * self.inputs);
        for (panel, rows) in panels.zip(rows) {
            for start in (0..self.inputs).step_by(PIECE) {
                let pieces = pieces(rows, self.inputs, start);
                let to = panel[start * PANEL..].chunks_exact_mut(GROUP * PANEL);
                for (at, to) in (0..PIECE).step_by(GROUP).zip(to) {
                    let mut group = [[0; GROUP]; PANEL];
                    for (group, piece) in group.iter_mut().zip(&pieces) {
                        group.copy_from_slice(&piece[at..at + GROUP]);
                    }
                    for (to, weight) in to.iter_mut().zip(group.as_flattened()) {
                        *to = T::from(*weight);
                    }
                }
            }
        }
        packed
    }
}

/// Inputs that are packed at once.
const PIECE: usize = 16;

/// The weights of `PIECE` inputs from `start` on in rows of `inputs`; zeros where there are none.
fn pieces(rows: &[i8], inputs: usize, start: usize) -> [[i8; PIECE]; PANEL] {
    let mut pieces = [[0; PIECE]; PANEL];
    for (piece, row) in pieces.iter_mut().zip(rows.chunks_exact(inputs)) {
        match row[start..].first_chunk() {
            Some(whole) => *piece = *whole,
            None => piece[..inputs - start].copy_from_slice(&row[start..]),
        }
    }
    pieces
}
