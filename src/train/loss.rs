//! The rate-distortion loss: the codec's path from picture to picture, with the
//! rate of its symbols under the entropy model.

use candle_core::{Result, Tensor};

use super::batch::{Batch, Quantization};
use super::latent::LatentCoder;
use super::noise;
use super::search::{Searched, searched};
use super::visual::visual_error;
use crate::network::worth::VISUAL_BALANCE;
use crate::train::network::{Gains, Network};
use crate::train::ops::tape::through_candle;
use crate::train::ops::train::{add, rate, round_straight_through, scale_channels, squared_error};

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
    let mut coder = LatentCoder::new(network, batch, &gains, &features)?;
    let Searched {
        latent: y,
        detour_bits,
    } = searched(&mut coder, y)?;
    let (normalized, latent_bits) = coder.quantized_with_bits(&y)?;
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
        [&hyper_bits, &latent_bits, &detour_bits, &errors, &visual],
        |[hyper_bits, latent_bits, detour, errors, visual]| {
            bpp = ((hyper_bits + latent_bits)? / pixels)?;
            mse = (errors * (255.0 * 255.0 / (3.0 * pixels)))?;
            weighted_sum(batch, &(&bpp + (detour / pixels)?)?, &mse, visual)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use candle_core::{Device, Var};

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

    /// An untrained network, and a crop of a picture for it.
    fn untrained(config: &TrainConfig) -> crate::Result<(Parameters, Vec<Vec<u8>>)> {
        let pictures = pictures();
        let weights = initial_weights(config, &pictures)?;
        let crops = vec![pictures.center_crop(0, config.crop)];
        Ok((Parameters::new(&weights, &Device::Cpu, 1)?, crops))
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
        let config = config();
        let (parameters, crops) = untrained(&config)?;
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
    fn what_search_finds_costs_less() -> crate::Result<()> {
        let mut config = config();
        for visual_share in [0.0, 0.8] {
            config.visual_share = visual_share;
            let (parameters, crops) = untrained(&config)?;
            for quality in [0.3, 0.8] {
                let mut batch = Batch::fixed(&config, &crops, quality, &Device::Cpu)?;
                batch.patch_norms = Some(parameters.patch_norms()?);
                let mut cost = |rounds: u32| -> crate::Result<f32> {
                    batch.search_rounds = rounds;
                    let Losses {
                        bpp, mse, visual, ..
                    } = rate_distortion(&parameters.replicas[0], &batch)?;
                    let loss = weighted_sum(&batch, &bpp, &mse, &visual)?;
                    Ok(loss.to_scalar::<f32>()?)
                };
                let (single_pass, found) = (cost(0)?, cost(4)?);
                assert!(
                    found < 0.995 * single_pass,
                    "share {visual_share}, quality {quality}: {single_pass} {found}"
                );
            }
        }
        Ok(())
    }

    #[test]
    fn the_price_of_a_detour_has_its_gradient() -> crate::Result<()> {
        let config = config();
        let (parameters, crops) = untrained(&config)?;
        let mut batch = Batch::fixed(&config, &crops, 0.5, &Device::Cpu)?;
        batch.patch_norms = Some(parameters.patch_norms()?);
        let network = &parameters.replicas[0];
        let gains = network.gains(&batch.positions)?;
        let latent = network.analysis.forward(&batch.patches, &gains)?;
        let (features, _) = code_hyper_latent(network, &batch, &gains, &latent)?;
        let mut coder = LatentCoder::new(network, &batch, &gains, &features)?;
        let (b, h, w, _) = latent.dims4()?;
        coder.local = Some(Tensor::full(3f32, (b, h, w, 1), &Device::Cpu)?);
        let y = Var::from_tensor(&latent)?;
        let target = (latent.detach() + 0.5)?;
        let (bits, tape) = recorded(|| coder.error_bits(y.as_tensor(), &target))?;
        // A squared error: the slopes times the distance are twice its price.
        let slopes = tape.backward(&bits, 1.0)?.take(y.id()).expect("it has one");
        let along = (slopes * -0.5)?.sum_all()?.to_scalar::<f32>()?;
        let bits = bits.to_vec1::<f32>()?[0];
        assert!(
            bits > 0.0 && (along / bits - 2.0).abs() < 1e-3,
            "{along} {bits}"
        );
        Ok(())
    }

    #[test]
    fn every_variable_gets_a_gradient() -> crate::Result<()> {
        let (config, pictures) = (config(), pictures());
        let parameters = Parameters::new(&initial_weights(&config, &pictures)?, &Device::Cpu, 1)?;
        let mut batch = Batch::random(&config, &CropSource::Host(&pictures), 0)?;
        batch.search_rounds = 1;
        let network = &parameters.replicas[0];
        for norms in [None, Some(parameters.patch_norms()?)] {
            batch.patch_norms = norms;
            let (losses, tape) = recorded(|| rate_distortion(network, &batch))?;
            let store = tape.backward(&losses.loss, 1.0)?;
            let gradients = parameters.gradients(vec![store])?;
            for (path, gradient) in gradients {
                assert!(
                    gradient.to_vec1::<f32>()?.iter().any(|g| *g != 0.0),
                    "{path} has a zero gradient"
                );
            }
        }
        Ok(())
    }
}
