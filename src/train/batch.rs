//! One step's input: crops, qualities and quantization noise, drawn by (seed, step).

use candle_core::{Device, Result, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::config::TrainConfig;
use super::data::{Pictures, append_patches};
use crate::model::config::{HYPER_STRIDE, LATENT_STRIDE};
use crate::model::quality::{QUALITY_MAX, RowPosition};

/// How symbols are quantized in the rate term.
pub enum Noise {
    /// Additive uniform noise in -0.5..0.5 for latents and hyper-latents (training).
    Uniform {
        /// `[batch, h/16, w/16, M]`.
        latent: Tensor,
        /// `[batch, h/64, w/64, Z]`.
        hyper: Tensor,
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
    /// Quantization of the rate term.
    pub noise: Noise,
    /// Pixels per sample.
    pub pixels: usize,
}

/// The Lagrange multiplier of a quality in 0.0..=1.0: log-spaced over the range.
#[must_use]
pub fn lambda(config: &TrainConfig, quality: f64) -> f64 {
    config.model.lambda_min * (config.model.lambda_max / config.model.lambda_min).powf(quality)
}

fn stored_quality(quality: f64) -> u16 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    {
        (quality.clamp(0.0, 1.0) * f64::from(QUALITY_MAX)).round() as u16
    }
}

impl Batch {
    /// The training batch of a step. Qualities are drawn one from each of `batch`
    /// equal parts of the range, so that every step sees all rates.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    pub fn random(
        config: &TrainConfig,
        pictures: &Pictures,
        step: u64,
        device: &Device,
    ) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        rng.set_stream(step + 1);
        let (b, side) = (config.batch, config.crop);
        let crops: Vec<Vec<u8>> = (0..b)
            .map(|_| pictures.random_crop(side, &mut rng))
            .collect();
        #[allow(clippy::cast_precision_loss)]
        let qualities: Vec<f64> = (0..b)
            .map(|i| (i as f64 + rng.random::<f64>()) / b as f64)
            .collect();
        let mut uniform = |stride: usize, channels: usize| {
            let shape = (b, side / stride, side / stride, channels);
            let values: Vec<f32> = (0..b * (side / stride).pow(2) * channels)
                .map(|_| rng.random::<f32>() - 0.5)
                .collect();
            Tensor::from_vec(values, shape, device)
        };
        let latent = uniform(LATENT_STRIDE, config.model.latent_channels)?;
        let hyper = uniform(HYPER_STRIDE, config.model.hyper_channels)?;
        Self::new(
            config,
            &crops,
            &qualities,
            Noise::Uniform { latent, hyper },
            device,
        )
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
        Self::new(
            config,
            crops,
            &vec![quality; crops.len()],
            Noise::Rounding,
            device,
        )
    }

    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether there are no samples.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Cuts the batch into `parts` (at most one per sample) of nearly equal size.
    ///
    /// # Errors
    /// When a tensor cannot be cut.
    pub fn split(&self, parts: usize) -> Result<Vec<Self>> {
        let parts = parts.clamp(1, self.len().max(1));
        let bounds = (0..parts).map(|i| (i * self.len() / parts, (i + 1) * self.len() / parts));
        bounds.map(|(start, end)| self.part(start, end)).collect()
    }

    fn part(&self, start: usize, end: usize) -> Result<Self> {
        let cut = |tensor: &Tensor| tensor.narrow(0, start, end - start);
        let noise = match &self.noise {
            Noise::Uniform { latent, hyper } => Noise::Uniform {
                latent: cut(latent)?,
                hyper: cut(hyper)?,
            },
            Noise::Rounding => Noise::Rounding,
        };
        Ok(Self {
            patches: cut(&self.patches)?,
            positions: self.positions[start..end].to_vec(),
            lambdas: self.lambdas[start..end].to_vec(),
            noise,
            pixels: self.pixels,
        })
    }

    fn new(
        config: &TrainConfig,
        crops: &[Vec<u8>],
        qualities: &[f64],
        noise: Noise,
        device: &Device,
    ) -> Result<Self> {
        let side = config.crop;
        let mut patches = Vec::with_capacity(crops.len() * side * side * 3);
        for crop in crops {
            append_patches(crop, side, &mut patches);
        }
        let rows = config.model.quality_rows;
        Ok(Self {
            patches: Tensor::from_vec(patches, (crops.len(), side / 8, side / 8, 192), device)?,
            positions: qualities
                .iter()
                .map(|q| RowPosition::new(stored_quality(*q), rows))
                .collect(),
            lambdas: qualities.iter().map(|q| lambda(config, *q)).collect(),
            noise,
            pixels: side * side,
        })
    }
}
