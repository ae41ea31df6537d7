//! Exact inference: the codec's view of the network.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use super::config::{ModelConfig, PATCH8, PATCH16};
use super::context::{ContextState, EntropyParams};
use super::context_gradient::{ContextGradient, ParameterSlopes, context_layers};
use super::device::ComputeDevice;
use super::grid::Grid;
use super::layers::Mode;
use super::network::Network;
use super::quality::{Gains, QUALITY_MAX, RowPosition};
use super::scales::SCALE_LEVELS;
use super::stream::{Sink, Source};
use super::synthesis_gradient::{PatchGradient, SynthesisGradient};
use super::weights::{StoredLayers, Weights};
use crate::error::Result;

/// A network ready for exact inference. Cheap to share between threads.
pub struct Inference {
    config: ModelConfig,
    network: Network,
    device: Device,
    /// Squared norm of each latent channel's 16 x 16 patch in the linear path, for the encoder.
    patch_norms: Vec<f32>,
    /// What gradients through the synthesis transform need, made when first used.
    synthesis_gradient: OnceLock<SynthesisGradient>,
    /// Flat weights of the context model, for the same of the rate.
    context_layers: BTreeMap<String, Vec<f32>>,
    context_gradient: OnceLock<ContextGradient>,
}

impl Inference {
    /// Builds the network of checked weights.
    ///
    /// # Errors
    /// [`Error::Compute`](crate::Error::Compute) when the backend fails.
    pub fn new(weights: Weights) -> Result<Self> {
        let patch_norms = patch_norms(&weights);
        let context_layers = context_layers(&weights.layers);
        let layers = Box::new(StoredLayers::new(weights.layers));
        let vb = VarBuilder::from_backend(layers, DType::F32, Device::Cpu);
        let network = Network::new(&weights.config, &vb, &Mode::Exact)?;
        Ok(Self {
            config: weights.config,
            network,
            device: Device::Cpu,
            patch_norms,
            synthesis_gradient: OnceLock::new(),
            context_layers,
            context_gradient: OnceLock::new(),
        })
    }

    /// The same network on another device: its outputs have the same bits.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) when there is no such device.
    pub fn on(self, device: ComputeDevice) -> Result<Self> {
        let device = device.open()?;
        Ok(Self { device, ..self })
    }

    /// The network's sizes.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The network at one stored quality (0..=50000).
    ///
    /// # Errors
    /// [`Error::Compute`](crate::Error::Compute) when the backend fails.
    pub fn at_quality(&self, stored: u16) -> Result<QualityModel<'_>> {
        let position = RowPosition::new(stored, self.config.quality_rows);
        let gains = self.network.gains(&[position])?;
        let encoder_gain = |gain: &str, inverse: &str| {
            let tables = &self.network.quality;
            tables.encoder_gain(gain, inverse, position)
        };
        let vector = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
        let indices = vector(&gains.hyper_scale)?
            .into_iter()
            .map(scale_index)
            .collect();
        let latent_inverse_gain = vector(&gains.latent_inverse_gain)?;
        let bits_per_squared_sample = self.bits_per_squared_sample(stored);
        Ok(QualityModel {
            inference: self,
            bits_per_squared_step: self
                .bits_per_squared_step(&latent_inverse_gain, bits_per_squared_sample),
            bits_per_squared_sample,
            latent_gain: vector(&gains.latent_gain)?,
            latent_inverse_gain,
            latent_scale: vector(&gains.latent_scale)?,
            latent_encoder_gain: encoder_gain(
                "quality.latent_gain",
                "quality.latent_inverse_gain",
            )?,
            hyper_gain: encoder_gain("quality.hyper_gain", "quality.hyper_inverse_gain")?,
            hyper_inverse_gain: vector(&gains.hyper_inverse_gain)?,
            hyper_indices: indices,
            gains: gains.to_device(&self.device)?,
        })
    }
}

impl Inference {
    /// The synthesis transform's transposed weights, made at the first call.
    fn transposed(&self) -> Result<&SynthesisGradient> {
        if let Some(gradient) = self.synthesis_gradient.get() {
            return Ok(gradient);
        }
        let made = SynthesisGradient::new(&self.network.synthesis)?;
        Ok(self.synthesis_gradient.get_or_init(|| made))
    }

    /// The Lagrange multiplier of a quality, in bits per squared error of a sample from 0 to 1.
    fn bits_per_squared_sample(&self, stored: u16) -> f32 {
        let quality = f64::from(stored.min(QUALITY_MAX)) / f64::from(QUALITY_MAX);
        // The mean squared error is over three samples per pixel.
        #[allow(clippy::cast_possible_truncation)]
        {
            (self.config.lambda(quality) * 255.0 * 255.0 / 3.0) as f32
        }
    }

    /// What the distortion of a quantization error of one step is worth in bits, per latent
    /// channel: the Lagrange multiplier of the quality times the squared error in the
    /// picture, as far as the linear path makes it.
    fn bits_per_squared_step(&self, inverse_gain: &[f32], squared_sample: f32) -> Vec<f32> {
        let steps = inverse_gain.iter().zip(&self.patch_norms);
        steps
            .map(|(step, norm)| squared_sample * step * step * norm)
            .collect()
    }
}

/// Squared norms of the columns of the linear path's matrix `[768, M]`.
fn patch_norms(weights: &Weights) -> Vec<f32> {
    let mut norms = vec![0.0; weights.config.latent_channels];
    let linear = weights.layers.get("synthesis.linear");
    let rows = linear.map_or(&[][..], Vec::as_slice);
    for row in rows.chunks_exact(norms.len()).take(PATCH16) {
        for (norm, weight) in norms.iter_mut().zip(row) {
            *norm += weight * weight;
        }
    }
    norms
}

/// Clamps and floors a real scale index to a table index (codec-spec.md, Scale index).
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
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
    /// Bits that the distortion of an error of one quantization step is worth, per latent
    /// channel. Only the encoder's choices depend on it.
    pub bits_per_squared_step: Vec<f32>,
    /// Bits that a squared error of one in a sample (from 0 to 1) is worth: the Lagrange
    /// multiplier of the quality. Only the encoder's choices depend on it.
    pub bits_per_squared_sample: f32,
}

/// Hyper-synthesis output: the features that every context step reads.
pub struct Features(Tensor);

impl QualityModel<'_> {
    /// Sizes of the network.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.inference.config
    }

    /// Analysis transform of a picture of `size` (height, width) latents. `read` writes
    /// rows of 8 x 8 patches `[rows, 2 width, 192]`; `emit` gets rows of the normalized
    /// latent `[rows, width, M]`, from top to bottom. Both are told which rows.
    ///
    /// # Errors
    /// Those of `emit`; [`Error::Compute`](crate::Error::Compute) when the backend fails.
    pub fn analysis(
        &self,
        size: (usize, usize),
        read: &Source<'_>,
        emit: &mut Sink<'_>,
    ) -> Result<()> {
        let analysis = &self.inference.network.analysis;
        if self.inference.device.is_cpu() {
            return analysis.stream(size, &self.gains, read, emit);
        }
        let (height, width) = size;
        let shape = (1, 2 * height, 2 * width, PATCH8);
        let mut patches = vec![0.0; 4 * height * width * PATCH8];
        read(0..2 * height, &mut patches);
        let patches = Tensor::from_vec(patches, shape, &self.inference.device)?;
        let latent = analysis.forward(&patches, &self.gains)?;
        emit(0..height, &latent.flatten_all()?.to_vec1::<f32>()?)
    }

    /// Hyper-analysis: normalized latent `[4h, 4w, M]` to the normalized hyper-latent `[h, w, Z]`.
    ///
    /// # Errors
    /// [`Error::Compute`](crate::Error::Compute) when the backend fails.
    pub fn hyper_analysis(&self, latent: Grid) -> Result<Grid> {
        to_grid(
            &self
                .inference
                .network
                .hyper_analysis
                .forward(&self.to_tensor(latent)?)?,
        )
    }

    /// Hyper-synthesis: normalized ẑ `[h, w, Z]` to features at `[4h, 4w]`.
    ///
    /// # Errors
    /// [`Error::Compute`](crate::Error::Compute) when the backend fails.
    pub fn hyper_synthesis(&self, hyper_latent: Grid) -> Result<Features> {
        Ok(Features(
            self.inference
                .network
                .hyper_synthesis
                .forward(&self.to_tensor(hyper_latent)?, &self.gains)?,
        ))
    }

    /// One step of the context model: entropy parameters of the latents that it codes.
    /// `latent` `[h, w, M]` (sides even) holds the normalized latents decoded so far and
    /// zeros elsewhere. `state` is what the step before left (none at step 0), and becomes
    /// what this one leaves.
    ///
    /// # Errors
    /// [`Error::Compute`](crate::Error::Compute) when the backend fails.
    pub fn context_step(
        &self,
        step: usize,
        features: &Features,
        latent: &Grid,
        state: &mut Option<ContextState>,
    ) -> Result<EntropyParams> {
        Ok(self.inference.network.context[step].coded(&features.0, latent, state)?)
    }

    /// Synthesis transform of a normalized latent `[h, w, M]`: `emit` gets rows of 8 x 8
    /// patches `[rows, 2w, 192]` from top to bottom, and which of the `2h` rows they are.
    ///
    /// # Errors
    /// Those of `emit`; [`Error::Compute`](crate::Error::Compute) when the backend fails.
    pub fn synthesis(&self, latent: &Grid, emit: &mut Sink<'_>) -> Result<()> {
        let synthesis = &self.inference.network.synthesis;
        if self.inference.device.is_cpu() {
            return synthesis.stream(latent, &self.gains, emit);
        }
        let shape = (1, latent.height, latent.width, latent.channels);
        let values = Tensor::from_slice(&latent.values, shape, &self.inference.device)?;
        let patches = synthesis.forward(&values, &self.gains)?;
        let values = patches.flatten_all()?.to_vec1::<f32>()?;
        emit(0..2 * latent.height, &values)
    }

    /// The gradient of a distortion with respect to a normalized latent `[h, w, M]`:
    /// `patch_gradient` gets rows of 8 x 8 patches as [`synthesis`](Self::synthesis) makes them
    /// and writes the distortion's gradient with respect to them; `emit` gets rows of the
    /// latent's gradient `[rows, w, M]`. Both go from top to bottom and are told which rows.
    ///
    /// Runs on the CPU, whatever the device.
    ///
    /// # Errors
    /// Those of `patch_gradient` and `emit`.
    pub fn synthesis_gradient(
        &self,
        latent: &Grid,
        patch_gradient: &mut PatchGradient<'_>,
        emit: &mut Sink<'_>,
    ) -> Result<()> {
        let synthesis = &self.inference.network.synthesis;
        let gradient = self.inference.transposed()?;
        gradient.stream(synthesis, latent, &self.gains, patch_gradient, emit)
    }

    /// [`synthesis_gradient`](Self::synthesis_gradient) through the linear path alone: an
    /// approximation in half the time.
    ///
    /// # Errors
    /// Those of `patch_gradient` and `emit`; [`Error::Compute`](crate::Error::Compute) when
    /// the backend fails.
    pub fn linear_gradient(
        &self,
        latent: &Grid,
        patch_gradient: &mut PatchGradient<'_>,
        emit: &mut Sink<'_>,
    ) -> Result<()> {
        let gradient = self.inference.transposed()?;
        let mut stream = gradient.linear_stream(latent.width);
        self.synthesis(latent, &mut |rows, patches| {
            stream.add(rows, patches, patch_gradient, emit)
        })
    }

    /// The gradient of a cost with respect to the normalized ŷ of a tile, `latent`, as far as its
    /// later latents are coded under probabilities that depend on its earlier ones: `slopes`
    /// gives the cost's slopes with respect to the entropy parameters.
    ///
    /// Runs on the CPU, whatever the device.
    ///
    /// # Errors
    /// [`Error::Compute`](crate::Error::Compute) when the backend fails.
    pub fn context_gradient(
        &self,
        features: &Features,
        latent: &Grid,
        slopes: &mut ParameterSlopes<'_>,
    ) -> Result<Grid> {
        let features: Vec<f32> = features.0.flatten_all()?.to_vec1()?;
        let inference = self.inference;
        let gradient = inference
            .context_gradient
            .get_or_init(|| ContextGradient::new(&inference.config, &inference.context_layers));
        Ok(gradient.run(&features, latent, slopes))
    }

    fn to_tensor(&self, grid: Grid) -> Result<Tensor> {
        let shape = (1, grid.height, grid.width, grid.channels);
        Ok(Tensor::from_vec(
            grid.values,
            shape,
            &self.inference.device,
        )?)
    }
}

#[cfg(test)]
impl Inference {
    /// The tiny model of the golden vectors.
    pub(super) fn tiny() -> Self {
        let bytes = include_bytes!("../../tests/vectors/tiny.safetensors");
        let weights = Weights::from_bytes(bytes).expect("the committed model is valid");
        Self::new(weights).expect("the network can be built")
    }
}

#[cfg(test)]
impl QualityModel<'_> {
    /// The analysis transform as the network defines it: of a whole picture.
    pub(super) fn analysis_of(&self, patches: &Tensor) -> Result<Vec<f32>> {
        let latent = self
            .inference
            .network
            .analysis
            .forward(patches, &self.gains)?;
        Ok(latent.flatten_all()?.to_vec1()?)
    }

    /// The synthesis transform as the network defines it: of a whole picture.
    pub(super) fn synthesis_of(&self, latent: &Tensor) -> Result<Vec<f32>> {
        let patches = self
            .inference
            .network
            .synthesis
            .forward(latent, &self.gains)?;
        Ok(patches.flatten_all()?.to_vec1()?)
    }
}

fn to_grid(tensor: &Tensor) -> Result<Grid> {
    let (_, height, width, channels) = tensor.dims4()?;
    Ok(Grid {
        height,
        width,
        channels,
        values: tensor.flatten_all()?.to_vec1()?,
    })
}
