//! Weights before training: the codec as a block transform, and networks that
//! start as small corrections to it.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::LOG_STEP;
use super::config::TrainConfig;
use super::data::{Pictures, append_patches};
use super::principal::eigenvectors;
use crate::entropy::ScaleTables;
use crate::error::{Error, Result};
use crate::format::{CONTEXT_STEPS, PATCH16, SCALE_LEVELS, SIGMA_MIN};
use crate::network::config::LayerSpec;
use crate::network::{ModelConfig, Weights};

/// Crops of 64 x 64 pixels from which the components are measured.
const SAMPLE_CROPS: usize = 4000;

/// Initial weights: the linear path from the principal components of `pictures`'
/// 16 x 16 patches, gains from high-rate theory, networks drawn from `seed`.
///
/// # Errors
/// [`Error::Image`] when every picture is of one color; when a product of the backend fails.
pub fn initial_weights(config: &TrainConfig, pictures: &Pictures) -> Result<Weights> {
    if pictures.are_plain() {
        let text = "every training picture is of one color: there is nothing to learn from them";
        return Err(Error::Image(text.into()));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    let mut layers: BTreeMap<String, Vec<f32>> = config
        .model
        .layers()
        .into_iter()
        .map(|layer| (layer.path.clone(), random_layer(&layer, &mut rng)))
        .collect();
    let (path, deviations) = linear_transform(&config.model, pictures, &mut rng)?;
    path.insert_into(&mut layers);
    insert_quality_tables(&config.model, &deviations, &mut layers);
    Ok(Weights {
        config: config.model.clone(),
        layers,
        tables: ScaleTables::gaussian().to_words(),
    })
}

/// Uniform values of standard deviation `gain / sqrt(inputs)`.
fn uniform(count: usize, inputs: usize, gain: f32, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let bound = gain * (3.0 / inputs as f32).sqrt();
    (0..count)
        .map(|_| rng.random_range(-bound..=bound))
        .collect()
}

/// Networks start small: outputs that add to the linear path or to entropy
/// parameters at a fiftieth, outputs that add to a block's input at 0.3.
pub(super) fn random_layer(layer: &LayerSpec, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let mut flat = Vec::with_capacity(layer.kind.parameters());
    for (part, shape) in layer.kind.parts() {
        let count = shape.iter().product();
        let inputs = *shape.last().unwrap_or(&1);
        flat.extend(match part {
            "weight" => uniform(count, inputs, pointwise_gain(&layer.path), rng),
            "conv1.weight" | "conv3.weight" => uniform(count, inputs, 1.4, rng),
            "conv2.weight" | "conv4.weight" => uniform(count, inputs, 0.3, rng),
            "depthwise.weight" => uniform(count, 9, 1.0, rng),
            // Quality tables without values of their own are neutral gains.
            "table" => vec![1.0; count],
            _ => vec![0.0; count],
        });
    }
    flat
}

fn pointwise_gain(path: &str) -> f32 {
    match path.rsplit('.').next() {
        Some("conv_out" | "mean" | "scale") => 0.02,
        _ => 1.0,
    }
}

/// The linear path under both transforms.
pub(super) struct LinearPath {
    /// `P [M, 768] | bias`.
    pub analysis: Vec<f32>,
    /// `Q [768, M] | bias`.
    pub synthesis: Vec<f32>,
    /// M.
    pub latents: usize,
}

impl LinearPath {
    /// Gives a latent channel a component of this standard deviation, whitened: the channel has unit variance.
    pub fn set(&mut self, channel: usize, component: &[f64], deviation: f64) {
        for (k, v) in component.iter().enumerate() {
            self.analysis[channel * PATCH16 + k] = (v / deviation) as f32;
            self.synthesis[k * self.latents + channel] = (v * deviation) as f32;
        }
    }

    /// Puts the weights into their place.
    pub fn insert_into(self, layers: &mut BTreeMap<String, Vec<f32>>) {
        layers.insert("analysis.linear".into(), self.analysis);
        layers.insert("synthesis.linear".into(), self.synthesis);
    }
}

/// The linear path of principal components, and the standard deviation of each latent channel's.
fn linear_transform(
    model: &ModelConfig,
    pictures: &Pictures,
    rng: &mut ChaCha8Rng,
) -> Result<(LinearPath, Vec<f64>)> {
    let m = model.latent_channels;
    let mut path = LinearPath {
        analysis: vec![0.0; m * PATCH16 + m],
        synthesis: vec![0.0; PATCH16 * m + PATCH16],
        latents: m,
    };
    let mut deviations = vec![1.0; m];
    let components = principal_components(&covariance(pictures, rng)?);
    for (rank, (component, deviation)) in components.into_iter().take(m).enumerate() {
        let channel = channel_of_rank(rank, 0, model.group_channels());
        path.set(channel, &component, deviation);
        deviations[channel] = deviation;
    }
    Ok((path, deviations))
}

/// The latent channel for the component of a rank, in context groups of `group` channels of which each has its `first`
/// ones already: neighbors in rank go to different groups, so that each holds large and small ones.
pub(super) fn channel_of_rank(rank: usize, first: usize, group: usize) -> usize {
    rank % CONTEXT_STEPS * group + first + rank / CONTEXT_STEPS
}

/// Principal components of 16 x 16 patches of this covariance with their standard deviations, the largest first.
pub(super) fn principal_components(covariance: &[f64]) -> Vec<(Vec<f64>, f64)> {
    let (vectors, values) = eigenvectors(covariance, PATCH16);
    let deviations = values.into_iter().map(|value| value.sqrt().max(1e-4));
    vectors.into_iter().zip(deviations).collect()
}

/// Mean of `x xᵀ` over 16 x 16 patches in the network's order of values.
pub(super) fn covariance(pictures: &Pictures, rng: &mut ChaCha8Rng) -> Result<Vec<f64>> {
    let mut sum = vec![0f64; PATCH16 * PATCH16];
    let per_round = 500;
    for _ in 0..SAMPLE_CROPS / per_round {
        let mut patches = Vec::new();
        for _ in 0..per_round {
            let at = pictures.draw(64, 1.0, rng);
            append_patches(&pictures.crop(&at, 64), 64, &mut patches);
        }
        let x = Tensor::from_vec(patches, (per_round, 8, 8, 192), &Device::Cpu)?;
        let x = crate::train::ops::rearrange::space_to_depth(&x, 2)?.reshape(((), PATCH16))?;
        let product = x.t()?.matmul(&x)?.flatten_all()?.to_vec1::<f32>()?;
        for (sum, value) in sum.iter_mut().zip(product) {
            *sum += f64::from(value);
        }
    }
    let count = (SAMPLE_CROPS * 16) as f64;
    sum.iter_mut().for_each(|v| *v /= count);
    Ok(sum)
}

/// The quality tables of latent channels, `[rows, channels]`.
///
/// High-rate theory for `R + λ 255² MSE` with three samples a pixel gives the step `1 / (255 sqrt(λ ln2 / 18))` for
/// components of an orthonormal transform; whitening multiplies the gain by the deviation.
pub(super) struct LatentGains {
    gains: Vec<f32>,
    inverse: Vec<f32>,
    scales: Vec<f32>,
}

impl LatentGains {
    /// Of channels whose components have these standard deviations.
    pub fn new(model: &ModelConfig, deviations: &[f64]) -> Self {
        let (mut gains, mut inverse, mut scales) = (Vec::new(), Vec::new(), Vec::new());
        let rows = model.quality_rows;
        for row in 0..rows {
            let lambda = model.lambda(row as f64 / (rows - 1) as f64);
            let inverse_step = 255.0 * (lambda * std::f64::consts::LN_2 / 18.0).sqrt();
            for deviation in deviations {
                let gain = inverse_step * deviation;
                gains.push(gain as f32);
                inverse.push((1.0 / gain) as f32);
                scales.push(index_of(gain) as f32);
            }
        }
        Self {
            gains,
            inverse,
            scales,
        }
    }

    /// With their layers' paths.
    pub fn tables(self) -> [(&'static str, Vec<f32>); 3] {
        [
            ("quality.latent_gain", self.gains),
            ("quality.latent_inverse_gain", self.inverse),
            ("quality.latent_scale", self.scales),
        ]
    }
}

/// The scale index of a standard deviation in quantization steps.
fn index_of(sigma: f64) -> f64 {
    ((sigma / SIGMA_MIN).ln() / LOG_STEP + 0.5).clamp(-4.0, SCALE_LEVELS as f64)
}

pub(super) fn insert_quality_tables(
    model: &ModelConfig,
    deviations: &[f64],
    layers: &mut BTreeMap<String, Vec<f32>>,
) {
    let latent = LatentGains::new(model, deviations).tables();
    layers.extend(latent.map(|(path, values)| (path.into(), values)));
    let hyper = model.quality_rows * model.hyper_channels;
    layers.insert("quality.hyper_gain".into(), vec![2.0; hyper]);
    layers.insert("quality.hyper_inverse_gain".into(), vec![0.5; hyper]);
    layers.insert(
        "quality.hyper_scale".into(),
        vec![index_of(1.5) as f32; hyper],
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::config::LayerKind;

    #[test]
    fn every_layer_gets_its_size() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for layer in ModelConfig::tiny().layers() {
            assert_eq!(
                random_layer(&layer, &mut rng).len(),
                layer.kind.parameters(),
                "{}",
                layer.path
            );
            if !matches!(layer.kind, LayerKind::Table { .. }) {
                assert!(random_layer(&layer, &mut rng).iter().any(|v| *v != 0.0));
            }
        }
    }
}
