//! The gradient of the rate through the context model, with respect to the quantized latents
//! that its later steps read: what the encoder's search follows beside the distortion.
//!
//! A latent that is coded early moves the means and the scales that later ones are coded with.
//! The model is run on the whole ŷ of a tile, forward with what the gradient needs kept, and
//! back from the last step to the second. In binary32 with every sum in one order, so a
//! gradient has the same bits on every machine; it may differ in the last bits from what
//! inference computes, which decides no probability.

use super::context::{Features, PHASES, StepMask, joined, phase_positions};
use super::grid::Grid;
use super::integer::IntegerWeights;
use super::real_layers::{real_block, real_pointwise};
use super::stream::add_to;
use crate::format::CONTEXT_STEPS;
use crate::kernels::block::{
    block_first_layer, block_gradient_pointwise, block_gradient_spatial, block_other_layers,
};
use crate::kernels::depthwise::RowsOf;
use crate::kernels::integer::Scale;
use crate::kernels::{PackedBlock, PackedPointwise, pointwise};

/// Turns the normalized means and the raw scales of the latents that one step codes at a
/// position into the slopes of the cost with respect to them, in place. Is told the position (in
/// raster order) and the first channel.
pub type ParameterSlopes<'a> = dyn FnMut(usize, usize, &mut [f32], &mut [f32]) + 'a;

/// The context model's weights, and transposed ones.
pub struct ContextGradient {
    latents: usize,
    /// What one step of the features' integers is worth.
    feature_scale: f32,
    steps: Vec<Step>,
}

/// One step's layers, forward and back.
struct Step {
    conv_in: PackedPointwise,
    /// From the gradient of `conv_in`'s output to that of its latents.
    to_latents: PackedPointwise,
    state: Option<[PackedPointwise; 2]>,
    block: PackedBlock,
    block_back: PackedBlock,
    /// Means and scales of the channels that are coded at each phase of the 2 x 2 pattern.
    heads: [[PackedPointwise; 2]; PHASES],
}

/// What the forward pass of a step keeps.
struct Kept {
    /// The block's first layer before the activation.
    first: Vec<f32>,
    /// Its third layer before the activation.
    hidden: Vec<f32>,
    /// Its output.
    output: Vec<f32>,
}

impl ContextGradient {
    /// Of the context model of a model.
    pub fn new(weights: &IntegerWeights) -> Self {
        Self {
            latents: weights.config.latent_channels,
            feature_scale: feature_scale(weights),
            steps: (0..CONTEXT_STEPS)
                .map(|step| Step::new(weights, step))
                .collect(),
        }
    }

    /// The gradient with respect to `latent` (a tile's normalized ŷ, `[h, w, M]`, sides even) of
    /// the cost whose slopes `slopes` gives, from the tile's `features` `[h, w, F]`.
    pub fn run(
        &self,
        features: &Features,
        latent: &Grid,
        slopes: &mut ParameterSlopes<'_>,
    ) -> Grid {
        let values = features.0.iter();
        let features: Vec<f32> = values
            .map(|value| f32::from(*value) * self.feature_scale)
            .collect();
        let (height, width) = (latent.height, latent.width);
        let mut known = Grid::zeros(height, width, self.latents);
        let mut kept: Vec<Kept> = Vec::with_capacity(CONTEXT_STEPS);
        for (index, step) in self.steps.iter().enumerate() {
            let state = kept.last().map(|kept| kept.output.as_slice());
            kept.push(step.forward(&features, &known, state));
            copy_coded(StepMask::new(index), latent, &mut known);
        }
        let mut out = Grid::zeros(height, width, self.latents);
        let mut from_later: Option<Vec<f32>> = None;
        // Nothing is known yet in the first step.
        for (index, step) in self.steps.iter().enumerate().skip(1).rev() {
            let kept = kept.pop().expect("a step before each");
            let mut gradient = step.heads_gradient(index, &kept.output, width, slopes);
            if let Some(later) = &from_later {
                add_to(&mut gradient, later);
            }
            let gradient = step.block_gradient(&kept, &gradient, height, width);
            from_later = (step.state.as_ref()).map(|[_, back]| applied(back, &gradient));
            let of_latents = applied(&step.to_latents, &gradient);
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

impl Step {
    fn new(weights: &IntegerWeights, step: usize) -> Self {
        let config = &weights.config;
        let (m, f, group) = (
            config.latent_channels,
            config.context_channels,
            config.group_channels(),
        );
        let path = |name: &str| format!("context.{step}.{name}");
        let flat = |name: &str| weights.real_layer_at(&path(name));
        let block = real_block(weights, &path("block"));
        // Rows of `conv_in` are outputs; its last inputs are the latents.
        let conv_in = flat("conv_in");
        let rows = conv_in[..f * (f + m)].chunks_exact(f + m);
        let of_latents: Vec<f32> = rows.flat_map(|row| row[f..].iter().copied()).collect();
        let heads = std::array::from_fn(|phase| {
            let first = StepMask::new(step).group_at(phase / 2, phase % 2) * group;
            let (mut weight, mut bias) = (Vec::new(), Vec::new());
            for name in ["mean", "scale"] {
                let values = flat(name);
                let (rows, offsets) = values.split_at(f * m);
                weight.extend_from_slice(&rows[first * f..(first + group) * f]);
                bias.extend_from_slice(&offsets[first..first + group]);
            }
            both(PackedPointwise::new(f, 2 * group, &weight, &bias))
        });
        Self {
            conv_in: real_pointwise(weights, &path("conv_in")),
            to_latents: PackedPointwise::new(m, f, &of_latents, &vec![0.0; f]).transposed(),
            state: (config.has_state(step)).then(|| both(real_pointwise(weights, &path("state")))),
            block_back: block.transposed(),
            block,
            heads,
        }
    }

    fn forward(&self, features: &[f32], known: &Grid, state: Option<&[f32]>) -> Kept {
        let (height, width) = (known.height, known.width);
        let (f, hidden) = (self.block.channels(), self.block.w3.outputs());
        let positions = height * width;
        let joined = joined((features, f), (&known.values, known.channels));
        let mut x = applied(&self.conv_in, &joined);
        drop(joined);
        if let (Some([layer, _]), Some(state)) = (&self.state, state) {
            let mut sum = vec![0.0; x.len()];
            pointwise(state, layer, Some(&x), &mut sum);
            x = sum;
        }
        let [mut first, mut activated, mut output] = [(); 3].map(|()| vec![0.0; positions * f]);
        let mut wide = vec![0.0; positions * hidden];
        block_first_layer(&x, &self.block, &mut first, &mut activated);
        let window = whole(&activated, width);
        block_other_layers(window, &x, &self.block, 0..height, &mut wide, &mut output);
        Kept {
            first,
            hidden: wide,
            output,
        }
    }

    /// The gradient of the trunk's `output` through the heads.
    fn heads_gradient(
        &self,
        step: usize,
        output: &[f32],
        width: usize,
        slopes: &mut ParameterSlopes<'_>,
    ) -> Vec<f32> {
        let f = self.block.channels();
        let height = output.len() / (width * f);
        let mut gradient = vec![0.0; output.len()];
        for (phase, [head, back]) in self.heads.iter().enumerate() {
            let places = phase_positions(phase, height, width);
            let gathered: Vec<f32> = places
                .iter()
                .flat_map(|place| output[place * f..(place + 1) * f].iter().copied())
                .collect();
            let mut params = applied(head, &gathered);
            let group = head.outputs() / 2;
            let first = StepMask::new(step).group_at(phase / 2, phase % 2) * group;
            for (params, place) in params.chunks_exact_mut(2 * group).zip(&places) {
                let (means, scales) = params.split_at_mut(group);
                slopes(*place, first, means, scales);
            }
            let of_places = applied(back, &params);
            for (of_place, place) in of_places.chunks_exact(f).zip(&places) {
                gradient[place * f..(place + 1) * f].copy_from_slice(of_place);
            }
        }
        gradient
    }

    /// The gradient of the block's input from that of its output.
    fn block_gradient(&self, kept: &Kept, output: &[f32], height: usize, width: usize) -> Vec<f32> {
        let [mut middle, mut inner, mut gradient] = [(); 3].map(|()| vec![0.0; output.len()]);
        let back = &self.block_back;
        block_gradient_pointwise(output, &kept.hidden, back, &mut middle, &mut inner);
        let window = whole(&inner, width);
        let rows = 0..height;
        block_gradient_spatial(window, &kept.first, &middle, back, rows, &mut gradient);
        gradient
    }
}

/// What one step of the integers that the context model's first layers read is worth.
fn feature_scale(weights: &IntegerWeights) -> f32 {
    let inputs = weights.config.inputs("context.0.conv_in");
    let features = inputs.first().map(|(signal, _)| weights.exponent(signal));
    let scale = features.and_then(Scale::from_exponent);
    scale.map_or(1.0, Scale::value)
}

/// A layer and its transpose.
fn both(layer: PackedPointwise) -> [PackedPointwise; 2] {
    let back = layer.transposed();
    [layer, back]
}

/// A layer's output.
fn applied(layer: &PackedPointwise, x: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; x.len() / layer.inputs() * layer.outputs()];
    pointwise(x, layer, None, &mut out);
    out
}

fn whole(values: &[f32], width: usize) -> RowsOf<'_> {
    RowsOf {
        top: 0,
        width,
        values,
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
        quality.context_gradient(features, latent, slopes)
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
