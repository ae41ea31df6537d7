//! Exact inference a few rows at a time, from the top of a picture to its bottom.
//!
//! Every layer keeps only the rows that it still needs: what lies between input and
//! output stays in the cache, and memory grows with the picture's width alone.

use super::layers::Block;
use crate::kernels::integer::Window;
use std::ops::Range;

/// Takes rows of a transform's output, from top to bottom, and is told which they are.
pub type Sink<'a> = dyn FnMut(Range<usize>, &[f32]) -> crate::Result<()> + 'a;

/// Writes rows of a transform's input, and is told which.
pub type Source<'a> = dyn Fn(Range<usize>, &mut [f32]) + 'a;

/// Latents per band and thread: enough to share out, few enough for the cache.
const LATENTS_PER_THREAD: usize = 768;

/// Cuts `height` rows of `width` latents into the bands that are computed at once.
pub(super) fn bands(height: usize, width: usize) -> impl Iterator<Item = Range<usize>> {
    let latents = LATENTS_PER_THREAD * rayon::current_num_threads();
    let rows = latents.div_ceil(width.max(1));
    (0..height)
        .step_by(rows)
        .map(move |top| top..(top + rows).min(height))
}

/// `count` values of a buffer that only grows; their content is unspecified.
pub(super) fn space<T: Copy + Default>(buffer: &mut Vec<T>, count: usize) -> &mut [T] {
    if buffer.len() < count {
        buffer.resize(count, T::default());
    }
    &mut buffer[..count]
}

/// The rows of a picture that are still needed.
pub(super) struct Rows<T> {
    /// Values per row.
    stride: usize,
    range: Range<usize>,
    values: Vec<T>,
}

impl<T: Copy + Default> Rows<T> {
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
    pub fn first(&self, count: usize) -> &[T] {
        &self.values[..count * self.stride]
    }

    /// All rows.
    pub fn all(&self) -> &[T] {
        self.first(self.range.len())
    }

    /// All rows, to be changed.
    pub fn all_mut(&mut self) -> &mut [T] {
        &mut self.values[..self.range.len() * self.stride]
    }

    /// The rows from `row` on.
    pub fn from(&self, row: usize) -> &[T] {
        self.part(row..self.range.end)
    }

    /// These rows, which must be held.
    pub fn part(&self, rows: Range<usize>) -> &[T] {
        let start = (rows.start - self.range.start) * self.stride;
        &self.values[start..start + rows.len() * self.stride]
    }

    /// Adds `count` rows below, to be written.
    pub fn append(&mut self, count: usize) -> &mut [T] {
        let held = self.range.len() * self.stride;
        self.range.end += count;
        let length = self.range.len() * self.stride;
        if self.values.len() < length {
            // Memory that is zero from the start: the threads that write it are the first to touch it.
            let mut values = vec![T::default(); length];
            values[..held].copy_from_slice(&self.values[..held]);
            self.values = values;
        }
        &mut self.values[held..length]
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

/// Rows of a picture of this width, as what a 3 x 3 convolution reads.
pub(super) fn window(rows: &Rows<i16>, width: usize) -> Window<'_> {
    Window {
        data: rows.all(),
        top: rows.range.start,
        left: 0,
        height: rows.range.len(),
        width,
    }
}

/// `values += others`.
pub(super) fn add_to(values: &mut [f32], others: &[f32]) {
    values.iter_mut().zip(others).for_each(|(a, b)| *a += b);
}

/// The end of the rows that a 3 x 3 convolution can compute of `height` rows, from those up to `end`.
pub(super) fn computable(end: usize, height: usize) -> usize {
    if end == height {
        end
    } else {
        end.saturating_sub(1)
    }
}

/// Depth-conv blocks one after another. Each needs the row below the one that it
/// computes, so that its output is one row behind its input.
pub(super) struct BlockStream<'a> {
    blocks: &'a [Block],
    height: usize,
    width: usize,
    /// The input of each block, then the output of the last one.
    rows: Vec<Rows<i16>>,
    /// The first layer of each block.
    first: Vec<Rows<i16>>,
}

impl<'a> BlockStream<'a> {
    /// Blocks of `channels` channels on a picture of `height` x `width` positions.
    pub fn new(blocks: &'a [Block], channels: usize, height: usize, width: usize) -> Self {
        let rows = |count: usize| (0..count).map(|_| Rows::new(width * channels)).collect();
        Self {
            blocks,
            height,
            width,
            rows: rows(blocks.len() + 1),
            first: rows(blocks.len()),
        }
    }

    /// The next `count` rows of the input, to be written.
    pub fn input(&mut self, count: usize) -> &mut [i16] {
        self.rows[0].append(count)
    }

    /// Computes what the input allows. The caller drops the rows of the output
    /// that it needs no more.
    pub fn output(&mut self) -> &mut Rows<i16> {
        for (index, (block, first)) in self.blocks.iter().zip(&mut self.first).enumerate() {
            let (inputs, outputs) = self.rows.split_at_mut(index + 1);
            let (input, output) = (&mut inputs[index], &mut outputs[0]);
            let new = first.range.end..input.range.end;
            block.first_layer(input.part(new.clone()), first.append(new.len()));
            let rows = output.range.end..computable(new.end, self.height);
            if !rows.is_empty() {
                let out = output.append(rows.len());
                let window = window(first, self.width);
                block.other_layers(window, input.part(rows.clone()), rows.clone(), out);
                input.drop_above(rows.end);
                first.drop_above(rows.end - 1);
            }
        }
        &mut self.rows[self.blocks.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::PATCH8;
    use crate::network::tests::random_values;
    use crate::network::{Grid, Inference};

    /// Runs `transform` on pictures that one thread cuts into one band, several, and many, and
    /// sixteen threads into few.
    fn is_alike_in_all_bands(transform: impl Fn(&Inference, usize, usize) -> Vec<f32> + Sync) {
        let model = Inference::tiny();
        for (height, width, bands_on_one) in [(4, 4, 1), (22, 96, 3), (22, 400, 11)] {
            let on = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                let pool = pool.expect("threads can be started");
                let count = pool.install(|| bands(height, width).count());
                (count, pool.install(|| transform(&model, height, width)))
            };
            let (one, many) = (on(1), on(16));
            assert_eq!((one.0, many.0), (bands_on_one, 1));
            assert!(one.1 == many.1, "{height}x{width}");
        }
    }

    #[test]
    fn synthesis_does_not_depend_on_bands() {
        is_alike_in_all_bands(|model, height, width| {
            let mut latent = Grid::zeros(height, width, model.config().latent_channels);
            latent.values = random_values(latent.values.len(), 1);
            let mut streamed = Vec::new();
            let emit = &mut |rows: Range<usize>, patches: &[f32]| {
                assert_eq!(streamed.len(), rows.start * 2 * width * PATCH8);
                streamed.extend_from_slice(patches);
                Ok(())
            };
            let quality = model.at_quality(30_000);
            quality.synthesis(&latent, emit).expect("it computes");
            assert_eq!(streamed.len(), 4 * height * width * PATCH8);
            streamed
        });
    }

    #[test]
    fn analysis_does_not_depend_on_bands() {
        is_alike_in_all_bands(|model, height, width| {
            let stride = 2 * width * PATCH8;
            let patches = random_values(2 * height * stride, 1);
            let mut streamed = Vec::new();
            let read = |rows: Range<usize>, out: &mut [f32]| {
                out.copy_from_slice(&patches[rows.start * stride..rows.end * stride]);
            };
            let emit = &mut |_: Range<usize>, latents: &[f32]| {
                streamed.extend_from_slice(latents);
                Ok(())
            };
            let quality = model.at_quality(30_000);
            let done = quality.analysis((height, width), &read, emit);
            done.expect("it computes");
            streamed
        });
    }
}
