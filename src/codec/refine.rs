//! The encoder's search: rounds of coding that cost fewer bits and less distortion together.
//!
//! Symbols are chosen for values, the targets, that begin as what the analysis transform says.
//! Each round takes the gradient of the distortion at the symbols of the last one, through the
//! synthesis transform, and moves the targets: towards what was coded, and against the
//! gradient by a step that the curvature of the distortion gives. Coding again chooses symbols
//! by rate and distortion for the new targets, in coding order and under the probabilities
//! that follow from the symbols before; the hyper-latent stays that of the analysis transform.
//! Where the effort allows it, the gradient is that of the rate too, as far as later latents are
//! coded under other probabilities. The tiles with the least cost are kept, so that no effort
//! costs more than a lower one's first pass.
//!
//! All of it is exact arithmetic or sums in one order: what is found does not depend on
//! threads or on the machine.

use std::ops::Range;
use std::sync::Mutex;

use rayon::prelude::*;

use super::Steps;
use super::curvature::{Curvature, LEAST};
use super::distortion::Distortion;
use super::effort::{Gradient, Plan, Round, Tune};
use super::encoder::{EncodedTile, Kept, PictureEncoder, targets};
use super::tile::HyperLatent;
use crate::error::Result;
use crate::kernels::search::{Latents, Stride, move_latents};
use crate::metrics::psnr_from_error;
use crate::network::worth::Strides;
use crate::network::{Grid, QualityModel};
use crate::sync;

/// The strides for a distortion and the way its gradient is taken. Visual error is more curved than its gradient shows
/// where there is most of it.
const fn strides(tune: Tune, gradient: Gradient) -> Strides {
    let (first, shortening, overshoot) = match (tune, gradient) {
        (Tune::Psnr, Gradient::Linear) => (0.42, 0.4, 1.2),
        (Tune::Psnr, Gradient::Whole) => (0.25, 0.4, 1.0),
        (Tune::Ssim, Gradient::Linear) => (0.18, 0.3, 1.0),
        (Tune::Ssim, Gradient::Whole) => (0.25, 0.4, 0.7),
    };
    Strides {
        first,
        shortening,
        overshoot,
    }
}

/// How far, in quantization steps, a round goes against the gradient of the rate at most: where the
/// distortion hardly holds a latent, that of the rate would carry it away.
const LARGEST_DETOUR: f32 = 0.5;

/// A round that gains less than this part of the cost brings next to nothing.
const LEAST_GAIN: f64 = 0.0002;

/// What the search found.
pub(super) struct Refined {
    pub tiles: Vec<EncodedTile>,
    /// What a decoder will know of the latent, ŷ; only where it was asked for.
    pub quantized: Option<Grid>,
}

/// Steps that [`refine`] takes at most.
pub(super) fn work(encoder: &PictureEncoder<'_>) -> usize {
    let rounds = encoder.plan().rounds.len();
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
    let kept = Kept {
        quantized: wants_quantized.then(|| Mutex::new(encoder.empty_latent(quality))),
        rate_gradient: None,
    };
    let curvature = Curvature::linear(&encoder.price(quality));
    let hyper = encoder.hyper_latents(quality, latent, false)?;
    let tiles = encoder.code(quality, latent, &hyper, &curvature, &kept, steps)?;
    Ok(Refined {
        tiles,
        quantized: kept.quantized.map(unlocked),
    })
}

fn unlocked(grid: Mutex<Grid>) -> Grid {
    sync::into_inner(grid)
}

/// Codes `latent`, the normalized latent of the picture, with the rounds of the options' effort.
pub(super) fn refine(
    encoder: &PictureEncoder<'_>,
    quality: &QualityModel<'_>,
    mut latent: Grid,
    wants_quantized: bool,
    steps: &Steps<'_>,
) -> Result<Refined> {
    let plan = encoder.plan();
    if plan.rounds.is_empty() {
        return single_pass(encoder, quality, &latent, wants_quantized, steps);
    }
    let last = plan.rounds.len();
    let price = encoder.price(quality);
    // They stay, whatever becomes of the latent.
    let mut hyper = encoder.hyper_latents(quality, &latent, true)?;
    let mut search = Search {
        encoder,
        quality,
        plan,
        distortion: Distortion::new(encoder, quality, price.squared_sample),
        curvature: Curvature::linear(&price),
        factors: targets(quality, encoder.options.tune),
        best: None,
        spare: None,
        wants_quantized,
        steps,
    };
    let mut stale = 0;
    for number in 0..=last {
        let coded = search.code(&latent, &hyper, number < last)?;
        if number == 0 {
            let scales = (search.curvature).measure(quality, &price, &coded.quantized)?;
            search.distortion.scales = Some(scales);
        }
        let squared_error = if number < last {
            search.advance(number, &mut latent, &coded)?
        } else {
            search.end(&coded)?
        };
        let gain = search.judge(number as u32, coded, squared_error);
        if number == 0 && search.flatten(&mut latent, &mut hyper)? {
            continue;
        }
        stale = if gain < LEAST_GAIN { stale + 1 } else { 0 };
        // Not a number either: the model may be anything.
        if gain.is_nan() || stale == search.plan.patience {
            break;
        }
    }
    Ok(search.best.expect("there is a first pass").1)
}

/// What a latent is coded as.
struct Coded {
    tiles: Vec<EncodedTile>,
    /// What a decoder will know of the latent, ŷ.
    quantized: Grid,
    /// The gradient of the rate with respect to it.
    rate_gradient: Option<Grid>,
}

/// What the rounds share.
struct Search<'a> {
    encoder: &'a PictureEncoder<'a>,
    quality: &'a QualityModel<'a>,
    plan: Plan,
    distortion: Distortion<'a>,
    curvature: Curvature,
    /// From the normalized latent to targets in quantization steps, by channel.
    factors: Vec<f32>,
    /// The least cost and what has it.
    best: Option<(f64, Refined)>,
    /// The memory of a latent that the next round writes anew.
    spare: Option<Grid>,
    wants_quantized: bool,
    steps: &'a Steps<'a>,
}

impl Search<'_> {
    /// What `latent` is coded as beside `hyper`; with the gradient of the rate if another round may follow it.
    fn code(&mut self, latent: &Grid, hyper: &[HyperLatent], is_followed: bool) -> Result<Coded> {
        let grid = || Mutex::new(self.encoder.empty_latent(self.quality));
        let kept = Kept {
            quantized: Some(self.spare.take().map_or_else(grid, Mutex::new)),
            rate_gradient: (is_followed && self.plan.follows_rate).then(grid),
        };
        let (encoder, quality) = (self.encoder, self.quality);
        let tiles = encoder.code(quality, latent, hyper, &self.curvature, &kept, self.steps)?;
        Ok(Coded {
            tiles,
            quantized: unlocked(kept.quantized.expect("it was asked for")),
            rate_gradient: kept.rate_gradient.map(unlocked),
        })
    }

    /// Moves `latent` by the step of round `number`; gives the squared error of what it was
    /// coded as.
    fn advance(&mut self, number: usize, latent: &mut Grid, coded: &Coded) -> Result<u64> {
        let kind = self.plan.rounds[number];
        let strides = strides(self.encoder.options.tune, kind);
        let mover = Mover {
            quality: self.quality,
            factors: &self.factors,
            stride: strides.at(number),
            overshoot: strides.overshoot,
        };
        let mut emit = |rows: Range<usize>, gradient: &[f32], curvature: &Curvature| {
            mover.advance(rows, latent, coded, gradient, curvature);
        };
        let curvature = &mut self.curvature;
        self.distortion
            .gradient(&coded.quantized, kind, curvature, self.steps, &mut emit)
    }

    /// The squared error of what the last round came to.
    fn end(&mut self, coded: &Coded) -> Result<u64> {
        if self.plan.samples_end {
            self.distortion.sampled_value(&coded.quantized, self.steps)
        } else {
            self.distortion.value(&coded.quantized, self.steps)
        }
    }

    /// Keeps a round's tiles if none before cost less, and tells the caller; gives the part of
    /// the cost that the round saved.
    fn judge(&mut self, number: u32, coded: Coded, squared_error: u64) -> f64 {
        let bits = 8 * coded.tiles.iter().map(EncodedTile::bytes).sum::<usize>() as u64;
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
        let mut unused = Some(coded.quantized);
        if is_best {
            let quantized = unused.take_if(|_| self.wants_quantized);
            let tiles = coded.tiles;
            self.best = Some((cost, Refined { tiles, quantized }));
        }
        self.spare = unused;
        1.0 - cost / least
    }

    /// Where coding the detail of blocks brought nothing, takes the latent of a picture without
    /// it instead, if that costs less; says whether it does.
    fn flatten(&mut self, latent: &mut Grid, hyper: &mut Vec<HyperLatent>) -> Result<bool> {
        let Some(marked) = self.distortion.hopeless_blocks() else {
            return Ok(false);
        };
        let mut flat = self.encoder.analyze_flattened(self.quality, &marked)?;
        let flat_hyper = self.encoder.hyper_latents(self.quality, &flat, true)?;
        let coded = self.code(&flat, &flat_hyper, true)?;
        self.curvature.frozen = marked;
        let squared_error = self.advance(0, &mut flat, &coded)?;
        let is_better = self.judge(0, coded, squared_error) > 0.0;
        if is_better {
            *latent = flat;
            *hyper = flat_hyper;
        } else {
            self.curvature.frozen.clear();
        }
        Ok(is_better)
    }
}

/// Moves targets along a gradient.
struct Mover<'a> {
    quality: &'a QualityModel<'a>,
    /// From the normalized latent to targets in quantization steps, by channel.
    factors: &'a [f32],
    /// Part of the way to the new targets.
    stride: f32,
    /// How far against the gradient.
    overshoot: f32,
}

impl Mover<'_> {
    /// Moves these rows of `latent`; `gradient` is that of the distortion in bits with respect
    /// to the same rows of what it was coded as.
    fn advance(
        &self,
        rows: Range<usize>,
        latent: &mut Grid,
        coded: &Coded,
        gradient: &[f32],
        curvature: &Curvature,
    ) {
        let (first, channels) = (rows.start * latent.width, latent.channels);
        let known = coded.quantized.rows(rows.clone());
        let of_rate = coded
            .rate_gradient
            .as_ref()
            .map(|grid| grid.rows(rows.clone()));
        let positions = latent.rows_mut(rows).par_chunks_exact_mut(channels);
        positions.enumerate().for_each(|(position, values)| {
            let Some(worth) = curvature.at(first + position) else {
                return;
            };
            let here = position * channels..(position + 1) * channels;
            let latents = Latents {
                values,
                factors: self.factors,
                known: &known[here.clone()],
                steps: &self.quality.latent_inverse_gain,
                slopes: &gradient[here.clone()],
                of_rate: of_rate.map_or(&[], |slopes| &slopes[here]),
                curvature: curvature.by_channel(),
            };
            let stride = Stride {
                part: self.stride,
                overshoot: self.overshoot,
                largest_detour: LARGEST_DETOUR,
                worth,
                least: LEAST,
            };
            move_latents(latents, stride);
        });
    }
}
