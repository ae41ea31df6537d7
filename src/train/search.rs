//! The encoder's search in training: the latents that synthesis and context model will really be given.
//!
//! Rounds as those of `codec`'s search through the linear path: what was coded moves the values that symbols are chosen
//! for against the gradient of the distortion, by steps that its curvature gives.

use candle_core::{DType, Result, Tensor, Var, bail};

use super::batch::Batch;
use super::latent::LatentCoder;
use super::visual::visual_error;
use crate::network::worth::{LOCAL_WEIGHTS, Strides, squared_error_of_visual};
use crate::picture::CHANNELS;
use crate::train::ops::rearrange::space_to_depth;
use crate::train::ops::tape::{recorded, unrecorded};
use crate::train::ops::train::{scale_channels, straight_through, subtract};

/// For squared error.
const SQUARED: Strides = Strides {
    first: 0.35,
    shortening: 0.4,
    overshoot: 1.2,
};

/// With visual error, which is more curved than its gradient shows.
const VISUAL: Strides = Strides {
    first: 0.11,
    shortening: 0.3,
    overshoot: 1.0,
};

/// Squared norms of patches below this are of channels that hold nothing.
const LEAST_NORM: f64 = 1e-3;

/// What the search found.
pub struct Searched {
    /// The latent in quantization steps, for which symbols are to be chosen. Straight-through: its gradient goes to
    /// what the analysis transform says.
    pub latent: Tensor,
    /// What the latent of the analysis transform itself would cost each sample more, in bits, as far as the curvature
    /// of the distortion tells: with this in the loss, the transform learns to say what search would find.
    pub detour_bits: Tensor,
}

/// What the encoder's search makes of the latent `y` (in quantization steps) in the batch's rounds; `y` itself where
/// there are none. `coder` gets what errors weigh at each latent.
///
/// # Errors
/// When an operation fails.
pub fn searched(coder: &mut LatentCoder<'_>, y: Tensor) -> Result<Searched> {
    let batch = coder.batch;
    let Some(norms) = (batch.patch_norms.as_deref()).filter(|_| batch.search_rounds > 0) else {
        let detour_bits = Tensor::zeros(batch.samples(), DType::F32, y.device())?;
        return Ok(Searched {
            latent: y,
            detour_bits,
        });
    };
    let found = unrecorded(|| rounds(coder, norms, &y))?;
    Ok(Searched {
        detour_bits: coder.error_bits(&y, &found)?,
        latent: straight_through(&y, &found)?,
    })
}

/// Rounds of search from the latent `y`; `norms` are the squared ones of each channel's patch in the linear path.
fn rounds(coder: &mut LatentCoder<'_>, norms: &[f32], y: &Tensor) -> Result<Tensor> {
    let LatentCoder {
        network,
        batch,
        gains,
        ..
    } = *coder;
    let strides = match batch.visual_share > 0.0 {
        true => VISUAL,
        false => SQUARED,
    };
    let norms = Tensor::new(norms, y.device())?.maximum(LEAST_NORM)?;
    let linear = network.synthesis.transposed_linear()?;
    let steps_per_unit = gains.latent_inverse_gain.detach().recip()?;
    let mut targets = y.detach();
    for round in 0..batch.search_rounds as usize {
        let known = coder.quantized(&targets)?;
        let decoded = network.synthesis.forward(&known, gains)?;
        let (missing, local) = missing(&decoded, batch)?;
        // As much of each latent channel as makes up for what is missing, if the others stay.
        let correction = linear.forward(&space_to_depth(&missing, 2)?)?;
        let correction = (correction.broadcast_div(&norms)? * f64::from(strides.overshoot))?;
        let wanted = scale_channels(&(known + correction)?, &steps_per_unit)?;
        let stride = f64::from(strides.at(round));
        targets = ((targets * (1.0 - stride))? + (wanted * stride)?)?;
        coder.local = local;
    }
    Ok(targets)
}

/// What `decoded` lacks, patches `[b, 2h, 2w, 192]`: the difference from the original, or what has the same gradient
/// as the mixed distortion, divided by how much more than squared error that weighs around each latent, which comes
/// with it (`[b, h, w, 1]`).
fn missing(decoded: &Tensor, batch: &Batch) -> Result<(Tensor, Option<Tensor>)> {
    let difference = subtract(&batch.patches, decoded)?;
    if batch.visual_share == 0.0 {
        return Ok((difference, None));
    }
    let of_visual = visual_slopes(decoded, batch)?;
    let share = batch.visual_share;
    let factor = 0.5 * share * squared_error_of_visual(CHANNELS * batch.pixels);
    let mixed = ((&difference * (1.0 - share))? - (of_visual * factor)?)?;
    let local = local_weights(&mixed, &difference)?;
    let (b, h, w, _) = local.dims4()?;
    // The same for each of a latent's four patches.
    let of_patches = local.reshape((b, h, 1, w, 1))?;
    let of_patches = of_patches.broadcast_as((b, h, 2, w, 2))?;
    let missing = mixed.broadcast_div(&of_patches.reshape((b, 2 * h, 2 * w, 1))?)?;
    Ok((missing, Some(local)))
}

/// The gradient of each sample's visual error.
fn visual_slopes(decoded: &Tensor, batch: &Batch) -> Result<Tensor> {
    let decoded = Var::from_tensor(decoded)?;
    let (errors, tape) = recorded(|| visual_error(decoded.as_tensor(), &batch.patches))?;
    match tape.backward(&errors, 1.0)?.take(decoded.id()) {
        Some(slopes) => Ok(slopes),
        None => bail!("the visual error has no gradient"),
    }
}

/// The ratio of two gradients' sizes around each latent, `[b, h, w, 1]`, of patches `[b, 2h, 2w, 192]`.
fn local_weights(mixed: &Tensor, plain: &Tensor) -> Result<Tensor> {
    let ratio = (energy(mixed)? / energy(plain)?)?.sqrt()?;
    ratio.clamp(LOCAL_WEIGHTS.0, LOCAL_WEIGHTS.1)
}

/// Sums of squares over 3 x 3 latents.
fn energy(slopes: &Tensor) -> Result<Tensor> {
    let of_patches = slopes.sqr()?.sum_keepdim(3)?;
    let mut sums = space_to_depth(&of_patches, 2)?.sum_keepdim(3)?;
    for axis in [1, 2] {
        let count = sums.dim(axis)?;
        let padded = sums.pad_with_zeros(axis, 1, 1)?;
        let [before, at, after] = [0, 1, 2].map(|start| padded.narrow(axis, start, count));
        sums = ((before? + at?)? + after?)?;
    }
    sums + 1e-6
}
