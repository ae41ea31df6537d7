//! One step's input: crops, qualities and the seed of its noise, drawn by (seed, step).

use candle_core::{Device, Result, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::config::TrainConfig;
use super::crop::Crop;
use super::data::{CropSource, patches};
use crate::format::QUALITY_MAX;
use crate::network::gains::RowPosition;

/// How symbols are quantized in the rate term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantization {
    /// Additive uniform noise in -0.5..0.5 (training), see [`super::noise`].
    Noise {
        /// Seed of the latent's noise; the hyper-latent's is the next one.
        seed: u64,
        /// Number of the first sample in the batch that this is a part of.
        first: usize,
    },
    /// Rounding, as the codec does it (validation).
    Rounding,
}

/// A batch of crops.
pub struct Batch {
    /// `[batch, side/8, side/8, 192]` patches in -0.5..=0.5.
    pub patches: Tensor,
    /// Position of each sample in the quality tables.
    pub positions: Vec<RowPosition>,
    /// Lagrange multiplier of each sample.
    pub lambdas: Vec<f64>,
    /// Share of the visual error in the distortion, see [`TrainConfig::visual_share`].
    pub visual_share: f64,
    /// Where the symbols are those that an encoder chooses instead of rounded residuals: the squared norm of each latent
    /// channel's patch in the linear path.
    pub patch_norms: Option<Vec<f32>>,
    /// Rounds of search that these symbols come from.
    pub search_rounds: u32,
    /// Quantization of the rate term.
    pub quantization: Quantization,
    /// Pixels per sample.
    pub pixels: usize,
}

fn stored_quality(quality: f64) -> u16 {
    (quality.clamp(0.0, 1.0) * f64::from(QUALITY_MAX)).round() as u16
}

impl Batch {
    /// The training batch of a step. Qualities are drawn one from each of `batch`
    /// equal parts of the range, so that every step sees all rates.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    pub fn random(config: &TrainConfig, source: &CropSource<'_>, step: u64) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        rng.set_stream(step + 1);
        let (b, side) = config.samples_at(step);
        let crops: Vec<Crop> = (0..b)
            .map(|_| source.pictures().draw(side, config.min_scale, &mut rng))
            .collect();
        let qualities: Vec<f64> = (0..b)
            .map(|i| (i as f64 + rng.random::<f64>()) / b as f64)
            .collect();
        let patches = source.patches(&crops, side)?;
        let quantization = Quantization::Noise {
            seed: rng.random(),
            first: 0,
        };
        Ok(Self::new(config, patches, side, &qualities, quantization))
    }

    /// A batch of given crops at given qualities (0.0..=1.0), quantized by rounding.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    pub fn fixed(
        config: &TrainConfig,
        crops: &[Vec<u8>],
        quality: f64,
        device: &Device,
    ) -> Result<Self> {
        let patches = patches(crops, config.crop, device)?;
        let qualities = vec![quality; crops.len()];
        Ok(Self::new(
            config,
            patches,
            config.crop,
            &qualities,
            Quantization::Rounding,
        ))
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.positions.len()
    }

    /// Cuts the batch into `parts` (at most one per sample) of nearly equal size.
    ///
    /// # Errors
    /// When a tensor cannot be cut.
    pub fn split(&self, parts: usize) -> Result<Vec<Self>> {
        let samples = self.samples();
        let parts = parts.clamp(1, samples.max(1));
        let bounds = (0..parts).map(|i| (i * samples / parts, (i + 1) * samples / parts));
        bounds.map(|(start, end)| self.part(start, end)).collect()
    }

    fn part(&self, start: usize, end: usize) -> Result<Self> {
        let quantization = match self.quantization {
            Quantization::Noise { seed, first } => Quantization::Noise {
                seed,
                first: first + start,
            },
            Quantization::Rounding => Quantization::Rounding,
        };
        Ok(Self {
            patches: self.patches.narrow(0, start, end - start)?,
            positions: self.positions[start..end].to_vec(),
            lambdas: self.lambdas[start..end].to_vec(),
            visual_share: self.visual_share,
            patch_norms: self.patch_norms.clone(),
            search_rounds: self.search_rounds,
            quantization,
            pixels: self.pixels,
        })
    }

    fn new(
        config: &TrainConfig,
        patches: Tensor,
        side: usize,
        qualities: &[f64],
        quantization: Quantization,
    ) -> Self {
        let rows = config.model.quality_rows;
        Self {
            patches,
            positions: qualities
                .iter()
                .map(|q| RowPosition::new(stored_quality(*q), rows))
                .collect(),
            lambdas: qualities.iter().map(|q| config.model.lambda(*q)).collect(),
            visual_share: config.visual_share,
            patch_norms: None,
            search_rounds: 0,
            quantization,
            pixels: side * side,
        }
    }
}
