//! The context model: entropy parameters from hyper features and the latents
//! decoded so far, in four steps over a 2 x 2 spatial pattern that is rotated
//! over four channel groups (Li et al., "Neural Video Compression with Diverse
//! Contexts", section 3.3).

use candle_core::{Result, Tensor};
use candle_nn::{Module, VarBuilder};

use super::config::{CONTEXT_STEPS, ModelConfig};
use super::layers::{Blocks, Mode, Pointwise};

/// Which latents one step codes (codec-spec.md, Coding order).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepMask(usize);

impl StepMask {
    /// The mask of step 0 to 3.
    #[must_use]
    pub fn new(step: usize) -> Self {
        Self(step % CONTEXT_STEPS)
    }

    /// The channel group that is coded at row `y`, column `x` of a tile.
    #[must_use]
    pub fn group_at(self, y: usize, x: usize) -> usize {
        // Phases in the order (0, 0), (1, 1), (0, 1), (1, 0): diagonal neighbors first.
        const PHASE: [[usize; 2]; 2] = [[0, 2], [3, 1]];
        (PHASE[y % 2][x % 2] + CONTEXT_STEPS - self.0) % CONTEXT_STEPS
    }

    /// Whether a channel group is coded at row `y`, column `x`.
    #[must_use]
    pub fn is_active(self, group: usize, y: usize, x: usize) -> bool {
        self.group_at(y, x) == group
    }
}

/// Channels per group of `channels` latent channels.
#[must_use]
pub fn channel_group(channels: usize) -> usize {
    channels / CONTEXT_STEPS
}

/// One step's network.
pub struct ContextStep {
    conv_in: Pointwise,
    block: Blocks,
    mean: Pointwise,
    scale: Pointwise,
}

impl ContextStep {
    /// Reads the step's layers under `vb`.
    ///
    /// # Errors
    /// When weights are missing or of another size.
    pub fn new(config: &ModelConfig, vb: &VarBuilder, mode: &Mode) -> Result<Self> {
        let (m, f) = (config.latent_channels, config.context_channels);
        Ok(Self {
            conv_in: Pointwise::new(&vb.pp("conv_in"), f + m, f, mode)?,
            block: Blocks::single(vb.pp("block"), f, mode)?,
            mean: Pointwise::new(&vb.pp("mean"), f, m, mode)?,
            scale: Pointwise::new(&vb.pp("scale"), f, m, mode)?,
        })
    }

    /// Features `[b, h, w, F]` and the normalized latents so far `[b, h, w, M]`
    /// (zero where not yet decoded) to normalized means and raw scales, each `[b, h, w, M]`.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn forward(&self, features: &Tensor, latent: &Tensor) -> Result<(Tensor, Tensor)> {
        let x = self
            .conv_in
            .forward(&Tensor::cat(&[features, latent], 3)?)?;
        let x = self.block.forward(&x)?;
        Ok((self.mean.forward(&x)?, self.scale.forward(&x)?))
    }
}

/// Reads all four steps under `vb`.
///
/// # Errors
/// When weights are missing or of another size.
pub fn context_steps(
    config: &ModelConfig,
    vb: &VarBuilder,
    mode: &Mode,
) -> Result<Vec<ContextStep>> {
    (0..CONTEXT_STEPS)
        .map(|step| ContextStep::new(config, &vb.pp(step), mode))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latent_is_coded_in_exactly_one_step() {
        for y in 0..2 {
            for x in 0..2 {
                let mut groups: Vec<usize> = (0..CONTEXT_STEPS)
                    .map(|step| StepMask::new(step).group_at(y, x))
                    .collect();
                groups.sort_unstable();
                assert_eq!(groups, [0, 1, 2, 3]);
            }
        }
    }

    #[test]
    fn every_step_codes_every_group_once_per_square() {
        for step in 0..CONTEXT_STEPS {
            let mask = StepMask::new(step);
            let mut groups = [
                mask.group_at(0, 0),
                mask.group_at(0, 1),
                mask.group_at(1, 0),
                mask.group_at(1, 1),
            ];
            groups.sort_unstable();
            assert_eq!(groups, [0, 1, 2, 3]);
        }
    }
}
