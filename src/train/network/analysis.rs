//! The analysis transform g_a: picture to normalized latent y.
//!
//! `y = P · patch16(x) + f(x)`: a linear transform of 16 x 16 patches that starts
//! as their principal components, and a network that learns corrections to it.

use candle_core::{Result, Tensor};

use super::layers::{Blocks, Loader, Pointwise};
use super::quality::Gains;
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
    /// Makes the layers.
    ///
    /// # Errors
    /// When weights are missing.
    pub fn new(from: &Loader<'_>) -> Result<Self> {
        let of_picture = |path| Pointwise::new(from, path).map(Pointwise::without_input_gradient);
        Ok(Self {
            linear: of_picture("analysis.linear")?,
            conv_in: of_picture("analysis.conv_in")?,
            stage8: Blocks::new(from, "analysis.stage8", from.config.stage8_blocks)?,
            down: Pointwise::new(from, "analysis.down")?,
            stage16: Blocks::new(from, "analysis.stage16", from.config.stage16_blocks)?,
            conv_out: Pointwise::new(from, "analysis.conv_out")?,
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
