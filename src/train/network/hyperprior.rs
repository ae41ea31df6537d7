//! The hyperprior: hyper-analysis h_a sums up the latent in a small hyper-latent z,
//! hyper-synthesis h_s turns ẑ into features for the context model
//! (Ballé et al., "Variational image compression with a scale hyperprior").

use candle_core::{Result, Tensor};

use super::layers::{Blocks, Loader, Pointwise};
use super::quality::Gains;
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
    /// Makes the layers.
    ///
    /// # Errors
    /// When weights are missing.
    pub fn new(from: &Loader<'_>) -> Result<Self> {
        Ok(Self {
            conv_in: Pointwise::new(from, "hyper_analysis.conv_in")?,
            down1: Pointwise::new(from, "hyper_analysis.down1")?,
            block: Blocks::single(from, "hyper_analysis.block")?,
            down2: Pointwise::new(from, "hyper_analysis.down2")?,
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
    /// Makes the layers.
    ///
    /// # Errors
    /// When weights are missing.
    pub fn new(from: &Loader<'_>) -> Result<Self> {
        Ok(Self {
            up1: Pointwise::new(from, "hyper_synthesis.up1")?,
            block1: Blocks::single(from, "hyper_synthesis.block1")?,
            up2: Pointwise::new(from, "hyper_synthesis.up2")?,
            block2: Blocks::single(from, "hyper_synthesis.block2")?,
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
