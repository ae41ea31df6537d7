//! The rate-distortion loss: the codec's path from picture to picture, with the
//! rate of its symbols under the entropy model.
//!
//! Mixed quantization (Minnen and Singh, "Channel-wise autoregressive entropy
//! models for learned image compression"): additive uniform noise in the rate
//! term, straight-through rounding in what the other networks see.

use candle_core::{Result, Tensor};

use super::batch::{Batch, Quantization};
use super::noise;
use crate::model::Network;
use crate::model::context_ops::{index_step, place_step, quantize, scale_step, take_steps, total};
use crate::model::network::Gains;
use crate::model::tape::through_candle;
use crate::model::train_ops::{
    add, rate, round_straight_through, scale_channels, scale_index, squared_error, subtract,
};

/// What one pass over a batch gives.
pub struct Losses {
    /// The scalar that is minimized.
    pub loss: Tensor,
    /// Bits per pixel of each sample.
    pub bpp: Tensor,
    /// Mean squared error of each sample, in units of 8-bit sample values.
    pub mse: Tensor,
    /// The reconstruction, as patches of 8 x 8 pixels.
    pub reconstruction: Tensor,
}

/// Runs the codec's networks over a batch.
///
/// # Errors
/// When an operation fails.
pub fn rate_distortion(network: &Network, batch: &Batch) -> Result<Losses> {
    let gains = network.gains(&batch.positions)?;
    let latent = network.analysis.forward(&batch.patches, &gains)?;
    let y = scale_channels(&latent, &gains.latent_gain)?;
    let (features, hyper_bits) = code_hyper_latent(network, batch, &gains, &latent)?;
    let (normalized, latent_bits) = code_latent(network, batch, &gains, &y, &features)?;
    let reconstruction = network.synthesis.forward(&normalized, &gains)?;

    let errors = squared_error(&reconstruction, &batch.patches)?;

    #[allow(clippy::cast_precision_loss)]
    let pixels = batch.pixels as f64;
    let (mut bpp, mut mse) = (errors.detach(), errors.detach());
    let loss = through_candle(
        [&hyper_bits, &latent_bits, &errors],
        |[hyper_bits, latent_bits, errors]| {
            bpp = ((hyper_bits + latent_bits)? / pixels)?;
            mse = (errors * (255.0 * 255.0 / (3.0 * pixels)))?;
            weighted_sum(batch, &bpp, &mse)
        },
    )?;
    Ok(Losses {
        loss,
        bpp: bpp.detach(),
        mse: mse.detach(),
        reconstruction: reconstruction.detach(),
    })
}

/// Mean over the samples of `(bpp + λ mse) / sqrt(λ)`: the division keeps the
/// gradients of both ends of the quality range of the same size.
fn weighted_sum(batch: &Batch, bpp: &Tensor, mse: &Tensor) -> Result<Tensor> {
    #[allow(clippy::cast_possible_truncation)]
    let weights = |power: f64| {
        let values: Vec<f32> = batch.lambdas.iter().map(|l| l.powf(power) as f32).collect();
        Tensor::new(values, bpp.device())
    };
    ((bpp * weights(-0.5)?)? + (mse * weights(0.5)?)?)?.mean_all()
}

/// Hyper-latent: features for the context model, and bits of each sample.
fn code_hyper_latent(
    network: &Network,
    batch: &Batch,
    gains: &Gains,
    latent: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let z = scale_channels(&network.hyper_analysis.forward(latent)?, &gains.hyper_gain)?;
    let rounded = round_straight_through(&z)?;
    let scale = scale_index(&z.zeros_like()?, &gains.hyper_scale)?;
    let symbols = match batch.quantization {
        Quantization::Noise { seed, first } => {
            add(&z, &noise::like(&z, seed.wrapping_add(1), first)?)?
        }
        Quantization::Rounding => rounded.clone(),
    };
    let bits = rate(&symbols, &scale)?;
    let normalized = scale_channels(&rounded, &gains.hyper_inverse_gain)?;
    Ok((network.hyper_synthesis.forward(&normalized, gains)?, bits))
}

/// Latent: normalized ŷ, and bits of each sample.
fn code_latent(
    network: &Network,
    batch: &Batch,
    gains: &Gains,
    y: &Tensor,
    features: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let noise = match batch.quantization {
        Quantization::Noise { seed, first } => Some(take_steps(&noise::like(y, seed, first)?)?),
        Quantization::Rounding => None,
    };
    let (mut so_far, mut state) = (y.detach().zeros_like()?, None);
    let mut bits = Vec::new();
    let steps = network.context.iter().zip(take_steps(y)?);
    for (step, (context, y)) in steps.enumerate() {
        let (mean, scale) = context.forward(features, &so_far, &mut state)?;
        let mean = scale_step(step, &mean, &gains.latent_gain)?;
        let quantized = quantize(&y, &mean)?;
        let normalized = scale_step(step, &quantized, &gains.latent_inverse_gain)?;
        so_far = place_step(step, &so_far, &normalized)?;

        let residual = subtract(&y, &mean)?;
        let symbols = match &noise {
            Some(noise) => add(&residual, &noise[step])?,
            None => round_straight_through(&residual)?,
        };
        bits.push(rate(
            &symbols,
            &index_step(step, &scale, &gains.latent_scale)?,
        )?);
    }
    Ok((so_far, total(bits)?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use candle_core::Device;

    use super::*;
    use crate::image::Image;
    use crate::model::ModelConfig;
    use crate::model::tape::recorded;
    use crate::train::TrainConfig;
    use crate::train::data::{CropSource, Pictures};
    use crate::train::init::initial_weights;
    use crate::train::parameters::Parameters;

    fn config() -> TrainConfig {
        TrainConfig {
            batch: 2,
            crop: 64,
            model: ModelConfig::tiny(),
            ..TrainConfig::default()
        }
    }

    fn pictures() -> Pictures {
        let pixels = (0..96 * 96 * 3u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 26) as u8 + (i / 300) as u8);
        Pictures::new(vec![
            Image::new(96, 96, pixels.collect()).expect("the sizes agree"),
        ])
    }

    /// The continuous part of the loss: distortion of each sample without quantization.
    fn distortion(parameters: &Parameters, batch: &Batch) -> Result<Tensor> {
        let network = &parameters.replicas[0];
        let gains = network.gains(&batch.positions)?;
        let latent = network.analysis.forward(&batch.patches, &gains)?;
        let reconstruction = network.synthesis.forward(&latent, &gains)?;
        squared_error(&reconstruction, &batch.patches)
    }

    #[test]
    fn gradients_match_finite_differences_along_their_direction() -> crate::Result<()> {
        let (config, pictures) = (config(), pictures());
        let parameters = Parameters::new(&initial_weights(&config, &pictures)?, &Device::Cpu, 1)?;
        let batch = Batch::random(&config, &CropSource::Host(&pictures), 0)?;
        // Layers that the distortion does not depend on have no gradient.
        let (errors, tape) = recorded(|| distortion(&parameters, &batch))?;
        let mut store = tape.backward(&errors, 1.0)?;
        let mut gradients = BTreeMap::new();
        for path in parameters.variables.keys() {
            if let Some(gradient) = parameters.gradient_of(path, &mut store) {
                gradients.insert(path.clone(), gradient.to_vec1::<f32>()?);
            }
        }
        assert!(
            gradients.contains_key("analysis.stage8.0")
                && gradients.contains_key("synthesis.stage16.0")
        );
        let squared = |gradient: &[f32]| gradient.iter().map(|g| f64::from(g * g)).sum::<f64>();
        let largest = gradients
            .values()
            .map(|gradient| squared(gradient))
            .fold(0.0, f64::max);
        for (path, gradient) in &gradients {
            let var = &parameters.variables[path];
            let squared = squared(gradient);
            let origin = var.as_tensor().copy()?;
            let direction = Tensor::new(gradient.as_slice(), &Device::Cpu)?.reshape(var.shape())?;
            // A move that changes the loss by about two percent: above bf16 noise, below curvature.
            // Layers that hardly matter yet would have to move too far for that.
            let total = || {
                distortion(&parameters, &batch)?
                    .sum_all()?
                    .to_scalar::<f32>()
            };
            let loss = f64::from(total()?);
            let h = 2e-2 * loss / squared;
            if squared < 1e-3 * largest {
                continue;
            }
            let at = |step: f64| -> crate::Result<f64> {
                var.set(&(&origin + (&direction * step)?)?)?;
                Ok(f64::from(total()?))
            };
            let slope = (at(h)? - at(-h)?) / (2.0 * h);
            var.set(&origin)?;
            assert!(
                (slope / squared - 1.0).abs() < 0.15,
                "{path}: slope {slope}, gradient {squared}"
            );
        }
        Ok(())
    }

    #[test]
    fn every_variable_gets_a_gradient() -> crate::Result<()> {
        let (config, pictures) = (config(), pictures());
        let parameters = Parameters::new(&initial_weights(&config, &pictures)?, &Device::Cpu, 1)?;
        let batch = Batch::random(&config, &CropSource::Host(&pictures), 0)?;
        let network = &parameters.replicas[0];
        let (losses, tape) = recorded(|| rate_distortion(network, &batch))?;
        let store = tape.backward(&losses.loss, 1.0)?;
        let gradients = parameters.gradients(vec![store])?;
        for (path, gradient) in gradients {
            assert!(
                gradient.to_vec1::<f32>()?.iter().any(|g| *g != 0.0),
                "{path} has a zero gradient"
            );
        }
        Ok(())
    }
}
