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
use std::ops::Range;
use std::sync::Arc;

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
        self.group_of_phase(2 * (y % 2) + x % 2)
    }

    /// The channel group that is coded at a phase of the 2 x 2 pattern.
    pub fn group_of_phase(self, phase: usize) -> usize {
        // In the order (0, 0), (1, 1), (0, 1), (1, 0): diagonal neighbors first.
        const ORDER: [usize; PHASES] = [0, 2, 3, 1];
        (ORDER[phase] + CONTEXT_STEPS - self.0) % CONTEXT_STEPS
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

/// Hyper-synthesis output: the features that every context step reads, `[h, w, F]`. Cheap to clone.
#[derive(Clone)]
pub struct Features(pub(super) Arc<[i16]>);

/// One step's network.
pub struct ContextStep {
    step: usize,
    latent: Entry,
    /// The same weights for each phase of the 2 x 2 pattern, of which it reads the features and
    /// the channel groups that are known there.
    conv_in: [Pointwise; PHASES],
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
    /// Features and then latents at each position, without those of the step: by phase,
    /// `[4, h / 2, w / 2, F + M]`.
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
        let conv_in = Pointwise::new(from, &path("conv_in"))?;
        let reading = |phase| conv_in.reading(&known_inputs(config, step, phase));
        Ok(Self {
            step,
            latent: Entry::new(from, LATENT)?,
            conv_in: [0, 1, 2, 3].map(reading),
            state: has_state.map(state).transpose()?,
            block: Block::new(from, &path("block"))?,
            heads: coded_heads(from, step)?,
        })
    }

    /// Entropy parameters of the latents that the step codes, a quarter of them, from the
    /// features and the normalized latents so far, of even sides; those that are not yet decoded
    /// count as zero, whatever is in their place.
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
        let (mut joined, trunk, new) = match state {
            Some(state) => {
                let before = self.step.saturating_sub(1);
                (state.joined, Some(state.trunk), before..self.step)
            }
            None => (self.of_features(features, latent), None, 0..self.step),
        };
        for step in new {
            self.join_coded(step, latent, &mut joined);
        }
        let f = self.block.channels();
        let mut x = vec![0; latent.height * latent.width * f];
        for (phase, joined) in joined.chunks_exact(joined.len() / PHASES).enumerate() {
            let of_phase = self.conv_in[phase].of(joined);
            scatter_phase(&of_phase, latent.width, phase, f, &mut x);
        }
        if let (Some(layer), Some(trunk)) = (&self.state, trunk) {
            let mut sum = vec![0; x.len()];
            layer.add_to(&trunk, &x, &self.conv_in[0], &mut sum);
            x = sum;
        }
        (x, joined)
    }

    /// What the heads make of the trunk's output.
    pub(super) fn params(&self, trunk: &[i16], width: usize) -> EntropyParams {
        let f = self.block.channels();
        let mut phases = [const { Vec::new() }; PHASES];
        let mut positions = vec![0; trunk.len() / PHASES];
        for (phase, (head, out)) in self.heads.iter().zip(&mut phases).enumerate() {
            gather_phase(trunk, width, phase, f, &mut positions);
            out.resize(positions.len() / f * head.outputs(), 0.0);
            head.apply(&positions, out);
        }
        EntropyParams {
            width,
            group: self.heads[0].outputs() / 2,
            phases,
        }
    }

    /// The features beside latents that are zero.
    fn of_features(&self, Features(features): &Features, latent: &Grid) -> Vec<i16> {
        let f = self.block.channels();
        let stride = f + latent.channels;
        let mut joined = vec![0; features.len() / f * stride];
        let mut positions = vec![0; features.len() / PHASES];
        for (phase, to) in joined
            .chunks_exact_mut(positions.len() / f * stride)
            .enumerate()
        {
            gather_phase(features, latent.width, phase, f, &mut positions);
            let places = to.chunks_exact_mut(stride).zip(positions.chunks_exact(f));
            places.for_each(|(to, features)| to[..f].copy_from_slice(features));
        }
        joined
    }

    /// Brings the latents that a step has coded to their places.
    fn join_coded(&self, step: usize, latent: &Grid, joined: &mut [i16]) {
        let (f, m) = (self.block.channels(), latent.channels);
        let group = channel_group(m);
        let mut coded = Vec::with_capacity(latent.values.len() / (PHASES * CONTEXT_STEPS));
        for (phase, to) in joined.chunks_exact_mut(joined.len() / PHASES).enumerate() {
            let first = StepMask::new(step).group_of_phase(phase) * group;
            coded.clear();
            for position in phase_positions(phase, latent.height, latent.width) {
                coded.extend_from_slice(&latent.values[position * m + first..][..group]);
            }
            let integers = self.latent.integers(&coded);
            let places = to.chunks_exact_mut(f + m).zip(integers.chunks_exact(group));
            places.for_each(|(to, from)| to[f + first..][..group].copy_from_slice(from));
        }
    }
}

/// The inputs of a step's first layer that are known at a phase: the features, and the groups
/// that earlier steps have coded there.
fn known_inputs(config: &ModelConfig, step: usize, phase: usize) -> Vec<Range<usize>> {
    let (f, group) = (config.context_channels, config.group_channels());
    let coded = |before: usize| StepMask::new(before).group_of_phase(phase);
    let mut groups: Vec<usize> = (0..step).map(coded).collect();
    groups.sort_unstable();
    let latents = groups
        .iter()
        .map(|index| f + index * group..f + (index + 1) * group);
    std::iter::once(0..f).chain(latents).collect()
}

/// The positions, in raster order, of a phase of the 2 x 2 pattern.
pub(crate) fn phase_positions(phase: usize, height: usize, width: usize) -> Vec<usize> {
    let rows = (phase / 2..height).step_by(2);
    rows.flat_map(|y| (phase % 2..width).step_by(2).map(move |x| y * width + x))
        .collect()
}

/// The positions of a phase of `[h, w, c]`, sides even.
fn gather_phase(x: &[i16], width: usize, phase: usize, c: usize, out: &mut [i16]) {
    let rows = x.chunks_exact(width * c).skip(phase / 2).step_by(2);
    let positions = rows.flat_map(|row| row.chunks_exact(c).skip(phase % 2).step_by(2));
    for (out, position) in out.chunks_exact_mut(c).zip(positions) {
        out.copy_from_slice(position);
    }
}

/// The reverse of [`gather_phase`].
fn scatter_phase(x: &[i16], width: usize, phase: usize, c: usize, out: &mut [i16]) {
    let rows = out.chunks_exact_mut(width * c).skip(phase / 2).step_by(2);
    let positions = rows.flat_map(|row| row.chunks_exact_mut(c).skip(phase % 2).step_by(2));
    for (position, x) in positions.zip(x.chunks_exact(c)) {
        position.copy_from_slice(x);
    }
}

/// The heads of a step by phase, from those of all channels.
fn coded_heads(from: &Loader<'_>, step: usize) -> Result<Vec<Head>> {
    let config = &from.weights.config;
    let (inputs, group) = (config.context_channels, config.group_channels());
    let head = |phase: usize| {
        let first = StepMask::new(step).group_of_phase(phase) * group;
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
            weight: Integers::Narrow(weight.into()),
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
        gather_phase(&x, 6, 2, 3, &mut out);
        assert_eq!(out[..6], [18, 19, 20, 24, 25, 26]);
        assert_eq!(out[9..12], [54, 55, 56]);
        let mut back = vec![0; x.len()];
        scatter_phase(&out, 6, 2, 3, &mut back);
        assert_eq!(
            (back[17], back[18..21].to_vec(), back[21]),
            (0, vec![18, 19, 20], 0)
        );
        assert_eq!(back[54..57], [54, 55, 56]);
    }
}
