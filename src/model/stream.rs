//! Exact inference a few rows at a time, from the top of a picture to its bottom.
//!
//! Every layer keeps only the rows that it still needs: what lies between input and
//! output stays in the cache, and memory grows with the picture's width alone.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use crate::kernels::{PackedBlock, block_rows};

/// Takes rows of a transform's output, from top to bottom, and is told which they are.
pub type Sink<'a> = dyn FnMut(Range<usize>, &[f32]) -> crate::Result<()> + 'a;

/// Writes rows of a transform's input, and is told which.
pub type Source<'a> = dyn Fn(Range<usize>, &mut [f32]) + 'a;

/// Latents per band and thread: enough to share out, few enough for the cache.
const LATENTS_PER_THREAD: usize = 768;

/// Fewest rows per band: each computes part of the first layer of two rows again.
const MIN_ROWS: usize = 4;

/// Cuts `height` rows of `width` latents into the bands that are computed at once.
pub(super) fn bands(height: usize, width: usize) -> impl Iterator<Item = Range<usize>> {
    let latents = LATENTS_PER_THREAD * rayon::current_num_threads();
    let rows = latents.div_ceil(width.max(1)).max(MIN_ROWS);
    (0..height)
        .step_by(rows)
        .map(move |top| top..(top + rows).min(height))
}

/// `x *= gain[channel]` for every position.
pub(super) fn scale_channels(x: &mut [f32], gain: &[f32]) {
    let positions = LATENTS_PER_THREAD / 8;
    x.par_chunks_mut(positions * gain.len()).for_each(|x| {
        for x in x.chunks_exact_mut(gain.len()) {
            x.iter_mut().zip(gain).for_each(|(x, gain)| *x *= gain);
        }
    });
}

/// The values of a gain vector at one quality.
pub(super) fn gain_values(gain: &Tensor) -> Result<Vec<f32>> {
    gain.flatten_all()?.to_vec1()
}

/// `count` values of a buffer that only grows; their content is unspecified.
pub(super) fn space(buffer: &mut Vec<f32>, count: usize) -> &mut [f32] {
    if buffer.len() < count {
        buffer.resize(count, 0.0);
    }
    &mut buffer[..count]
}

/// The rows of a picture that are still needed.
pub(super) struct Rows {
    /// Values per row.
    stride: usize,
    range: Range<usize>,
    values: Vec<f32>,
}

impl Rows {
    /// No rows, of `stride` values each.
    pub fn new(stride: usize) -> Self {
        Self {
            stride,
            range: 0..0,
            values: Vec::new(),
        }
    }

    /// Which rows of the picture are held.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// The first `count` rows.
    pub fn first(&self, count: usize) -> &[f32] {
        &self.values[..count * self.stride]
    }

    /// All rows.
    pub fn all(&self) -> &[f32] {
        self.first(self.range.len())
    }

    /// All rows, to be changed.
    pub fn all_mut(&mut self) -> &mut [f32] {
        &mut self.values[..self.range.len() * self.stride]
    }

    /// The rows from `row` on.
    pub fn from(&self, row: usize) -> &[f32] {
        self.part(row..self.range.end)
    }

    /// These rows, which must be held.
    pub fn part(&self, rows: Range<usize>) -> &[f32] {
        let start = (rows.start - self.range.start) * self.stride;
        &self.values[start..start + rows.len() * self.stride]
    }

    /// Adds `count` rows below, to be written.
    pub fn append(&mut self, count: usize) -> &mut [f32] {
        let held = self.range.len() * self.stride;
        self.range.end += count;
        let length = self.range.len() * self.stride;
        &mut space(&mut self.values, length)[held..]
    }

    /// Drops the rows above `row`.
    pub fn drop_above(&mut self, row: usize) {
        let row = row.clamp(self.range.start, self.range.end);
        let held = self.range.len() * self.stride;
        let dropped = (row - self.range.start) * self.stride;
        self.values.copy_within(dropped..held, 0);
        self.range.start = row;
    }
}

/// Depth-conv blocks one after another. Each needs the row below the one that it
/// computes, so that its output is one row behind its input.
pub(super) struct BlockStream<'a> {
    blocks: &'a [Arc<PackedBlock>],
    height: usize,
    width: usize,
    /// The input of each block, then the output of the last one.
    rows: Vec<Rows>,
}

impl<'a> BlockStream<'a> {
    /// Blocks of `channels` channels on a picture of `height` x `width` positions.
    pub fn new(
        blocks: &'a [Arc<PackedBlock>],
        channels: usize,
        height: usize,
        width: usize,
    ) -> Self {
        let rows = (0..=blocks.len()).map(|_| Rows::new(width * channels));
        Self {
            blocks,
            height,
            width,
            rows: rows.collect(),
        }
    }

    /// The next `count` rows of the input, to be written.
    pub fn input(&mut self, count: usize) -> &mut [f32] {
        self.rows[0].append(count)
    }

    /// Computes what the input allows. The caller drops the rows of the output
    /// that it needs no more.
    pub fn output(&mut self) -> &mut Rows {
        for (index, block) in self.blocks.iter().enumerate() {
            let (inputs, outputs) = self.rows.split_at_mut(index + 1);
            let (input, output) = (&mut inputs[index], &mut outputs[0]);
            let have = input.range();
            let end = if have.end == self.height {
                have.end
            } else {
                have.end.saturating_sub(1)
            };
            let start = output.range.end;
            if start < end {
                let rows = start - have.start..end - have.start;
                let out = output.append(end - start);
                block_rows(input.all(), have.len(), self.width, rows, block, out);
                input.drop_above(end - 1);
            }
        }
        &mut self.rows[self.blocks.len()]
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::model::config::PATCH8;
    use crate::model::{Grid, Inference};

    fn values(count: usize) -> Vec<f32> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 16_777_216.0 - 0.5
        };
        (0..count).map(|_| next()).collect()
    }

    /// Runs `check` where pictures of these sizes are cut into one band, several, and many.
    fn on_sizes(check: impl Fn(&Inference, usize, usize) + Sync) {
        let model = Inference::tiny();
        let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        one_thread.expect("a thread can be started").install(|| {
            assert_eq!(bands(22, 96).count(), 3);
            assert_eq!(bands(22, 400).count(), 6);
            for (height, width) in [(4, 4), (22, 96), (22, 400)] {
                check(&model, height, width);
            }
        });
    }

    #[test]
    fn streamed_synthesis_equals_that_of_the_whole_picture() {
        on_sizes(|model, height, width| {
            let channels = model.config().latent_channels;
            let mut latent = Grid::zeros(height, width, channels);
            latent.values = values(latent.values.len());
            let shape = (1, height, width, channels);
            let whole = Tensor::from_vec(latent.values.clone(), shape, &Device::Cpu);
            let quality = model.at_quality(30_000).expect("a quality");
            let whole = quality.synthesis_of(&whole.expect("a tensor"));
            let mut streamed = Vec::new();
            let emit = &mut |rows: Range<usize>, patches: &[f32]| {
                assert_eq!(streamed.len(), rows.start * 2 * width * PATCH8);
                streamed.extend_from_slice(patches);
                Ok(())
            };
            quality.synthesis(&latent, emit).expect("it computes");
            assert!(streamed == whole.expect("it computes"), "{height}x{width}");
        });
    }

    #[test]
    fn streamed_analysis_equals_that_of_the_whole_picture() {
        on_sizes(|model, height, width| {
            let stride = 2 * width * PATCH8;
            let patches = values(2 * height * stride);
            let shape = (1, 2 * height, 2 * width, PATCH8);
            let whole = Tensor::from_vec(patches.clone(), shape, &Device::Cpu);
            let quality = model.at_quality(30_000).expect("a quality");
            let whole = quality.analysis_of(&whole.expect("a tensor"));
            let mut streamed = Vec::new();
            let read = |rows: Range<usize>, out: &mut [f32]| {
                out.copy_from_slice(&patches[rows.start * stride..rows.end * stride]);
            };
            let emit = &mut |_: Range<usize>, latents: &[f32]| {
                streamed.extend_from_slice(latents);
                Ok(())
            };
            let done = quality.analysis((height, width), &read, emit);
            done.expect("it computes");
            assert!(streamed == whole.expect("it computes"), "{height}x{width}");
        });
    }
}
