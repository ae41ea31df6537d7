//! The hyperprior: hyper-analysis h_a sums up the latent in a small hyper-latent z,
//! hyper-synthesis h_s turns ẑ into features for the context model
//! (Ballé et al., "Variational image compression with a scale hyperprior").

use candle_core::{Result, Tensor};
use candle_nn::{Module, VarBuilder};

use super::layers::{Blocks, Pointwise};
use super::quality::Gains;
use crate::network::config::ModelConfig;
use crate::train::ops::rearrange::{depth_to_space, space_to_depth};
use crate::train::ops::train::scale_channels;

/// Hyper-analysis h_a.
pub struct HyperAnalysis {
    conv_in: Pointwise,
    down1: Pointwise,
    block: Blocks,
    down2: Pointwise,
}

/// Hyper-synthesis h_s.
pub struct HyperSynthesis {
    up1: Pointwise,
    block1: Blocks,
    up2: Pointwise,
    block2: Blocks,
}

impl HyperAnalysis {
    /// Reads the layers under `vb`.
    ///
    /// # Errors
    /// When weights are missing or of another size.
    pub fn new(config: &ModelConfig, vb: &VarBuilder) -> Result<Self> {
        let (h, f) = (config.hyper_stage_channels, config.context_channels);
        Ok(Self {
            conv_in: Pointwise::new(&vb.pp("conv_in"), config.latent_channels, f)?,
            down1: Pointwise::new(&vb.pp("down1"), 4 * f, h)?,
            block: Blocks::single(&vb.pp("block"), h)?,
            down2: Pointwise::new(&vb.pp("down2"), 4 * h, config.hyper_channels)?,
        })
    }

    /// Normalized latent `[b, 4h, 4w, M]` to the normalized hyper-latent `[b, h, w, Z]`.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn forward(&self, latent: &Tensor) -> Result<Tensor> {
        let x = self.conv_in.forward(latent)?;
        let x = self
            .block
            .forward(&self.down1.forward(&space_to_depth(&x, 2)?)?)?;
        self.down2.forward(&space_to_depth(&x, 2)?)
    }
}

impl HyperSynthesis {
    /// Reads the layers under `vb`.
    ///
    /// # Errors
    /// When weights are missing or of another size.
    pub fn new(config: &ModelConfig, vb: &VarBuilder) -> Result<Self> {
        let (h, f) = (config.hyper_stage_channels, config.context_channels);
        Ok(Self {
            up1: Pointwise::new(&vb.pp("up1"), config.hyper_channels, 4 * h)?,
            block1: Blocks::single(&vb.pp("block1"), h)?,
            up2: Pointwise::new(&vb.pp("up2"), h, 4 * f)?,
            block2: Blocks::single(&vb.pp("block2"), f)?,
        })
    }

    /// Normalized ẑ `[b, h, w, Z]` to features `[b, 4h, 4w, F]`.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn forward(&self, hyper_latent: &Tensor, gains: &Gains) -> Result<Tensor> {
        let x = self
            .block1
            .forward(&depth_to_space(&self.up1.forward(hyper_latent)?, 2)?)?;
        let x = depth_to_space(&self.up2.forward(&x)?, 2)?;
        self.block2.forward(&scale_channels(&x, &gains.context)?)
    }
}
