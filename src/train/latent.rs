//! The latent's way through quantization and context model in training: what synthesis gets of it, and its rate.
//!
//! Mixed quantization (Minnen and Singh, "Channel-wise autoregressive entropy models for learned image compression"):
//! additive uniform noise in the rate term, straight-through symbols in what the other networks see.

use candle_core::{Result, Tensor, bail};

use super::batch::{Batch, Quantization};
use super::noise;
use crate::network::worth::{CHOICE_WORTH, bits_per_squared_sample};
use crate::train::network::{Gains, Network};
use crate::train::ops::context::{index_step, place_step, quantize, scale_step, take_steps, total};
use crate::train::ops::tape::{Made, record};
use crate::train::ops::train::{
    add, chosen_symbols, rate, round_straight_through, scale_channels, straight_through, subtract,
};

/// Codes latents of a batch's samples.
pub struct LatentCoder<'a> {
    /// The networks.
    pub network: &'a Network,
    /// The samples, and how their symbols are found.
    pub batch: &'a Batch,
    /// Of the samples.
    pub gains: &'a Gains,
    /// Of the hyperprior.
    features: &'a Tensor,
    /// Bits that an error of one quantization step is worth where symbols are chosen, of each sample and latent channel
    /// `[batch, M]`.
    prices: Option<Tensor>,
    /// How much more or less than the average an error weighs at each latent, `[batch, h, w, 1]`.
    pub local: Option<Tensor>,
}

/// What a context step makes of its latents.
struct Coded {
    residual: Tensor,
    mean: Tensor,
    scale_index: Tensor,
    /// The symbols and the mean.
    quantized: Tensor,
}

impl<'a> LatentCoder<'a> {
    /// A coder at the batch's qualities.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn new(
        network: &'a Network,
        batch: &'a Batch,
        gains: &'a Gains,
        features: &'a Tensor,
    ) -> Result<Self> {
        let prices = (batch.patch_norms.as_deref())
            .map(|norms| prices(batch, norms, gains))
            .transpose()?;
        Ok(Self {
            network,
            batch,
            gains,
            features,
            prices,
            local: None,
        })
    }

    /// What the differences of `y` and `target` are worth in bits, of each sample, where symbols are chosen. The
    /// gradient goes to y.
    ///
    /// # Errors
    /// When an operation fails, or symbols are not chosen.
    pub fn error_bits(&self, y: &Tensor, target: &Tensor) -> Result<Tensor> {
        let Some(prices) = &self.prices else {
            bail!("errors have no price where symbols are not chosen");
        };
        let difference = subtract(&y.detach(), target)?;
        let mut halved_slopes = scale_channels(&difference, prices)?;
        if let Some(local) = &self.local {
            halved_slopes = halved_slopes.broadcast_mul(local)?;
        }
        let bits = (difference * &halved_slopes)?.flatten_from(1)?.sum(1)?;
        record([y], Made::copy_of(&bits)?, move |grad| {
            let grad = (grad * 2.0)?.reshape(((), 1, 1, 1))?;
            Ok([Some(halved_slopes.broadcast_mul(&grad)?)])
        })
    }

    /// The latent `y` (in quantization steps) as synthesis gets it: quantized and normalized.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn quantized(&self, y: &Tensor) -> Result<Tensor> {
        self.through_steps(y, &mut |_, _| Ok(()))
    }

    /// [`quantized`](Self::quantized), and the bits of each sample.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn quantized_with_bits(&self, y: &Tensor) -> Result<(Tensor, Tensor)> {
        let noise = match self.batch.quantization {
            Quantization::Noise { seed, first } => Some(take_steps(&noise::like(y, seed, first)?)?),
            Quantization::Rounding => None,
        };
        let mut bits = Vec::new();
        let quantized = self.through_steps(y, &mut |step, coded| {
            bits.push(self.bits(coded, noise.as_ref().map(|noise| &noise[step]))?);
            Ok(())
        })?;
        Ok((quantized, total(bits)?))
    }

    /// Takes `y` through the context steps; `see` gets what each makes of its part.
    fn through_steps(
        &self,
        y: &Tensor,
        see: &mut dyn FnMut(usize, &Coded) -> Result<()>,
    ) -> Result<Tensor> {
        let gains = self.gains;
        // What the encoder weighs symbols by.
        let weights = (self.prices.as_ref())
            .map(|prices| prices * f64::from(CHOICE_WORTH))
            .transpose()?;
        let (mut so_far, mut state) = (y.detach().zeros_like()?, None);
        for (step, (context, y)) in self.network.context.iter().zip(take_steps(y)?).enumerate() {
            let (mean, scale) = context.forward(self.features, &so_far, &mut state)?;
            let mean = scale_step(step, &mean, &gains.latent_gain)?;
            let scale_index = index_step(step, &scale, &gains.latent_scale)?;
            let quantized = match &weights {
                None => quantize(&y, &mean)?,
                Some(weights) => {
                    let weights = scale_step(step, &self.local_weights(&y)?, weights)?;
                    choose(&y, &mean, &scale_index, &weights)?
                }
            };
            let normalized = scale_step(step, &quantized, &gains.latent_inverse_gain)?;
            so_far = place_step(step, &so_far, &normalized)?;
            let coded = Coded {
                residual: subtract(&y, &mean)?,
                mean,
                scale_index,
                quantized,
            };
            see(step, &coded)?;
        }
        Ok(so_far)
    }

    /// What errors weigh at each of the latents of a step, of its shape.
    fn local_weights(&self, coded: &Tensor) -> Result<Tensor> {
        match &self.local {
            Some(local) => local.broadcast_as(coded.shape())?.contiguous(),
            None => coded.detach().ones_like(),
        }
    }

    /// The bits of what a step codes.
    fn bits(&self, coded: &Coded, noise: Option<&Tensor>) -> Result<Tensor> {
        let symbols = || subtract(&coded.quantized, &coded.mean);
        match (noise, &self.prices) {
            (Some(noise), None) => rate(&add(&coded.residual, noise)?, &coded.scale_index),
            (Some(noise), Some(_)) => {
                // Scales learn what is really coded; only noise has a gradient for the latent and its mean.
                let bits = rate(&symbols()?.detach(), &coded.scale_index)?;
                let noisy = add(&coded.residual, noise)?;
                let noisy = rate(&noisy, &coded.scale_index.detach())?;
                add(&bits, &subtract(&noisy, &noisy.detach())?)
            }
            (None, None) => rate(
                &round_straight_through(&coded.residual)?,
                &coded.scale_index,
            ),
            (None, Some(_)) => rate(&symbols()?, &coded.scale_index),
        }
    }
}

/// See [`LatentCoder::prices`].
fn prices(batch: &Batch, norms: &[f32], gains: &Gains) -> Result<Tensor> {
    let device = gains.latent_inverse_gain.device();
    let per_sample: Vec<f32> = (batch.lambdas.iter())
        .map(|lambda| bits_per_squared_sample(*lambda))
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

/// The symbols that the encoder chooses where an error of one step is worth `weights` bits, plus the mean.
/// Straight-through: the gradient goes to y.
fn choose(y: &Tensor, mean: &Tensor, index: &Tensor, weights: &Tensor) -> Result<Tensor> {
    let mean = mean.detach();
    let residual = subtract(&y.detach(), &mean)?;
    let symbols = chosen_symbols(&residual, &index.detach(), weights)?;
    straight_through(y, &add(&symbols, &mean)?)
}
