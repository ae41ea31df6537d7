//! The synthesis transform g_s: normalized quantized latent ŷ to picture.
//!
//! `x̂ = patch16⁻¹(Q · ŷ) + g(ŷ)`, the mirror image of the analysis transform.

use candle_core::{Result, Tensor};
use candle_nn::{Module, VarBuilder};

use super::config::{ModelConfig, PATCH8, PATCH16};
use super::grid::Grid;
use super::layers::{Blocks, Mode, Pointwise};
use super::ops::rearrange::depth_to_space;
use super::ops::train::{self, Precision};
use super::quality::Gains;
use super::stream::{BlockStream, Rows, Sink, bands, gain_values, scale_channels, space};
use crate::kernels::{self, pointwise};

/// The synthesis transform's layers.
pub struct Synthesis {
    pub(super) linear: Pointwise,
    pub(super) conv_in: Pointwise,
    pub(super) stage16: Blocks,
    pub(super) up: Pointwise,
    pub(super) stage8: Blocks,
    pub(super) conv_out: Pointwise,
}

impl Synthesis {
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
            linear: Pointwise::with_precision(&vb.pp("linear"), m, PATCH16, mode, Precision::F32)?,
            conv_in: Pointwise::new(&vb.pp("conv_in"), m, c16, mode)?,
            stage16: Blocks::new(&vb.pp("stage16"), config.stage16_blocks, c16, mode)?,
            up: Pointwise::new(&vb.pp("up"), c16, 4 * c8, mode)?,
            stage8: Blocks::new(&vb.pp("stage8"), config.stage8_blocks, c8, mode)?,
            conv_out: Pointwise::new(&vb.pp("conv_out"), c8, PATCH8, mode)?,
        })
    }

    /// Normalized latent `[b, h, w, M]` to patches of 8 x 8 pixels `[b, 2h, 2w, 192]`.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn forward(&self, latent: &Tensor, gains: &Gains) -> Result<Tensor> {
        let x = self.conv_in.forward(latent)?;
        let x = train::scale_channels(&x, &gains.synthesis16)?;
        let x = self.stage16.forward(&x)?;
        let x = depth_to_space(&self.up.forward(&x)?, 2)?;
        let x = train::scale_channels(&x, &gains.synthesis8)?;
        let x = self.stage8.forward(&x)?;
        let x = match &gains.synthesis_out {
            Some(gain) => train::scale_channels(&x, gain)?,
            None => x,
        };
        self.conv_out
            .forward_add(&x, &depth_to_space(&self.linear.forward(latent)?, 2)?)
    }

    /// [`Synthesis::forward`] of one picture, exactly and a few rows at a time: calls
    /// `emit` with rows of patches `[rows, 2w, 192]` from top to bottom, and which they are.
    ///
    /// # Errors
    /// Those of `emit`, and when the layers were made for training.
    pub fn stream(&self, latent: &Grid, gains: &Gains, emit: &mut Sink<'_>) -> crate::Result<()> {
        let (height, width) = (latent.height, latent.width);
        let conv_in = self.conv_in.exact()?;
        let gain16 = gain_values(&gains.synthesis16)?;
        let gain8 = gain_values(&gains.synthesis8)?;
        let gain_out = gains.synthesis_out.as_ref().map(gain_values).transpose()?;
        let (c16, c8) = (gain16.len(), gain8.len());
        let mut stage16 = BlockStream::new(self.stage16.exact()?, c16, height, width);
        let mut stage8 = BlockStream::new(self.stage8.exact()?, c8, 2 * height, 2 * width);
        let mut buffers = Buffers::default();
        for band in bands(height, width) {
            let x = stage16.input(band.len());
            pointwise(latent.rows(band), conv_in, false, None, x);
            scale_channels(x, &gain16);
            let done = stage16.output();
            let rows = done.range();
            let x = stage8.input(2 * rows.len());
            self.raise(done, &gain8, width, &mut buffers.wide, x)?;
            done.drop_above(rows.end);
            let done = stage8.output();
            let rows = done.range();
            if !rows.is_empty() {
                if let Some(gain) = &gain_out {
                    scale_channels(done.all_mut(), gain);
                }
                emit(rows.clone(), self.patches(latent, done, &mut buffers)?)?;
                done.drop_above(rows.end);
            }
        }
        Ok(())
    }

    /// From the rows `done` at 1/16 to the input `x` of the stage at 1/8.
    pub(super) fn raise(
        &self,
        done: &Rows,
        gain8: &[f32],
        width: usize,
        buffer: &mut Vec<f32>,
        x: &mut [f32],
    ) -> Result<()> {
        let (up, rows) = (self.up.exact()?, done.range().len());
        let raised = space(buffer, rows * width * up.outputs());
        pointwise(done.all(), up, false, None, raised);
        kernels::depth_to_space(raised, 2 * rows, 2 * width, gain8.len(), 2, x);
        scale_channels(x, gain8);
        Ok(())
    }

    /// The last layer of the rows `done`, added to the linear path.
    pub(super) fn patches<'a>(
        &self,
        latent: &Grid,
        done: &Rows,
        buffers: &'a mut Buffers,
    ) -> Result<&'a [f32]> {
        let (rows, width) = (done.range(), 2 * latent.width);
        // Rows of patches come in pairs from one row of latents.
        let pairs = rows.start / 2..rows.end.div_ceil(2);
        let count = 2 * pairs.len() * width * PATCH8;
        let skip = (rows.start - 2 * pairs.start) * width * PATCH8;
        let wide = space(&mut buffers.wide, count);
        let (first, height) = (latent.rows(pairs.clone()), 2 * pairs.len());
        pointwise(first, self.linear.exact()?, false, None, wide);
        let linear = space(&mut buffers.linear, count);
        kernels::depth_to_space(wide, height, width, PATCH8, 2, linear);
        let count = rows.len() * width * PATCH8;
        let (linear, out) = (
            &linear[skip..skip + count],
            space(&mut buffers.patches, count),
        );
        pointwise(done.all(), self.conv_out.exact()?, false, Some(linear), out);
        Ok(out)
    }
}

/// Memory of [`Synthesis::stream`] that is used again for every band.
#[derive(Default)]
pub(super) struct Buffers {
    wide: Vec<f32>,
    linear: Vec<f32>,
    patches: Vec<f32>,
}
