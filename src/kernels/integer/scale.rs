//! What an integer is worth: the scale of a tensor and the multipliers of a layer.

use super::matrix::PANEL;
use crate::kernels::aligned::AlignedBuffer;

/// The value of one step of an int16 tensor: a power of two, `2^-32..=2^32`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale(f32);

impl Scale {
    /// The largest exponent; the smallest is its negative.
    pub const MAX_EXPONENT: i32 = 32;

    /// `2^exponent`, or `None` beyond [`Scale::MAX_EXPONENT`].
    pub fn from_exponent(exponent: i32) -> Option<Self> {
        let range = -Self::MAX_EXPONENT..=Self::MAX_EXPONENT;
        let of_exponent = || f32::from_bits(((exponent + 127) as u32) << 23);
        range.contains(&exponent).then(|| Self(of_exponent()))
    }

    /// The scale that has this value, or `None` when it is no power of two in the range.
    pub fn new(value: f32) -> Option<Self> {
        let exponent = (value.to_bits() >> 23) as i32 - 127;
        Self::from_exponent(exponent).filter(|scale| scale.0 == value)
    }

    /// The smallest scale that is at least `value`, or the end of the range; the smallest for what is no number.
    pub fn at_least(value: f32) -> Self {
        let bits = value.max(0.0).to_bits();
        let is_between = bits & ((1 << 23) - 1) != 0;
        let exponent = (bits >> 23) as i32 - 127 + i32::from(is_between);
        let exponent = exponent.clamp(-Self::MAX_EXPONENT, Self::MAX_EXPONENT);
        Self::from_exponent(exponent).expect("it is in range")
    }

    /// The value of one step.
    pub fn value(self) -> f32 {
        self.0
    }

    /// Steps per unit: the power of two `1 / value`.
    pub fn inverse(self) -> f32 {
        f32::from_bits(((2 * 127) << 23) - self.0.to_bits())
    }
}

/// What takes the sums of a layer to values, for every output channel: a
/// multiplier and a bias.
///
/// Multipliers are within `±2^32` and biases within `±2^63`, so every value is
/// finite.
#[derive(Debug, Clone)]
pub struct Rescale {
    outputs: usize,
    /// Zeros up to whole panels.
    multiplier: AlignedBuffer,
    /// Zeros up to whole panels.
    bias: AlignedBuffer,
}

impl Rescale {
    /// The largest magnitude of a multiplier: `2^32`.
    pub const MAX_MULTIPLIER: f32 = 4_294_967_296.0;

    /// The largest magnitude of a bias: `2^63`.
    pub const MAX_BIAS: f32 = 9_223_372_036_854_775_808.0;

    /// `None` when there are no channels, the lengths differ, or a number is
    /// beyond its range or not a number.
    pub fn new(multiplier: &[f32], bias: &[f32]) -> Option<Self> {
        let in_range = |values: &[f32], most| values.iter().all(|value| value.abs() <= most);
        let valid = !multiplier.is_empty()
            && multiplier.len() == bias.len()
            && in_range(multiplier, Self::MAX_MULTIPLIER)
            && in_range(bias, Self::MAX_BIAS);
        let padded = |values: &[f32]| {
            let mut buffer = AlignedBuffer::zeros(values.len().next_multiple_of(PANEL));
            buffer.values_mut()[..values.len()].copy_from_slice(values);
            buffer
        };
        valid.then(|| Self {
            outputs: multiplier.len(),
            multiplier: padded(multiplier),
            bias: padded(bias),
        })
    }

    /// The same with a gain per channel folded in: `multiplier * gain` and
    /// `bias * gain`, each rounded once. `None` as for [`Rescale::new`].
    pub fn with_gain(&self, gain: &[f32]) -> Option<Self> {
        let by_gain =
            |values: &[f32]| -> Vec<f32> { values.iter().zip(gain).map(|(v, g)| v * g).collect() };
        let all = gain.len() == self.outputs;
        let (multiplier, bias) = (by_gain(self.multiplier()), by_gain(self.bias()));
        all.then(|| Self::new(&multiplier, &bias)).flatten()
    }

    /// Number of channels.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The multipliers, `[outputs]`.
    pub fn multiplier(&self) -> &[f32] {
        &self.multiplier.values()[..self.outputs]
    }

    /// The biases, `[outputs]`.
    pub fn bias(&self) -> &[f32] {
        &self.bias.values()[..self.outputs]
    }

    /// Multipliers and biases from channel `first` on, up to a whole panel.
    #[inline(always)]
    pub(super) fn panel(&self, first: usize) -> (&[f32; PANEL], &[f32; PANEL]) {
        (panel(&self.multiplier, first), panel(&self.bias, first))
    }
}

/// A panel of padded values.
#[inline(always)]
fn panel(values: &AlignedBuffer, first: usize) -> &[f32; PANEL] {
    let panel = values.values()[first..].first_chunk();
    panel.expect("values are padded to whole panels")
}
