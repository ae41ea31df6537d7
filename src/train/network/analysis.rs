//! The analysis transform g_a: picture to normalized latent y.
//!
//! `y = P · patch16(x) + f(x)`: a linear transform of 16 x 16 patches that starts
//! as their principal components, and a network that learns corrections to it.

use candle_core::{Result, Tensor};
use candle_nn::{Module, VarBuilder};

use super::layers::{Blocks, Pointwise};
use super::quality::Gains;
use crate::format::{PATCH8, PATCH16};
use crate::network::config::ModelConfig;
use crate::train::kernels::Precision;
use crate::train::ops::rearrange::space_to_depth;
use crate::train::ops::train;

/// The analysis transform's layers.
pub struct Analysis {
    linear: Pointwise,
    conv_in: Pointwise,
    stage8: Blocks,
    down: Pointwise,
    stage16: Blocks,
    conv_out: Pointwise,
}

impl Analysis {
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
            linear: Pointwise::with_precision(&vb.pp("linear"), PATCH16, m, Precision::F32)?
                .without_input_gradient(),
            conv_in: Pointwise::new(&vb.pp("conv_in"), PATCH8, c8)?.without_input_gradient(),
            stage8: Blocks::new(&vb.pp("stage8"), config.stage8_blocks, c8)?,
            down: Pointwise::new(&vb.pp("down"), 4 * c8, c16)?,
            stage16: Blocks::new(&vb.pp("stage16"), config.stage16_blocks, c16)?,
            conv_out: Pointwise::new(&vb.pp("conv_out"), c16, m)?,
        })
    }

    /// `[b, h, w, 192]` patches of 8 x 8 pixels in -0.5..=0.5 to the normalized
    /// latent `[b, h/2, w/2, M]`.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn forward(&self, patches: &Tensor, gains: &Gains) -> Result<Tensor> {
        let x = self.conv_in.forward(patches)?;
        let x = train::scale_channels(&x, &gains.analysis8)?;
        let x = self.stage8.forward(&x)?;
        let x = self.down.forward(&space_to_depth(&x, 2)?)?;
        let x = train::scale_channels(&x, &gains.analysis16)?;
        let x = self.stage16.forward(&x)?;
        let linear = self.linear.forward(&space_to_depth(patches, 2)?)?;
        self.conv_out.forward_add(&x, &linear)
    }
}
