//! The analysis transform g_a: picture to normalized latent y, exactly and a few rows at a
//! time.
//!
//! `y = P · patch16(x) + f(x)`: a linear transform of 16 x 16 patches, and a network that
//! corrects it.

use rayon::prelude::*;

use super::gains::Gains;
use super::layers::{Block, Head, Loader, Pointwise};
use super::stream::{BlockStream, Rows, Sink, Source, add_to, bands, space};
use crate::error::Result;
use crate::format::{PATCH_EXPONENT, PATCH8, PATCH16};
use crate::kernels::integer::{Scale, quantize};
use crate::kernels::space_to_depth;

/// The analysis transform's layers.
pub struct Analysis {
    linear: Head,
    conv_in: Pointwise,
    stage8: Vec<Block>,
    down: Pointwise,
    stage16: Vec<Block>,
    conv_out: Head,
}

impl Analysis {
    /// Makes the layers.
    ///
    /// # Errors
    /// When weights are missing.
    pub fn new(from: &Loader<'_>) -> Result<Self> {
        let config = &from.weights.config;
        Ok(Self {
            linear: Head::new(from, "analysis.linear")?,
            conv_in: Pointwise::new(from, "analysis.conv_in")?,
            stage8: Block::list(from, "analysis.stage8", config.stage8_blocks)?,
            down: Pointwise::new(from, "analysis.down")?,
            stage16: Block::list(from, "analysis.stage16", config.stage16_blocks)?,
            conv_out: Head::new(from, "analysis.conv_out")?,
        })
    }

    /// The latent of a picture of `height` x `width` latents. `read` writes rows of patches
    /// `[rows, 2w, 192]`, `emit` gets rows of latents `[rows, w, M]` from top to bottom; both
    /// are told which they are.
    ///
    /// # Errors
    /// Those of `emit`.
    pub fn stream(
        &self,
        (height, width): (usize, usize),
        gains: &Gains,
        read: &Source<'_>,
        emit: &mut Sink<'_>,
    ) -> Result<()> {
        let conv_in = self.conv_in.with_gain(&gains.analysis8);
        let down = self.down.with_gain(&gains.analysis16);
        let (c8, c16) = (gains.analysis8.len(), gains.analysis16.len());
        let mut stage8 = BlockStream::new(&self.stage8, c8, 2 * height, 2 * width);
        let mut stage16 = BlockStream::new(&self.stage16, c16, height, width);
        let unit = Scale::from_exponent(PATCH_EXPONENT.into());
        let unit = unit.unwrap_or_else(|| unreachable!("it is within the range"));
        let mut patches = Rows::new(2 * width * PATCH8);
        let mut samples = Vec::new();
        let [mut cells, mut squares] = [const { Vec::new() }; 2];
        let [mut linear, mut out] = [const { Vec::new() }; 2];
        for band in bands(height, width) {
            let samples = space(&mut samples, 2 * band.len() * 2 * width * PATCH8);
            read(2 * band.start..2 * band.end, samples);
            let integers = patches.append(2 * band.len());
            quantize(samples, unit, integers);
            let x = stage8.input(2 * band.len());
            conv_in.apply(integers, x);

            let done = stage8.output();
            // A row of cells needs two rows; the second may still be missing.
            let (start, rows) = (done.range().start, done.range().len() / 2);
            let cells = space(&mut cells, rows * width * 4 * c8);
            space_to_depth(done.first(2 * rows), 2 * rows, 2 * width, c8, 2, cells);
            done.drop_above(start + 2 * rows);
            down.apply(cells, stage16.input(rows));

            let done = stage16.output();
            let rows = done.range();
            if rows.is_empty() {
                continue;
            }
            let count = rows.len() * width;
            let squares = space(&mut squares, count * PATCH16);
            let of_rows = patches.part(2 * rows.start..2 * rows.end);
            space_to_depth(of_rows, 2 * rows.len(), 2 * width, PATCH8, 2, squares);
            patches.drop_above(2 * rows.end);
            let linear = space(&mut linear, count * self.linear.outputs());
            self.linear.apply(squares, linear);
            let out = space(&mut out, linear.len());
            self.conv_out.apply(done.all(), out);
            done.drop_above(rows.end);
            let rows_of = width * self.linear.outputs();
            let both = out.par_chunks_mut(rows_of).zip(linear.par_chunks(rows_of));
            both.for_each(|(out, linear)| add_to(out, linear));
            emit(rows, out)?;
        }
        Ok(())
    }
}
