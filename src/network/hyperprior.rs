//! The hyperprior: hyper-analysis h_a sums up the latent in a small hyper-latent z,
//! hyper-synthesis h_s turns ẑ into features for the context model
//! (Ballé et al., "Variational image compression with a scale hyperprior").

use super::context::Features;
use super::gains::Gains;
use super::grid::Grid;
use super::layers::{Block, Entry, Head, Loader, Pointwise};
use super::signals::{HYPER_LATENT, LATENT};
use crate::error::Result;
use crate::kernels::{depth_to_space, space_to_depth};

/// Hyper-analysis h_a.
pub struct HyperAnalysis {
    latent: Entry,
    conv_in: Pointwise,
    down1: Pointwise,
    block: Block,
    down2: Head,
}

/// Hyper-synthesis h_s.
pub struct HyperSynthesis {
    hyper_latent: Entry,
    up1: Pointwise,
    block1: Block,
    up2: Pointwise,
    block2: Block,
}

impl HyperAnalysis {
    /// Makes the layers.
    ///
    /// # Errors
    /// When weights are missing.
    pub fn new(from: &Loader<'_>) -> Result<Self> {
        let path = |layer: &str| format!("hyper_analysis.{layer}");
        Ok(Self {
            latent: Entry::new(from, LATENT)?,
            conv_in: Pointwise::new(from, &path("conv_in"))?,
            down1: Pointwise::new(from, &path("down1"))?,
            block: Block::new(from, &path("block"))?,
            down2: Head::new(from, &path("down2"))?,
        })
    }

    /// Normalized latent `[4h, 4w, M]` to the normalized hyper-latent `[h, w, Z]`.
    pub fn forward(&self, latent: &Grid) -> Grid {
        let (height, width) = (latent.height, latent.width);
        let (pixels, f) = (height * width, self.conv_in.outputs());
        let mut y = vec![0; latent.values.len()];
        self.latent.round(&latent.values, &mut y);
        let mut x = vec![0; pixels * f];
        self.conv_in.apply(&y, &mut x);
        let mut cells = vec![0; x.len()];
        space_to_depth(&x, height, width, f, 2, &mut cells);
        let h = self.block.channels();
        let mut x = vec![0; pixels / 4 * h];
        self.down1.apply(&cells, &mut x);
        let x = self.block.whole(&x, (height / 2, width / 2));
        let mut cells = vec![0; x.len()];
        space_to_depth(&x, height / 2, width / 2, h, 2, &mut cells);
        let mut z = Grid::zeros(height / 4, width / 4, self.down2.outputs());
        self.down2.apply(&cells, &mut z.values);
        z
    }
}

impl HyperSynthesis {
    /// Makes the layers.
    ///
    /// # Errors
    /// When weights are missing.
    pub fn new(from: &Loader<'_>) -> Result<Self> {
        let path = |layer: &str| format!("hyper_synthesis.{layer}");
        Ok(Self {
            hyper_latent: Entry::new(from, HYPER_LATENT)?,
            up1: Pointwise::new(from, &path("up1"))?,
            block1: Block::new(from, &path("block1"))?,
            up2: Pointwise::new(from, &path("up2"))?,
            block2: Block::new(from, &path("block2"))?,
        })
    }

    /// Normalized ẑ `[h, w, Z]` to features at `[4h, 4w]`.
    pub fn forward(&self, hyper_latent: &Grid, gains: &Gains) -> Features {
        let (height, width) = (hyper_latent.height, hyper_latent.width);
        let pixels = height * width;
        let (h, f) = (self.block1.channels(), self.block2.channels());
        let mut z = vec![0; hyper_latent.values.len()];
        self.hyper_latent.round(&hyper_latent.values, &mut z);
        let mut cells = vec![0; pixels * 4 * h];
        self.up1.apply(&z, &mut cells);
        let mut x = vec![0; cells.len()];
        depth_to_space(&cells, 2 * height, 2 * width, h, 2, &mut x);
        let x = self.block1.whole(&x, (2 * height, 2 * width));
        let mut cells = vec![0; 4 * pixels * 4 * f];
        self.up2.with_gain(&gains.context).apply(&x, &mut cells);
        let mut x = vec![0; cells.len()];
        depth_to_space(&cells, 4 * height, 4 * width, f, 2, &mut x);
        Features(self.block2.whole(&x, (4 * height, 4 * width)))
    }
}
