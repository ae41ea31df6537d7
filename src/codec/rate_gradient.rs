//! What the coding of later latents gains or loses as earlier ones move: the slopes of the cost
//! with respect to the entropy parameters, and with them the rate's gradient.

use super::curvature::TileCurvature;
use super::tile::{CodedTile, choose};
use crate::entropy::ScaleTables;
use crate::error::Result;
use crate::format::SCALE_LEVELS;
use crate::network::infer::scale_index;
use crate::network::{Grid, QualityModel};

/// How far to both sides, in quantization steps, the slope with respect to a mean is taken over.
/// A latent's cost is not smooth in its mean: which symbol is chosen jumps.
const REACH: f32 = 0.25;

/// The gradient of a tile's cost with respect to its normalized ŷ, as far as the latents that are
/// coded later have means and scales that depend on it. `targets` are the values, in
/// quantization steps, that their symbols are chosen for.
pub(super) fn rate_gradient(
    quality: &QualityModel,
    tables: &ScaleTables,
    coded: &CodedTile,
    targets: &[f32],
    curvature: &TileCurvature<'_>,
) -> Result<Grid> {
    let channels = coded.latent.channels;
    let skip_below = quality.config().skip_below;
    let last = (SCALE_LEVELS - 1) as u8;
    let slopes = &mut |place: usize, first: usize, means: &mut [f32], scales: &mut [f32]| {
        for (offset, (mean, scale)) in means.iter_mut().zip(scales).enumerate() {
            let channel = first + offset;
            let index = 8.0 * *scale + quality.latent_scale[channel];
            let table = scale_index(index);
            if table < skip_below {
                (*mean, *scale) = (0.0, 0.0);
                continue;
            }
            let weight = curvature.choice_weight(place, channel);
            let cost = |residual: f32, table: u8| choose(tables, residual, table, weight).1;
            let gain = quality.latent_gain[channel];
            let residual = targets[place * channels + channel] - *mean * gain;
            let (below, above) = (residual - REACH, residual + REACH);
            *mean = gain * (cost(below, table) - cost(above, table)) / (2.0 * REACH);
            let (narrow, wide) = (
                table.saturating_sub(1).max(skip_below),
                (table + 1).min(last),
            );
            let is_clamped = index >= f32::from(last) || wide == narrow;
            *scale = if is_clamped {
                0.0
            } else {
                8.0 * (cost(residual, wide) - cost(residual, narrow)) / f32::from(wide - narrow)
            };
        }
    };
    quality.context_gradient(&coded.features, &coded.latent, slopes)
}
