//! What an error of a latent costs: the curvature of the distortion.
//!
//! By channel it is known of the linear path from the model's weights. What the network makes
//! of an error beside it is measured: by Hutchinson's estimate, the gradient's expected square
//! is the diagonal of the squared Jacobian when random signs take the picture's place.

use super::price::Price;
use crate::error::Result;
use crate::format::PATCH8;
use crate::network::worth::CHOICE_WORTH;
use crate::network::{GradientScales, Grid, QualityModel};

/// Rows and columns of latents that the measurement takes from the middle of the picture.
const PROBE: usize = 16;

/// Part of the measured curvature in the mixture; the rest is that of the linear path. The
/// latter alone is too small in places, the former, of one part of the picture and of small
/// errors, in others.
const MEASURED: f32 = 0.5;

/// The size of the random slopes that show what scales gradients need: those of a picture are up to 1, but a 32th of that
/// in the mean.
const SIGN: f32 = 0.25;

/// Curvatures below this are of channels that no symbol is worth.
pub(super) const LEAST: f32 = 1e-6;

/// Bits that a squared error of one quantization step is worth.
pub(super) struct Curvature {
    /// By latent channel.
    by_channel: Vec<f32>,
    /// How much more or less than the average at each latent, `[h, w, 1]`.
    pub by_position: Option<Grid>,
    /// The positions whose latents are not to be moved, in raster order; none where empty.
    pub frozen: Vec<bool>,
}

impl Curvature {
    /// That of the linear path.
    pub fn linear(price: &Price) -> Self {
        Self {
            by_channel: price.squared_step.clone(),
            by_position: None,
            frozen: Vec::new(),
        }
    }

    /// That of the tile that begins at this row and column of latents and has this height and
    /// width.
    pub fn of_tile(&self, place: (usize, usize), size: (usize, usize)) -> TileCurvature<'_> {
        let crop = |grid: &Grid| grid.crop(place.0, place.1, size.0, size.1).values;
        TileCurvature {
            by_channel: &self.by_channel,
            local: self.by_position.as_ref().map(crop),
        }
    }

    /// By channel, at an average position.
    pub fn by_channel(&self) -> &[f32] {
        &self.by_channel
    }

    /// How much more or less than the average at a position of the picture's latents; none where they are not to be
    /// moved.
    pub fn at(&self, position: usize) -> Option<f32> {
        if self.frozen.get(position).is_some_and(|frozen| *frozen) {
            return None;
        }
        let local = self.by_position.as_ref();
        Some(local.map_or(1.0, |grid| grid.values[position]))
    }

    /// Mixes in what the middle of the picture's latent `quantized` shows; gives the scales that gradients need there.
    pub fn measure(
        &mut self,
        quality: &QualityModel<'_>,
        price: &Price,
        quantized: &Grid,
    ) -> Result<GradientScales> {
        let side = |length: usize| (length.min(PROBE), (length - length.min(PROBE)) / 2);
        let ((height, top), (width, left)) = (side(quantized.height), side(quantized.width));
        let part = quantized.crop(top, left, height, width);
        let mut signs = Signs(1);
        let patches = 4 * height * width * PATCH8;
        let patches: Vec<f32> = (0..patches).map(|_| SIGN * signs.next()).collect();
        let (gradient, scales) = quality.measure_gradient(&part, &patches)?;
        let mut squares = vec![0.0f64; part.channels];
        for gradient in gradient.chunks_exact(part.channels) {
            for (sum, slope) in squares.iter_mut().zip(gradient) {
                *sum += f64::from(slope * slope / (SIGN * SIGN));
            }
        }
        let positions = (height * width) as f64;
        let steps = quality.latent_inverse_gain.iter().zip(squares);
        for (curvature, (step, squares)) in self.by_channel.iter_mut().zip(steps) {
            let norm = (squares / positions) as f32;
            let measured = price.squared_sample * step * step * norm;
            *curvature += MEASURED * (measured - *curvature);
        }
        Ok(scales)
    }
}

/// The curvature within a tile.
pub(super) struct TileCurvature<'a> {
    by_channel: &'a [f32],
    /// How much more or less than the average at each latent; all the same without.
    local: Option<Vec<f32>>,
}

impl TileCurvature<'_> {
    /// Latent channels.
    pub fn channels(&self) -> usize {
        self.by_channel.len()
    }

    /// What symbols are chosen by: the curvature of a channel at a position of the tile's latents, and what keeping
    /// a symbol is worth besides.
    pub fn choice_weight(&self, position: usize, channel: usize) -> f32 {
        let local = self.local.as_ref().map_or(1.0, |local| local[position]);
        CHOICE_WORTH * local * self.by_channel[channel]
    }
}

/// Random signs, always the same.
struct Signs(u32);

impl Signs {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if self.0 >> 31 == 0 { 1.0 } else { -1.0 }
    }
}
