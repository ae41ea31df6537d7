//! The context model: entropy parameters from hyper features and the latents
//! decoded so far, in four steps over a 2 x 2 spatial pattern that is rotated
//! over four channel groups (Li et al., "Neural Video Compression with Diverse
//! Contexts", section 3.3).

use super::config::ModelConfig;
use super::grid::Grid;
use super::integer::{IntegerConvolution, Integers};
use super::layers::{Block, Entry, Head, Loader, Pointwise};
use super::signals::LATENT;
use crate::error::Result;
use crate::format::CONTEXT_STEPS;

/// Which latents one step codes (codec-spec.md, Coding order).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepMask(usize);

impl StepMask {
    /// The mask of step 0 to 3.
    pub fn new(step: usize) -> Self {
        Self(step % CONTEXT_STEPS)
    }

    /// The channel group that is coded at row `y`, column `x` of a tile.
    pub fn group_at(self, y: usize, x: usize) -> usize {
        // Phases in the order (0, 0), (1, 1), (0, 1), (1, 0): diagonal neighbors first.
        const PHASE: [[usize; 2]; 2] = [[0, 2], [3, 1]];
        (PHASE[y % 2][x % 2] + CONTEXT_STEPS - self.0) % CONTEXT_STEPS
    }

    /// Whether a channel group is coded at row `y`, column `x`.
    pub fn is_active(self, group: usize, y: usize, x: usize) -> bool {
        self.group_at(y, x) == group
    }
}

/// Channels per group of `channels` latent channels.
pub fn channel_group(channels: usize) -> usize {
    channels / CONTEXT_STEPS
}

/// Hyper-synthesis output: the features that every context step reads, `[h, w, F]`.
pub struct Features(pub(super) Vec<i16>);

/// One step's network.
pub struct ContextStep {
    step: usize,
    latent: Entry,
    conv_in: Pointwise,
    /// What the trunk adds of the step before, where the model has that.
    state: Option<Pointwise>,
    pub(super) block: Block,
    /// Normalized means and raw scales of the latents that the step codes: for each phase of
    /// the 2 x 2 pattern, the means and then the scales of the channel group that is coded there.
    heads: Vec<Head>,
}

/// Positions of the 2 x 2 pattern, in raster order.
pub(crate) const PHASES: usize = 4;

/// What a context step leaves to the next one.
pub struct ContextState {
    /// Features and then latents at each position, `[h, w, F + M]`, without those of the step.
    pub(super) joined: Vec<i16>,
    /// The trunk's output, `[h, w, F]`.
    pub(super) trunk: Vec<i16>,
}

/// Entropy parameters of the latents that one step codes.
pub struct EntropyParams {
    width: usize,
    pub(super) group: usize,
    /// By phase, `[h / 2, w / 2, 2 group]`.
    pub(super) phases: [Vec<f32>; PHASES],
}

impl EntropyParams {
    /// Normalized means and raw scales of the coded channels at row `y`, column `x`.
    /// The table index is `8 * raw + latent_scale[channel]`, clamped and floored.
    pub fn at(&self, y: usize, x: usize) -> (&[f32], &[f32]) {
        let place = y / 2 * (self.width / 2) + x / 2;
        let phase = &self.phases[2 * (y % 2) + x % 2];
        phase[place * 2 * self.group..][..2 * self.group].split_at(self.group)
    }
}

impl ContextStep {
    /// Makes the step's layers.
    ///
    /// # Errors
    /// When weights are missing.
    fn new(config: &ModelConfig, step: usize, from: &Loader<'_>) -> Result<Self> {
        let path = |layer: &str| format!("context.{step}.{layer}");
        let state = |()| Pointwise::new(from, &path("state"));
        let has_state = config.has_state(step).then_some(());
        Ok(Self {
            step,
            latent: Entry::new(from, LATENT)?,
            conv_in: Pointwise::new(from, &path("conv_in"))?,
            state: has_state.map(state).transpose()?,
            block: Block::new(from, &path("block"))?,
            heads: coded_heads(from, step)?,
        })
    }

    /// Entropy parameters of the latents that the step codes, a quarter of them, from the
    /// features and the normalized latents so far (zero where not yet decoded), of even sides.
    /// `state` is what the step before left of the same features and latents, and becomes what
    /// this one leaves.
    pub fn coded(
        &self,
        features: &Features,
        latent: &Grid,
        state: &mut Option<ContextState>,
    ) -> EntropyParams {
        let (x, joined) = self.trunk_input(features, latent, state.take());
        let x = self.block.whole(&x, (latent.height, latent.width));
        let params = self.params(&x, latent.width);
        *state = Some(ContextState { joined, trunk: x });
        params
    }

    /// What the trunk's block reads, and what is at each position, of which the next step needs the same.
    pub(super) fn trunk_input(
        &self,
        features: &Features,
        latent: &Grid,
        state: Option<ContextState>,
    ) -> (Vec<i16>, Vec<i16>) {
        let Some(mut state) = state else {
            let joined = self.joined(features, latent);
            return (self.conv_in.of(&joined), joined);
        };
        self.join_coded(latent, &mut state.joined);
        let mut x = self.conv_in.of(&state.joined);
        if let Some(layer) = &self.state {
            let mut sum = vec![0; x.len()];
            layer.add_to(&state.trunk, &x, &self.conv_in, &mut sum);
            x = sum;
        }
        (x, state.joined)
    }

    /// What the heads make of the trunk's output.
    pub(super) fn params(&self, trunk: &[i16], width: usize) -> EntropyParams {
        let f = self.block.channels();
        let mut phases = [const { Vec::new() }; PHASES];
        let mut positions = vec![0; trunk.len() / PHASES];
        for (phase, (head, out)) in self.heads.iter().zip(&mut phases).enumerate() {
            gather_phase(trunk, width, f, (phase / 2, phase % 2), &mut positions);
            out.resize(positions.len() / f * head.outputs(), 0.0);
            head.apply(&positions, out);
        }
        EntropyParams {
            width,
            group: self.heads[0].outputs() / 2,
            phases,
        }
    }

    /// Features and then latents at each position, `[h, w, F + M]`.
    fn joined(&self, Features(features): &Features, latent: &Grid) -> Vec<i16> {
        let (f, m) = (self.block.channels(), latent.channels);
        let integers = self.latent.integers(&latent.values);
        joined((features, f), (&integers, m))
    }

    /// Brings the latents that the step before has coded to their places.
    fn join_coded(&self, latent: &Grid, joined: &mut [i16]) {
        let (m, group) = (latent.channels, channel_group(latent.channels));
        let before = StepMask::new(self.step + CONTEXT_STEPS - 1);
        let first = |position: usize| {
            before.group_at(position / latent.width, position % latent.width) * group
        };
        let positions = latent.values.chunks_exact(m).enumerate();
        let coded = positions.flat_map(|(position, values)| &values[first(position)..][..group]);
        let coded: Vec<f32> = coded.copied().collect();
        let integers = self.latent.integers(&coded);
        let stride = self.block.channels() + m;
        let to = joined.chunks_exact_mut(stride).enumerate();
        for ((position, to), from) in to.zip(integers.chunks_exact(group)) {
            let start = self.block.channels() + first(position);
            to[start..start + group].copy_from_slice(from);
        }
    }
}

/// Two tensors side by side at each position, each given with its channels.
fn joined((a, m): (&[i16], usize), (b, n): (&[i16], usize)) -> Vec<i16> {
    let mut joined = Vec::with_capacity(a.len() + b.len());
    for (a, b) in a.chunks_exact(m).zip(b.chunks_exact(n)) {
        joined.extend_from_slice(a);
        joined.extend_from_slice(b);
    }
    joined
}

/// The positions, in raster order, of a phase of the 2 x 2 pattern.
pub(crate) fn phase_positions(phase: usize, height: usize, width: usize) -> Vec<usize> {
    let rows = (phase / 2..height).step_by(2);
    rows.flat_map(|y| (phase % 2..width).step_by(2).map(move |x| y * width + x))
        .collect()
}

/// Every second row and column of `[h, w, c]` (sides even), from row and column `phase` on.
fn gather_phase(x: &[i16], width: usize, c: usize, (row, column): (usize, usize), out: &mut [i16]) {
    let rows = x.chunks_exact(width * c).skip(row).step_by(2);
    let positions = rows.flat_map(|row| row.chunks_exact(c).skip(column).step_by(2));
    for (out, position) in out.chunks_exact_mut(c).zip(positions) {
        out.copy_from_slice(position);
    }
}

/// The heads of a step by phase, from those of all channels.
fn coded_heads(from: &Loader<'_>, step: usize) -> Result<Vec<Head>> {
    let config = &from.weights.config;
    let (inputs, group) = (config.context_channels, config.group_channels());
    let head = |phase: usize| {
        let first = StepMask::new(step).group_at(phase / 2, phase % 2) * group;
        let rows = first..first + group;
        let (mut weight, mut multiplier, mut bias) = (Vec::new(), Vec::new(), Vec::new());
        for layer in ["mean", "scale"] {
            for all in from.convolutions(&format!("context.{step}.{layer}"))? {
                if let Integers::Narrow(values) = &all.weight {
                    weight.extend_from_slice(&values[rows.start * inputs..rows.end * inputs]);
                }
                multiplier.extend_from_slice(&all.multiplier[rows.clone()]);
                bias.extend_from_slice(&all.bias[rows.clone()]);
            }
        }
        let coded = IntegerConvolution {
            weight: Integers::Narrow(weight),
            multiplier,
            bias,
        };
        Head::of("context", &coded)
    };
    (0..PHASES).map(head).collect()
}

/// Makes all four steps.
///
/// # Errors
/// When weights are missing.
pub fn context_steps(from: &Loader<'_>) -> Result<Vec<ContextStep>> {
    (0..CONTEXT_STEPS)
        .map(|step| ContextStep::new(&from.weights.config, step, from))
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

    #[test]
    fn phases_are_every_second_position() {
        let x: Vec<i16> = (0..4 * 6 * 3).collect();
        let mut out = vec![0; 2 * 3 * 3];
        gather_phase(&x, 6, 3, (1, 0), &mut out);
        assert_eq!(out[..6], [18, 19, 20, 24, 25, 26]);
        assert_eq!(out[9..12], [54, 55, 56]);
    }
}
