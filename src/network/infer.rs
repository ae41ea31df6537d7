//! Exact inference: the codec's view of the network.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::OnceLock;

use super::analysis::Analysis;
use super::config::{LayerSpec, ModelConfig};
use super::context::{ContextState, ContextStep, EntropyParams, Features, context_steps};
use super::context_gradient::{ContextGradient, ParameterSlopes};
use super::gains::{Gains, QualityTables, RowPosition};
use super::grid::Grid;
use super::hyperprior::{HyperAnalysis, HyperSynthesis};
use super::integer::{IntegerLayer, IntegerWeights};
use super::layers::Loader;
use super::ranges::Ranges;
use super::stream::{Sink, Source, bands};
use super::synthesis::Synthesis;
use super::synthesis_gradient::{GradientScales, PatchGradient, Steepest, SynthesisGradient};
use crate::error::Result;
use crate::format::{QUALITY_MAX, SCALE_LEVELS};

/// A network ready for exact inference. Cheap to share between threads.
pub struct Inference {
    weights: IntegerWeights,
    /// The model file, where the weights are without the encoder's networks.
    file: Option<&'static [u8]>,
    ranges: Option<Ranges>,
    quality: QualityTables,
    hyper_synthesis: HyperSynthesis,
    context: Vec<ContextStep>,
    synthesis: Synthesis,
    /// What only encoders need, made when first used.
    encoder: OnceLock<EncoderLayers>,
    /// What gradients through the synthesis transform need, made when first used.
    synthesis_gradient: OnceLock<SynthesisGradient>,
    /// The same through the context model.
    context_gradient: OnceLock<ContextGradient>,
}

/// The networks of the encoder.
struct EncoderLayers {
    analysis: Analysis,
    hyper_analysis: HyperAnalysis,
}

impl Inference {
    /// Builds the network of checked weights; it notes in `ranges`, where there are any, how large its tensors become.
    ///
    /// # Errors
    /// [`Error::Weights`](crate::Error::Weights) when a layer is missing.
    pub fn new(weights: IntegerWeights, ranges: Option<Ranges>) -> Result<Self> {
        let from = Loader {
            weights: &weights,
            ranges: ranges.as_ref(),
        };
        Ok(Self {
            quality: quality_tables(&weights),
            hyper_synthesis: HyperSynthesis::new(&from)?,
            context: context_steps(&from)?,
            synthesis: Synthesis::new(&from)?,
            encoder: OnceLock::new(),
            synthesis_gradient: OnceLock::new(),
            context_gradient: OnceLock::new(),
            weights,
            file: None,
            ranges,
        })
    }

    /// Builds the network of a model file that is at hand for good: the weights of the encoder's networks are read
    /// when first used.
    ///
    /// # Errors
    /// [`Error::Weights`] when the file is malformed, as far as it is read.
    pub fn of_file(file: &'static [u8]) -> Result<Self> {
        let weights = IntegerWeights::read(file, |layer| !layer.is_encoders_network())?;
        let network = Self::new(weights, None)?;
        Ok(Self {
            file: Some(file),
            ..network
        })
    }

    /// The network's sizes.
    pub fn config(&self) -> &ModelConfig {
        &self.weights.config
    }

    /// The serialized integer scale tables.
    pub fn tables(&self) -> &[u16] {
        &self.weights.tables
    }

    /// The network at one stored quality (0..=50000).
    pub fn at_quality(&self, stored: u16) -> QualityModel<'_> {
        let tables = &self.quality;
        let position = RowPosition::new(stored, self.config().quality_rows);
        let vector = |name: &str| tables.at(&format!("quality.{name}"), position);
        let encoder_gain = |name: &str| {
            let (gain, inverse) = (format!("{name}_gain"), format!("{name}_inverse_gain"));
            tables.encoder_gain(&gain, &inverse, position)
        };
        let indices = vector("hyper_scale").into_iter().map(scale_index);
        let quality = f64::from(stored.min(QUALITY_MAX)) / f64::from(QUALITY_MAX);
        QualityModel {
            inference: self,
            lambda: self.config().lambda(quality),
            latent_gain: vector("latent_gain"),
            latent_inverse_gain: vector("latent_inverse_gain"),
            latent_scale: vector("latent_scale"),
            latent_encoder_gain: encoder_gain("quality.latent"),
            hyper_gain: encoder_gain("quality.hyper"),
            hyper_inverse_gain: vector("hyper_inverse_gain"),
            hyper_indices: indices.collect(),
            gains: tables.gains(position),
        }
    }

    /// The networks of the encoder, made at the first call.
    fn encoder(&self) -> Result<&EncoderLayers> {
        if let Some(layers) = self.encoder.get() {
            return Ok(layers);
        }
        let read = |file| IntegerWeights::read(file, LayerSpec::is_encoders_network);
        let read = self.file.map(read).transpose()?;
        let from = Loader {
            weights: read.as_ref().unwrap_or(&self.weights),
            ranges: self.ranges.as_ref(),
        };
        let made = EncoderLayers {
            analysis: Analysis::new(&from)?,
            hyper_analysis: HyperAnalysis::new(&from)?,
        };
        Ok(self.encoder.get_or_init(|| made))
    }

    /// The synthesis transform's layers on the way back, made at the first call.
    fn gradient(&self) -> Result<&SynthesisGradient> {
        if let Some(layers) = self.synthesis_gradient.get() {
            return Ok(layers);
        }
        let made = SynthesisGradient::new(&self.weights)?;
        Ok(self.synthesis_gradient.get_or_init(|| made))
    }

    /// The context model's layers on the way back, made at the first call.
    fn context_gradient(&self) -> Result<&ContextGradient> {
        if let Some(layers) = self.context_gradient.get() {
            return Ok(layers);
        }
        let made = ContextGradient::new(&self.weights)?;
        Ok(self.context_gradient.get_or_init(|| made))
    }
}

fn quality_tables(weights: &IntegerWeights) -> QualityTables {
    let tables = weights
        .layers
        .iter()
        .filter_map(|(path, layer)| match layer {
            IntegerLayer::Table(values) => Some((path.clone(), values.clone())),
            IntegerLayer::Convolutions(_) => None,
        });
    let tables: BTreeMap<String, Vec<f32>> = tables.collect();
    QualityTables::new(weights.config.quality_rows, tables)
}

/// Clamps and floors a real scale index to a table index (codec-spec.md, Scale index).
pub fn scale_index(scale: f32) -> u8 {
    // In 0..=63 after the clamp, so the conversion truncates a small positive number.
    scale.max(0.0).min((SCALE_LEVELS - 1) as f32) as u8
}

/// A network at one quality.
pub struct QualityModel<'a> {
    inference: &'a Inference,
    gains: Gains,
    /// Normalized latent to quantization steps, per channel: of the means that are predicted.
    pub latent_gain: Vec<f32>,
    /// The same of what an encoder codes: it fits the steps between the rows of the tables too.
    pub latent_encoder_gain: Vec<f32>,
    /// Quantization steps to normalized latent, per channel.
    pub latent_inverse_gain: Vec<f32>,
    /// Added to the scale index, per channel.
    pub latent_scale: Vec<f32>,
    /// Normalized hyper-latent to quantization steps, per channel, for encoders.
    pub hyper_gain: Vec<f32>,
    /// Quantization steps to normalized hyper-latent, per channel.
    pub hyper_inverse_gain: Vec<f32>,
    /// Table index of each hyper-latent channel.
    pub hyper_indices: Vec<u8>,
    /// The Lagrange multiplier, in bits per pixel and mean squared error of 8-bit samples.
    pub lambda: f64,
}

impl QualityModel<'_> {
    /// Sizes of the network.
    pub fn config(&self) -> &ModelConfig {
        self.inference.config()
    }

    /// The weights of the synthesis transform's linear path and their bias, `[768, M]` and `[768]`.
    pub fn linear_path(&self) -> Vec<f32> {
        self.inference.weights.real_layer_at("synthesis.linear")
    }

    /// Analysis transform of a picture of `size` (height, width) latents. `read` writes
    /// rows of 8 x 8 patches `[rows, 2 width, 192]`; `emit` gets rows of the normalized
    /// latent `[rows, width, M]`, from top to bottom. Both are told which rows.
    ///
    /// # Errors
    /// Those of `emit`.
    pub fn analysis(
        &self,
        size: (usize, usize),
        read: &Source<'_>,
        emit: &mut Sink<'_>,
    ) -> Result<()> {
        let analysis = &self.inference.encoder()?.analysis;
        analysis.stream(size, &self.gains, read, emit)
    }

    /// Hyper-analysis: normalized latent `[4h, 4w, M]` to the normalized hyper-latent `[h, w, Z]`.
    ///
    /// # Errors
    /// [`Error::Weights`](crate::Error::Weights) when a layer is missing.
    pub fn hyper_analysis(&self, latent: &Grid) -> Result<Grid> {
        Ok(self.inference.encoder()?.hyper_analysis.forward(latent))
    }

    /// Hyper-synthesis: normalized ẑ `[h, w, Z]` to features at `[4h, 4w]`.
    pub fn hyper_synthesis(&self, hyper_latent: &Grid) -> Features {
        let network = &self.inference.hyper_synthesis;
        network.forward(hyper_latent, &self.gains)
    }

    /// One step of the context model: entropy parameters of the latents that it codes.
    /// `latent` `[h, w, M]` (sides even) holds the normalized latents decoded so far and
    /// zeros elsewhere. `state` is what the step before left (none at step 0), and becomes
    /// what this one leaves.
    ///
    /// # Panics
    /// When there is no such step.
    pub fn context_step(
        &self,
        step: usize,
        features: &Features,
        latent: &Grid,
        state: &mut Option<ContextState>,
    ) -> EntropyParams {
        self.inference.context[step].coded(features, latent, state)
    }

    /// Synthesis transform of a normalized latent `[h, w, M]`: `emit` gets rows of 8 x 8
    /// patches `[rows, 2w, 192]` from top to bottom, and which of the `2h` rows they are.
    ///
    /// # Errors
    /// Those of `emit`.
    pub fn synthesis(&self, latent: &Grid, emit: &mut Sink<'_>) -> Result<()> {
        self.inference.synthesis.stream(latent, &self.gains, emit)
    }

    /// The gradient of a distortion with respect to a normalized latent `[h, w, M]`:
    /// `patch_gradient` gets rows of 8 x 8 patches, nearly those of [`synthesis`](Self::synthesis),
    /// and writes the distortion's gradient with respect to them, whose slopes are up to `steepest`;
    /// `emit` gets rows of the latent's gradient `[rows, w, M]`. Both go from top to bottom and are
    /// told which rows. `scales` are what [`measure_gradient`](Self::measure_gradient) gave for a part of the picture.
    ///
    /// # Errors
    /// Those of `patch_gradient` and `emit`, and [`Error::Weights`](crate::Error::Weights) when the model's numbers are
    /// too large for a gradient.
    pub fn synthesis_gradient(
        &self,
        latent: &Grid,
        steepest: Steepest,
        scales: &GradientScales,
        patch_gradient: &mut PatchGradient<'_>,
        emit: &mut Sink<'_>,
    ) -> Result<()> {
        let (synthesis, gains) = (&self.inference.synthesis, &self.gains);
        let gradient = self.inference.gradient()?;
        let of = (steepest, scales);
        gradient.stream(synthesis, (latent, gains), of, patch_gradient, emit)
    }

    /// The gradient with respect to the normalized `latent` `[h, w, M]` of a small part of a picture, from that with
    /// respect to its patches `[2h, 2w, 192]`, whose slopes are up to 1; and the scales that its tensors need.
    ///
    /// # Errors
    /// [`Error::Weights`](crate::Error::Weights) when the model's numbers are too large for a gradient.
    pub fn measure_gradient(
        &self,
        latent: &Grid,
        patches: &[f32],
    ) -> Result<(Vec<f32>, GradientScales)> {
        let (synthesis, gains) = (&self.inference.synthesis, &self.gains);
        let gradient = self.inference.gradient()?;
        Ok(gradient.measure(synthesis, latent, gains, patches))
    }

    /// The gradient of a cost with respect to the normalized ŷ of a tile, `latent`, as far as its
    /// later latents are coded under probabilities that depend on its earlier ones: `slopes`
    /// gives the cost's slopes with respect to the entropy parameters.
    ///
    /// # Errors
    /// [`Error::Weights`](crate::Error::Weights) when the model's numbers are too large for a gradient.
    pub fn context_gradient(
        &self,
        features: &Features,
        latent: &Grid,
        slopes: &mut ParameterSlopes<'_>,
    ) -> Result<Grid> {
        let Inference { context, .. } = self.inference;
        let gradient = self.inference.context_gradient()?;
        Ok(gradient.run(context, features, latent, slopes))
    }

    /// [`synthesis_gradient`](Self::synthesis_gradient) through the linear path alone: an
    /// approximation in a fraction of the time.
    ///
    /// # Errors
    /// As [`synthesis_gradient`](Self::synthesis_gradient).
    pub fn linear_gradient(
        &self,
        latent: &Grid,
        steepest: Steepest,
        patch_gradient: &mut PatchGradient<'_>,
        emit: &mut Sink<'_>,
    ) -> Result<()> {
        let gradient = self.inference.gradient()?;
        let mut stream = gradient.linear_stream(latent.width, steepest);
        self.synthesis(latent, &mut |rows, patches| {
            stream.add(rows, patches, patch_gradient, emit)
        })
    }

    /// As [`linear_gradient`](Self::linear_gradient), of `size` latents (height, width), where the gradient with
    /// respect to rows of patches is known already.
    ///
    /// # Errors
    /// As [`synthesis_gradient`](Self::synthesis_gradient).
    pub fn known_linear_gradient(
        &self,
        (height, width): (usize, usize),
        steepest: Steepest,
        patch_gradient: &mut dyn FnMut(Range<usize>, &mut [f32]),
        emit: &mut Sink<'_>,
    ) -> Result<()> {
        let mut stream = self.inference.gradient()?.linear_stream(width, steepest);
        let mut known = |rows: Range<usize>, _: &[f32], gradient: &mut [f32]| {
            patch_gradient(rows, gradient);
            Ok(())
        };
        for band in bands(height, width) {
            stream.add(2 * band.start..2 * band.end, &[], &mut known, emit)?;
        }
        Ok(())
    }
}
