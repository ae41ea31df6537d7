//! The synthesis transform g_s: normalized quantized latent ŷ to picture.
//!
//! `x̂ = patch16⁻¹(Q · ŷ) + g(ŷ)`, the mirror image of the analysis transform.

use candle_core::{Result, Tensor};

use super::layers::{Blocks, Loader, Pointwise};
use super::quality::Gains;
use crate::train::ops::rearrange::depth_to_space;
use crate::train::ops::train;

/// The synthesis transform's layers.
pub struct Synthesis {
    linear: Pointwise,
    conv_in: Pointwise,
    stage16: Blocks,
    up: Pointwise,
    stage8: Blocks,
    conv_out: Pointwise,
}

impl Synthesis {
    /// Makes the layers.
    ///
    /// # Errors
    /// When weights are missing.
    pub fn new(from: &Loader<'_>) -> Result<Self> {
        Ok(Self {
            linear: Pointwise::new(from, "synthesis.linear")?,
            conv_in: Pointwise::new(from, "synthesis.conv_in")?,
            stage16: Blocks::new(from, "synthesis.stage16", from.config.stage16_blocks)?,
            up: Pointwise::new(from, "synthesis.up")?,
            stage8: Blocks::new(from, "synthesis.stage8", from.config.stage8_blocks)?,
            conv_out: Pointwise::new(from, "synthesis.conv_out")?,
        })
    }

    /// Normalized latent `[b, h, w, M]` to patches of 8 x 8 pixels `[b, 2h, 2w, 192]`.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn forward(&self, latent: &Tensor, gains: &Gains) -> Result<Tensor> {
        let x = self.conv_in.forward(latent)?;
        let x = train::scale_channels(&x, &gains.synthesis16)?;
        let x = self.stage16.forward(&x)?;
        let x = depth_to_space(&self.up.forward(&x)?, 2)?;
        let x = train::scale_channels(&x, &gains.synthesis8)?;
        let x = self.stage8.forward(&x)?;
        let x = match &gains.synthesis_out {
            Some(gain) => train::scale_channels(&x, gain)?,
            None => x,
        };
        self.conv_out
            .forward_add(&x, &depth_to_space(&self.linear.forward(latent)?, 2)?)
    }

    /// The linear path backwards: patches of 16 x 16 pixels `[b, h, w, 768]` to products with each latent channel's
    /// patch `[b, h, w, M]`. Without gradient.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn transposed_linear(&self) -> Result<Pointwise> {
        self.linear.transposed()
    }
}
