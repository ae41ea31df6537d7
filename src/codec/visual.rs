//! The distortion of `--tune ssim`: squared error and the error that SSIMULACRA2 sees, mixed; its gradient, and where
//! in the picture an error counts how much.

use std::ops::Range;

use half::bf16;
use rayon::prelude::*;

use super::encoder::PictureEncoder;
use crate::format::{LATENT_STRIDE, PATCH};
use crate::kernels::search::{Mixture, mixed_slopes};
use crate::kernels::{patches_to_pixels, space_to_depth};
use crate::metrics::visual::BandedComparison;
use crate::network::worth::{LOCAL_WEIGHTS, squared_error_of_visual};
use crate::network::{Grid, Steepest};
use crate::picture::CHANNELS;

/// Part of the visual error in the distortion that the search of `--tune ssim` makes small; the rest is squared error. Its
/// model was trained with 0.8 and likes what it sees by itself: on 16 validation pictures 0.35 instead of 0.8 in the search
/// takes 3 % fewer bits by MS-SSIM and 4 % by PSNR, and 1 % more by SSIMULACRA2.
const VISUAL_SHARE: f64 = 0.35;

/// Visual and squared error of a picture that is decoded a few rows at a time.
pub(super) struct VisualDistortion<'a> {
    encoder: &'a PictureEncoder<'a>,
    /// What a squared error of one sample (samples from 0 to 1) is worth in bits.
    bits: f32,
    /// The samples as they are shown, `[height, width, 3]`.
    decoded: Vec<u8>,
}

/// The gradient of the distortion in bits: two bytes for each sample, which coding has a better use for.
pub(super) struct VisualGradient {
    /// `[height, width, 3]`.
    values: Vec<bf16>,
    /// Values per row.
    stride: usize,
    /// Hardly any slope is larger.
    pub steepest: Steepest,
}

impl<'a> VisualDistortion<'a> {
    /// Nothing decoded so far; `bits` is the Lagrange multiplier for samples from 0 to 1.
    pub fn new(encoder: &'a PictureEncoder<'a>, bits: f32) -> Self {
        Self {
            encoder,
            bits,
            decoded: vec![0; encoder.rgb.len()],
        }
    }

    fn width(&self) -> usize {
        self.encoder.image.width as usize
    }

    /// Takes rows of decoded patches.
    pub fn take(&mut self, rows: Range<usize>, patches: &[f32]) {
        let stride = CHANNELS * self.width();
        let coded = patches.len() / rows.len().max(1) / PATCH;
        let mut band = vec![0; patches.len()];
        patches_to_pixels(patches, rows.len() * PATCH, coded / CHANNELS, &mut band);
        let top = (rows.start * PATCH * stride).min(self.decoded.len());
        let kept = self.decoded[top..].chunks_exact_mut(stride);
        for (to, from) in kept.zip(band.chunks_exact(coded)) {
            to.copy_from_slice(&from[..stride]);
        }
    }

    /// The rows of samples that rows of latents cover.
    fn samples(&self, latents: &Range<usize>) -> Range<usize> {
        let stride = LATENT_STRIDE * CHANNELS * self.width();
        let end = (latents.end * stride).min(self.decoded.len());
        (latents.start * stride).min(end)..end
    }

    /// What the distortion of these rows of latents alone is worth in bits, as if they were a picture; `squared` is
    /// the squared error of their samples (from 0 to 255).
    pub fn cost_of(&self, latents: &Range<usize>, squared: u64) -> f64 {
        let samples = self.samples(latents);
        let (original, decoded) = (&self.encoder.rgb, &self.decoded);
        let comparison = BandedComparison::new(
            &original[samples.clone()],
            &decoded[samples.clone()],
            self.width(),
        );
        self.worth(samples.len(), squared, comparison.error())
    }

    /// What the distortion is worth in bits; `squared` is the squared error of all samples (from 0 to 255).
    pub fn cost(&self, squared: u64) -> f64 {
        self.cost_of(&(0..self.encoder.rows()), squared)
    }

    /// As [`cost`](Self::cost), and its gradient; `weights` (`[h, w, 1]`) get how much more than plain squared error it
    /// weighs at each latent.
    pub fn cost_with_gradient(&self, squared: u64, weights: &mut Grid) -> (f64, VisualGradient) {
        let (original, decoded) = (&*self.encoder.rgb, &self.decoded[..]);
        let stride = CHANNELS * self.width();
        let comparison = BandedComparison::new(original, decoded, self.width());
        let cost = self.worth(original.len(), squared, comparison.error());
        let mixture = Mixture {
            squared: (1.0 - VISUAL_SHARE) as f32,
            visual: (VISUAL_SHARE * squared_error_of_visual(original.len())) as f32,
            bits: self.bits,
        };
        let mut gradient = vec![bf16::ZERO; original.len()];
        // Of the mixture's gradient and of that of plain squared error: the sums of squares at each latent.
        let mut energies = vec![[0.0f32; 2]; weights.values.len()];
        comparison.gradient(&mut |rows, of_visual| {
            let samples = rows.start * stride..rows.end * stride;
            let parts = (gradient[samples.clone()].par_chunks_mut(stride))
                .zip(of_visual.par_chunks(stride))
                .zip(original[samples.clone()].par_chunks(stride))
                .zip(decoded[samples].par_chunks(stride));
            let by_row = parts.map(|(((gradient, of_visual), original), decoded)| {
                let mut energies = vec![[0.0f32; 2]; weights.width];
                let pixels = (gradient.chunks_mut(LATENT_STRIDE * CHANNELS))
                    .zip(of_visual.chunks(LATENT_STRIDE * CHANNELS))
                    .zip(original.chunks(LATENT_STRIDE * CHANNELS))
                    .zip(decoded.chunks(LATENT_STRIDE * CHANNELS));
                for ((((gradient, visual), a), b), energy) in pixels.zip(&mut energies) {
                    *energy = mixed_slopes(mixture, visual, a, b, gradient);
                }
                energies
            });
            let by_row: Vec<_> = by_row.collect();
            for (y, of_row) in rows.zip(by_row) {
                let sums = &mut energies[y / LATENT_STRIDE * weights.width..];
                for (sum, energy) in sums.iter_mut().zip(of_row) {
                    sum[0] += energy[0];
                    sum[1] += energy[1];
                }
            }
        });
        weigh(&energies, weights);
        let energy: f64 = energies.iter().map(|[mixed, _]| f64::from(*mixed)).sum();
        let mean_square = energy / original.len().max(1) as f64;
        let gradient = VisualGradient {
            values: gradient,
            stride,
            steepest: Steepest::of_mean(self.bits * mean_square.sqrt() as f32),
        };
        (cost, gradient)
    }

    /// What the squared error (samples from 0 to 255) and the visual `error` of so many samples are worth.
    fn worth(&self, samples: usize, squared: u64, error: f64) -> f64 {
        let squared = squared as f64 / (255.0 * 255.0);
        let visual = squared_error_of_visual(samples) * error;
        f64::from(self.bits) * ((1.0 - VISUAL_SHARE) * squared + VISUAL_SHARE * visual)
    }
}

impl VisualGradient {
    /// Writes the gradient in bits with respect to rows of patches; zeros beyond the picture's edges.
    pub fn write(&self, rows: Range<usize>, out: &mut [f32]) {
        let stride = self.stride;
        let padded = out.len() / rows.len().max(1) / PATCH;
        let mut band = vec![0.0; out.len()];
        let top = (rows.start * PATCH * stride).min(self.values.len());
        let known = self.values[top..].par_chunks_exact(stride);
        let lines = band.par_chunks_exact_mut(padded).zip(known);
        lines.for_each(|(line, known)| {
            for (value, known) in line.iter_mut().zip(known) {
                *value = known.to_f32();
            }
        });
        let (height, width) = (rows.len() * PATCH, padded / CHANNELS);
        space_to_depth(&band, height, width, CHANNELS, PATCH, out);
    }
}

/// How much more the mixture weighs than squared error, by the sizes of both gradients around each latent.
fn weigh(energies: &[[f32; 2]], weights: &mut Grid) {
    let columns = weights.width;
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
            let ratio = (mixed / plain).sqrt();
            weights.values[y * columns + x] = ratio.clamp(LOCAL_WEIGHTS.0, LOCAL_WEIGHTS.1);
        }
    }
}
