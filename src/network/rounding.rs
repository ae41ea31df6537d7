//! From trained weights to integers, and back.
//!
//! Every output of a layer gets the smallest step with which its largest weight fits into the
//! integers, and with which no sum can overflow. The steps take in the exponents of what the
//! layer reads, so that a sum of products times its step is a real number.

use std::collections::BTreeMap;

use super::config::{LayerKind, LayerSpec, ModelConfig};
use super::integer::{IntegerConvolution, IntegerLayer, IntegerWeights, Integers, wide_sums_fit};
use super::signals::{BLOCK_SIGNALS, Signal};
use super::weights::Weights;
use crate::error::Result;
use crate::format::EXPONENTS;
use crate::kernels::integer::sums_fit;
use crate::kernels::rounding::nearest;

/// Largest weight of 8 bits.
const NARROW: f32 = 127.0;
/// Largest weight of 16 bits: no larger, because low bits are noise that takes room in a model file. These 12 bits
/// cost 0.05 % BD-rate against all 16 (PSNR from 27 to 43 dB, 16 validation pictures, effort 1), 11 would cost 0.17 %.
const WIDE: f32 = 127.0 * 16.0;

/// The exponents of a network whose tensors have not been measured: room for 512 and steps of 1/64.
pub fn provisional_exponents(config: &ModelConfig) -> BTreeMap<String, Vec<i8>> {
    let list = config.exponents().into_iter();
    list.map(|(name, count)| (name, vec![-6; count])).collect()
}

/// The exponent with which integers of 16 bits have room for twice `largest`.
pub fn exponent_for(largest: f32) -> i8 {
    let wanted = 2.0 * f64::from(largest) / f64::from(i16::MAX);
    let exponent = wanted.max(1e-9).log2().ceil();
    exponent.clamp(f64::from(*EXPONENTS.start()), f64::from(*EXPONENTS.end())) as i8
}

/// 2 to the power of an exponent.
pub fn power(exponent: i32) -> f32 {
    2f32.powi(exponent)
}

impl IntegerWeights {
    /// Rounds trained weights.
    ///
    /// # Errors
    /// [`Error::Weights`] when a layer is missing or of another size.
    pub fn rounded(weights: &Weights, exponents: BTreeMap<String, Vec<i8>>) -> Result<Self> {
        let mut rounded = Self {
            config: weights.config.clone(),
            layers: BTreeMap::new(),
            exponents,
            tables: weights.tables.clone(),
        };
        for layer in weights.config.layers() {
            let values = weights.layer(&layer)?;
            let integers = match layer.kind {
                LayerKind::Table { .. } => IntegerLayer::Table(values.to_vec()),
                _ => IntegerLayer::Convolutions(rounded.round_layer(&layer, values)),
            };
            rounded.layers.insert(layer.path, integers);
        }
        Ok(rounded)
    }

    /// The weights that the integers stand for.
    pub fn to_real(&self) -> Weights {
        let layers = self.config.layers().into_iter().map(|layer| {
            let values = self.real_layer(&layer);
            (layer.path, values)
        });
        Weights {
            config: self.config.clone(),
            layers: layers.collect(),
            tables: self.tables.clone(),
        }
    }

    /// The flat parameters of the layer at `path`, as far as it is there.
    pub fn real_layer_at(&self, path: &str) -> Vec<f32> {
        let layer = self.config.layer(path);
        layer.map_or_else(Vec::new, |layer| self.real_layer(&layer))
    }

    /// A layer's flat parameters, as far as it is there.
    fn real_layer(&self, layer: &LayerSpec) -> Vec<f32> {
        match self.layers.get(&layer.path) {
            None => Vec::new(),
            Some(IntegerLayer::Table(values)) => values.clone(),
            Some(IntegerLayer::Convolutions(list)) => {
                let scales = self.input_scales(layer);
                let mut flat = Vec::with_capacity(layer.kind.parameters());
                for (index, (convolution, scales)) in list.iter().zip(scales).enumerate() {
                    flat.extend(convolution.real_weight(&scales, is_depthwise(layer, index)));
                    flat.extend_from_slice(&convolution.bias);
                }
                flat
            }
        }
    }

    fn round_layer(&self, layer: &LayerSpec, values: &[f32]) -> Vec<IntegerConvolution> {
        let parts = layer.kind.split(values);
        let scales = self.input_scales(layer);
        let convolutions = parts.chunks_exact(2).zip(scales).enumerate();
        let round = |(index, (parts, scales)): (usize, (&[&[f32]], Vec<f32>))| {
            if is_depthwise(layer, index) {
                round_taps(parts[0], parts[1], scales[0])
            } else {
                round_matrix(parts[0], parts[1], &scales, layer.is_wide())
            }
        };
        convolutions.map(round).collect()
    }

    /// For each convolution of a layer, what the integers of its input channels stand for (of
    /// taps one for all).
    fn input_scales(&self, layer: &LayerSpec) -> Vec<Vec<f32>> {
        let inputs = self.config.inputs(&layer.path).into_iter();
        let first: Vec<f32> = inputs
            .flat_map(|(signal, channels)| vec![power(self.exponent(&signal)); channels])
            .collect();
        let LayerKind::Block { channels } = layer.kind else {
            return vec![first];
        };
        let of = |part: usize, channels: usize| {
            let signal = Signal::Named(layer.path.clone(), part);
            vec![power(self.exponent(&signal)); channels]
        };
        // u, d, x1 and h are what the convolutions after the first read.
        let others = (0..BLOCK_SIGNALS - 1).map(|part| of(part, channels * (1 + part / 3)));
        std::iter::once(first).chain(others).collect()
    }
}

/// Whether a layer's convolution of this number is the depthwise one.
fn is_depthwise(layer: &LayerSpec, index: usize) -> bool {
    index == 1 && matches!(layer.kind, LayerKind::Block { .. })
}

/// The nearest number of steps to a value, half to even; 0 where the step is.
fn in_steps(value: f32, step: f32) -> i16 {
    if step > 0.0 {
        nearest(value / step) as i16
    } else {
        0
    }
}

fn round_matrix(weight: &[f32], bias: &[f32], scales: &[f32], wide: bool) -> IntegerConvolution {
    let mut multiplier = Vec::with_capacity(bias.len());
    let mut weights = Vec::with_capacity(weight.len());
    let narrow = |row: &[i16]| -> Vec<i8> { row.iter().map(|w| *w as i8).collect() };
    for row in weight.chunks(scales.len()) {
        let scaled: Vec<f32> = row.iter().zip(scales).map(|(w, scale)| w * scale).collect();
        let largest = scaled.iter().fold(0f32, |largest, w| largest.max(w.abs()));
        let mut step = largest / if wide { WIDE } else { NARROW };
        let rounded = loop {
            let rounded: Vec<i16> = scaled.iter().map(|w| in_steps(*w, step)).collect();
            let fits = match wide {
                true => wide_sums_fit(&rounded),
                false => sums_fit(&narrow(&rounded)),
            };
            if fits {
                break rounded;
            }
            step *= 1.02;
        };
        multiplier.push(step);
        weights.extend(rounded);
    }
    IntegerConvolution {
        weight: match wide {
            true => Integers::Wide(weights),
            false => Integers::Narrow(narrow(&weights).into()),
        },
        multiplier,
        bias: bias.to_vec(),
    }
}

fn round_taps(taps: &[f32], bias: &[f32], scale: f32) -> IntegerConvolution {
    let channels = bias.len();
    let largest = |channel: usize| {
        let of_channel = taps.iter().skip(channel).step_by(channels);
        of_channel.fold(0f32, |largest, tap| largest.max(tap.abs()))
    };
    let steps: Vec<f32> = (0..channels).map(|c| largest(c) / NARROW).collect();
    let pairs = taps.iter().zip(steps.iter().cycle());
    let rounded = pairs.map(|(tap, step)| in_steps(*tap, *step) as i8);
    IntegerConvolution {
        weight: Integers::Narrow(rounded.collect()),
        multiplier: steps.iter().map(|step| step * scale).collect(),
        bias: bias.to_vec(),
    }
}

impl IntegerConvolution {
    /// The convolution of weights `[outputs, inputs]` in 8 bits, without a bias, of integers that stand for themselves.
    pub(super) fn narrow(weight: &[f32], inputs: usize) -> Self {
        let bias = vec![0.0; weight.len() / inputs.max(1)];
        round_matrix(weight, &bias, &vec![1.0; inputs], false)
    }

    /// The same of taps `[9, channels]`.
    pub(super) fn taps(taps: &[f32], channels: usize) -> Self {
        round_taps(taps, &vec![0.0; channels], 1.0)
    }

    /// The weights that the integers stand for; taps have one scale for all inputs, and their
    /// outputs are the faster dimension.
    fn real_weight(&self, scales: &[f32], is_taps: bool) -> Vec<f32> {
        let outputs = self.multiplier.len();
        let real = |(at, value): (usize, i16)| {
            let (output, input) = if is_taps {
                (at % outputs, 0)
            } else {
                (at / scales.len(), at % scales.len())
            };
            f32::from(value) * (self.multiplier[output] / scales[input])
        };
        let values = self.weight.values().into_iter();
        values.enumerate().map(real).collect()
    }
}

impl Integers {
    /// The values.
    fn values(&self) -> Vec<i16> {
        match self {
            Self::Narrow(values) => values.iter().map(|value| i16::from(*value)).collect(),
            Self::Wide(values) => values.clone(),
        }
    }
}
