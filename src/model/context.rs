//! The context model: entropy parameters from hyper features and the latents
//! decoded so far, in four steps over a 2 x 2 spatial pattern that is rotated
//! over four channel groups (Li et al., "Neural Video Compression with Diverse
//! Contexts", section 3.3).

use candle_core::{Result, Tensor, bail};
use candle_nn::{Module, VarBuilder};

use super::config::{CONTEXT_STEPS, LayerKind, ModelConfig};
use super::grid::Grid;
use super::layers::{Blocks, Mode, Pointwise, flat};
use super::ops::exact::ExactPointwise;
use super::ops::rearrange::gather_phase;
use super::ops::train::join_channels;
use super::ops::with_values;
use crate::kernels::PackedPointwise;

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
    step: usize,
    conv_in: Pointwise,
    /// What the trunk adds of the step before, where the model has that.
    state: Option<Pointwise>,
    block: Blocks,
    heads: Heads,
}

/// The last layers: normalized means and raw scales of the latents.
enum Heads {
    /// For training.
    Train { mean: Pointwise, scale: Pointwise },
    /// Of the latents that the step codes: for each phase of the 2 x 2 pattern, the
    /// means and then the scales of the channel group that is coded there.
    Coded(Box<[ExactPointwise; PHASES]>),
}

/// Positions of the 2 x 2 pattern, in raster order.
pub(super) const PHASES: usize = 4;

/// The trunk's output of a context step, `[b, h, w, F]`: what the next step starts from.
pub struct ContextState(Tensor);

/// Entropy parameters of the latents that one step codes.
pub struct EntropyParams {
    width: usize,
    group: usize,
    /// By phase, `[h / 2, w / 2, 2 group]`.
    phases: [Vec<f32>; PHASES],
}

impl EntropyParams {
    /// Normalized means and raw scales of the coded channels at row `y`, column `x`.
    /// The table index is `8 * raw + latent_scale[channel]`, clamped and floored.
    #[must_use]
    pub fn at(&self, y: usize, x: usize) -> (&[f32], &[f32]) {
        let place = y / 2 * (self.width / 2) + x / 2;
        let phase = &self.phases[2 * (y % 2) + x % 2];
        phase[place * 2 * self.group..][..2 * self.group].split_at(self.group)
    }
}

impl ContextStep {
    /// Reads the step's layers under `vb`.
    ///
    /// # Errors
    /// When weights are missing or of another size.
    fn new(config: &ModelConfig, step: usize, vb: &VarBuilder, mode: &Mode) -> Result<Self> {
        let (m, f) = (config.latent_channels, config.context_channels);
        let heads = match mode {
            Mode::Exact => coded_heads(StepMask::new(step), f, m, vb)?,
            Mode::Train => Heads::Train {
                mean: Pointwise::new(&vb.pp("mean"), f, m, mode)?,
                scale: Pointwise::new(&vb.pp("scale"), f, m, mode)?,
            },
        };
        let state = |()| Pointwise::new(&vb.pp("state"), f, f, mode);
        Ok(Self {
            step,
            conv_in: Pointwise::new(&vb.pp("conv_in"), f + m, f, mode)?,
            state: config
                .has_state(step)
                .then_some(())
                .map(state)
                .transpose()?,
            block: Blocks::single(vb.pp("block"), f, mode)?,
            heads,
        })
    }

    /// Features `[b, h, w, F]` and the normalized latents so far `[b, h, w, M]`
    /// (zero where not yet decoded) to normalized means and raw scales of what the step codes,
    /// each `[b, h, w, M / 4]`.
    /// `state` is what the step before left, and becomes what this one leaves.
    ///
    /// # Errors
    /// When an operation fails, and when the layers were made for exact inference.
    pub fn forward(
        &self,
        features: &Tensor,
        latent: &Tensor,
        state: &mut Option<ContextState>,
    ) -> Result<(Tensor, Tensor)> {
        let Heads::Train { mean, scale } = &self.heads else {
            bail!("training with layers for exact inference");
        };
        let x = self.trunk(&join_channels(features, latent)?, state.take())?;
        let params = (
            mean.forward_coded(self.step, &x)?,
            scale.forward_coded(self.step, &x)?,
        );
        *state = Some(ContextState(x));
        Ok(params)
    }

    /// [`ContextStep::forward`] of one picture with even sides, exactly and for the
    /// latents alone that the step codes: a quarter of them.
    ///
    /// # Errors
    /// When an operation fails, and when the layers were made for training.
    pub fn coded(
        &self,
        features: &Tensor,
        latent: &Grid,
        state: &mut Option<ContextState>,
    ) -> Result<EntropyParams> {
        let Heads::Coded(heads) = &self.heads else {
            bail!("exact inference with layers for training");
        };
        let x = self.trunk(&joined(features, latent)?, state.take())?;
        let mut phases = [const { Vec::new() }; PHASES];
        for (phase, (head, out)) in heads.iter().zip(&mut phases).enumerate() {
            let positions = gather_phase(&x, (phase / 2, phase % 2))?;
            let params = positions.apply_op1_no_bwd(head)?;
            *out = params.flatten_all()?.to_vec1()?;
        }
        let params = EntropyParams {
            width: x.dim(2)?,
            group: heads[0].weights().outputs() / 2,
            phases,
        };
        *state = Some(ContextState(x));
        Ok(params)
    }

    fn trunk(&self, x: &Tensor, state: Option<ContextState>) -> Result<Tensor> {
        let x = self.conv_in.forward(x)?;
        let x = match (&self.state, state) {
            (Some(layer), Some(ContextState(state))) => layer.forward_add(&state, &x)?,
            _ => x,
        };
        self.block.forward(&x)
    }
}

/// Features and then latents at each position, `[1, h, w, F + M]`.
fn joined(features: &Tensor, latent: &Grid) -> Result<Tensor> {
    let (_, height, width, channels) = features.dims4()?;
    if !features.device().is_cpu() {
        let shape = (1, height, width, latent.channels);
        let latent = Tensor::from_slice(&latent.values, shape, features.device())?;
        return Tensor::cat(&[features, &latent], 3);
    }
    let values = with_values([features], |[features]| {
        let mut values = Vec::with_capacity(features.len() + latent.values.len());
        let positions = features.chunks_exact(channels);
        for (features, latents) in positions.zip(latent.values.chunks_exact(latent.channels)) {
            values.extend_from_slice(features);
            values.extend_from_slice(latents);
        }
        values
    })?;
    let shape = (1, height, width, channels + latent.channels);
    Tensor::from_vec(values, shape, features.device())
}

/// The heads of a step that codes the latents of `mask`: `inputs` features to means
/// and scales of `channels` latent channels.
fn coded_heads(mask: StepMask, inputs: usize, channels: usize, vb: &VarBuilder) -> Result<Heads> {
    let kind = LayerKind::Pointwise {
        inputs,
        outputs: channels,
    };
    let (mean, scale) = (flat(&vb.pp("mean"), kind)?, flat(&vb.pp("scale"), kind)?);
    let group = channel_group(channels);
    with_values([&mean, &scale], |layers| {
        Heads::Coded(Box::new(std::array::from_fn(|phase| {
            let first = mask.group_at(phase / 2, phase % 2) * group;
            let (mut weight, mut bias) = (Vec::new(), Vec::new());
            for layer in layers {
                let (rows, offsets) = layer.split_at(inputs * channels);
                weight.extend_from_slice(&rows[first * inputs..(first + group) * inputs]);
                bias.extend_from_slice(&offsets[first..first + group]);
            }
            ExactPointwise::new(PackedPointwise::new(inputs, 2 * group, &weight, &bias))
        })))
    })
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
        .map(|step| ContextStep::new(config, step, &vb.pp(step), mode))
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
