//! What the encoder's search minimises besides bits, and its gradient: the squared error of
//! the decoded samples, or that and a structural measure together.

use std::ops::Range;

use rayon::prelude::*;

use super::Steps;
use super::curvature::Curvature;
use super::effort::{Gradient, Tune};
use super::encode::PictureEncoder;
use crate::error::Result;
use crate::format::{LATENT_STRIDE, PATCH, PATCH8};
use crate::kernels::{patches_to_pixels, space_to_depth};
use crate::metrics::structure::{ALIGNMENT, MARGIN, structural_error};
use crate::network::{Grid, QualityModel};
use crate::picture::CHANNELS;

/// The distortion of one picture at one quality after another choice of its latent.
pub(super) struct Distortion<'a> {
    encoder: &'a PictureEncoder<'a>,
    quality: &'a QualityModel<'a>,
    structural: Option<Structural<'a>>,
    cost: f64,
    /// The squared error of each 16 x 16 block, in raster order.
    blocks: Vec<u64>,
}

impl<'a> Distortion<'a> {
    /// The distortion that the options of `encoder` ask for.
    pub fn new(encoder: &'a PictureEncoder<'a>, quality: &'a QualityModel<'a>) -> Self {
        let structural = || Structural::new(encoder, quality.bits_per_squared_sample);
        Self {
            encoder,
            quality,
            structural: (encoder.options.tune == Tune::Ssim).then(structural),
            cost: 0.0,
            blocks: Vec::new(),
        }
    }

    /// What the last distortion is worth in bits.
    pub fn cost(&self) -> f64 {
        self.cost
    }

    /// Computes the distortion of `quantized`, and where an error counts how much; gives the
    /// squared error of the samples (from 0 to 255).
    pub fn value(
        &mut self,
        quantized: &Grid,
        curvature: &mut Curvature,
        steps: &Steps<'_>,
    ) -> Result<u64> {
        let mut error = SquaredError::new(self.encoder, self.quality.bits_per_squared_sample);
        let structural = &mut self.structural;
        self.quality.synthesis(quantized, &mut |rows, patches| {
            error.add(rows.clone(), patches, None);
            if let Some(structural) = structural {
                structural.take(rows.clone(), patches);
            }
            steps.advance(rows.len())
        })?;
        self.cost = error.cost();
        self.blocks = std::mem::take(&mut error.blocks);
        if let Some(structural) = &mut self.structural {
            let size = (quantized.height, quantized.width);
            let by_position = &mut curvature.by_position;
            let weights = by_position.get_or_insert_with(|| Grid::zeros(size.0, size.1, 1));
            self.cost = structural.cost(weights);
        }
        Ok(error.sum())
    }

    /// As [`value`](Self::value) of squared error, judged by a quarter of the picture that
    /// stands for the others: a latent's neighborhood changes like the picture from the last
    /// distortion to this one. Small pictures are taken whole.
    pub fn sampled_value(
        &mut self,
        quantized: &Grid,
        curvature: &mut Curvature,
        steps: &Steps<'_>,
    ) -> Result<u64> {
        let (height, width) = (quantized.height, quantized.width);
        let columns = self.encoder.columns();
        let sample = height * 3 / 8..height * 5 / 8;
        let sum_of = |blocks: &[u64]| u128::from(blocks.iter().sum::<u64>());
        let before = (self
            .blocks
            .get(sample.start * columns..sample.end * columns))
        .map(sum_of);
        let before = before.filter(|before| *before > 0 && height >= SAMPLED_HEIGHT);
        let (Some(before), None) = (before, &self.structural) else {
            return self.value(quantized, curvature, steps);
        };
        // The rows beside a part are as in the whole picture, but for the halo.
        let halo = self.quality.config().halo();
        let top = sample.start - halo;
        let part = quantized.crop(top, 0, sample.len() + 2 * halo, width);
        let mut error = SquaredError::new(self.encoder, self.quality.bits_per_squared_sample);
        self.quality.synthesis(&part, &mut |rows, patches| {
            let stride = patches.len() / rows.len().max(1);
            let first = rows.start + 2 * top;
            let start = first.max(2 * sample.start);
            let end = (rows.end + 2 * top).min(2 * sample.end);
            if start < end {
                let inside = (start - first) * stride..(end - first) * stride;
                error.add(start..end, &patches[inside], None);
            }
            steps.advance(rows.len())
        })?;
        let sum = (sum_of(&self.blocks) * u128::from(error.sum()) / before) as u64;
        self.cost = error.worth(sum);
        Ok(sum)
    }

    /// As [`value`](Self::value); then `emit` gets the gradient with respect to `quantized`,
    /// from top to bottom.
    pub fn gradient(
        &mut self,
        quantized: &Grid,
        kind: Gradient,
        curvature: &mut Curvature,
        steps: &Steps<'_>,
        emit: &mut GradientSink<'_>,
    ) -> Result<u64> {
        let (encoder, quality) = (self.encoder, self.quality);
        if self.structural.is_some() {
            let sum = self.value(quantized, curvature, steps)?;
            let structural = self.structural.as_ref();
            let known = &mut |rows: Range<usize>, _: &[f32], gradient: &mut [f32]| {
                if let Some(structural) = structural {
                    structural.gradient(rows, gradient);
                }
                Ok(())
            };
            let emit = &mut |rows: Range<usize>, gradient: &[f32]| {
                emit(rows, gradient, curvature);
                steps.advance(0)
            };
            quality.synthesis_gradient(quantized, known, emit)?;
            return Ok(sum);
        }
        let mut error = SquaredError::new(encoder, quality.bits_per_squared_sample);
        let slopes = &mut |rows: Range<usize>, patches: &[f32], gradient: &mut [f32]| {
            error.add(rows, patches, Some(gradient));
            Ok(())
        };
        let emit = &mut |rows: Range<usize>, gradient: &[f32]| {
            emit(rows.clone(), gradient, curvature);
            steps.advance(2 * rows.len())
        };
        match kind {
            Gradient::Linear => quality.linear_gradient(quantized, slopes, emit)?,
            Gradient::Whole => quality.synthesis_gradient(quantized, slopes, emit)?,
        }
        self.cost = error.cost();
        self.blocks = std::mem::take(&mut error.blocks);
        Ok(error.sum())
    }

    /// The 16 x 16 blocks whose mean color is as near to them as what the last distortion was
    /// of: coding their detail cost bits for nothing. None where they are too few to matter.
    pub fn hopeless_blocks(&self) -> Option<Vec<bool>> {
        let image = self.encoder.image;
        let (width, height) = (image.width as usize, image.height as usize);
        let columns = self.encoder.columns();
        let is_hopeless = |(block, error): (usize, &u64)| {
            let (top, left) = (
                block / columns * LATENT_STRIDE,
                block % columns * LATENT_STRIDE,
            );
            let (bottom, right) = (
                (top + LATENT_STRIDE).min(height),
                (left + LATENT_STRIDE).min(width),
            );
            let rows = (top..bottom).map(|y| {
                let start = y * width * CHANNELS;
                &self.encoder.rgb[start + left.min(right) * CHANNELS..start + right * CHANNELS]
            });
            let (samples, energy) = energy(rows);
            energy > LEAST_ENERGY * samples && *error >= energy
        };
        let marked: Vec<bool> = self
            .blocks
            .par_iter()
            .enumerate()
            .map(is_hopeless)
            .collect();
        let count = marked.iter().filter(|marked| **marked).count();
        (count * FEWEST_HOPELESS > marked.len()).then_some(marked)
    }
}

/// Rows of latents from which on a part of a picture is judged for it.
const SAMPLED_HEIGHT: usize = 64;

/// Mean squared distance of a block's samples from its mean color (samples from 0 to 255) from
/// which on it has detail.
const LEAST_ENERGY: u64 = 64;

/// One block in this many must be hopeless for anything to be done about it.
const FEWEST_HOPELESS: usize = 64;

/// The number of samples in a block, and the sum of their squared distances from its mean color.
fn energy<'a>(rows: impl Iterator<Item = &'a [u8]>) -> (u64, u64) {
    let mut sums = [[0u64; 2]; CHANNELS];
    let mut pixels = 0;
    for pixel in rows.flat_map(|row| row.chunks_exact(CHANNELS)) {
        pixels += 1;
        for (sums, sample) in sums.iter_mut().zip(pixel) {
            sums[0] += u64::from(*sample);
            sums[1] += u64::from(*sample) * u64::from(*sample);
        }
    }
    let distance =
        |[sum, squares]: [u64; 2]| squares - (sum * sum).checked_div(pixels).unwrap_or(0);
    (
        CHANNELS as u64 * pixels,
        sums.into_iter().map(distance).sum(),
    )
}

/// Takes rows of the gradient, and is told which they are.
pub(super) type GradientSink<'a> = dyn FnMut(Range<usize>, &[f32], &Curvature) + 'a;

/// The squared error of a picture's decoded samples, summed up a few rows at a time.
struct SquaredError<'a> {
    encoder: &'a PictureEncoder<'a>,
    /// What a squared error of one sample (samples from 0 to 1) is worth in bits.
    bits: f32,
    /// Sum over the samples (from 0 to 255) so far.
    sum: u64,
    /// By 16 x 16 block.
    blocks: Vec<u64>,
    original: Vec<f32>,
}

impl<'a> SquaredError<'a> {
    /// Nothing so far; `bits` is the Lagrange multiplier for samples from 0 to 1.
    pub fn new(encoder: &'a PictureEncoder<'a>, bits: f32) -> Self {
        Self {
            encoder,
            bits,
            sum: 0,
            blocks: vec![0; encoder.rows() * encoder.columns()],
            original: Vec::new(),
        }
    }

    /// Adds rows of decoded patches `[rows, 2w, 192]`. Where wanted, the gradient of their
    /// cost in bits with respect to them is written.
    pub fn add(&mut self, rows: Range<usize>, decoded: &[f32], gradient: Option<&mut [f32]>) {
        let stride = decoded.len() / rows.len().max(1);
        self.original.resize(decoded.len(), 0.0);
        self.encoder.read(rows.clone(), &mut self.original);
        let (image, factor) = (self.encoder.image, 2.0 * self.bits);
        let (width, height) = (image.width as usize, image.height as usize);
        let pairs = decoded
            .par_chunks(stride)
            .zip(self.original.par_chunks(stride))
            .enumerate();
        let pairs = pairs.map(|(y, (decoded, original))| {
            let below = height.saturating_sub((rows.start + y) * PATCH).min(PATCH);
            PatchRow {
                decoded,
                original,
                height: below,
                width,
            }
        });
        let errors: Vec<Vec<u32>> = match gradient {
            Some(gradient) => pairs
                .zip(gradient.par_chunks_mut(stride))
                .map(|(row, gradient)| {
                    row.gradient(factor, gradient);
                    row.errors()
                })
                .collect(),
            None => pairs.map(|row| row.errors()).collect(),
        };
        for (row, errors) in rows.zip(errors) {
            let blocks = &mut self.blocks[row / 2 * errors.len() / 2..][..errors.len() / 2];
            for (block, pair) in blocks.iter_mut().zip(errors.chunks_exact(2)) {
                let error = u64::from(pair[0]) + u64::from(pair[1]);
                *block += error;
                self.sum += error;
            }
        }
    }

    /// What it is worth in bits.
    pub fn cost(&self) -> f64 {
        self.worth(self.sum)
    }

    /// What a sum of squared errors (samples from 0 to 255) is worth in bits.
    pub fn worth(&self, sum: u64) -> f64 {
        f64::from(self.bits) / (255.0 * 255.0) * sum as f64
    }

    /// The sum of squared errors over all samples (from 0 to 255) so far.
    pub fn sum(&self) -> u64 {
        self.sum
    }
}

/// One row of patches, of which the first `height` rows and `width` columns of samples count.
struct PatchRow<'a> {
    decoded: &'a [f32],
    original: &'a [f32],
    height: usize,
    width: usize,
}

impl PatchRow<'_> {
    /// The pieces of patch `at` that count.
    fn pieces(&self, at: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let columns = self.width.saturating_sub(at * PATCH).min(PATCH);
        (0..self.height).map(move |y| {
            let start = at * PATCH8 + y * PATCH * CHANNELS;
            start..start + columns * CHANNELS
        })
    }

    /// The squared error of each patch's samples as they are shown.
    fn errors(&self) -> Vec<u32> {
        let of_piece = |piece: Range<usize>| {
            let pairs = self.decoded[piece.clone()]
                .iter()
                .zip(&self.original[piece]);
            pairs.map(|(a, b)| squared(*a, *b)).sum::<u32>()
        };
        let patches = 0..self.decoded.len() / PATCH8;
        patches
            .map(|at| self.pieces(at).map(of_piece).sum())
            .collect()
    }

    /// Writes `factor` times the difference; samples beyond the range are clipped, so they
    /// have no slope.
    fn gradient(&self, factor: f32, gradient: &mut [f32]) {
        gradient.fill(0.0);
        let patches = 0..self.decoded.len() / PATCH8;
        for piece in patches.flat_map(|at| self.pieces(at)) {
            let pairs = self.decoded[piece.clone()]
                .iter()
                .zip(&self.original[piece.clone()]);
            for (gradient, (decoded, original)) in gradient[piece].iter_mut().zip(pairs) {
                let inside = decoded.abs() <= 0.5;
                *gradient = if inside {
                    factor * (decoded - original)
                } else {
                    0.0
                };
            }
        }
    }
}

/// The squared error of two samples as they are shown, from 0 to 255.
fn squared(decoded: f32, original: f32) -> u32 {
    let shown = |value: f32| (value.clamp(-0.5, 0.5) * 255.0 + 128.0) as i32;
    let error = shown(decoded).abs_diff(shown(original));
    error * error
}

/// Part of the structural measure in the mixture; the rest is squared error.
const STRUCTURE: f32 = 0.8;

/// Samples of a part of the picture that the structural measure is computed of at once.
const SAMPLES_AT_ONCE: usize = 1 << 22;

/// Squared error weighted by local activity, and structural error.
struct Structural<'a> {
    encoder: &'a PictureEncoder<'a>,
    bits: f32,
    /// Weight of the squared error of each 8 x 8 patch of the picture.
    activity: Vec<f32>,
    /// Balances both gradients; set at the first picture.
    balance: Option<f64>,
    decoded: Vec<u8>,
    /// The gradient, `[height, width, 3]`.
    gradient: Vec<f32>,
}

impl<'a> Structural<'a> {
    pub fn new(encoder: &'a PictureEncoder<'a>, bits: f32) -> Self {
        let samples = encoder.rgb.len();
        Self {
            encoder,
            bits,
            activity: activity_weights(encoder),
            balance: None,
            decoded: vec![0; samples],
            gradient: vec![0.0; samples],
        }
    }

    /// Rows and columns of samples.
    fn size(&self) -> (usize, usize) {
        let image = self.encoder.image;
        (image.height as usize, image.width as usize)
    }

    /// Takes rows of decoded patches.
    pub fn take(&mut self, rows: Range<usize>, patches: &[f32]) {
        let (height, width) = self.size();
        let coded_width = patches.len() / rows.len().max(1) / PATCH;
        let mut band = vec![0; patches.len()];
        patches_to_pixels(patches, rows.len() * PATCH, coded_width / 3, &mut band);
        let top = rows.start * PATCH;
        let kept = &mut self.decoded[(top * width * 3).min(height * width * 3)..];
        for (to, from) in kept
            .chunks_exact_mut(width * 3)
            .zip(band.chunks_exact(coded_width))
        {
            to.copy_from_slice(&from[..width * 3]);
        }
    }

    /// The cost in bits of the picture that was taken. Afterwards its gradient is known, and
    /// `weights` (`[h, w, 1]`) how much an error counts at each latent.
    pub fn cost(&mut self, weights: &mut Grid) -> f64 {
        let (height, width) = self.size();
        let mut structure = 0.0;
        let at_once = (SAMPLES_AT_ONCE / width / ALIGNMENT).max(16) * ALIGNMENT;
        for top in (0..height).step_by(at_once) {
            structure += self.part(top..(top + at_once).min(height));
        }
        let (mut squares, mut of_error, mut of_structure) = (0.0, 0.0, 0.0);
        for [a, b, c] in self.row_norms() {
            squares += a;
            of_error += b;
            of_structure += c;
        }
        let balance = *self.balance.get_or_insert_with(|| {
            if of_structure > 0.0 {
                (of_error / of_structure).sqrt()
            } else {
                0.0
            }
        });
        self.mix(balance as f32, weights);
        let mixture = f64::from(STRUCTURE);
        f64::from(self.bits) * ((1.0 - mixture) * squares + mixture * balance * structure)
    }

    /// Writes the gradient of the structural error of these rows; gives their value.
    fn part(&mut self, rows: Range<usize>) -> f64 {
        let (height, width) = self.size();
        let stride = width * 3;
        let around = rows.start.saturating_sub(MARGIN)..(rows.end + MARGIN).min(height);
        let samples = around.start * stride..around.end * stride;
        let values = |bytes: &[u8]| -> Vec<f32> {
            let bytes = bytes[samples.clone()].par_iter().with_min_len(1 << 12);
            bytes.map(|byte| f32::from(*byte) / 255.0 - 0.5).collect()
        };
        let (original, decoded) = (values(&self.encoder.rgb), values(&self.decoded));
        let mut gradient = vec![0.0; original.len()];
        let inside = rows.start - around.start..rows.end - around.start;
        let value = structural_error(&original, &decoded, width, inside.clone(), &mut gradient);
        self.gradient[rows.start * stride..rows.end * stride]
            .copy_from_slice(&gradient[inside.start * stride..inside.end * stride]);
        value
    }

    /// By row: the weighted squared error, the squares of its gradient, and those of the
    /// structural one.
    fn row_norms(&self) -> Vec<[f64; 3]> {
        let (_, width) = self.size();
        let stride = width * 3;
        let rows = self.gradient.par_chunks(stride).enumerate();
        rows.map(|(y, gradient)| {
            let mut norms = [0.0; 3];
            for (x, slope) in gradient.iter().enumerate() {
                let (weight, error) = self.error_at(y, x);
                norms[0] += f64::from(weight * error * error);
                norms[1] += f64::from((2.0 * weight * error) * (2.0 * weight * error));
                norms[2] += f64::from(slope * slope);
            }
            norms
        })
        .collect()
    }

    /// Weight and error of sample `x` of row `y`.
    fn error_at(&self, y: usize, x: usize) -> (f32, f32) {
        let width = self.encoder.image.width as usize;
        let at = y * width * 3 + x;
        let error = f32::from(self.decoded[at]) - f32::from(self.encoder.rgb[at]);
        let patch = y / PATCH * width.div_ceil(PATCH) + x / 3 / PATCH;
        (self.activity[patch], error / 255.0)
    }

    /// Mixes both gradients, and compares the result with that of plain squared error.
    fn mix(&mut self, balance: f32, weights: &mut Grid) {
        let (_, width) = self.size();
        let stride = width * 3;
        let mut gradient = std::mem::take(&mut self.gradient);
        let columns = weights.width;
        let mut energies = vec![[0.0f32; 2]; weights.values.len()];
        let structure = STRUCTURE * balance;
        gradient
            .par_chunks_mut(stride * LATENT_STRIDE)
            .zip(energies.par_chunks_mut(columns))
            .enumerate()
            .for_each(|(band, (gradient, energies))| {
                for (y, row) in gradient.chunks_exact_mut(stride).enumerate() {
                    for (x, slope) in row.iter_mut().enumerate() {
                        let (weight, error) = self.error_at(band * LATENT_STRIDE + y, x);
                        let plain = 2.0 * error;
                        let mixed = (1.0 - STRUCTURE) * weight * plain + structure * *slope;
                        let energy = &mut energies[x / 3 / LATENT_STRIDE];
                        energy[0] += mixed * mixed;
                        energy[1] += plain * plain;
                        *slope = self.bits * mixed;
                    }
                }
            });
        self.gradient = gradient;
        for y in 0..weights.height {
            for x in 0..columns {
                let (mut mixed, mut plain) = (1e-6f32, 1e-6f32);
                for v in y.saturating_sub(1)..(y + 2).min(weights.height) {
                    for u in x.saturating_sub(1)..(x + 2).min(columns) {
                        let [a, b] = energies[v * columns + u];
                        mixed += a;
                        plain += b;
                    }
                }
                weights.values[y * columns + x] = (mixed / plain).sqrt().clamp(0.125, 8.0);
            }
        }
    }

    /// The gradient with respect to rows of patches.
    pub fn gradient(&self, rows: Range<usize>, out: &mut [f32]) {
        let (height, width) = self.size();
        let padded = out.len() / rows.len().max(1) / PATCH;
        let mut band = vec![0.0; out.len()];
        let top = (rows.start * PATCH).min(height);
        let known = self.gradient[top * width * 3..].chunks_exact(width * 3);
        for (to, from) in band.chunks_exact_mut(padded).zip(known) {
            to[..width * 3].copy_from_slice(from);
        }
        space_to_depth(&band, rows.len() * PATCH, padded / 3, 3, PATCH, out);
    }
}

/// Weights of squared errors by 8 x 8 patch: a fourth root of the variance, smoothed over the
/// patches beside it, divides them; their mean is about one.
fn activity_weights(encoder: &PictureEncoder<'_>) -> Vec<f32> {
    let (width, height) = (encoder.image.width as usize, encoder.image.height as usize);
    let (columns, rows) = (width.div_ceil(PATCH), height.div_ceil(PATCH));
    let activity = |at: usize| {
        let (top, left) = (at / columns * PATCH, at % columns * PATCH);
        let (bottom, right) = ((top + PATCH).min(height), (left + PATCH).min(width));
        let (mut sum, mut squares) = (0.0f32, 0.0f32);
        for y in top..bottom {
            let row = &encoder.rgb[(y * width + left) * 3..(y * width + right) * 3];
            for pixel in row.chunks_exact(3) {
                let gray = pixel.iter().map(|byte| f32::from(*byte)).sum::<f32>() / 3.0;
                sum += gray;
                squares += gray * gray;
            }
        }
        let count = ((bottom - top) * (right - left)) as f32;
        let variance = (squares / count - (sum / count) * (sum / count)).max(0.0);
        (variance + 1.0).sqrt().sqrt()
    };
    let activity: Vec<f32> = (0..rows * columns).into_par_iter().map(activity).collect();
    let smoothed = |at: usize| {
        let (y, x) = (at / columns, at % columns);
        let (mut sum, mut count) = (0.0, 0.0);
        for v in y.saturating_sub(1)..(y + 2).min(rows) {
            for u in x.saturating_sub(1)..(x + 2).min(columns) {
                sum += activity[v * columns + u];
                count += 1.0;
            }
        }
        sum / count
    };
    let smoothed: Vec<f32> = (0..rows * columns).into_par_iter().map(smoothed).collect();
    let mean = smoothed.iter().map(|value| f64::from(*value)).sum::<f64>() / smoothed.len() as f64;
    smoothed.iter().map(|value| mean as f32 / value).collect()
}
