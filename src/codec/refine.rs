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
use super::effort::{Gradient, Round};
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
    let rounds = encoder.options.rounds().len();
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
    let rounds = encoder.options.rounds();
    if rounds.is_empty() {
        return single_pass(encoder, quality, &latent, wants_quantized, steps);
    }
    let mut curvature = Curvature::linear(quality);
    let mut search = Search {
        encoder,
        quality,
        distortion: Distortion::new(encoder, quality),
        factors: targets(quality),
        best: None,
        wants_quantized,
        steps,
    };
    for number in 0..=rounds.len() {
        let (tiles, quantized) = search.code(&latent, &curvature)?;
        if number == 0 {
            curvature.measure(quality, &quantized)?;
        }
        let moves = rounds
            .get(number)
            .map(|kind| Move::new(&mut latent, *kind, number));
        let squared_error = search.distort(&quantized, moves, &mut curvature)?;
        let gain = search.judge(number as u32, tiles, quantized, squared_error);
        if number == 0 && search.flatten(&mut latent, &mut curvature)? {
            continue;
        }
        // Not a number either: the model may be anything.
        if !(gain >= LEAST_GAIN) {
            break;
        }
    }
    Ok(search.best.expect("there is a first pass").1)
}

/// What a round does to the latent.
struct Move<'a> {
    latent: &'a mut Grid,
    kind: Gradient,
    /// Part of the way to the new targets.
    stride: f32,
}

impl<'a> Move<'a> {
    /// The move of round `number`.
    fn new(latent: &'a mut Grid, kind: Gradient, number: usize) -> Self {
        let stride = FIRST_STRIDE / (1.0 + SHORTENING * number as f32);
        Self {
            latent,
            kind,
            stride,
        }
    }
}

/// What the rounds share.
struct Search<'a> {
    encoder: &'a PictureEncoder<'a>,
    quality: &'a QualityModel<'a>,
    distortion: Distortion<'a>,
    /// From the normalized latent to targets in quantization steps, by channel.
    factors: Vec<f32>,
    /// The least cost and what has it.
    best: Option<(f64, Refined)>,
    wants_quantized: bool,
    steps: &'a Steps<'a>,
}

impl Search<'_> {
    /// The tiles that `latent` makes, and what a decoder will know of it.
    fn code(&self, latent: &Grid, curvature: &Curvature) -> Result<(Vec<EncodedTile>, Grid)> {
        let quantized = Mutex::new(self.encoder.empty_latent(self.quality));
        let tiles = self.encoder.code(
            self.quality,
            latent,
            curvature,
            Some(&quantized),
            self.steps,
        )?;
        let quantized = quantized.into_inner();
        Ok((tiles, quantized.unwrap_or_else(PoisonError::into_inner)))
    }

    /// The squared error of `quantized`. Where there is a latent to move, it takes the step of
    /// a round.
    fn distort(
        &mut self,
        quantized: &Grid,
        moves: Option<Move<'_>>,
        curvature: &mut Curvature,
    ) -> Result<u64> {
        let Some(moves) = moves else {
            return self.distortion.value(quantized, curvature, self.steps);
        };
        let (quality, factors) = (self.quality, &self.factors);
        let Move {
            latent,
            kind,
            stride,
        } = moves;
        let mut emit = |rows: Range<usize>, gradient: &[f32], curvature: &Curvature| {
            let mover = Mover {
                quality,
                factors,
                curvature,
                stride,
            };
            mover.advance(rows, latent, quantized, gradient);
        };
        self.distortion
            .gradient(quantized, kind, curvature, self.steps, &mut emit)
    }

    /// Keeps a round's tiles if none before cost less, and tells the caller; gives the part of
    /// the cost that the round saved.
    fn judge(
        &mut self,
        number: u32,
        tiles: Vec<EncodedTile>,
        quantized: Grid,
        squared_error: u64,
    ) -> f64 {
        let bits = 8 * tiles.iter().map(EncodedTile::bytes).sum::<usize>() as u64;
        let cost = bits as f64 + self.distortion.cost();
        let least = self
            .best
            .as_ref()
            .map_or(f64::INFINITY, |(least, _)| *least);
        let is_best = self.best.is_none() || cost < least;
        self.steps.progress.round(&Round {
            number,
            bits,
            psnr: psnr_from_error(squared_error, self.encoder.rgb.len() as u64),
            cost,
            is_best,
        });
        if is_best {
            let quantized = self.wants_quantized.then_some(quantized);
            self.best = Some((cost, Refined { tiles, quantized }));
        }
        1.0 - cost / least
    }

    /// Where coding the detail of blocks brought nothing, takes the latent of a picture without
    /// it instead, if that costs less; says whether it does.
    fn flatten(&mut self, latent: &mut Grid, curvature: &mut Curvature) -> Result<bool> {
        let Some(marked) = self.distortion.hopeless_blocks() else {
            return Ok(false);
        };
        let Some(kind) = self.encoder.options.rounds().first().copied() else {
            return Ok(false);
        };
        let mut flat = self.encoder.analyze_flattened(self.quality, &marked)?;
        let (tiles, quantized) = self.code(&flat, curvature)?;
        curvature.frozen = marked;
        let moves = Move::new(&mut flat, kind, 0);
        let squared_error = self.distort(&quantized, Some(moves), curvature)?;
        let is_better = self.judge(0, tiles, quantized, squared_error) > 0.0;
        if is_better {
            *latent = flat;
        } else {
            curvature.frozen.clear();
        }
        Ok(is_better)
    }
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
