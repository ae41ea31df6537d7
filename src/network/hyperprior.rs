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
        let x = self.conv_in.of(&self.latent.integers(&latent.values));
        let x = self.down1.of(&to_depth(&x, (height, width)));
        let x = self.block.whole(&x, (height / 2, width / 2));
        let mut z = Grid::zeros(height / 4, width / 4, self.down2.outputs());
        let cells = to_depth(&x, (height / 2, width / 2));
        self.down2.apply(&cells, &mut z.values);
        z
    }
}

/// The values of 2 x 2 positions of a picture of this height and width, together.
fn to_depth(x: &[i16], (height, width): (usize, usize)) -> Vec<i16> {
    let mut cells = vec![0; x.len()];
    let channels = x.len() / (height * width);
    space_to_depth(x, height, width, channels, 2, &mut cells);
    cells
}

/// The reverse: a picture of this height and width.
fn to_space(cells: &[i16], (height, width): (usize, usize)) -> Vec<i16> {
    let mut x = vec![0; cells.len()];
    let channels = x.len() / (height * width);
    depth_to_space(cells, height, width, channels, 2, &mut x);
    x
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
        let [half, whole] = [2, 4].map(|factor| (factor * height, factor * width));
        let z = self.hyper_latent.integers(&hyper_latent.values);
        let x = to_space(&self.up1.of(&z), half);
        let x = self.block1.whole(&x, half);
        let x = to_space(&self.up2.with_gain(&gains.context).of(&x), whole);
        Features(self.block2.whole(&x, whole).into())
    }
}
