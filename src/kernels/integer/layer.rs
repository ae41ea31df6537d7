//! The layers, and what comes in and goes out beside their activations.

use super::matrix::{Matrix, TILE_INPUTS, split_wide};
use super::scale::{Rescale, Scale};
use crate::format::MAX_WIDE;
use std::ops::Range;
use std::sync::Arc;

/// A pointwise convolution: its weights, of int8 or two int8 each, and what its sums are worth.
///
/// Cheap to clone, as the weights are shared. They are packed for a kernel path when it first uses them.
#[derive(Debug, Clone)]
pub struct Pointwise {
    /// The weights, or the high parts of wide ones.
    pub(super) high: Arc<Matrix>,
    /// The low parts of wide weights.
    pub(super) low: Option<Arc<Matrix>>,
    /// As many channels as the weights have outputs.
    pub(super) rescale: Rescale,
    /// The inputs that are read: apart, in order, and from one whole tile to another.
    pub(super) used: Arc<[Range<usize>]>,
}

impl Pointwise {
    /// Takes weights `[outputs, inputs]`.
    ///
    /// `None` when there are no inputs, the length is another one, or the magnitudes of the weights of an output sum up
    /// to more than 65535: a sum could overflow.
    pub fn new(inputs: usize, weights: impl Into<Arc<[i8]>>, rescale: Rescale) -> Option<Self> {
        let high = Matrix::new(inputs, rescale.outputs(), weights.into())?;
        Some(Self {
            high: Arc::new(high),
            low: None,
            rescale,
            used: all(inputs),
        })
    }

    /// Takes weights `[outputs, inputs]` of 16 bits, at most 32639: each is `256 * high + low` with two int8.
    ///
    /// `None` as for [`Pointwise::new`], where either part counts.
    pub fn wide(inputs: usize, weights: &[i16], rescale: Rescale) -> Option<Self> {
        let fit = weights.iter().all(|weight| *weight <= MAX_WIDE);
        let (high, low): (Vec<i8>, Vec<i8>) =
            weights.iter().map(|weight| split_wide(*weight)).unzip();
        let outputs = rescale.outputs();
        let high = Matrix::new(inputs, outputs, high.into()).filter(|_| fit)?;
        Some(Self {
            high: Arc::new(high),
            low: Some(Arc::new(Matrix::new(inputs, outputs, low.into())?)),
            rescale,
            used: all(inputs),
        })
    }

    /// The same with a gain per output (see [`Rescale::with_gain`]).
    pub fn with_gain(&self, gain: &[f32]) -> Option<Self> {
        Some(Self {
            rescale: self.rescale.with_gain(gain)?,
            ..self.clone()
        })
    }

    /// The same, for pixels whose inputs are zero outside of these ranges, which are in order:
    /// the same result for less work.
    pub fn reading(&self, ranges: &[Range<usize>]) -> Self {
        let mut used: Vec<Range<usize>> = Vec::new();
        for range in ranges {
            let start = range.start / TILE_INPUTS * TILE_INPUTS;
            let end = range.end.next_multiple_of(TILE_INPUTS).min(self.inputs());
            match used.last_mut() {
                Some(last) if start <= last.end => last.end = last.end.max(end),
                _ => used.push(start..end),
            }
        }
        Self {
            used: used.into(),
            ..self.clone()
        }
    }

    /// Number of input channels.
    pub fn inputs(&self) -> usize {
        self.high.inputs
    }

    /// Number of output channels.
    pub fn outputs(&self) -> usize {
        self.high.outputs
    }
}

/// The range of all inputs.
fn all(inputs: usize) -> Arc<[Range<usize>]> {
    std::iter::once(0..inputs).collect()
}

/// A depthwise 3x3 convolution: its taps and what its sums are worth.
#[derive(Debug, Clone)]
pub struct Depthwise {
    /// `[9, channels]`.
    pub(super) taps: Vec<i8>,
    pub(super) rescale: Rescale,
}

impl Depthwise {
    /// Takes `taps` (`[9, channels]`, taps in raster order).
    ///
    /// `None` when the length is another one.
    pub fn new(taps: &[i8], rescale: Rescale) -> Option<Self> {
        let agree = rescale.outputs().checked_mul(9) == Some(taps.len());
        agree.then(|| Self {
            taps: taps.to_vec(),
            rescale,
        })
    }

    /// The same with a gain per channel (see [`Rescale::with_gain`]).
    pub fn with_gain(&self, gain: &[f32]) -> Option<Self> {
        Some(Self {
            rescale: self.rescale.with_gain(gain)?,
            ..self.clone()
        })
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.rescale.outputs()
    }
}

/// A tensor that is added to the output.
#[derive(Debug, Clone, Copy)]
pub struct Residual<'a> {
    /// Of the shape of the output.
    pub values: &'a [i16],
    /// Value of one step.
    pub scale: Scale,
}

/// Where the values of a layer go.
#[derive(Debug)]
pub enum Output<'a> {
    /// As int16 in steps of the scale: rounded half to even and saturated.
    Integer(&'a mut [i16], Scale),
    /// As they are.
    Real(&'a mut [f32]),
}

impl<'a> Output<'a> {
    /// Number of values.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Integer(values, _) => values.len(),
            Self::Real(values) => values.len(),
        }
    }

    /// Steps per unit: what values are multiplied by before they are stored.
    #[inline(always)]
    pub(super) fn inverse(&self) -> f32 {
        match self {
            Self::Integer(_, scale) => scale.inverse(),
            Self::Real(_) => 1.0,
        }
    }

    /// Pieces of `length` values (the last may be shorter).
    pub(super) fn chunks(self, length: usize) -> Vec<Output<'a>> {
        match self {
            Self::Integer(values, scale) => values
                .chunks_mut(length)
                .map(|values| Output::Integer(values, scale))
                .collect(),
            Self::Real(values) => values.chunks_mut(length).map(Output::Real).collect(),
        }
    }
}
