//! The synthesis transform g_s: normalized quantized latent ŷ to picture, exactly and a few
//! rows at a time.
//!
//! `x̂ = patch16⁻¹(Q · ŷ) + g(ŷ)`, the mirror image of the analysis transform.

use rayon::prelude::*;

use super::gains::Gains;
use super::grid::Grid;
use super::layers::{Block, Entry, Gain, Head, Loader, Pointwise};
use super::signals::{LATENT, SYNTHESIS_OUT};
use super::stream::{BlockStream, Rows, Sink, add_to, bands, space};
use crate::error::Result;
use crate::format::{PATCH8, PATCH16};
use crate::kernels::depth_to_space;

/// The synthesis transform's layers.
pub struct Synthesis {
    pub(super) latent: Entry,
    linear: Head,
    pub(super) conv_in: Pointwise,
    pub(super) stage16: Vec<Block>,
    pub(super) up: Pointwise,
    pub(super) stage8: Vec<Block>,
    pub(super) out_gain: Option<Gain>,
    conv_out: Head,
}

impl Synthesis {
    /// Makes the layers.
    ///
    /// # Errors
    /// When weights are missing.
    pub fn new(from: &Loader<'_>) -> Result<Self> {
        let config = &from.weights.config;
        Ok(Self {
            latent: Entry::new(from, LATENT)?,
            linear: Head::new(from, "synthesis.linear")?,
            conv_in: Pointwise::new(from, "synthesis.conv_in")?,
            stage16: Block::list(from, "synthesis.stage16", config.stage16_blocks)?,
            up: Pointwise::new(from, "synthesis.up")?,
            stage8: Block::list(from, "synthesis.stage8", config.stage8_blocks)?,
            out_gain: (config.synthesis_out_gain)
                .then(|| Gain::new(from, SYNTHESIS_OUT))
                .transpose()?,
            conv_out: Head::new(from, "synthesis.conv_out")?,
        })
    }

    /// The picture of `latent` `[h, w, M]`: calls `emit` with rows of patches of 8 x 8 pixels
    /// `[rows, 2w, 192]` from top to bottom, and which they are.
    ///
    /// # Errors
    /// Those of `emit`.
    pub fn stream(&self, latent: &Grid, gains: &Gains, emit: &mut Sink<'_>) -> Result<()> {
        let (height, width) = (latent.height, latent.width);
        let conv_in = self.conv_in.with_gain(&gains.synthesis16);
        let up = self.up.with_gain(&gains.synthesis8);
        let (c16, c8) = (gains.synthesis16.len(), gains.synthesis8.len());
        let mut stage16 = BlockStream::new(&self.stage16, c16, height, width);
        let mut stage8 = BlockStream::new(&self.stage8, c8, 2 * height, 2 * width);
        let mut integers = Rows::new(width * latent.channels);
        let mut cells = Vec::new();
        let mut buffers = Buffers::default();
        for band in bands(height, width) {
            let rounded = integers.append(band.len());
            self.latent.round(latent.rows(band.clone()), rounded);
            conv_in.apply(rounded, stage16.input(band.len()));

            let done = stage16.output();
            let rows = done.range();
            let cells = space(&mut cells, rows.len() * width * 4 * c8);
            up.apply(done.all(), cells);
            done.drop_above(rows.end);
            let x = stage8.input(2 * rows.len());
            depth_to_space(cells, 2 * rows.len(), 2 * width, c8, 2, x);

            let done = stage8.output();
            let rows = done.range();
            if !rows.is_empty() {
                if let (Some(out), Some(gain)) = (&self.out_gain, &gains.synthesis_out) {
                    out.apply(done.all_mut(), gain);
                }
                emit(
                    rows.clone(),
                    self.patches(&integers, done, width, &mut buffers),
                )?;
                done.drop_above(rows.end);
                integers.drop_above(rows.end / 2);
            }
        }
        Ok(())
    }

    /// The last layer of the rows `done`, added to the linear path.
    pub(super) fn patches<'a>(
        &self,
        latent: &Rows<i16>,
        done: &Rows<i16>,
        width: usize,
        buffers: &'a mut Buffers,
    ) -> &'a [f32] {
        let rows = done.range();
        // Rows of patches come in pairs from one row of latents.
        let pairs = rows.start / 2..rows.end.div_ceil(2);
        let stride = 2 * width * PATCH8;
        let linear = space(&mut buffers.linear, pairs.len() * width * PATCH16);
        self.linear.apply(latent.part(pairs.clone()), linear);
        let out = space(&mut buffers.patches, rows.len() * stride);
        self.conv_out.apply(done.all(), out);
        let of_row = out.par_chunks_mut(stride).zip(rows);
        of_row.for_each(|(out, row)| {
            let squares = &linear[(row / 2 - pairs.start) * width * PATCH16..];
            let squares = squares.chunks_exact(PATCH16);
            // Two patches side by side are one half of a square.
            let half = row % 2 * PATCH16 / 2;
            for (out, square) in out.chunks_exact_mut(PATCH16 / 2).zip(squares) {
                add_to(out, &square[half..half + PATCH16 / 2]);
            }
        });
        out
    }
}

/// Memory of [`Synthesis::stream`] that is used again for every band.
#[derive(Default)]
pub(super) struct Buffers {
    linear: Vec<f32>,
    patches: Vec<f32>,
}
