//! The gradient of the rate through the context model, with respect to the quantized latents
//! that its later steps read: what the encoder's search follows beside the distortion.
//!
//! A latent that is coded early moves the means and the scales that later ones are coded with.
//! The model is run on the whole ŷ of a tile, forward with what the gradient needs kept, and
//! back from the last step to the second. In integers, the way back with weights that are the
//! model's transposed and rounded anew, so a gradient has the same bits on every machine; it is
//! near that of what inference computes, and decides no probability.

use rayon::prelude::*;

use super::backward::{Backward, BackwardBlock, Kept, Slopes};
use super::context::{ContextState, ContextStep, EntropyParams, Features, StepMask};
use super::context::{PHASES, phase_positions};
use super::grid::Grid;
use super::integer::IntegerWeights;
use super::stream::add_to;
use crate::error::Result;
use crate::format::CONTEXT_STEPS;

/// Turns the normalized means and the raw scales of the latents that one step codes at a
/// position into the slopes of the cost with respect to them, in place. Is told the position (in
/// raster order) and the first channel.
pub type ParameterSlopes<'a> = dyn FnMut(usize, usize, &mut [f32], &mut [f32]) + 'a;

/// The context model's layers on the way back.
pub struct ContextGradient {
    latents: usize,
    /// Without the first step, which reads no latents.
    steps: Vec<Step>,
}

/// One step's layers.
struct Step {
    /// Of the means and scales of the channels that are coded at each phase of the 2 x 2 pattern.
    heads: Vec<Backward>,
    block: BackwardBlock,
    state: Option<Backward>,
    /// From the gradient of the first layer's output to that of its latents.
    to_latents: Backward,
}

/// What the forward pass of a step leaves.
struct Passed {
    kept: Kept,
    params: EntropyParams,
}

impl ContextGradient {
    /// Of the context model of a model.
    ///
    /// # Errors
    /// [`Error::Weights`](crate::Error::Weights) when a number of the model is too large for it.
    pub fn new(weights: &IntegerWeights) -> Result<Self> {
        let steps = (1..CONTEXT_STEPS).into_par_iter();
        let steps = steps.map(|step| Step::new(weights, step));
        Ok(Self {
            latents: weights.config.latent_channels,
            steps: steps.collect::<Result<_>>()?,
        })
    }

    /// The gradient with respect to `latent` (a tile's normalized ŷ, `[h, w, M]`, sides even) of
    /// the cost whose slopes `slopes` gives, from the tile's `features` `[h, w, F]`.
    pub fn run(
        &self,
        context: &[ContextStep],
        features: &Features,
        latent: &Grid,
        slopes: &mut ParameterSlopes<'_>,
    ) -> Grid {
        let size = (latent.height, latent.width);
        let mut out = Grid::zeros(size.0, size.1, self.latents);
        let mut passed = forward(context, features, latent);
        let mut from_later: Option<Vec<f32>> = None;
        // Nothing is known yet in the first step.
        for (index, step) in self.steps.iter().enumerate().rev() {
            let (index, forward) = (index + 1, &context[index + 1]);
            let Passed { kept, params } = passed.pop().expect("a step before each");
            let mut gradient = step.heads_gradient(index, params, size, slopes);
            if let Some(later) = &from_later {
                add_to(&mut gradient, later);
            }
            let (gradient, _) =
                (step.block).apply(&forward.block, &kept, size, &Slopes::of(&gradient));
            from_later = (step.state.as_ref()).map(|state| state.reals(&gradient, None));
            let of_latents = step.to_latents.reals(&gradient, None);
            self.add_known(index, &of_latents, &mut out);
        }
        out
    }

    /// Adds the gradient of what a step reads to that of the latents that were coded before it.
    fn add_known(&self, step: usize, gradient: &[f32], out: &mut Grid) {
        let group = self.latents / CONTEXT_STEPS;
        let width = out.width;
        let positions = out.values.chunks_exact_mut(self.latents);
        for (position, (out, gradient)) in positions
            .zip(gradient.chunks_exact(self.latents))
            .enumerate()
        {
            for before in 0..step {
                let first = StepMask::new(before).group_at(position / width, position % width);
                let coded = first * group..(first + 1) * group;
                add_to(&mut out[coded.clone()], &gradient[coded]);
            }
        }
    }
}

/// Runs all steps of the context model on a tile's `latent`.
fn forward(context: &[ContextStep], features: &Features, latent: &Grid) -> Vec<Passed> {
    let size = (latent.height, latent.width);
    let mut state: Option<ContextState> = None;
    let pass = |step: &ContextStep| {
        let (x, joined) = step.trunk_input(features, latent, state.take());
        let (kept, trunk) = Kept::run(&step.block, &x, size);
        let params = step.params(&trunk, latent.width);
        state = Some(ContextState { joined, trunk });
        Passed { kept, params }
    };
    context.iter().map(pass).collect()
}

impl Step {
    fn new(weights: &IntegerWeights, step: usize) -> Result<Self> {
        let config = &weights.config;
        let (m, f, group) = (
            config.latent_channels,
            config.context_channels,
            config.group_channels(),
        );
        let path = |name: &str| format!("context.{step}.{name}");
        let flat = |name: &str| weights.real_layer_at(&path(name));
        // Rows of `conv_in` are outputs; its last inputs are the latents.
        let conv_in = flat("conv_in");
        let rows = conv_in[..f * (f + m)].chunks_exact(f + m);
        let of_latents: Vec<f32> = rows.flat_map(|row| row[f..].iter().copied()).collect();
        let [means, scales] = ["mean", "scale"].map(flat);
        let head = |phase: usize| {
            let first = StepMask::new(step).group_of_phase(phase) * group;
            let coded = first * f..(first + group) * f;
            let weight = [&means[coded.clone()], &scales[coded]].concat();
            Backward::of(&path("mean"), &weight, 2 * group)
        };
        let state = (config.has_state(step)).then(|| Backward::new(weights, &path("state"), f));
        Ok(Self {
            heads: (0..PHASES).map(head).collect::<Result<_>>()?,
            block: BackwardBlock::new(weights, &path("block"), f)?,
            state: state.transpose()?,
            to_latents: Backward::of(&path("conv_in"), &of_latents, f)?,
        })
    }

    /// The gradient of the trunk's output through the heads, which made these parameters on a picture of `size` (height,
    /// width).
    fn heads_gradient(
        &self,
        step: usize,
        mut params: EntropyParams,
        (height, width): (usize, usize),
        slopes: &mut ParameterSlopes<'_>,
    ) -> Vec<f32> {
        let group = params.group;
        let f = self.to_latents.inputs();
        let mut gradient = vec![0.0; height * width * f];
        for (phase, (back, params)) in self.heads.iter().zip(&mut params.phases).enumerate() {
            let places = phase_positions(phase, height, width);
            let first = StepMask::new(step).group_of_phase(phase) * group;
            for (params, place) in params.chunks_exact_mut(2 * group).zip(&places) {
                let (means, scales) = params.split_at_mut(group);
                slopes(*place, first, means, scales);
            }
            let of_places = back.reals(&Slopes::of(params), None);
            for (of_place, place) in of_places.chunks_exact(f).zip(&places) {
                gradient[place * f..(place + 1) * f].copy_from_slice(of_place);
            }
        }
        gradient
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tests::random_values as values;
    use crate::network::{Features, Inference, QualityModel};

    fn grid(height: usize, width: usize, channels: usize, seed: u32) -> Grid {
        Grid {
            height,
            width,
            channels,
            values: values(height * width * channels, seed),
        }
    }

    /// Copies the latents that a step codes.
    fn copy_coded(mask: StepMask, latent: &Grid, known: &mut Grid) {
        let (width, channels) = (latent.width, latent.channels);
        let group = channels / CONTEXT_STEPS;
        for position in 0..latent.height * width {
            let first = mask.group_at(position / width, position % width) * group;
            let coded = position * channels + first..position * channels + first + group;
            known.values[coded.clone()].copy_from_slice(&latent.values[coded]);
        }
    }

    /// The sum of all means and scales, weighted, when `latent` is decoded.
    fn loss(quality: &QualityModel<'_>, features: &Features, latent: &Grid, weights: &Grid) -> f64 {
        let mut known = Grid::zeros(latent.height, latent.width, latent.channels);
        let (mut state, mut sum) = (None, 0.0);
        for step in 0..CONTEXT_STEPS {
            let mask = StepMask::new(step);
            let params = quality.context_step(step, features, &known, &mut state);
            for position in 0..latent.height * latent.width {
                let (y, x) = (position / latent.width, position % latent.width);
                let (means, scales) = params.at(y, x);
                let first = mask.group_at(y, x) * means.len();
                for (offset, (mean, scale)) in means.iter().zip(scales).enumerate() {
                    let weight = weights.at(y, x)[first + offset];
                    sum += f64::from(weight) * (f64::from(*mean) - 2.0 * f64::from(*scale));
                }
            }
            copy_coded(mask, latent, &mut known);
        }
        sum
    }

    fn gradient(
        quality: &QualityModel<'_>,
        features: &Features,
        [latent, weights]: [&Grid; 2],
    ) -> Grid {
        let slopes = &mut |place: usize, first: usize, means: &mut [f32], scales: &mut [f32]| {
            let weights = &weights.values[place * latent.channels + first..];
            for ((mean, scale), weight) in means.iter_mut().zip(scales).zip(weights) {
                (*mean, *scale) = (*weight, -2.0 * weight);
            }
        };
        let gradient = quality.context_gradient(features, latent, slopes);
        gradient.expect("it computes")
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let model = Inference::tiny();
        let quality = model.at_quality(30_000);
        let (height, width, channels) = (8, 12, model.config().latent_channels);
        let hyper = grid(2, 3, model.config().hyper_channels, 4);
        let features = quality.hyper_synthesis(&hyper);
        let latent = grid(height, width, channels, 1);
        let weights = grid(height, width, channels, 9);
        let gradient = gradient(&quality, &features, [&latent, &weights]);
        let norm = |values: &[f32]| {
            values
                .iter()
                .map(|v| f64::from(*v).powi(2))
                .sum::<f64>()
                .sqrt()
        };
        assert!(norm(&gradient.values) > 0.0);
        for seed in 20..24 {
            let direction = values(latent.values.len(), seed);
            let at = |by: f32| {
                let mut moved = latent.clone();
                let steps = moved.values.iter_mut().zip(&direction);
                steps.for_each(|(value, step)| *value += by * step);
                loss(&quality, &features, &moved, &weights)
            };
            // Far enough for the rounding of the exact network to average out.
            let found = (at(0.25) - at(-0.25)) / 0.5;
            let along = gradient.values.iter().zip(&direction);
            let along: f64 = along.map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
            let scale = norm(&gradient.values) * norm(&direction);
            assert!((found - along).abs() < 1e-2 * scale, "{found} {along}");
        }
    }

    #[test]
    fn the_last_coded_latents_move_nothing() {
        let model = Inference::tiny();
        let quality = model.at_quality(30_000);
        let hyper = grid(1, 1, model.config().hyper_channels, 4);
        let features = quality.hyper_synthesis(&hyper);
        let latent = grid(4, 4, model.config().latent_channels, 1);
        let gradient = gradient(&quality, &features, [&latent, &latent]);
        let mut last = Grid::zeros(4, 4, latent.channels);
        copy_coded(StepMask::new(CONTEXT_STEPS - 1), &gradient, &mut last);
        assert!(last.values.iter().all(|slope| *slope == 0.0));
        assert!(gradient.values.iter().any(|slope| *slope != 0.0));
    }

    #[test]
    fn gradients_do_not_depend_on_threads() {
        let model = Inference::tiny();
        let quality = model.at_quality(30_000);
        let hyper = grid(8, 16, model.config().hyper_channels, 4);
        let features = quality.hyper_synthesis(&hyper);
        let latent = grid(32, 64, model.config().latent_channels, 1);
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let pool = pool.expect("threads can be started");
            pool.install(|| gradient(&quality, &features, [&latent, &latent]))
        };
        assert!(on(1) == on(3));
    }
}
