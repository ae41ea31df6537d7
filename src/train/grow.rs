//! Models that are grown from smaller ones: new layers start as the identity, new latent channels as the next
//! principal components.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::data::Pictures;
use super::init::{
    LatentGains, LinearPath, channel_of_rank, covariance, principal_components, random_layer,
};
use super::principal::dot;
use crate::error::{Error, Result};
use crate::format::{CONTEXT_STEPS, PATCH16};
use crate::network::config::{LayerKind, LayerSpec, Unit};
use crate::network::{ModelConfig, Weights};

/// `weights` with the layers and the latent channels that `config` has beside theirs.
///
/// A new layer starts as the identity: with them alone, the grown model computes exactly what `weights` did. New
/// latent channels start as the principal components of what the linear path of `weights` leaves of `pictures`, with
/// the gains of high-rate theory: zero at low qualities, where nothing changes.
///
/// # Errors
/// [`Error::Weights`] naming a layer that has another size, is gone, or cannot start so.
pub fn grow(
    weights: Weights,
    config: &ModelConfig,
    pictures: &Pictures,
    seed: u64,
) -> Result<Weights> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let weights = if weights.config.latent_channels == config.latent_channels {
        weights
    } else {
        with_more_latents(weights, config.latent_channels, pictures, &mut rng)?
    };
    with_more_layers(weights, config, &mut rng)
}

fn refused(path: &str, why: &str) -> Error {
    Error::Weights(format!("layer {path} {why}"))
}

fn with_more_layers(
    weights: Weights,
    config: &ModelConfig,
    rng: &mut ChaCha8Rng,
) -> Result<Weights> {
    let old = weights.config.layers().into_iter();
    let old: BTreeMap<_, _> = old.map(|layer| (layer.path, layer.kind)).collect();
    let specs = config.layers();
    let gone = |path: &&String| specs.iter().all(|spec| spec.path != **path);
    if let Some(path) = old.keys().find(gone) {
        let why = "of the initial model is not in the configuration";
        return Err(refused(path, why));
    }
    let mut layers = weights.layers;
    for layer in &specs {
        match old.get(&layer.path) {
            Some(kind) if *kind == layer.kind => {}
            Some(_) => {
                let why = "has another size in the initial model";
                return Err(refused(&layer.path, why));
            }
            None => {
                let why = "is new and cannot start as the identity";
                let values = neutral_layer(layer, rng).ok_or_else(|| refused(&layer.path, why));
                layers.insert(layer.path.clone(), values?);
            }
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

/// Where the latent channels of a model are in a wider one: each context group keeps its own.
#[derive(Clone, Copy)]
struct Widening {
    old: usize,
    new: usize,
}

impl Widening {
    /// The new index of an old channel.
    fn kept(self, channel: usize) -> usize {
        let (old, new) = (self.old / CONTEXT_STEPS, self.new / CONTEXT_STEPS);
        channel / old * new + channel % old
    }

    /// The index of the added channel of this rank.
    fn added(self, rank: usize) -> usize {
        channel_of_rank(rank, self.old / CONTEXT_STEPS, self.new / CONTEXT_STEPS)
    }

    /// Where the `old` inputs or outputs of a layer go, of which the last `self.old` are latent channels if they are
    /// not as many as in the wider model.
    fn places(self, old: usize, new: usize) -> Vec<usize> {
        if old == new {
            return (0..old).collect();
        }
        let others = old - self.old;
        let latents = (0..self.old).map(|channel| others + self.kept(channel));
        (0..others).chain(latents).collect()
    }

    /// A `rows` x `columns` matrix in its places in a wider one of zeros.
    fn spread(
        self,
        matrix: &[f32],
        (rows, columns): (usize, usize),
        (new_rows, new_columns): (usize, usize),
    ) -> Vec<f32> {
        let mut wide = vec![0.0; new_rows * new_columns];
        let to = self.places(columns, new_columns);
        let rows = self.places(rows, new_rows).into_iter();
        for (row, values) in rows.zip(matrix.chunks_exact(columns)) {
            for (column, value) in to.iter().zip(values) {
                wide[row * new_columns + column] = *value;
            }
        }
        wide
    }
}

/// `weights` with `latents` latent channels.
fn with_more_latents(
    weights: Weights,
    latents: usize,
    pictures: &Pictures,
    rng: &mut ChaCha8Rng,
) -> Result<Weights> {
    let widening = Widening {
        old: weights.config.latent_channels,
        new: latents,
    };
    let added = latents.checked_sub(widening.old);
    let Some(added) = added.filter(|_| latents <= PATCH16) else {
        let why = "cannot start with so many channels";
        return Err(refused("synthesis.linear", why));
    };
    let config = ModelConfig {
        latent_channels: latents,
        ..weights.config.clone()
    };
    config.validate()?;
    let mut layers = BTreeMap::new();
    for (old, new) in weights.config.layers().into_iter().zip(config.layers()) {
        let values = &weights.layers[&old.path];
        layers.insert(new.path, widened(values, old.kind, new.kind, widening));
    }
    let components = what_is_left(&layers["synthesis.linear"], latents, pictures, rng)?;
    let mut of = |path: &str| layers.remove(path).expect("every model has it");
    let mut path = LinearPath {
        analysis: of("analysis.linear"),
        synthesis: of("synthesis.linear"),
        latents,
    };
    let mut deviations = Vec::with_capacity(added);
    for (rank, (component, deviation)) in components.into_iter().take(added).enumerate() {
        path.set(widening.added(rank), &component, deviation);
        deviations.push(deviation);
    }
    path.insert_into(&mut layers);
    let gains = LatentGains::new(&config, &deviations);
    for (name, values) in gains.tables() {
        let table = layers.get_mut(name).expect("every model has it");
        let rows = table.chunks_exact_mut(latents);
        for (row, values) in rows.zip(values.chunks_exact(added)) {
            for (rank, value) in values.iter().enumerate() {
                row[widening.added(rank)] = *value;
            }
        }
    }
    Ok(Weights {
        config,
        layers,
        tables: weights.tables,
    })
}

/// A layer's parameters where those of latent channels stand in a wider model; zeros for the new ones.
fn widened(values: &[f32], old: LayerKind, new: LayerKind, widening: Widening) -> Vec<f32> {
    if old == new {
        return values.to_vec();
    }
    let size = |shape: &[usize]| match *shape {
        [rows, columns] => (rows, columns),
        _ => (1, shape.iter().product()),
    };
    let parts = old.split(values).into_iter().zip(old.parts());
    let both = parts.zip(new.parts());
    both.flat_map(|((values, (_, shape)), (_, new_shape))| {
        widening.spread(values, size(&shape), size(&new_shape))
    })
    .collect()
}

/// Principal components, with standard deviations, of 16 x 16 patches less what the columns of the matrix
/// `[768, latents]` at the start of `linear` span.
fn what_is_left(
    linear: &[f32],
    latents: usize,
    pictures: &Pictures,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<(Vec<f64>, f64)>> {
    let columns = (0..latents).map(|channel| {
        let column = linear.chunks_exact(latents).take(PATCH16);
        column.map(|row| f64::from(row[channel])).collect()
    });
    let basis = orthonormal(columns);
    let take_out = |matrix: &mut [f64]| {
        for row in matrix.chunks_exact_mut(PATCH16) {
            for vector in &basis {
                subtract_along(row, vector);
            }
        }
    };
    // With V the basis: (1 - V Vᵀ) C (1 - V Vᵀ), from the right and then from the left.
    let mut left = covariance(pictures, rng)?;
    take_out(&mut left);
    left = transposed(&left);
    take_out(&mut left);
    Ok(principal_components(&left))
}

/// An orthonormal basis of what `columns` span (Gram and Schmidt, each vector twice).
fn orthonormal(columns: impl Iterator<Item = Vec<f64>>) -> Vec<Vec<f64>> {
    let norm = |vector: &[f64]| dot(vector, vector).sqrt();
    let mut basis: Vec<Vec<f64>> = Vec::new();
    for mut column in columns {
        let before = norm(&column);
        for _ in 0..2 {
            for vector in &basis {
                subtract_along(&mut column, vector);
            }
        }
        let left = norm(&column);
        if left > 1e-6 * before {
            column.iter_mut().for_each(|value| *value /= left);
            basis.push(column);
        }
    }
    basis
}

/// Takes from `values` what lies along the unit vector.
fn subtract_along(values: &mut [f64], unit: &[f64]) {
    let along = dot(values, unit);
    for (value, unit) in values.iter_mut().zip(unit) {
        *value -= along * unit;
    }
}

fn transposed(matrix: &[f64]) -> Vec<f64> {
    let mut to = vec![0.0; matrix.len()];
    for (i, row) in matrix.chunks_exact(PATCH16).enumerate() {
        for (j, value) in row.iter().enumerate() {
            to[j * PATCH16 + i] = *value;
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::codec::{DecodeOptions, EncodeOptions, Model, NoProgress, decode, encode};
    use crate::entropy::ScaleTables;
    use crate::network::IntegerWeights;
    use crate::network::rounding::provisional_exponents;
    use crate::picture::Image;
    use crate::train::TrainConfig;
    use crate::train::batch::Batch;
    use crate::train::data::CropSource;
    use crate::train::init::{initial_weights, insert_quality_tables};
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
        insert_quality_tables(config, &[0.5; 16], &mut layers);
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

    fn pictures() -> Pictures {
        Pictures::new(vec![scene()])
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
        let (bytes, pixels) = coded(grow(weights.clone(), &grown, &pictures(), 5)?)?;
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
        let pictures = pictures();
        let batch = Batch::random(&config, &CropSource::Host(&pictures), 0)?;
        let loss = |weights: &Weights| {
            let parameters = Parameters::new(weights, &Device::Cpu, 1)?;
            let (losses, tape) = recorded(|| rate_distortion(&parameters.replicas[0], &batch))?;
            let loss = losses.loss;
            Ok::<_, Error>((loss.to_scalar::<f32>()?, (loss, tape), parameters))
        };
        let (want, ..) = loss(&weights)?;
        let (found, (total, tape), parameters) = loss(&grow(weights, &grown, &pictures, 5)?)?;
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
            grow(weights.clone(), &config, &pictures(), 5)
        };
        assert!(with(&|_| {}).is_ok());
        for change in [
            (&|c: &mut ModelConfig| c.latent_channels = 12) as &dyn Fn(&mut ModelConfig),
            &|c| c.latent_channels = 772,
            &|c| c.context_channels = 12,
            &|c| c.quality_rows = 8,
            &|c| c.stage8_blocks = 0,
        ] {
            assert!(matches!(with(change), Err(Error::Weights(_))));
        }
    }
    #[test]
    fn latent_channels_stay_in_their_context_group() {
        let widening = Widening { old: 16, new: 24 };
        let group = |channel: usize, channels: usize| channel / (channels / CONTEXT_STEPS);
        let kept: Vec<_> = (0..16).map(|channel| widening.kept(channel)).collect();
        for (channel, place) in kept.iter().enumerate() {
            assert_eq!(group(*place, 24), group(channel, 16));
        }
        let added: Vec<_> = (0..8).map(|rank| widening.added(rank)).collect();
        for (rank, place) in added.iter().enumerate() {
            assert_eq!(group(*place, 24), rank % CONTEXT_STEPS);
        }
        let mut all = [kept, added].concat();
        all.sort_unstable();
        assert_eq!(all, (0..24).collect::<Vec<_>>());
        // After other inputs, which stay where they are.
        assert_eq!(widening.places(18, 26)[..4], [0, 1, 2, 3]);
        assert_eq!(widening.places(18, 26)[6], 8);
    }

    #[test]
    fn more_latent_channels_are_silent_at_low_quality_and_bring_detail_at_high_quality()
    -> Result<()> {
        // A slope with grain that 16 components cannot hold.
        let grain = |i: u32| i.wrapping_mul(2_654_435_761) >> 27;
        let value = |i: u32| (60 + i / 3 % 128 / 2 + i / 384 / 2 + grain(i)) as u8;
        let picture = Image::new(128, 128, (0..3 * 128 * 128).map(value).collect())?;
        let crop = picture.rgb.clone();
        let pictures = Pictures::new(vec![picture]);
        let small = TrainConfig {
            crop: 128,
            model: ModelConfig::tiny(),
            ..TrainConfig::default()
        };
        let weights = initial_weights(&small, &pictures)?;
        let wide = ModelConfig {
            latent_channels: 256,
            ..ModelConfig::tiny()
        };
        let grown = grow(weights.clone(), &wide, &pictures, 5)?;
        let measured = |weights: &Weights, quality| {
            let parameters = Parameters::new(weights, &Device::Cpu, 1)?;
            let batch = Batch::fixed(&small, std::slice::from_ref(&crop), quality, &Device::Cpu)?;
            let losses = rate_distortion(&parameters.replicas[0], &batch)?;
            let loss = losses.loss.to_scalar::<f32>()?;
            Ok::<_, Error>((loss, losses.mse.mean_all()?.to_scalar::<f32>()?))
        };
        let (before, after) = (measured(&weights, 0.0)?.0, measured(&grown, 0.0)?.0);
        assert!((after / before - 1.0).abs() < 0.02, "{before} {after}");
        let (before, after) = (measured(&weights, 1.0)?.1, measured(&grown, 1.0)?.1);
        assert!(after < 0.8 * before, "{before} {after}");
        Ok(())
    }
}
