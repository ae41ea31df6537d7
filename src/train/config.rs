//! The training configuration: a TOML file, every field with a default.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::ModelConfig;

/// Network sizes and the recipe that trains them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Optimizer steps in all.
    pub steps: u64,
    /// Crops per step.
    pub batch: usize,
    /// Side of a crop in pixels (multiple of 64).
    pub crop: usize,
    /// Half of the crops are scaled down, by a factor between 1 and this (1: none are).
    pub min_scale: f64,
    /// Fraction of the steps, at the end, that see larger crops (0: none do).
    pub large_fraction: f64,
    /// Crops per step there.
    pub large_batch: usize,
    /// Side of a crop there in pixels (multiple of 64).
    pub large_crop: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Factor on the learning rate of the linear path, whose weights start right
    /// and are small: steps of the networks' size would only shake them.
    pub linear_rate: f64,
    /// Factor on the learning rate of the networks' matrices, whose steps are orthogonalized.
    pub matrix_rate: f64,
    /// Steps over which the learning rate rises linearly from zero.
    pub warmup_steps: u64,
    /// Fraction of the steps, at the end, over which the learning rate falls to a hundredth.
    pub decay_fraction: f64,
    /// Decoupled weight decay of matrices.
    pub weight_decay: f64,
    /// Gradients are scaled down to this norm.
    pub clip_norm: f64,
    /// Decay of the running average of the weights that is exported.
    pub ema_decay: f64,
    /// Seed of weights, crops, qualities and noise.
    pub seed: u64,
    /// Steps between log lines.
    pub log_every: u64,
    /// Steps between validations and checkpoints.
    pub checkpoint_every: u64,
    /// Sizes of the network.
    pub model: ModelConfig,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 20_000,
            batch: 8,
            crop: 256,
            min_scale: 0.5,
            large_fraction: 0.0,
            large_batch: 4,
            large_crop: 512,
            learning_rate: 8e-4,
            linear_rate: 0.01,
            matrix_rate: 1.0,
            warmup_steps: 300,
            decay_fraction: 0.4,
            weight_decay: 0.0,
            clip_norm: 1.0,
            ema_decay: 0.999,
            seed: 0,
            log_every: 20,
            checkpoint_every: 500,
            model: ModelConfig::base(),
        }
    }
}

impl TrainConfig {
    /// Reads a TOML text.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for malformed text, unknown fields or values out of range.
    pub fn from_toml(text: &str) -> Result<Self> {
        let config: Self = toml::from_str(text)
            .map_err(|error| Error::InvalidOption(error.message().to_string()))?;
        config.validate()?;
        Ok(config)
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] naming the field that is out of range.
    pub fn validate(&self) -> Result<()> {
        let fail = |text: String| Err(Error::InvalidOption(text));
        if self.steps == 0 {
            return fail("steps must be positive".into());
        }
        for (name, batch) in [("batch", self.batch), ("large_batch", self.large_batch)] {
            if !(1..=1024).contains(&batch) {
                return fail(format!("{name} is {batch}, expected 1 to 1024"));
            }
        }
        for (name, crop) in [("crop", self.crop), ("large_crop", self.large_crop)] {
            if crop == 0 || !crop.is_multiple_of(64) || crop > 2048 {
                return fail(format!(
                    "{name} is {crop}, expected a multiple of 64 up to 2048"
                ));
            }
        }
        if !(0.1..=1.0).contains(&self.min_scale) {
            let found = self.min_scale;
            return fail(format!("min_scale is {found}, expected 0.1 to 1"));
        }
        let rates = [
            self.learning_rate,
            self.linear_rate,
            self.matrix_rate,
            self.clip_norm,
        ];
        if !rates.iter().all(|v| v.is_finite() && *v > 0.0) {
            let names = "learning_rate, linear_rate, matrix_rate and clip_norm";
            return fail(format!("{names} must be positive"));
        }
        let fractions = [self.decay_fraction, self.large_fraction, self.ema_decay];
        if !fractions.iter().all(|v| (0.0..=1.0).contains(v)) || self.ema_decay == 1.0 {
            let names = "decay_fraction, large_fraction and ema_decay";
            return fail(format!("{names} must be between 0 and 1, ema_decay below"));
        }
        if !(0.0..=1.0).contains(&self.weight_decay) {
            return fail(format!(
                "weight_decay is {}, expected 0 to 1",
                self.weight_decay
            ));
        }
        if self.log_every == 0 || self.checkpoint_every == 0 {
            return fail("log_every and checkpoint_every must be positive".into());
        }
        self.model.validate()
    }

    /// Factor on the learning rate of the layer at `path`.
    #[must_use]
    pub fn layer_rate(&self, path: &str) -> f64 {
        if path.ends_with(".linear") {
            self.linear_rate
        } else {
            1.0
        }
    }

    /// Crops of a step, and their side in pixels.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn samples_at(&self, step: u64) -> (usize, usize) {
        let left = self.steps.saturating_sub(step) as f64;
        if left <= self.steps as f64 * self.large_fraction {
            (self.large_batch, self.large_crop)
        } else {
            (self.batch, self.crop)
        }
    }

    /// The learning rate of a step: warm-up, constant, then a linear fall to 1 %.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        let rise = (step + 1) as f64 / self.warmup_steps.max(1) as f64;
        let left = (self.steps.saturating_sub(step)) as f64
            / (self.steps as f64 * self.decay_fraction).max(1.0);
        self.learning_rate * rise.min(1.0) * left.clamp(0.01, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_unknown_fields_are_refused() {
        let config = TrainConfig::default();
        let text = toml::to_string(&config).expect("a configuration is valid TOML");
        assert_eq!(TrainConfig::from_toml(&text).expect("its own text"), config);
        assert!(TrainConfig::from_toml("stepz = 5").is_err());
        assert!(TrainConfig::from_toml("crop = 100").is_err());
    }

    #[test]
    fn the_last_steps_see_larger_crops() {
        let config = TrainConfig {
            steps: 1000,
            large_fraction: 0.2,
            ..Default::default()
        };
        assert_eq!(config.samples_at(799), (8, 256));
        assert_eq!(config.samples_at(800), (4, 512));
        let none = TrainConfig {
            large_fraction: 0.0,
            ..config
        };
        assert_eq!(none.samples_at(999), (8, 256));
    }

    #[test]
    fn learning_rate_rises_stays_and_falls() {
        let config = TrainConfig {
            steps: 1000,
            warmup_steps: 100,
            decay_fraction: 0.5,
            ..Default::default()
        };
        assert!(config.learning_rate_at(0) < 0.02 * config.learning_rate);
        assert_eq!(config.learning_rate_at(400), config.learning_rate);
        assert!(config.learning_rate_at(750) < 0.51 * config.learning_rate);
        assert!(config.learning_rate_at(999) <= 0.011 * config.learning_rate);
    }
}
