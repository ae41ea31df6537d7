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
use crate::network::config::{LayerKind, LayerSpec, Unit};
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
    let transform = linear_transform(&config.model, pictures, &mut rng)?;
    layers.insert("analysis.linear".into(), transform.analysis);
    layers.insert("synthesis.linear".into(), transform.synthesis);
    insert_quality_tables(config, &transform.deviations, &mut layers);
    Ok(Weights {
        config: config.model.clone(),
        layers,
        tables: ScaleTables::gaussian().to_words(),
    })
}

/// `weights` with the layers that `config` has beside theirs, each of which starts as the
/// identity: the grown network computes exactly what `weights` did.
///
/// # Errors
/// [`Error::Weights`] naming a layer that has another size, is gone, or cannot start so.
pub fn grow(weights: Weights, config: &ModelConfig, seed: u64) -> Result<Weights> {
    let refuse = |path: &str, why: &str| Err(Error::Weights(format!("layer {path} {why}")));
    let old: BTreeMap<_, _> = weights
        .config
        .layers()
        .into_iter()
        .map(|layer| (layer.path, layer.kind))
        .collect();
    let specs = config.layers();
    if let Some(path) = old
        .keys()
        .find(|path| specs.iter().all(|s| s.path != **path))
    {
        return refuse(path, "of the initial model is not in the configuration");
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut layers = weights.layers;
    for layer in &specs {
        match old.get(&layer.path) {
            Some(kind) if *kind == layer.kind => {}
            Some(_) => return refuse(&layer.path, "has another size in the initial model"),
            None => match neutral_layer(layer, &mut rng) {
                Some(values) => drop(layers.insert(layer.path.clone(), values)),
                None => return refuse(&layer.path, "is new and cannot start as the identity"),
            },
        }
    }
    Ok(Weights {
        config: config.clone(),
        layers,
        tables: weights.tables,
    })
}

/// Parameters with which a layer changes nothing of what passes it, and can learn.
fn neutral_layer(layer: &LayerSpec, rng: &mut ChaCha8Rng) -> Option<Vec<f32>> {
    let silent: &[&str] = match layer.kind {
        LayerKind::Table {
            unit: Unit::Gain, ..
        } => &[],
        // What both halves of a block add to its input.
        LayerKind::Block { .. } => &["conv2.weight", "conv4.weight"],
        // Added to the trunk's input.
        LayerKind::Pointwise { .. } if layer.path.ends_with(".state") => &["weight"],
        _ => return None,
    };
    let mut flat = random_layer(layer, rng);
    let mut start = 0;
    for (part, shape) in layer.kind.parts() {
        let end = start + shape.iter().product::<usize>();
        if silent.contains(&part) {
            flat[start..end].fill(0.0);
        }
        start = end;
    }
    Some(flat)
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
fn random_layer(layer: &LayerSpec, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let mut flat = Vec::with_capacity(layer.kind.len());
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

struct LinearTransform {
    /// `P [M, 768] | bias`.
    analysis: Vec<f32>,
    /// `Q [768, M] | bias`.
    synthesis: Vec<f32>,
    /// Standard deviation of each latent channel's component.
    deviations: Vec<f64>,
}

/// Whitened principal components: every latent channel starts with unit variance.
/// Component i goes to context group i mod 4, so that each group holds large and small ones.
fn linear_transform(
    model: &ModelConfig,
    pictures: &Pictures,
    rng: &mut ChaCha8Rng,
) -> Result<LinearTransform> {
    let (vectors, values) = eigenvectors(&covariance(pictures, rng)?, PATCH16);
    let m = model.latent_channels;
    let mut analysis = vec![0f32; m * PATCH16 + m];
    let mut synthesis = vec![0f32; PATCH16 * m + PATCH16];
    let mut deviations = vec![1f64; m];
    for (rank, (vector, value)) in vectors.iter().zip(&values).take(m).enumerate() {
        let channel = rank % CONTEXT_STEPS * model.group_channels() + rank / CONTEXT_STEPS;
        let deviation = value.sqrt().max(1e-4);
        deviations[channel] = deviation;
        for (k, v) in vector.iter().enumerate() {
            analysis[channel * PATCH16 + k] = (v / deviation) as f32;
            synthesis[k * m + channel] = (v * deviation) as f32;
        }
    }
    Ok(LinearTransform {
        analysis,
        synthesis,
        deviations,
    })
}

/// Mean of `x xᵀ` over 16 x 16 patches in the network's order of values.
fn covariance(pictures: &Pictures, rng: &mut ChaCha8Rng) -> Result<Vec<f64>> {
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

/// Gains of each quality row. High-rate theory for `R + λ 255² MSE` with three
/// samples a pixel gives the step `1 / (255 sqrt(λ ln2 / 18))` for components of
/// an orthonormal transform; whitening multiplies the gain by the deviation.
fn insert_quality_tables(
    config: &TrainConfig,
    deviations: &[f64],
    layers: &mut BTreeMap<String, Vec<f32>>,
) {
    let index_of =
        |sigma: f64| ((sigma / SIGMA_MIN).ln() / LOG_STEP + 0.5).clamp(-4.0, SCALE_LEVELS as f64);
    let (mut gains, mut inverse, mut scales) = (Vec::new(), Vec::new(), Vec::new());
    let rows = config.model.quality_rows;
    for row in 0..rows {
        let lambda = config.model.lambda(row as f64 / (rows - 1) as f64);
        let inverse_step = 255.0 * (lambda * std::f64::consts::LN_2 / 18.0).sqrt();
        for deviation in deviations {
            let gain = inverse_step * deviation;
            gains.push(gain as f32);
            inverse.push((1.0 / gain) as f32);
            scales.push(index_of(gain) as f32);
        }
    }
    layers.insert("quality.latent_gain".into(), gains);
    layers.insert("quality.latent_inverse_gain".into(), inverse);
    layers.insert("quality.latent_scale".into(), scales);
    let hyper = rows * config.model.hyper_channels;
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
    use crate::codec::{DecodeOptions, EncodeOptions, Model, NoProgress, decode, encode};
    use crate::network::IntegerWeights;
    use crate::network::rounding::provisional_exponents;
    use crate::picture::Image;
    use crate::train::batch::Batch;
    use crate::train::data::CropSource;
    use crate::train::loss::rate_distortion;
    use crate::train::ops::tape::recorded;
    use crate::train::parameters::Parameters;

    /// Sizes with and without what grows, and a block more in each stage.
    fn small_and_grown() -> (ModelConfig, ModelConfig) {
        let grown = ModelConfig {
            stage8_blocks: 2,
            stage16_blocks: 2,
            ..ModelConfig::tiny()
        };
        let small = ModelConfig {
            context_state: false,
            synthesis_out_gain: false,
            ..ModelConfig::tiny()
        };
        (small, grown)
    }

    /// Initial weights but for the linear path, which is random too.
    fn random_weights(config: &ModelConfig) -> Weights {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let specs = config.layers().into_iter();
        let mut layers = specs
            .map(|layer| (layer.path.clone(), random_layer(&layer, &mut rng)))
            .collect();
        let train = TrainConfig {
            model: config.clone(),
            ..TrainConfig::default()
        };
        insert_quality_tables(&train, &[0.5; 16], &mut layers);
        Weights {
            config: config.clone(),
            layers,
            tables: ScaleTables::gaussian().to_words(),
        }
    }

    /// With exponents that do not depend on values.
    fn model_of(weights: &Weights) -> Result<Model> {
        let exponents = provisional_exponents(&weights.config);
        Model::from_bytes(&IntegerWeights::rounded(weights, exponents)?.to_bytes()?)
    }

    fn scene() -> Image {
        let pixels = (0..3 * 150 * 70u32).map(|i| (i * i / 900 % 251) as u8);
        Image::new(150, 70, pixels.collect()).expect("the sizes agree")
    }

    #[test]
    fn a_grown_model_codes_the_same_pixels_in_the_same_number_of_bytes() -> Result<()> {
        let (small, grown) = small_and_grown();
        let weights = random_weights(&small);
        let coded = |weights: Weights| {
            let model = model_of(&weights)?;
            let options = EncodeOptions::default();
            let file = encode(&scene(), &model, &options, &NoProgress)?;
            let back = decode(&file, &model, &DecodeOptions::default(), &NoProgress)?;
            Ok::<_, Error>((file.len(), back.rgb))
        };
        let (bytes, pixels) = coded(grow(weights.clone(), &grown, 5)?)?;
        let (want_bytes, want_pixels) = coded(weights)?;
        assert_eq!(bytes, want_bytes);
        assert!(pixels == want_pixels);
        Ok(())
    }

    #[test]
    fn a_grown_model_trains_from_the_same_loss_and_every_new_layer_learns() -> Result<()> {
        let (small, grown) = small_and_grown();
        let weights = random_weights(&small);
        let config = TrainConfig {
            batch: 2,
            crop: 64,
            model: grown.clone(),
            ..TrainConfig::default()
        };
        let pictures = Pictures::new(vec![scene()]);
        let batch = Batch::random(&config, &CropSource::Host(&pictures), 0)?;
        let loss = |weights: &Weights| {
            let parameters = Parameters::new(weights, &Device::Cpu, 1)?;
            let (losses, tape) = recorded(|| rate_distortion(&parameters.replicas[0], &batch))?;
            let loss = losses.loss;
            Ok::<_, Error>((loss.to_scalar::<f32>()?, (loss, tape), parameters))
        };
        let (want, ..) = loss(&weights)?;
        let (found, (total, tape), parameters) = loss(&grow(weights, &grown, 5)?)?;
        assert!((found / want - 1.0).abs() < 1e-6, "{found} {want}");
        let mut store = tape.backward(&total, 1.0)?;
        for path in [
            "context.1.state",
            "context.3.state",
            "quality.synthesis_out",
            "synthesis.stage8.1",
            "analysis.stage16.1",
        ] {
            let gradient = parameters
                .gradient_of(path, &mut store)
                .expect("it has one");
            let size = gradient.sqr()?.sum_all()?.to_scalar::<f32>()?;
            assert!(size > 0.0, "{path}");
        }
        Ok(())
    }

    #[test]
    fn what_cannot_start_as_the_identity_is_refused() {
        let (small, grown) = small_and_grown();
        let weights = random_weights(&small);
        let with = |change: &dyn Fn(&mut ModelConfig)| {
            let mut config = grown.clone();
            change(&mut config);
            grow(weights.clone(), &config, 5)
        };
        assert!(with(&|_| {}).is_ok());
        for change in [
            (&|c: &mut ModelConfig| c.latent_channels = 20) as &dyn Fn(&mut ModelConfig),
            &|c| c.quality_rows = 8,
            &|c| c.stage8_blocks = 0,
        ] {
            assert!(matches!(with(change), Err(Error::Weights(_))));
        }
    }

    #[test]
    fn every_layer_gets_its_size() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for layer in ModelConfig::tiny().layers() {
            assert_eq!(
                random_layer(&layer, &mut rng).len(),
                layer.kind.len(),
                "{}",
                layer.path
            );
            if !matches!(layer.kind, LayerKind::Table { .. }) {
                assert!(random_layer(&layer, &mut rng).iter().any(|v| *v != 0.0));
            }
        }
    }
}
