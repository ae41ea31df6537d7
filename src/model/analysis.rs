//! The analysis transform g_a: picture to normalized latent y.
//!
//! `y = P · patch16(x) + f(x)`: a linear transform of 16 x 16 patches that starts
//! as their principal components, and a network that learns corrections to it.

use std::ops::Range;

use candle_core::{Result, Tensor};
use candle_nn::{Module, VarBuilder};

use super::config::{ModelConfig, PATCH8, PATCH16};
use super::layers::{Blocks, Mode, Pointwise};
use super::ops::rearrange::space_to_depth;
use super::ops::train::{self, Precision};
use super::quality::Gains;
use super::stream::{BlockStream, Sink, Source, bands, gain_values, scale_channels, space};
use crate::kernels::{self, pointwise};

/// The analysis transform's layers.
pub struct Analysis {
    linear: Pointwise,
    conv_in: Pointwise,
    stage8: Blocks,
    down: Pointwise,
    stage16: Blocks,
    conv_out: Pointwise,
}

impl Analysis {
    /// Reads the layers under `vb`.
    ///
    /// # Errors
    /// When weights are missing or of another size.
    pub fn new(config: &ModelConfig, vb: &VarBuilder, mode: &Mode) -> Result<Self> {
        let (c8, c16, m) = (
            config.stage8_channels,
            config.stage16_channels,
            config.latent_channels,
        );
        Ok(Self {
            linear: Pointwise::with_precision(&vb.pp("linear"), PATCH16, m, mode, Precision::F32)?
                .without_input_gradient(),
            conv_in: Pointwise::new(&vb.pp("conv_in"), PATCH8, c8, mode)?.without_input_gradient(),
            stage8: Blocks::new(&vb.pp("stage8"), config.stage8_blocks, c8, mode)?,
            down: Pointwise::new(&vb.pp("down"), 4 * c8, c16, mode)?,
            stage16: Blocks::new(&vb.pp("stage16"), config.stage16_blocks, c16, mode)?,
            conv_out: Pointwise::new(&vb.pp("conv_out"), c16, m, mode)?,
        })
    }

    /// `[b, h, w, 192]` patches of 8 x 8 pixels in -0.5..=0.5 to the normalized
    /// latent `[b, h/2, w/2, M]`.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn forward(&self, patches: &Tensor, gains: &Gains) -> Result<Tensor> {
        let x = self.conv_in.forward(patches)?;
        let x = train::scale_channels(&x, &gains.analysis8)?;
        let x = self.stage8.forward(&x)?;
        let x = self.down.forward(&space_to_depth(&x, 2)?)?;
        let x = train::scale_channels(&x, &gains.analysis16)?;
        let x = self.stage16.forward(&x)?;
        let linear = self.linear.forward(&space_to_depth(patches, 2)?)?;
        self.conv_out.forward_add(&x, &linear)
    }

    /// [`Analysis::forward`] of one picture of `height` x `width` latents, exactly and a
    /// few rows at a time. `read` writes rows of patches `[rows, 2w, 192]`, `emit` gets
    /// rows of latents `[rows, w, M]` from top to bottom; both are told which they are.
    ///
    /// # Errors
    /// Those of `emit`, and when the layers were made for training.
    pub fn stream(
        &self,
        (height, width): (usize, usize),
        gains: &Gains,
        read: &Source<'_>,
        emit: &mut Sink<'_>,
    ) -> crate::Result<()> {
        let gain8 = gain_values(&gains.analysis8)?;
        let gain16 = gain_values(&gains.analysis16)?;
        let (c8, c16) = (gain8.len(), gain16.len());
        let mut stage8 = BlockStream::new(self.stage8.exact()?, c8, 2 * height, 2 * width);
        let mut stage16 = BlockStream::new(self.stage16.exact()?, c16, height, width);
        let [mut patches, mut cells, mut linear, mut out] = [const { Vec::new() }; 4];
        for band in bands(height, width) {
            let patches = space(&mut patches, 2 * band.len() * 2 * width * PATCH8);
            read(2 * band.start..2 * band.end, patches);
            let x = stage8.input(2 * band.len());
            pointwise(patches, self.conv_in.exact()?, false, None, x);
            scale_channels(x, &gain8);

            let done = stage8.output();
            // A row of cells needs two rows; the second may still be missing.
            let (start, rows) = (done.range().start, done.range().len() / 2);
            let cells = space(&mut cells, rows * width * 4 * c8);
            kernels::space_to_depth(done.first(2 * rows), 2 * rows, 2 * width, c8, 2, cells);
            done.drop_above(start + 2 * rows);
            let x = stage16.input(rows);
            pointwise(cells, self.down.exact()?, false, None, x);
            scale_channels(x, &gain16);

            let done = stage16.output();
            let rows = done.range();
            if rows.is_empty() {
                continue;
            }
            let linear = self.linear_path(rows.clone(), width, read, &mut linear)?;
            let conv_out = self.conv_out.exact()?;
            let out = space(&mut out, rows.len() * width * conv_out.outputs());
            pointwise(done.all(), conv_out, false, Some(linear), out);
            done.drop_above(rows.end);
            emit(rows, out)?;
        }
        Ok(())
    }

    /// The linear transform of some rows of latents, in `buffer`.
    fn linear_path<'a>(
        &self,
        rows: Range<usize>,
        width: usize,
        read: &Source<'_>,
        buffer: &'a mut Vec<f32>,
    ) -> Result<&'a [f32]> {
        let linear = self.linear.exact()?;
        let (values, count) = (rows.len() * width * PATCH16, rows.len());
        let outputs = rows.len() * width * linear.outputs();
        let (patches, rest) = space(buffer, 2 * values + outputs).split_at_mut(values);
        let (cells, out) = rest.split_at_mut(values);
        read(2 * rows.start..2 * rows.end, patches);
        kernels::space_to_depth(patches, 2 * count, 2 * width, PATCH8, 2, cells);
        pointwise(cells, linear, false, None, out);
        Ok(out)
    }
}
