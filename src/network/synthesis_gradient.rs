//! The gradient of a distortion through the synthesis transform, with respect to the
//! normalized quantized latent ŷ alone: what the encoder's search follows.
//!
//! Forward and back in one pass down the picture, a few rows at a time: the gradient of a row
//! of latents is ready as soon as the rows that it reaches are. Both passes are in integers, the
//! way back with weights that are the model's transposed and rounded anew, so a gradient has the
//! same bits on every machine. What the forward pass gives is near the exact transform.

use std::ops::Range;

use rayon::prelude::*;

use super::backward::{Backward, BackwardBlock, Kept, Slopes};
use super::gains::Gains;
use super::grid::Grid;
use super::integer::IntegerWeights;
use super::layers::Block;
use super::stream::{Rows, Sink, add_to, bands, space};
use super::stream_gradient::BlockGradientStream;
use super::synthesis::{Buffers, Synthesis};
use crate::error::Result;
use crate::format::{PATCH8, PATCH16};
use crate::kernels::integer::{
    BackwardScales, BlockGradient, Output, Pointwise, Scale, pointwise, quantize, scale_integers,
};
use crate::kernels::{depth_to_space, space_to_depth};

/// Turns rows of decoded patches `[rows, 2w, 192]` into the gradient of a distortion with
/// respect to them, and is told which rows they are; called from top to bottom.
pub type PatchGradient<'a> = dyn FnMut(Range<usize>, &[f32], &mut [f32]) -> Result<()> + 'a;

/// The synthesis transform's layers on the way back.
pub struct SynthesisGradient {
    linear: Backward,
    conv_out: Backward,
    stage8: Vec<BackwardBlock>,
    up: Backward,
    stage16: Vec<BackwardBlock>,
    conv_in: Backward,
}

/// The scales of what the layers make of a gradient whose slopes are up to 1.
pub struct GradientScales {
    conv_out: Scale,
    stage8: Vec<BackwardScales>,
    gain8: Scale,
    up: Scale,
    stage16: Vec<BackwardScales>,
    gain16: Scale,
}

/// The largest slope of a distortion that matters, a power of two: larger ones count as that, and smaller ones are in
/// steps of `2^-15` of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steepest {
    /// What a step of the first integers is worth.
    step: Scale,
}

impl Steepest {
    /// Where slopes have this root mean square: 32 times as much or a little more.
    pub fn of_mean(mean: f32) -> Self {
        let step = Scale::at_least(mean * (32.0 / 32_768.0));
        Self { step }
    }

    /// What it is.
    fn value(self) -> f32 {
        self.step.value() * 32_768.0
    }
}

impl SynthesisGradient {
    /// Of the synthesis transform of a model.
    ///
    /// # Errors
    /// [`Error::Weights`](crate::Error::Weights) when a number of the model is too large for it.
    pub fn new(weights: &IntegerWeights) -> Result<Self> {
        let config = &weights.config;
        let (c16, c8) = (config.stage16_channels, config.stage8_channels);
        let layer = |name: &str, outputs: usize| {
            Backward::new(weights, &format!("synthesis.{name}"), outputs)
        };
        let stage = |name: &str, count: usize, channels: usize| {
            let path = |at: usize| format!("synthesis.{name}.{at}");
            let block = |at: usize| BackwardBlock::new(weights, &path(at), channels);
            let blocks = (0..count).into_par_iter().map(block);
            blocks.collect::<Result<Vec<_>>>()
        };
        Ok(Self {
            linear: layer("linear", PATCH16)?,
            conv_out: layer("conv_out", PATCH8)?,
            stage8: stage("stage8", config.stage8_blocks, c8)?,
            up: layer("up", 4 * c8)?,
            stage16: stage("stage16", config.stage16_blocks, c16)?,
            conv_in: layer("conv_in", c16)?,
        })
    }

    /// Takes a gradient of slopes up to 1 with respect to the patches of `latent`, a part of a picture that is small
    /// enough to be there as a whole: gives the gradient with respect to the latent `[h, w, M]`, and the scales that
    /// its tensors need.
    pub fn measure(
        &self,
        synthesis: &Synthesis,
        latent: &Grid,
        gains: &Gains,
        patches: &[f32],
    ) -> (Vec<f32>, GradientScales) {
        let size = (latent.height, latent.width);
        let size8 = (2 * size.0, 2 * size.1);
        let (gain16, gain8) = (&gains.synthesis16, &gains.synthesis8);
        let integers = synthesis.latent.integers(&latent.values);
        let x = synthesis.conv_in.with_gain(gain16).of(&integers);
        let (kept16, x) = run(&synthesis.stage16, x, size);
        let cells = synthesis.up.with_gain(gain8).of(&x);
        let mut x = vec![0; cells.len()];
        depth_to_space(&cells, size8.0, size8.1, gain8.len(), 2, &mut x);
        let (kept8, _) = run(&synthesis.stage8, x, size8);

        let patches = Slopes::of(patches);
        let mut conv_out = self.conv_out.apply(&patches, None);
        if let Some(gain) = &gains.synthesis_out {
            conv_out = conv_out.gained(gain);
        }
        let conv_out_scale = conv_out.scale;
        let blocks = (&self.stage8[..], &synthesis.stage8[..]);
        let (gradient, stage8) = run_back(blocks, &kept8, size8, conv_out);
        let lowered = gradient.gained(gain8);
        let up = self.up.apply(&at_half(&lowered, size8, gain8.len()), None);
        let up_scale = up.scale;
        let blocks = (&self.stage16[..], &synthesis.stage16[..]);
        let (gradient, stage16) = run_back(blocks, &kept16, size, up);
        let gradient = gradient.gained(gain16);
        let mut out = self.conv_in.reals(&gradient, None);
        let linear = self.linear.reals(&at_half(&patches, size8, PATCH8), None);
        add_to(&mut out, &linear);
        let scales = GradientScales {
            conv_out: conv_out_scale,
            stage8,
            gain8: lowered.scale,
            up: up_scale,
            stage16,
            gain16: gradient.scale,
        };
        (out, scales)
    }

    /// Runs the transform, `synthesis`, on `latent` and the gradient back: `emit` gets rows of it,
    /// `[rows, w, M]`, from top to bottom, and which they are.
    ///
    /// # Errors
    /// Those of `patch_gradient` and `emit`.
    pub fn stream(
        &self,
        synthesis: &Synthesis,
        (latent, gains): (&Grid, &Gains),
        (steepest, scales): (Steepest, &GradientScales),
        patch_gradient: &mut PatchGradient<'_>,
        emit: &mut Sink<'_>,
    ) -> Result<()> {
        let (height, width) = (latent.height, latent.width);
        let (gain16, gain8) = (&gains.synthesis16, &gains.synthesis8);
        let (c16, c8) = (gain16.len(), gain8.len());
        let conv_in = synthesis.conv_in.with_gain(gain16);
        let up = synthesis.up.with_gain(gain8);
        let back = self.scaled(synthesis, gains, steepest, scales);
        let mut bands = bands(height, width).peekable();
        let at_once = bands.peek().map_or(0, Range::len);
        let mut stage16 = BlockGradientStream::new(&back.stage16, c16, (height, width), at_once);
        let size8 = (2 * height, 2 * width);
        let mut stage8 = BlockGradientStream::new(&back.stage8, c8, size8, 2 * at_once);
        let mut integers = Rows::new(width * latent.channels);
        let mut linear = self.linear_stream(width, steepest);
        let mut buffers = Buffers::default();
        let [mut wide, mut cells] = [const { Vec::new() }; 2];
        let mut out = Vec::new();
        let mut emitted = 0;
        // After the last band what the stages still hold comes out as many rows at a time as before.
        while emitted < height {
            if let Some(band) = bands.next() {
                let rounded = integers.append(band.len());
                synthesis.latent.round(latent.rows(band.clone()), rounded);
                conv_in.apply(rounded, stage16.input(band.len()));
            }
            let done = stage16.output();
            let rows = done.range();
            let raised = space(&mut wide, rows.len() * width * 4 * c8);
            up.apply(done.all(), raised);
            done.drop_above(rows.end);
            let x = stage8.input(2 * rows.len());
            depth_to_space(raised, 2 * rows.len(), 2 * width, c8, 2, x);
            let done = stage8.output();
            let rows = done.range();
            if !rows.is_empty() {
                if let (Some(out), Some(gain)) = (&synthesis.out_gain, &gains.synthesis_out) {
                    out.apply(done.all_mut(), gain);
                }
                let decoded = synthesis.patches(&integers, done, width, &mut buffers);
                let gradient = linear.take(rows.clone(), decoded, patch_gradient)?;
                done.drop_above(rows.end);
                integers.drop_above(rows.end / 2);
                let to = Output::Integer(stage8.output_gradient(rows.len()), scales.conv_out);
                pointwise(gradient, &back.conv_out, false, None, to);
            }
            let done = stage8.gradient();
            // A row of latents needs two rows; the second may still be missing.
            let (start, rows) = (done.range().start, done.range().len() / 2);
            let lowered = space(&mut wide, 2 * rows * 2 * width * c8);
            lowered.copy_from_slice(done.first(2 * rows));
            done.drop_above(start + 2 * rows);
            scale_integers(lowered, &back.gain8);
            let at16 = space(&mut cells, rows * width * 4 * c8);
            space_to_depth(lowered, 2 * rows, 2 * width, c8, 2, at16);
            let to = Output::Integer(stage16.output_gradient(rows), scales.up);
            pointwise(at16, &back.up, false, None, to);
            let done = stage16.gradient();
            let rows = done.range();
            if rows.is_empty() {
                continue;
            }
            scale_integers(done.all_mut(), &back.gain16);
            let out = space(&mut out, rows.len() * width * latent.channels);
            pointwise(done.all(), &back.conv_in, false, None, Output::Real(out));
            done.drop_above(rows.end);
            add_to(out, linear.give(rows.clone()));
            emitted = rows.end;
            emit(rows, out)?;
        }
        Ok(())
    }

    /// The layers for a gradient with these scales.
    fn scaled(
        &self,
        synthesis: &Synthesis,
        gains: &Gains,
        steepest: Steepest,
        scales: &GradientScales,
    ) -> Scaled {
        let conv_out = self.conv_out.of_steps(1.0 / 32_768.0);
        let gained = gains.synthesis_out.as_ref();
        let gained = gained.and_then(|gain| conv_out.with_gain(gain));
        let stage = |back: &[BackwardBlock], blocks: &[Block], scales: &[BackwardScales]| {
            let list = back.iter().zip(blocks).zip(scales);
            list.map(|((back, block), scales)| back.scaled(block, scales))
                .collect()
        };
        let gain = |gain: &[f32], blocks: &[BackwardScales], before: Scale, to: Scale| {
            let from = blocks.first().map_or(before, |block| block.input);
            let factor = from.value() * to.inverse();
            gain.iter().map(|gain| gain * factor).collect()
        };
        let GradientScales {
            stage8, stage16, ..
        } = scales;
        let (gain8, gain16) = (&gains.synthesis8, &gains.synthesis16);
        Scaled {
            conv_out: gained.unwrap_or(conv_out),
            stage8: stage(&self.stage8, &synthesis.stage8, stage8),
            gain8: gain(gain8, stage8, scales.conv_out, scales.gain8),
            up: self.up.of_steps(scales.gain8.value()),
            stage16: stage(&self.stage16, &synthesis.stage16, stage16),
            gain16: gain(gain16, stage16, scales.up, scales.gain16),
            conv_in: (self.conv_in).of_steps(scales.gain16.value() * steepest.value()),
        }
    }

    /// The gradient through the linear path alone, of a picture `width` latents wide.
    pub fn linear_stream(&self, width: usize, steepest: Steepest) -> LinearGradient {
        let step = steepest.step;
        LinearGradient {
            layer: self.linear.of_steps(step.value()),
            step,
            width,
            patches: Rows::new(2 * width * PATCH8),
            slopes: Vec::new(),
            cells: Vec::new(),
            out: Vec::new(),
        }
    }
}

/// The layers on the way back with scales for what they make.
struct Scaled {
    conv_out: Pointwise,
    stage8: Vec<BlockGradient>,
    /// From integers to integers, by channel.
    gain8: Vec<f32>,
    up: Pointwise,
    stage16: Vec<BlockGradient>,
    gain16: Vec<f32>,
    conv_in: Pointwise,
}

/// Runs blocks on a picture of `size` (height, width): what each keeps, and the output of the last.
fn run(blocks: &[Block], mut x: Vec<i16>, size: (usize, usize)) -> (Vec<Kept>, Vec<i16>) {
    let mut all = Vec::with_capacity(blocks.len());
    for block in blocks {
        let (kept, output) = Kept::run(block, &x, size);
        all.push(kept);
        x = output;
    }
    (all, x)
}

/// Runs a gradient back through blocks: gives that of the input of the first, and the scales of each.
fn run_back(
    (back, blocks): (&[BackwardBlock], &[Block]),
    kept: &[Kept],
    size: (usize, usize),
    mut gradient: Slopes,
) -> (Slopes, Vec<BackwardScales>) {
    let mut all = Vec::with_capacity(blocks.len());
    for ((back, block), kept) in back.iter().zip(blocks).zip(kept).rev() {
        let (input, scales) = back.apply(block, kept, size, &gradient);
        all.push(scales);
        gradient = input;
    }
    all.reverse();
    (gradient, all)
}

/// A tensor `[h, w, C]` of `size` as `[h / 2, w / 2, 4C]`.
fn at_half(slopes: &Slopes, (height, width): (usize, usize), channels: usize) -> Slopes {
    let mut values = vec![0; slopes.values.len()];
    space_to_depth(&slopes.values, height, width, channels, 2, &mut values);
    Slopes {
        values,
        scale: slopes.scale,
    }
}

/// The gradient through the linear path alone: an approximation without a backward pass
/// through the network. Patches come a few rows at a time.
pub struct LinearGradient {
    layer: Pointwise,
    /// What a step of the gradient with respect to patches is worth.
    step: Scale,
    width: usize,
    /// The gradient with respect to rows of patches.
    patches: Rows<i16>,
    slopes: Vec<f32>,
    cells: Vec<i16>,
    out: Vec<f32>,
}

impl LinearGradient {
    /// Takes the next rows of decoded patches, and gives out the rows of latents that are ready.
    ///
    /// # Errors
    /// Those of `patch_gradient` and `emit`.
    pub fn add(
        &mut self,
        rows: Range<usize>,
        decoded: &[f32],
        patch_gradient: &mut PatchGradient<'_>,
        emit: &mut Sink<'_>,
    ) -> Result<()> {
        self.take(rows, decoded, patch_gradient)?;
        // A row of latents needs two rows; the second may still be missing.
        let held = self.patches.range();
        let rows = held.start / 2..held.end / 2;
        emit(rows.clone(), self.give(rows))
    }

    /// Takes the next rows of decoded patches: gives the gradient with respect to them.
    fn take(
        &mut self,
        rows: Range<usize>,
        decoded: &[f32],
        patch_gradient: &mut PatchGradient<'_>,
    ) -> Result<&[i16]> {
        let slopes = space(&mut self.slopes, rows.len() * 2 * self.width * PATCH8);
        patch_gradient(rows.clone(), decoded, slopes)?;
        quantize(slopes, self.step, self.patches.append(rows.len()));
        Ok(self.patches.part(rows))
    }

    /// The gradient of rows of latents, whose patches are there; they are dropped.
    fn give(&mut self, rows: Range<usize>) -> &mut [f32] {
        let count = rows.len() * self.width;
        let cells = space(&mut self.cells, count * PATCH16);
        let patches = self.patches.part(2 * rows.start..2 * rows.end);
        space_to_depth(patches, 2 * rows.len(), 2 * self.width, PATCH8, 2, cells);
        self.patches.drop_above(2 * rows.end);
        let out = space(&mut self.out, count * self.layer.outputs());
        pointwise(cells, &self.layer, false, None, Output::Real(out));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tests::random_values as values;
    use crate::network::{Inference, QualityModel};

    fn latent(model: &Inference, height: usize, width: usize) -> Grid {
        let mut latent = Grid::zeros(height, width, model.config().latent_channels);
        latent.values = values(latent.values.len(), 1);
        latent
    }

    /// The gradient of half the sum of `target`-weighted squares: `weight * patches`.
    fn gradient(model: &QualityModel<'_>, latent: &Grid, weights: &[f32]) -> Vec<f32> {
        let stride = 2 * latent.width * PATCH8;
        let mut out = vec![0.0; latent.values.len()];
        let row = latent.width * latent.channels;
        let patch_gradient = &mut |rows: Range<usize>, patches: &[f32], gradient: &mut [f32]| {
            let weights = &weights[rows.start * stride..rows.end * stride];
            for ((gradient, patch), weight) in gradient.iter_mut().zip(patches).zip(weights) {
                *gradient = weight * patch;
            }
            Ok(())
        };
        let emit = &mut |rows: Range<usize>, values: &[f32]| {
            out[rows.start * row..rows.end * row].copy_from_slice(values);
            Ok(())
        };
        stream(model, latent, patch_gradient, emit);
        out
    }

    /// The gradient of slopes below 1, with scales that random ones need.
    fn stream(
        model: &QualityModel<'_>,
        latent: &Grid,
        patch_gradient: &mut PatchGradient<'_>,
        emit: &mut Sink<'_>,
    ) {
        let patches = values(4 * latent.height * latent.width * PATCH8, 77);
        let measured = model.measure_gradient(latent, &patches);
        let (_, scales) = measured.expect("it computes");
        let steepest = Steepest::of_mean(1.0 / 32.0);
        let done = model.synthesis_gradient(latent, steepest, &scales, patch_gradient, emit);
        done.expect("it computes");
    }

    fn loss(model: &QualityModel<'_>, latent: &Grid, weights: &[f32]) -> f64 {
        let squares = forward(model, latent).into_iter().zip(weights);
        squares
            .map(|(patch, weight)| f64::from(patch).powi(2) * f64::from(*weight) / 2.0)
            .sum()
    }

    /// What the forward pass makes.
    fn forward(model: &QualityModel, latent: &Grid) -> Vec<f32> {
        let mut out = Vec::new();
        let patch_gradient = &mut |_: Range<usize>, patches: &[f32], gradient: &mut [f32]| {
            out.extend_from_slice(patches);
            gradient.fill(0.0);
            Ok(())
        };
        stream(model, latent, patch_gradient, &mut |_, _| Ok(()));
        out
    }

    #[test]
    fn the_forward_pass_is_near_the_exact_transform() {
        let model = Inference::tiny();
        for stored in [0, 30_000, 50_000] {
            let quality = model.at_quality(stored);
            let latent = latent(&model, 9, 21);
            let mut exact = Vec::new();
            let done = quality.synthesis(&latent, &mut |_, patches| {
                exact.extend_from_slice(patches);
                Ok(())
            });
            done.expect("it computes");
            for (found, exact) in forward(&quality, &latent).into_iter().zip(exact) {
                assert!((found - exact).abs() < 1e-2, "{found} {exact}");
            }
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let model = Inference::tiny();
        let quality = model.at_quality(30_000);
        let latent = latent(&model, 8, 5);
        let weights = values(4 * 8 * 5 * PATCH8, 9);
        let gradient = gradient(&quality, &latent, &weights);
        let norm = gradient
            .iter()
            .map(|g| f64::from(*g).powi(2))
            .sum::<f64>()
            .sqrt();
        // Along random directions: a sum over many latents hardly notices what each is rounded by.
        for seed in 20..26 {
            let direction = values(latent.values.len(), seed);
            let moved = |by: f32| {
                let mut moved = latent.clone();
                let steps = moved.values.iter_mut().zip(&direction);
                steps.for_each(|(value, step)| *value += by * step);
                loss(&quality, &moved, &weights)
            };
            // Far enough for the rounding of the integers to average out.
            let found = (moved(0.25) - moved(-0.25)) / 0.5;
            let along = gradient.iter().zip(&direction);
            let along: f64 = along.map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
            let length = direction
                .iter()
                .map(|d| f64::from(*d).powi(2))
                .sum::<f64>()
                .sqrt();
            assert!(
                (found - along).abs() < 1e-2 * norm * length,
                "{found} {along}"
            );
        }
    }

    #[test]
    fn gradients_do_not_depend_on_threads_or_bands() {
        let model = Inference::tiny();
        let quality = model.at_quality(30_000);
        for (height, width) in [(4, 4), (22, 96), (30, 400)] {
            let latent = latent(&model, height, width);
            let weights = values(4 * height * width * PATCH8, 9);
            let on = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                let pool = pool.expect("threads can be started");
                pool.install(|| gradient(&quality, &latent, &weights))
            };
            // One thread: many bands of few rows; sixteen: one band.
            assert!(on(1) == on(16), "{height}x{width}");
        }
    }
}
