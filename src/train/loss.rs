//! The rate-distortion loss: the codec's path from picture to picture, with the
//! rate of its symbols under the entropy model.
//!
//! Mixed quantization (Minnen and Singh, "Channel-wise autoregressive entropy
//! models for learned image compression"): additive uniform noise in the rate
//! term, straight-through rounding in what the other networks see.

use candle_core::{Result, Tensor};

use super::batch::{Batch, Quantization};
use super::noise;
use super::visual::visual_error;
use crate::network::worth::{CHOICE_WORTH, VISUAL_BALANCE, bits_per_squared_sample};
use crate::train::network::Gains;
use crate::train::network::Network;
use crate::train::ops::context::{index_step, place_step, quantize, scale_step, take_steps, total};
use crate::train::ops::tape::{Made, record, through_candle};
use crate::train::ops::train::{
    add, chosen_symbols, rate, round_straight_through, scale_channels, squared_error, subtract,
};

/// What one pass over a batch gives.
pub struct Losses {
    /// The scalar that is minimized.
    pub loss: Tensor,
    /// Bits per pixel of each sample.
    pub bpp: Tensor,
    /// Mean squared error of each sample, in units of 8-bit sample values.
    pub mse: Tensor,
    /// Visual error of each sample; zeros where it neither counts nor is validated.
    pub visual: Tensor,
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
    let is_validation = batch.quantization == Quantization::Rounding;
    let visual = if batch.visual_share > 0.0 || is_validation {
        visual_error(&reconstruction, &batch.patches)?
    } else {
        errors.detach().zeros_like()?
    };

    let pixels = batch.pixels as f64;
    let (mut bpp, mut mse) = (errors.detach(), errors.detach());
    let loss = through_candle(
        [&hyper_bits, &latent_bits, &errors, &visual],
        |[hyper_bits, latent_bits, errors, visual]| {
            bpp = ((hyper_bits + latent_bits)? / pixels)?;
            mse = (errors * (255.0 * 255.0 / (3.0 * pixels)))?;
            weighted_sum(batch, &bpp, &mse, visual)
        },
    )?;
    Ok(Losses {
        loss,
        bpp: bpp.detach(),
        mse: mse.detach(),
        visual: visual.detach(),
        reconstruction: reconstruction.detach(),
    })
}

/// Mean over the samples of `(bpp + λ distortion) / sqrt(λ)`: the division keeps the gradients of both ends of the
/// quality range of the same size. The distortion is squared error and, where the batch says so, visual error.
fn weighted_sum(batch: &Batch, bpp: &Tensor, mse: &Tensor, visual: &Tensor) -> Result<Tensor> {
    let weights = |weight: &dyn Fn(f64) -> f64| {
        let values: Vec<f32> = batch.lambdas.iter().map(|l| weight(*l) as f32).collect();
        Tensor::new(values, bpp.device())
    };
    let share = batch.visual_share;
    let rate = (bpp * weights(&|lambda| lambda.powf(-0.5))?)?;
    let squared = (mse * weights(&|lambda| (1.0 - share) * lambda.sqrt())?)?;
    if share == 0.0 {
        return (rate + squared)?.mean_all();
    }
    let visual = (visual * weights(&|lambda| share * VISUAL_BALANCE * lambda.sqrt())?)?;
    ((rate + squared)? + visual)?.mean_all()
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
    let scale = scale_channels(&z.ones_like()?, &gains.hyper_scale)?;
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
    let weights = (batch.patch_norms.as_deref())
        .map(|norms| choice_weights(batch, norms, gains))
        .transpose()?;
    let (mut so_far, mut state) = (y.detach().zeros_like()?, None);
    let mut bits = Vec::new();
    let steps = network.context.iter().zip(take_steps(y)?);
    for (step, (context, y)) in steps.enumerate() {
        let (mean, scale) = context.forward(features, &so_far, &mut state)?;
        let mean = scale_step(step, &mean, &gains.latent_gain)?;
        let index = index_step(step, &scale, &gains.latent_scale)?;
        let quantized = match &weights {
            None => quantize(&y, &mean)?,
            Some(weights) => choose(step, &y, &mean, &index, weights)?,
        };
        let normalized = scale_step(step, &quantized, &gains.latent_inverse_gain)?;
        so_far = place_step(step, &so_far, &normalized)?;

        let residual = subtract(&y, &mean)?;
        let symbols = match &noise {
            Some(noise) => add(&residual, &noise[step])?,
            None if weights.is_some() => subtract(&quantized, &mean)?,
            None => round_straight_through(&residual)?,
        };
        bits.push(rate(&symbols, &index)?);
    }
    Ok((so_far, total(bits)?))
}

/// Bits that an error of one quantization step is worth where symbols are chosen, of each sample and latent channel
/// `[batch, M]`: what the encoder weighs symbols by.
fn choice_weights(batch: &Batch, norms: &[f32], gains: &Gains) -> Result<Tensor> {
    let device = gains.latent_inverse_gain.device();
    let per_sample: Vec<f32> = (batch.lambdas.iter())
        .map(|lambda| CHOICE_WORTH * bits_per_squared_sample(*lambda))
        .collect();
    let per_sample = Tensor::from_vec(per_sample, (batch.samples(), 1), device)?;
    let norms = Tensor::new(norms, device)?;
    let steps = gains
        .latent_inverse_gain
        .detach()
        .reshape((batch.samples(), ()))?;
    steps
        .sqr()?
        .broadcast_mul(&norms)?
        .broadcast_mul(&per_sample)
}

/// The symbols that the encoder chooses in a step, plus the mean. Straight-through: the gradient goes to y.
fn choose(
    step: usize,
    y: &Tensor,
    mean: &Tensor,
    index: &Tensor,
    weights: &Tensor,
) -> Result<Tensor> {
    let (values, mean) = (y.detach(), mean.detach());
    let weights = scale_step(step, &values.ones_like()?, weights)?;
    let symbols = chosen_symbols(&subtract(&values, &mean)?, &index.detach(), &weights)?;
    let quantized = Made::copy_of(&add(&symbols, &mean)?)?;
    record([y], quantized, |grad| Ok([Some(grad)]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use candle_core::Device;

    use super::*;
    use crate::network::ModelConfig;
    use crate::picture::Image;
    use crate::train::TrainConfig;
    use crate::train::data::{CropSource, Pictures};
    use crate::train::init::initial_weights;
    use crate::train::ops::tape::recorded;
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
    fn chosen_symbols_cost_fewer_bits_and_no_more_in_all() -> crate::Result<()> {
        let (config, pictures) = (config(), pictures());
        let parameters = Parameters::new(&initial_weights(&config, &pictures)?, &Device::Cpu, 1)?;
        let crops = vec![pictures.center_crop(0, config.crop)];
        for quality in [0.2, 0.8] {
            let mut batch = Batch::fixed(&config, &crops, quality, &Device::Cpu)?;
            let measure = |batch: &Batch| -> crate::Result<[f32; 2]> {
                let losses = rate_distortion(&parameters.replicas[0], batch)?;
                Ok([losses.bpp.to_vec1()?[0], losses.loss.to_scalar()?])
            };
            let [bpp, loss] = measure(&batch)?;
            batch.patch_norms = Some(parameters.patch_norms()?);
            let [chosen_bpp, chosen_loss] = measure(&batch)?;
            // The rule takes errors of latents for independent, so that the sum may be worse by a little.
            assert!(chosen_bpp < bpp, "{bpp} {chosen_bpp}");
            assert!(chosen_loss < 1.001 * loss, "{loss} {chosen_loss}");
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
