//! What distortion is worth in bits at one quality: the Lagrange multiplier in the units of the encoder's choices.

use crate::network::QualityModel;
use crate::network::worth::bits_per_squared_sample;

/// Prices in bits.
pub(super) struct Price {
    /// Of a squared error of one in a sample (from 0 to 1).
    pub squared_sample: f32,
    /// Of an error of one quantization step, by latent channel: of the squared error in the picture, as far as the
    /// linear path makes it.
    pub squared_step: Vec<f32>,
}

impl Price {
    /// Those of a quality of the model whose linear path has patches of these squared norms.
    pub fn new(quality: &QualityModel<'_>, patch_norms: &[f32]) -> Self {
        let squared_sample = bits_per_squared_sample(quality.lambda);
        let steps = quality.latent_inverse_gain.iter().zip(patch_norms);
        let squared_step = steps.map(|(step, norm)| squared_sample * step * step * norm);
        Self {
            squared_sample,
            squared_step: squared_step.collect(),
        }
    }
}
