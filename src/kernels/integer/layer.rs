//! The layers, and what comes in and goes out beside their activations.

use super::matrix::PackedPointwise;
use super::scale::{Rescale, Scale};
use std::sync::Arc;

/// A pointwise convolution: its weights and what its sums are worth.
///
/// Cheap to clone, as the weights are shared; the multipliers and the biases
/// may differ, as those of the qualities do.
#[derive(Debug, Clone)]
pub struct Pointwise {
    /// The weights.
    weights: PackedPointwise,
    /// As many channels as the weights have outputs.
    rescale: Rescale,
}

impl Pointwise {
    /// `None` when the numbers of outputs differ.
    pub fn new(weights: PackedPointwise, rescale: Rescale) -> Option<Self> {
        let agree = weights.outputs() == rescale.outputs();
        agree.then_some(Self { weights, rescale })
    }

    /// The weights.
    pub fn weights(&self) -> &PackedPointwise {
        &self.weights
    }

    /// Multipliers and biases.
    pub fn rescale(&self) -> &Rescale {
        &self.rescale
    }

    /// Number of input channels.
    pub fn inputs(&self) -> usize {
        self.weights.inputs()
    }

    /// Number of output channels.
    pub fn outputs(&self) -> usize {
        self.weights.outputs()
    }
}

/// The taps of a depthwise 3x3 convolution. Cheap to clone: copies share them.
#[derive(Debug, Clone)]
pub struct PackedDepthwise {
    channels: usize,
    /// `[9, channels]`.
    taps: Arc<[i8]>,
}

impl PackedDepthwise {
    /// Takes `taps` (`[9, channels]`, taps in raster order).
    ///
    /// `None` when there are no channels or the length is another one.
    pub fn new(channels: usize, taps: &[i8]) -> Option<Self> {
        let valid = channels > 0 && channels.checked_mul(9) == Some(taps.len());
        valid.then(|| Self {
            channels,
            taps: taps.into(),
        })
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The taps, `[9, channels]`.
    pub fn taps(&self) -> &[i8] {
        &self.taps
    }
}

/// A depthwise layer: its taps and what its sums are worth.
#[derive(Debug, Clone)]
pub struct Depthwise {
    weights: PackedDepthwise,
    rescale: Rescale,
}

impl Depthwise {
    /// `None` when the numbers of channels differ.
    pub fn new(weights: PackedDepthwise, rescale: Rescale) -> Option<Self> {
        let agree = weights.channels == rescale.outputs();
        agree.then_some(Self { weights, rescale })
    }

    /// The taps.
    pub fn weights(&self) -> &PackedDepthwise {
        &self.weights
    }

    /// Multipliers and biases.
    pub fn rescale(&self) -> &Rescale {
        &self.rescale
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.weights.channels
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
    pub fn len(&self) -> usize {
        match self {
            Self::Integer(values, _) => values.len(),
            Self::Real(values) => values.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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
