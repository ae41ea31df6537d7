//! The synthesis transform g_s: normalized quantized latent ŷ to picture.
//!
//! `x̂ = patch16⁻¹(Q · ŷ) + g(ŷ)`, the mirror image of the analysis transform.

use candle_core::{Result, Tensor};
use candle_nn::{Module, VarBuilder};

use super::layers::{Blocks, Pointwise};
use super::quality::Gains;
use crate::format::{PATCH8, PATCH16};
use crate::network::config::ModelConfig;
use crate::train::kernels::Precision;
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
    /// Reads the layers under `vb`.
    ///
    /// # Errors
    /// When weights are missing or of another size.
    pub fn new(config: &ModelConfig, vb: &VarBuilder) -> Result<Self> {
        let (c8, c16, m) = (
            config.stage8_channels,
            config.stage16_channels,
            config.latent_channels,
        );
        Ok(Self {
            linear: Pointwise::with_precision(&vb.pp("linear"), m, PATCH16, Precision::F32)?,
            conv_in: Pointwise::new(&vb.pp("conv_in"), m, c16)?,
            stage16: Blocks::new(&vb.pp("stage16"), config.stage16_blocks, c16)?,
            up: Pointwise::new(&vb.pp("up"), c16, 4 * c8)?,
            stage8: Blocks::new(&vb.pp("stage8"), config.stage8_blocks, c8)?,
            conv_out: Pointwise::new(&vb.pp("conv_out"), c8, PATCH8)?,
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
}
