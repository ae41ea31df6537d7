//! The gradient of a distortion through the synthesis transform, with respect to the
//! normalized quantized latent ŷ alone: what the encoder's search follows.
//!
//! Forward and back in one pass down the picture, a few rows at a time: the gradient of a row
//! of latents is ready as soon as the rows that it reaches are. Both passes are in binary32 with
//! the weights that the model's integers stand for, on kernels of a fixed order, so a gradient
//! has the same bits on every machine. What the forward pass gives is near the exact transform.

use std::ops::Range;

use super::gains::Gains;
use super::grid::Grid;
use super::integer::IntegerWeights;
use super::real_layers::{real_block, real_pointwise, scale_channels};
use super::stream::{Rows, Sink, bands, space};
use super::stream_gradient::BlockGradientStream;
use crate::format::{PATCH8, PATCH16};
use crate::kernels::{self, PackedBlock, PackedPointwise, pointwise};

/// Turns rows of decoded patches `[rows, 2w, 192]` into the gradient of a distortion with
/// respect to them, and is told which rows they are; called from top to bottom.
pub type PatchGradient<'a> = dyn FnMut(Range<usize>, &[f32], &mut [f32]) -> crate::Result<()> + 'a;

/// The synthesis transform's weights in binary32, and the same transposed.
pub struct SynthesisGradient {
    forward: Layers,
    backward: Layers,
}

struct Layers {
    linear: PackedPointwise,
    conv_in: PackedPointwise,
    stage16: Vec<PackedBlock>,
    up: PackedPointwise,
    stage8: Vec<PackedBlock>,
    conv_out: PackedPointwise,
}

impl SynthesisGradient {
    /// Of the synthesis transform of a model.
    pub fn new(weights: &IntegerWeights) -> Self {
        let config = &weights.config;
        let layer = |name: &str| real_pointwise(weights, &format!("synthesis.{name}"));
        let stage = |name: &str, count: usize| -> Vec<PackedBlock> {
            let path = |i: usize| format!("synthesis.{name}.{i}");
            (0..count).map(|i| real_block(weights, &path(i))).collect()
        };
        let forward = Layers {
            linear: layer("linear"),
            conv_in: layer("conv_in"),
            stage16: stage("stage16", config.stage16_blocks),
            up: layer("up"),
            stage8: stage("stage8", config.stage8_blocks),
            conv_out: layer("conv_out"),
        };
        let backward = forward.transposed();
        Self { forward, backward }
    }

    /// Runs the transform on `latent` and the gradient back: `emit` gets rows of it,
    /// `[rows, w, M]`, from top to bottom, and which they are.
    ///
    /// # Errors
    /// Those of `patch_gradient` and `emit`.
    pub fn stream(
        &self,
        latent: &Grid,
        gains: &Gains,
        patch_gradient: &mut PatchGradient<'_>,
        emit: &mut Sink<'_>,
    ) -> crate::Result<()> {
        let (height, width) = (latent.height, latent.width);
        let (forward, backward) = (&self.forward, &self.backward);
        let (gain16, gain8) = (&gains.synthesis16, &gains.synthesis8);
        let (c16, c8) = (gain16.len(), gain8.len());
        let blocks16 = forward.stage16.iter().zip(&backward.stage16);
        let blocks8 = forward.stage8.iter().zip(&backward.stage8);
        let mut bands = bands(height, width).peekable();
        let at_once = bands.peek().map_or(0, Range::len);
        let mut stage16 = BlockGradientStream::new(blocks16, c16, (height, width), at_once);
        let size8 = (2 * height, 2 * width);
        let mut stage8 = BlockGradientStream::new(blocks8, c8, size8, 2 * at_once);
        let mut patches_gradient = Rows::new(2 * width * PATCH8);
        let mut buffers = Buffers::default();
        let [mut wide, mut cells, mut out, mut path] = [const { Vec::new() }; 4];
        let mut emitted = 0;
        // After the last band what the stages still hold comes out as many rows at a time as before.
        while emitted < height {
            if let Some(band) = bands.next() {
                let x = stage16.input(band.len());
                pointwise(latent.rows(band), &forward.conv_in, None, x);
                scale_channels(x, gain16);
            }
            let done = stage16.output();
            let rows = done.range();
            forward.raise(done, gain8, width, &mut wide, stage8.input(2 * rows.len()));
            done.drop_above(rows.end);
            let done = stage8.output();
            let rows = done.range();
            if !rows.is_empty() {
                if let Some(gain) = &gains.synthesis_out {
                    scale_channels(done.all_mut(), gain);
                }
                let decoded = forward.patches(latent, done, &mut buffers);
                let gradient = patches_gradient.append(rows.len());
                patch_gradient(rows.clone(), decoded, gradient)?;
                done.drop_above(rows.end);
                let back = stage8.output_gradient(rows.len());
                pointwise(patches_gradient.part(rows), &backward.conv_out, None, back);
                if let Some(gain) = &gains.synthesis_out {
                    scale_channels(back, gain);
                }
            }
            let done = stage8.gradient();
            // A row of latents needs two rows; the second may still be missing.
            let (start, rows) = (done.range().start, done.range().len() / 2);
            let lowered = space(&mut wide, 2 * rows * 2 * width * c8);
            lowered.copy_from_slice(done.first(2 * rows));
            done.drop_above(start + 2 * rows);
            scale_channels(lowered, gain8);
            let count = rows * width * 4 * c8;
            let at16 = space(&mut cells, count);
            kernels::space_to_depth(lowered, 2 * rows, 2 * width, c8, 2, at16);
            pointwise(at16, &backward.up, None, stage16.output_gradient(rows));
            let done = stage16.gradient();
            let rows = done.range();
            if rows.is_empty() {
                continue;
            }
            scale_channels(done.all_mut(), gain16);
            let count = rows.len() * width * latent.channels;
            let linear = self.linear_path(&patches_gradient, rows.clone(), width, &mut path);
            let out = space(&mut out, count);
            pointwise(done.all(), &backward.conv_in, Some(linear), out);
            done.drop_above(rows.end);
            patches_gradient.drop_above(2 * rows.end);
            emitted = rows.end;
            emit(rows, out)?;
        }
        Ok(())
    }

    /// The gradient through the linear path alone, of a picture `width` latents wide.
    pub fn linear_stream(&self, width: usize) -> LinearGradient<'_> {
        LinearGradient {
            weights: self,
            width,
            patches: Rows::new(2 * width * PATCH8),
            buffer: Vec::new(),
        }
    }

    /// The gradient through the linear path for some rows of latents, in `buffer`.
    fn linear_path<'a>(
        &self,
        patches: &Rows<f32>,
        rows: Range<usize>,
        width: usize,
        buffer: &'a mut Vec<f32>,
    ) -> &'a [f32] {
        let count = rows.len();
        let values = count * width * PATCH16;
        let outputs = count * width * self.backward.linear.outputs();
        let (cells, out) = space(buffer, values + outputs).split_at_mut(values);
        let patches = patches.part(2 * rows.start..2 * rows.end);
        kernels::space_to_depth(patches, 2 * count, 2 * width, PATCH8, 2, cells);
        pointwise(cells, &self.backward.linear, None, out);
        out
    }
}

impl Layers {
    fn transposed(&self) -> Self {
        let all = |blocks: &[PackedBlock]| blocks.iter().map(PackedBlock::transposed).collect();
        Self {
            linear: self.linear.transposed(),
            conv_in: self.conv_in.transposed(),
            stage16: all(&self.stage16),
            up: self.up.transposed(),
            stage8: all(&self.stage8),
            conv_out: self.conv_out.transposed(),
        }
    }

    /// From the rows `done` at 1/16 to the input `x` of the stage at 1/8.
    fn raise(
        &self,
        done: &Rows<f32>,
        gain8: &[f32],
        width: usize,
        buffer: &mut Vec<f32>,
        x: &mut [f32],
    ) {
        let rows = done.range().len();
        let raised = space(buffer, rows * width * self.up.outputs());
        pointwise(done.all(), &self.up, None, raised);
        kernels::depth_to_space(raised, 2 * rows, 2 * width, gain8.len(), 2, x);
        scale_channels(x, gain8);
    }

    /// The last layer of the rows `done`, added to the linear path.
    fn patches<'a>(&self, latent: &Grid, done: &Rows<f32>, buffers: &'a mut Buffers) -> &'a [f32] {
        let (rows, width) = (done.range(), 2 * latent.width);
        // Rows of patches come in pairs from one row of latents.
        let pairs = rows.start / 2..rows.end.div_ceil(2);
        let count = 2 * pairs.len() * width * PATCH8;
        let skip = (rows.start - 2 * pairs.start) * width * PATCH8;
        let wide = space(&mut buffers.wide, count);
        let (first, height) = (latent.rows(pairs.clone()), 2 * pairs.len());
        pointwise(first, &self.linear, None, wide);
        let linear = space(&mut buffers.linear, count);
        kernels::depth_to_space(wide, height, width, PATCH8, 2, linear);
        let count = rows.len() * width * PATCH8;
        let (linear, out) = (
            &linear[skip..skip + count],
            space(&mut buffers.patches, count),
        );
        pointwise(done.all(), &self.conv_out, Some(linear), out);
        out
    }
}

/// Memory of [`SynthesisGradient::stream`] that is used again for every band.
#[derive(Default)]
struct Buffers {
    wide: Vec<f32>,
    linear: Vec<f32>,
    patches: Vec<f32>,
}

/// The gradient through the linear path alone: an approximation without a backward pass
/// through the network. Patches come a few rows at a time.
pub struct LinearGradient<'a> {
    weights: &'a SynthesisGradient,
    width: usize,
    patches: Rows<f32>,
    buffer: Vec<f32>,
}

impl LinearGradient<'_> {
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
    ) -> crate::Result<()> {
        let gradient = self.patches.append(rows.len());
        patch_gradient(rows, decoded, gradient)?;
        // A row of latents needs two rows; the second may still be missing.
        let held = self.patches.range();
        let rows = held.start / 2..held.end / 2;
        let (weights, buffer) = (self.weights, &mut self.buffer);
        let linear = weights.linear_path(&self.patches, rows.clone(), self.width, buffer);
        emit(rows.clone(), linear)?;
        self.patches.drop_above(2 * rows.end);
        Ok(())
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
        let done = model.synthesis_gradient(latent, patch_gradient, emit);
        done.expect("it computes");
        out
    }

    fn loss(model: &QualityModel<'_>, latent: &Grid, weights: &[f32]) -> f64 {
        let squares = forward(model, latent).into_iter().zip(weights);
        squares
            .map(|(patch, weight)| f64::from(patch).powi(2) * f64::from(*weight) / 2.0)
            .sum()
    }

    /// What the forward pass in binary32 makes.
    fn forward(model: &QualityModel, latent: &Grid) -> Vec<f32> {
        let mut out = Vec::new();
        let patch_gradient = &mut |_: Range<usize>, patches: &[f32], gradient: &mut [f32]| {
            out.extend_from_slice(patches);
            gradient.fill(0.0);
            Ok(())
        };
        let done = model.synthesis_gradient(latent, patch_gradient, &mut |_, _| Ok(()));
        done.expect("it computes");
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
        // Along random directions: the slopes of the activations jump, so a single latent's
        // difference may straddle a jump; a direction's sum hardly notices.
        for seed in 20..26 {
            let direction = values(latent.values.len(), seed);
            let moved = |by: f32| {
                let mut moved = latent.clone();
                let steps = moved.values.iter_mut().zip(&direction);
                steps.for_each(|(value, step)| *value += by * step);
                loss(&quality, &moved, &weights)
            };
            let found = (moved(1e-3) - moved(-1e-3)) / 2e-3;
            let along = gradient.iter().zip(&direction);
            let along: f64 = along.map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
            let length = direction
                .iter()
                .map(|d| f64::from(*d).powi(2))
                .sum::<f64>()
                .sqrt();
            assert!(
                (found - along).abs() < 2e-3 * norm * length,
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
