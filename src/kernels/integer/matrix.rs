//! The weights of a pointwise convolution, in the order that each unit reads them.

use crate::format::MAX_WEIGHT_SUM;
use crate::kernels::aligned::AlignedBuffer;
use std::sync::{Arc, OnceLock};

/// Outputs per panel of packed weights.
pub(super) const PANEL: usize = 32;

/// Inputs per step of a tile product; packed weights are padded to whole steps.
pub(super) const TILE_INPUTS: usize = 64;

/// The weights of a pointwise convolution: int8, or two int8 per weight.
///
/// Cheap to clone: copies share the weights. They are packed for a kernel path
/// when it first uses them.
#[derive(Debug, Clone)]
pub struct PackedPointwise {
    /// The weights, or the high parts of wide ones.
    pub(super) high: Arc<Matrix>,
    /// The low parts of wide weights.
    pub(super) low: Option<Arc<Matrix>>,
}

impl PackedPointwise {
    /// Takes weights `[outputs, inputs]`.
    ///
    /// `None` when a count is zero, the length is another one, or the
    /// magnitudes of the weights of an output sum up to more than 65535: a sum
    /// could overflow.
    pub fn new(inputs: usize, outputs: usize, weight: &[i8]) -> Option<Self> {
        let high = Arc::new(Matrix::new(inputs, outputs, weight.to_vec())?);
        Some(Self { high, low: None })
    }

    /// Takes weights `[outputs, inputs]` of 16 bits, at most 32639: each is
    /// `256 * high + low` with two int8.
    ///
    /// `None` as for [`PackedPointwise::new`], where either part counts.
    pub fn wide(inputs: usize, outputs: usize, weight: &[i16]) -> Option<Self> {
        let low: Vec<i8> = weight.iter().map(|w| *w as i8).collect();
        let high = weight.iter().map(|w| {
            let high = (i32::from(*w) - i32::from(*w as i8)) >> 8;
            i8::try_from(high).ok()
        });
        let high = high.collect::<Option<Vec<i8>>>()?;
        Some(Self {
            high: Arc::new(Matrix::new(inputs, outputs, high)?),
            low: Some(Arc::new(Matrix::new(inputs, outputs, low)?)),
        })
    }

    /// Number of input channels.
    pub fn inputs(&self) -> usize {
        self.high.inputs
    }

    /// Number of output channels.
    pub fn outputs(&self) -> usize {
        self.high.outputs
    }

    /// Whether a weight has 16 bits.
    pub fn is_wide(&self) -> bool {
        self.low.is_some()
    }

    /// The weights as integers, `[outputs, inputs]`.
    pub fn weights(&self) -> Vec<i16> {
        let high = self.high.values.iter().map(|w| i16::from(*w));
        match &self.low {
            None => high.collect(),
            Some(low) => high
                .zip(&low.values)
                .map(|(high, low)| 256 * high + i16::from(*low))
                .collect(),
        }
    }
}

/// A matrix of int8 weights.
#[derive(Debug)]
pub(super) struct Matrix {
    inputs: usize,
    outputs: usize,
    /// `[outputs, inputs]`.
    values: Vec<i8>,
    /// Panels `[inputs, 32]` of int16.
    singles: OnceLock<AlignedBuffer<i16>>,
    /// Panels `[inputs / 2, 32, 2]` of int16.
    pairs: OnceLock<AlignedBuffer<i16>>,
    /// Panels `[inputs / 4, 32, 4]`, inputs padded to whole tiles.
    quads: OnceLock<AlignedBuffer<i8>>,
}

impl Matrix {
    fn new(inputs: usize, outputs: usize, values: Vec<i8>) -> Option<Self> {
        let sum = |row: &[i8]| -> u64 { row.iter().map(|w| u64::from(w.unsigned_abs())).sum() };
        let valid = inputs > 0
            && outputs > 0
            && inputs.checked_mul(outputs) == Some(values.len())
            && values
                .chunks_exact(inputs)
                .all(|row| sum(row) <= u64::from(MAX_WEIGHT_SUM));
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
    fn pack<T: Packed, const GROUP: usize>(&self, whole: usize) -> AlignedBuffer<T> {
        let groups = self.inputs.div_ceil(GROUP).next_multiple_of(whole);
        let panels = self.outputs.div_ceil(PANEL);
        let mut packed = AlignedBuffer::zeros(panels * groups * GROUP * PANEL);
        let panels = packed.values_mut().chunks_exact_mut(groups * GROUP * PANEL);
        let rows = self.values.chunks(PANEL * self.inputs);
        for (panel, rows) in panels.zip(rows) {
            for (output, row) in rows.chunks_exact(self.inputs).enumerate() {
                let to = panel[output * GROUP..].chunks_mut(GROUP * PANEL);
                for (to, from) in to.zip(row.chunks(GROUP)) {
                    to.iter_mut()
                        .zip(from)
                        .for_each(|(to, w)| *to = T::from(*w));
                }
            }
        }
        packed
    }
}

/// Numbers that packed weights are held in.
trait Packed: crate::kernels::aligned::Number + From<i8> {}

impl Packed for i8 {}
impl Packed for i16 {}
