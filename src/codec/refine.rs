//! The encoder's search: rounds of coding that cost fewer bits and less distortion together.
//!
//! Symbols are chosen for values, the targets, that begin as what the analysis transform says.
//! Each round takes the gradient of the distortion at the symbols of the last one, through the
//! synthesis transform, and moves the targets: towards what was coded, and against the
//! gradient by a step that the curvature of the distortion gives. Coding again chooses symbols
//! by rate and distortion for the new targets, in coding order and under the probabilities
//! that follow from the symbols before. The tiles with the least cost are kept, so that no
//! effort costs more than a lower one's first pass.
//!
//! All of it is exact arithmetic or sums in one order: what is found does not depend on
//! threads or on the machine.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::Steps;
use super::curvature::Curvature;
use super::distortion::Distortion;
use super::effort::Round;
use super::encode::{EncodedTile, PictureEncoder, targets};
use crate::error::Result;
use crate::metrics::psnr_from_error;
use crate::model::{Grid, QualityModel};

/// Part of the way to the new targets that the first round goes.
const FIRST_STRIDE: f32 = 0.3;

/// By how much each round's stride is shorter than the one before: `1 / (1 + n * this)`.
const SHORTENING: f32 = 0.5;

/// How far against the gradient, relative to the minimum that the curvature promises.
const OVERSHOOT: f32 = 1.2;

/// A round that gains less than this part of the cost is the last.
const LEAST_GAIN: f64 = 0.0002;

/// What the search found.
pub(super) struct Refined {
    pub tiles: Vec<EncodedTile>,
    /// What a decoder will know of the latent, ŷ; only where it was asked for.
    pub quantized: Option<Grid>,
}

/// Steps that [`refine`] takes at most.
pub(super) fn work(encoder: &PictureEncoder<'_>) -> usize {
    let rounds = encoder.options.effort.rounds() as usize;
    let passes = 2 * encoder.rows();
    match rounds {
        0 => encoder.coding_work(),
        _ => (rounds + 1) * (encoder.coding_work() + passes),
    }
}

/// Codes `latent`, the normalized latent of the picture, without search.
pub(super) fn single_pass(
    encoder: &PictureEncoder<'_>,
    quality: &QualityModel<'_>,
    latent: &Grid,
    wants_quantized: bool,
    steps: &Steps<'_>,
) -> Result<Refined> {
    let quantized = wants_quantized.then(|| Mutex::new(encoder.empty_latent(quality)));
    let curvature = Curvature::linear(quality);
    let tiles = encoder.code(quality, latent, &curvature, quantized.as_ref(), steps)?;
    Ok(Refined {
        tiles,
        quantized: quantized.map(|grid| grid.into_inner().unwrap_or_else(PoisonError::into_inner)),
    })
}

/// Codes `latent`, the normalized latent of the picture, with the rounds of the options' effort.
pub(super) fn refine(
    encoder: &PictureEncoder<'_>,
    quality: &QualityModel<'_>,
    mut latent: Grid,
    wants_quantized: bool,
    steps: &Steps<'_>,
) -> Result<Refined> {
    let rounds = encoder.options.effort.rounds();
    if rounds == 0 {
        return single_pass(encoder, quality, &latent, wants_quantized, steps);
    }
    let mut curvature = Curvature::linear(quality);
    let factors = targets(quality);
    let mut distortion = Distortion::new(encoder, quality);
    let mut best: Option<(f64, Refined)> = None;
    for number in 0..=rounds {
        let quantized = Mutex::new(encoder.empty_latent(quality));
        let tiles = encoder.code(quality, &latent, &curvature, Some(&quantized), steps)?;
        let quantized = quantized
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if number == 0 {
            curvature.measure(quality, &quantized)?;
        }
        let squared_error = if number < rounds {
            let stride = FIRST_STRIDE / (1.0 + SHORTENING * number as f32);
            let mut emit = |rows: Range<usize>, gradient: &[f32], curvature: &Curvature| {
                let mover = Mover {
                    quality,
                    factors: &factors,
                    curvature,
                    stride,
                };
                mover.advance(rows, &mut latent, &quantized, gradient);
            };
            distortion.gradient(&quantized, &mut curvature, steps, &mut emit)?
        } else {
            distortion.value(&quantized, &mut curvature, steps)?
        };
        let bits = 8 * tiles.iter().map(EncodedTile::bytes).sum::<usize>() as u64;
        let cost = bits as f64 + distortion.cost();
        let least = best.as_ref().map(|(least, _)| *least);
        let is_best = least.is_none_or(|least| cost < least);
        steps.progress.round(&Round {
            number,
            bits,
            psnr: psnr_from_error(squared_error, encoder.rgb.len() as u64),
            cost,
            is_best,
        });
        if is_best {
            let quantized = wants_quantized.then_some(quantized);
            best = Some((cost, Refined { tiles, quantized }));
        }
        if least.is_some_and(|least| cost > least * (1.0 - LEAST_GAIN)) {
            break;
        }
    }
    Ok(best.expect("there is a first pass").1)
}

/// Moves targets along a gradient.
struct Mover<'a> {
    quality: &'a QualityModel<'a>,
    /// From the normalized latent to targets in quantization steps, by channel.
    factors: &'a [f32],
    curvature: &'a Curvature,
    stride: f32,
}

impl Mover<'_> {
    /// Moves these rows of `latent`; `gradient` is that of the distortion in bits with respect
    /// to the same rows of `quantized`.
    fn advance(&self, rows: Range<usize>, latent: &mut Grid, quantized: &Grid, gradient: &[f32]) {
        let (first, channels) = (rows.start * latent.width, latent.channels);
        let known = quantized.rows(rows.clone());
        let positions = latent.rows_mut(rows).chunks_exact_mut(channels).zip(
            known
                .chunks_exact(channels)
                .zip(gradient.chunks_exact(channels)),
        );
        for (position, (latent, (known, gradient))) in positions.enumerate() {
            for (channel, value) in latent.iter_mut().enumerate() {
                let Some(curvature) = self.curvature.at(first + position, channel) else {
                    continue;
                };
                let step = self.quality.latent_inverse_gain[channel];
                let target = *value * self.factors[channel];
                let descent = gradient[channel] * step / (2.0 * curvature);
                let wanted = known[channel] / step - OVERSHOOT * descent;
                *value = (target + self.stride * (wanted - target)) / self.factors[channel];
            }
        }
    }
}
