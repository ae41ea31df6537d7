//! The training configuration: a TOML file, every field with a default.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::error::{Error, Result};
use crate::network::ModelConfig;

/// Rounds of search at most: the shipped encoder's longest search has fewer.
const MOST_ROUNDS: u32 = 100;

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
    /// Fraction of the steps, at the end, in which synthesis and context model see the symbols that an encoder chooses
    /// by rate and distortion, instead of rounded residuals (0: none do).
    pub chosen_fraction: f64,
    /// Rounds of the encoder's search through the linear path that these symbols come from (0: those of its single
    /// pass).
    pub search_rounds: u32,
    /// Of so many steps with search one goes without, for the encoder's single pass (0: none does).
    pub single_pass_every: u64,
    /// Share of the visual error (what SSIMULACRA2 sees) in the distortion; the rest is squared error, which is all
    /// of it at 0. Both count the same in the mean, so that the quality dial keeps its meaning.
    pub visual_share: f64,
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
            chosen_fraction: 0.0,
            search_rounds: 0,
            single_pass_every: 0,
            visual_share: 0.0,
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
    /// Reads a TOML text. What it does not name has its default; of the network's sizes, those of the shipped
    /// model, and its flags are off.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for malformed text, and naming every unknown field and value out of range.
    pub fn from_toml(text: &str) -> Result<Self> {
        let mut table: Table = toml::from_str(text).map_err(|error| syntax_error(text, &error))?;
        let model = match table.remove("model") {
            Some(Value::Table(model)) => model,
            Some(_) => return Err(Error::InvalidOption("model is not a table".into())),
            None => default_model()?,
        };
        let mut faults = Vec::new();
        let mut config = from_fields::<Self>(&Table::new(), &table, "", &mut faults);
        let model = from_fields::<ModelConfig>(&default_model()?, &model, "model.", &mut faults);
        if let (Some(config), Some(model)) = (&mut config, model) {
            config.model = model;
            faults.extend(config.faults());
        }
        match config {
            Some(config) if faults.is_empty() => Ok(config),
            Some(_) | None => Err(Error::InvalidOption(faults.join("; "))),
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] naming the fields that are out of range.
    pub fn validate(&self) -> Result<()> {
        let faults = self.faults();
        if faults.is_empty() {
            return Ok(());
        }
        Err(Error::InvalidOption(faults.join("; ")))
    }

    /// What is out of range.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |is_right: bool, text: String| {
            if !is_right {
                faults.push(text);
            }
        };
        for (name, number) in [
            ("steps", self.steps),
            ("log_every", self.log_every),
            ("checkpoint_every", self.checkpoint_every),
        ] {
            check(number > 0, format!("{name} is 0, expected at least 1"));
        }
        for (name, batch) in [("batch", self.batch), ("large_batch", self.large_batch)] {
            let is_right = (1..=1024).contains(&batch);
            check(is_right, format!("{name} is {batch}, expected 1 to 1024"));
        }
        for (name, crop) in [("crop", self.crop), ("large_crop", self.large_crop)] {
            let is_right = (64..=2048).contains(&crop) && crop.is_multiple_of(64);
            let text = format!("{name} is {crop}, expected a multiple of 64 up to 2048");
            check(is_right, text);
        }
        let rounds = self.search_rounds;
        check(
            rounds <= MOST_ROUNDS,
            format!("search_rounds is {rounds}, expected 0 to {MOST_ROUNDS}"),
        );
        for (name, rate) in [
            ("learning_rate", self.learning_rate),
            ("linear_rate", self.linear_rate),
            ("matrix_rate", self.matrix_rate),
            ("clip_norm", self.clip_norm),
        ] {
            let is_right = rate.is_finite() && rate > 0.0;
            check(is_right, format!("{name} is {rate}, expected more than 0"));
        }
        for (name, value, least) in [
            ("min_scale", self.min_scale, 0.1),
            ("decay_fraction", self.decay_fraction, 0.0),
            ("large_fraction", self.large_fraction, 0.0),
            ("chosen_fraction", self.chosen_fraction, 0.0),
            ("visual_share", self.visual_share, 0.0),
            ("ema_decay", self.ema_decay, 0.0),
            ("weight_decay", self.weight_decay, 0.0),
        ] {
            let is_right = (least..=1.0).contains(&value);
            check(
                is_right,
                format!("{name} is {value}, expected {least} to 1"),
            );
        }
        check(
            self.ema_decay != 1.0,
            "ema_decay is 1, expected less".into(),
        );
        faults.extend(self.model.validate().err().map(|error| error.to_string()));
        faults
    }

    /// Factor on the learning rate of the layer at `path`.
    pub fn layer_rate(&self, path: &str) -> f64 {
        if path.ends_with(".linear") {
            self.linear_rate
        } else {
            1.0
        }
    }

    /// Crops of a step, and their side in pixels.
    pub fn samples_at(&self, step: u64) -> (usize, usize) {
        if self.is_among_last(step, self.large_fraction) {
            (self.large_batch, self.large_crop)
        } else {
            (self.batch, self.crop)
        }
    }

    /// Whether a step uses the symbols that an encoder chooses.
    pub fn chooses_symbols_at(&self, step: u64) -> bool {
        self.is_among_last(step, self.chosen_fraction)
    }

    /// Rounds of search in a step.
    pub fn search_rounds_at(&self, step: u64) -> u32 {
        let is_single_pass =
            self.single_pass_every > 0 && step.is_multiple_of(self.single_pass_every);
        if is_single_pass {
            0
        } else {
            self.search_rounds
        }
    }

    /// Whether a step belongs to the last `fraction` of them.
    fn is_among_last(&self, step: u64, fraction: f64) -> bool {
        self.steps.saturating_sub(step) as f64 <= self.steps as f64 * fraction
    }

    /// The learning rate of a step: warm-up, constant, then a linear fall to 1 %.
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        let rise = (step + 1) as f64 / self.warmup_steps.max(1) as f64;
        let left = (self.steps.saturating_sub(step)) as f64
            / (self.steps as f64 * self.decay_fraction).max(1.0);
        self.learning_rate * rise.min(1.0) * left.clamp(0.01, 1.0)
    }
}

/// The shipped model's sizes; flags, which model files leave out where they are off, are not among them.
fn default_model() -> Result<Table> {
    let base = ModelConfig {
        name: "custom".into(),
        context_state: false,
        synthesis_out_gain: false,
        ..ModelConfig::base()
    };
    Table::try_from(base).map_err(|error| Error::InvalidOption(error.to_string()))
}

/// `defaults` with the fields of `given`, each of which is tried alone first, so that all faults are found.
fn from_fields<T: DeserializeOwned>(
    defaults: &Table,
    given: &Table,
    prefix: &str,
    faults: &mut Vec<String>,
) -> Option<T> {
    let mut all = defaults.clone();
    for (key, value) in given {
        let mut alone = defaults.clone();
        alone.insert(key.clone(), value.clone());
        match alone.try_into::<T>() {
            Ok(_) => drop(all.insert(key.clone(), value.clone())),
            Err(error) => faults.push(format!("{prefix}{key}: {}", error.message())),
        }
    }
    all.try_into().ok()
}

/// Where a text is not TOML, and why.
fn syntax_error(text: &str, error: &toml::de::Error) -> Error {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(0, |before| before.matches('\n').count()) + 1;
    Error::InvalidOption(format!("line {line}: {}", error.message()))
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
        assert!(TrainConfig::from_toml("search_rounds = 101").is_err());
    }

    #[test]
    fn sizes_have_defaults_and_all_faults_are_named() {
        let config = TrainConfig::from_toml("[model]\nlatent_channels = 16").expect("valid");
        assert_eq!(config.model.latent_channels, 16);
        assert_eq!(
            config.model.hyper_channels,
            ModelConfig::base().hyper_channels
        );
        // Absent flags are off, as in the text of a run from before they existed.
        assert!(!config.model.context_state);
        let text =
            "steps = 0\ncrop = 100\nstepz = 5\nbatch = \"x\"\n[model]\nrows = 3\nquality_rows = 1";
        let error = TrainConfig::from_toml(text)
            .expect_err("six faults")
            .to_string();
        for fault in [
            "steps is 0",
            "crop is 100",
            "stepz: unknown",
            "batch: ",
            "model.rows: ",
            "quality_rows",
        ] {
            assert!(error.contains(fault), "{fault}: {error}");
        }
        let error = TrainConfig::from_toml("steps = 1\nbatch 2").expect_err("no TOML");
        assert!(error.to_string().contains("line 2: "), "{error}");
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
    fn some_steps_go_without_search() {
        let mut config = TrainConfig {
            search_rounds: 3,
            ..Default::default()
        };
        let rounds =
            |config: &TrainConfig| [4, 5, 6, 7, 8].map(|step| config.search_rounds_at(step));
        assert_eq!(rounds(&config), [3; 5]);
        config.single_pass_every = 4;
        assert_eq!(rounds(&config), [0, 3, 3, 3, 0]);
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
