//! Layers in binary32 with the weights that a model's integers stand for: what the gradients
//! of the encoder's search run through.

use rayon::prelude::*;

use super::config::LayerKind;
use super::integer::IntegerWeights;
use crate::kernels::{PackedBlock, PackedDepthwise, PackedPointwise};

/// Positions per parallel task.
const POSITIONS: usize = 96;

/// The pointwise layer at `path`, which must be there.
pub(super) fn real_pointwise(weights: &IntegerWeights, path: &str) -> PackedPointwise {
    let values = weights.real_layer_at(path);
    let (inputs, outputs) = match weights.config.layer(path).map(|layer| layer.kind) {
        Some(LayerKind::Pointwise { inputs, outputs }) => (inputs, outputs),
        _ => (0, 0),
    };
    let (weight, bias) = values.split_at(inputs * outputs);
    PackedPointwise::new(inputs, outputs, weight, bias)
}

/// The block at `path`, which must be there.
pub(super) fn real_block(weights: &IntegerWeights, path: &str) -> PackedBlock {
    let values = weights.real_layer_at(path);
    let channels = weights
        .config
        .layer(path)
        .map_or(0, |layer| layer.kind.inputs());
    let mut parts = LayerKind::Block { channels }.split(&values).into_iter();
    let (c, mut next) = (channels, || parts.next().unwrap_or_default());
    PackedBlock {
        w1: PackedPointwise::new(c, c, next(), next()),
        dw: PackedDepthwise::new(c, next(), next()),
        w2: PackedPointwise::new(c, c, next(), next()),
        w3: PackedPointwise::new(c, 2 * c, next(), next()),
        w4: PackedPointwise::new(2 * c, c, next(), next()),
    }
}

/// `x *= gain[channel]` for every position.
pub(super) fn scale_channels(x: &mut [f32], gain: &[f32]) {
    x.par_chunks_mut(POSITIONS * gain.len()).for_each(|x| {
        for x in x.chunks_exact_mut(gain.len()) {
            x.iter_mut().zip(gain).for_each(|(x, gain)| *x *= gain);
        }
    });
}
