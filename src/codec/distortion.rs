//! What the encoder's search minimises besides bits, and its gradient: the squared error of
//! the decoded samples, or that and what the eye sees of it together.

use std::ops::Range;

use rayon::prelude::*;

use super::Steps;
use super::curvature::Curvature;
use super::effort::{Gradient, Tune};
use super::encoder::PictureEncoder;
use super::visual::VisualDistortion;
use crate::error::Result;
use crate::format::{LATENT_STRIDE, PATCH, PATCH8};
use crate::kernels::search::{squared_error, squared_error_slopes, squared_errors};
use crate::network::{GradientScales, Grid, QualityModel, Steepest};
use crate::picture::CHANNELS;

/// The distortion of one picture at one quality after another choice of its latent.
pub(super) struct Distortion<'a> {
    encoder: &'a PictureEncoder<'a>,
    quality: &'a QualityModel<'a>,
    /// What a squared error of one sample (samples from 0 to 1) is worth in bits.
    bits: f32,
    visual: Option<VisualDistortion<'a>>,
    cost: f64,
    /// The squared error of each 16 x 16 block, in raster order.
    blocks: Vec<u64>,
    /// Those of gradients through the whole network, when a part of the picture has shown them.
    pub scales: Option<GradientScales>,
}

impl<'a> Distortion<'a> {
    /// The distortion that the options of `encoder` ask for; `bits` is the Lagrange multiplier for samples from 0
    /// to 1.
    pub fn new(encoder: &'a PictureEncoder<'a>, quality: &'a QualityModel<'a>, bits: f32) -> Self {
        let visual = || VisualDistortion::new(encoder, bits);
        Self {
            encoder,
            quality,
            bits,
            visual: (encoder.options.tune == Tune::Ssim).then(visual),
            cost: 0.0,
            blocks: Vec::new(),
            scales: None,
        }
    }

    /// What the last distortion is worth in bits.
    pub fn cost(&self) -> f64 {
        self.cost
    }

    /// Computes the distortion of `quantized`; gives the squared error of the samples (from 0 to 255).
    pub fn value(&mut self, quantized: &Grid, steps: &Steps<'_>) -> Result<u64> {
        let sum = self.decode(quantized, steps)?;
        if let Some(visual) = &self.visual {
            self.cost = visual.cost(sum);
        }
        Ok(sum)
    }

    /// Decodes `quantized`: the cost is that of its squared error.
    fn decode(&mut self, quantized: &Grid, steps: &Steps<'_>) -> Result<u64> {
        let mut error = SquaredError::new(self.encoder, self.bits);
        let visual = &mut self.visual;
        self.quality.synthesis(quantized, &mut |rows, patches| {
            error.add(rows.clone(), patches, None);
            if let Some(visual) = visual {
                visual.take(rows.clone(), patches);
            }
            steps.advance(rows.len())
        })?;
        self.cost = error.cost();
        self.blocks = std::mem::take(&mut error.blocks);
        Ok(error.sum())
    }

    /// As [`value`](Self::value), judged by a quarter of the picture that
    /// stands for the others: a latent's neighborhood changes like the picture from the last
    /// distortion to this one. Small pictures are taken whole.
    pub fn sampled_value(&mut self, quantized: &Grid, steps: &Steps<'_>) -> Result<u64> {
        let (height, width) = (quantized.height, quantized.width);
        let columns = self.encoder.columns();
        let sample = height * 3 / 8..height * 5 / 8;
        let sum_of = |blocks: &[u64]| blocks.iter().sum::<u64>();
        let before = (self
            .blocks
            .get(sample.start * columns..sample.end * columns))
        .map(sum_of);
        let before = before.filter(|before| *before > 0 && height >= SAMPLED_HEIGHT);
        let Some(before) = before else {
            return self.value(quantized, steps);
        };
        let visual = &mut self.visual;
        let cost_before = visual
            .as_ref()
            .map(|visual| visual.cost_of(&sample, before));
        // The rows beside a part are as in the whole picture, but for the halo.
        let halo = self.quality.config().halo();
        let top = sample.start - halo;
        let part = quantized.crop(top, 0, sample.len() + 2 * halo, width);
        let mut error = SquaredError::new(self.encoder, self.bits);
        self.quality.synthesis(&part, &mut |rows, patches| {
            let stride = patches.len() / rows.len().max(1);
            let first = rows.start + 2 * top;
            let start = first.max(2 * sample.start);
            let end = (rows.end + 2 * top).min(2 * sample.end);
            if start < end {
                let inside = &patches[(start - first) * stride..(end - first) * stride];
                error.add(start..end, inside, None);
                if let Some(visual) = visual {
                    visual.take(start..end, inside);
                }
            }
            steps.advance(rows.len())
        })?;
        let whole = u128::from(sum_of(&self.blocks)) * u128::from(error.sum());
        let sum = (whole / u128::from(before)) as u64;
        self.cost = match (&self.visual, cost_before) {
            (Some(visual), Some(before)) => {
                self.cost * visual.cost_of(&sample, error.sum()) / before
            }
            _ => error.worth(sum),
        };
        Ok(sum)
    }

    /// As [`value`](Self::value), and where an error counts how much; then `emit` gets the gradient with respect to
    /// `quantized`, from top to bottom.
    pub fn gradient(
        &mut self,
        quantized: &Grid,
        kind: Gradient,
        curvature: &mut Curvature,
        steps: &Steps<'_>,
        emit: &mut GradientSink<'_>,
    ) -> Result<u64> {
        if self.visual.is_some() {
            self.visual_gradient(quantized, kind, curvature, steps, emit)
        } else {
            self.squared_gradient(quantized, kind, curvature, steps, emit)
        }
    }

    fn visual_gradient(
        &mut self,
        quantized: &Grid,
        kind: Gradient,
        curvature: &mut Curvature,
        steps: &Steps<'_>,
        emit: &mut GradientSink<'_>,
    ) -> Result<u64> {
        let sum = self.decode(quantized, steps)?;
        let size = (quantized.height, quantized.width);
        let Some(visual) = &self.visual else {
            return Ok(sum);
        };
        let by_position = &mut curvature.by_position;
        let weights = by_position.get_or_insert_with(|| Grid::zeros(size.0, size.1, 1));
        let (cost, of_samples) = visual.cost_with_gradient(sum, weights);
        let steepest = of_samples.steepest;
        self.cost = cost;
        let emit = &mut |rows: Range<usize>, gradient: &[f32]| {
            emit(rows, gradient, curvature);
            steps.advance(0)
        };
        let known = |rows: Range<usize>, gradient: &mut [f32]| of_samples.write(rows, gradient);
        let quality = self.quality;
        if let (Gradient::Whole, Some(scales)) = (kind, &self.scales) {
            let known = &mut |rows: Range<usize>, decoded: &[f32], gradient: &mut [f32]| {
                known(rows, gradient);
                // Samples beyond the range are clipped, so they have no slope.
                for (gradient, decoded) in gradient.iter_mut().zip(decoded) {
                    if decoded.abs() > 0.5 {
                        *gradient = 0.0;
                    }
                }
                Ok(())
            };
            quality.synthesis_gradient(quantized, steepest, scales, known, emit)?;
        } else {
            quality.known_linear_gradient(size, steepest, &mut { known }, emit)?;
        }
        Ok(sum)
    }

    /// The slopes of squared error in the next round: as they were in the last, where there was one.
    fn steepest(&self) -> Steepest {
        // From black to white is the largest error there is.
        const WORST: f64 = 1.0 / 32.0;
        let squared: u64 = self.blocks.iter().sum();
        let mean = match squared {
            0 => WORST,
            _ => (squared as f64 / self.encoder.rgb.len() as f64).sqrt() / 255.0,
        };
        Steepest::of_mean(2.0 * self.bits * mean.min(WORST) as f32)
    }

    fn squared_gradient(
        &mut self,
        quantized: &Grid,
        kind: Gradient,
        curvature: &Curvature,
        steps: &Steps<'_>,
        emit: &mut GradientSink<'_>,
    ) -> Result<u64> {
        let (encoder, quality) = (self.encoder, self.quality);
        let steepest = self.steepest();
        let mut error = SquaredError::new(encoder, self.bits);
        let slopes = &mut |rows: Range<usize>, patches: &[f32], gradient: &mut [f32]| {
            error.add(rows, patches, Some(gradient));
            Ok(())
        };
        let emit = &mut |rows: Range<usize>, gradient: &[f32]| {
            emit(rows.clone(), gradient, curvature);
            steps.advance(2 * rows.len())
        };
        if let (Gradient::Whole, Some(scales)) = (kind, &self.scales) {
            quality.synthesis_gradient(quantized, steepest, scales, slopes, emit)?;
        } else {
            quality.linear_gradient(quantized, steepest, slopes, emit)?;
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

    /// The number of patches from the first one on of which all counts, and the number of all.
    fn whole(&self) -> (usize, usize) {
        let patches = self.decoded.len() / PATCH8;
        let whole = match self.height {
            PATCH => (self.width / PATCH).min(patches),
            _ => 0,
        };
        (whole, patches)
    }

    /// The squared error of each patch's samples as they are shown.
    fn errors(&self) -> Vec<u32> {
        let (decoded, original) = (self.decoded, self.original);
        let (whole, patches) = self.whole();
        let mut errors = vec![0; patches];
        let inside = ..whole * PATCH8;
        squared_errors(&decoded[inside], &original[inside], &mut errors[..whole]);
        let of_sample = |at: usize| squared_error(decoded[at], original[at]);
        for (at, error) in errors.iter_mut().enumerate().skip(whole) {
            *error = self.pieces(at).flatten().map(of_sample).sum();
        }
        errors
    }

    /// Writes `factor` times the difference; samples beyond the range are clipped, so they
    /// have no slope.
    fn gradient(&self, factor: f32, gradient: &mut [f32]) {
        let (decoded, original) = (self.decoded, self.original);
        let (whole, patches) = self.whole();
        let (inside, edge) = gradient.split_at_mut(whole * PATCH8);
        let first = inside.len();
        squared_error_slopes(factor, &decoded[..first], &original[..first], inside);
        edge.fill(0.0);
        for piece in (whole..patches).flat_map(|at| self.pieces(at)) {
            let to = &mut edge[piece.start - first..piece.end - first];
            squared_error_slopes(factor, &decoded[piece.clone()], &original[piece], to);
        }
    }
}
