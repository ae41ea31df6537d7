//! What an error of a latent costs: the curvature of the distortion.
//!
//! By channel it is known of the linear path from the model's weights. What the network makes
//! of an error beside it is measured: by Hutchinson's estimate, the gradient's expected square
//! is the diagonal of the squared Jacobian when random signs take the picture's place.

use std::ops::Range;

use crate::error::Result;
use crate::network::{Grid, QualityModel};

/// Rows and columns of latents that the measurement takes from the middle of the picture.
const PROBE: usize = 16;

/// Part of the measured curvature in the mixture; the rest is that of the linear path. The
/// latter alone is too small in places, the former, of one part of the picture and of small
/// errors, in others.
const MEASURED: f32 = 0.5;

/// How much more or less than the average a channel's curvature may become by the distortion's gradient.
const CHANNEL_RATIO: f32 = 8.0;

/// Curvatures below this are of channels that no symbol is worth.
const LEAST: f32 = 1e-6;

/// Bits that a squared error of one quantization step is worth.
pub(super) struct Curvature {
    /// By latent channel.
    by_channel: Vec<f32>,
    /// How much more or less than the average at each latent, `[h, w, 1]`.
    pub by_position: Option<Grid>,
    /// Whether the channels weigh what the distortion's gradient says.
    is_weighed: bool,
    /// The positions whose latents are not to be moved, in raster order; none where empty.
    pub frozen: Vec<bool>,
}

impl Curvature {
    /// That of the linear path.
    pub fn linear(quality: &QualityModel<'_>) -> Self {
        Self {
            by_channel: quality.bits_per_squared_step.clone(),
            by_position: None,
            is_weighed: false,
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

    /// Of a channel at a position of the picture's latents; none where it is next to nothing or
    /// the latent is not to be moved.
    pub fn at(&self, position: usize, channel: usize) -> Option<f32> {
        if self.frozen.get(position).is_some_and(|frozen| *frozen) {
            return None;
        }
        let local = self
            .by_position
            .as_ref()
            .map_or(1.0, |grid| grid.values[position]);
        let curvature = local * self.by_channel[channel];
        (curvature > LEAST).then_some(curvature)
    }

    /// Mixes in what the middle of the picture's latent `quantized` shows.
    pub fn measure(&mut self, quality: &QualityModel<'_>, quantized: &Grid) -> Result<()> {
        let part = Probe::of(quantized);
        let mut signs = Signs(1);
        let squares = part.gradient_squares(quality, quantized, &mut |_, gradient| {
            gradient.iter_mut().for_each(|value| *value = signs.next());
        })?;
        let positions = (part.size.0 * part.size.1) as f64;
        let steps = quality.latent_inverse_gain.iter().zip(squares);
        for (curvature, (step, squares)) in self.by_channel.iter_mut().zip(steps) {
            let norm = (squares / positions) as f32;
            let measured = quality.bits_per_squared_sample * step * step * norm;
            *curvature += MEASURED * (measured - *curvature);
        }
        Ok(())
    }

    /// Lets the channels weigh what a distortion is worth beside squared error, once, by the sizes of both gradients
    /// in the middle of the picture: each writes rows of that part's patches.
    pub fn weigh_channels(
        &mut self,
        quality: &QualityModel<'_>,
        quantized: &Grid,
        gradients: [&mut KnownGradient<'_>; 2],
    ) -> Result<()> {
        if std::mem::replace(&mut self.is_weighed, true) {
            return Ok(());
        }
        let part = Probe::of(quantized);
        let [distortion, squared] = gradients;
        let distortion = part.gradient_squares(quality, quantized, distortion)?;
        let squared = part.gradient_squares(quality, quantized, squared)?;
        let sum = |squares: &[f64]| squares.iter().sum::<f64>();
        let whole = sum(&distortion) / sum(&squared);
        if !(whole > 0.0 && whole.is_finite()) {
            return Ok(());
        }
        let ratios = distortion.iter().zip(&squared);
        for (curvature, (distortion, squared)) in self.by_channel.iter_mut().zip(ratios) {
            if *squared > 0.0 {
                let ratio = (distortion / squared / whole).sqrt() as f32;
                *curvature *= ratio.clamp(1.0 / CHANNEL_RATIO, CHANNEL_RATIO);
            }
        }
        Ok(())
    }
}

/// Writes the gradient with respect to rows of patches, and is told which rows.
pub(super) type KnownGradient<'a> = dyn FnMut(Range<usize>, &mut [f32]) + 'a;

/// The middle of a picture's latents, which stands for all.
pub(super) struct Probe {
    /// First row and column.
    pub place: (usize, usize),
    /// Rows and columns.
    pub size: (usize, usize),
}

impl Probe {
    /// That of a latent.
    pub fn of(latent: &Grid) -> Self {
        let side = |length: usize| (length.min(PROBE), (length - length.min(PROBE)) / 2);
        let ((height, top), (width, left)) = (side(latent.height), side(latent.width));
        Self {
            place: (top, left),
            size: (height, width),
        }
    }

    /// The sums over the positions of the squared gradient of each channel of `latent`, where `known` writes that of
    /// the part's patches.
    fn gradient_squares(
        &self,
        quality: &QualityModel<'_>,
        latent: &Grid,
        known: &mut KnownGradient<'_>,
    ) -> Result<Vec<f64>> {
        let part = latent.crop(self.place.0, self.place.1, self.size.0, self.size.1);
        let mut squares = vec![0.0f64; part.channels];
        quality.synthesis_gradient(
            &part,
            &mut |rows, _, gradient| {
                known(rows, gradient);
                Ok(())
            },
            &mut |_, gradient| {
                for gradient in gradient.chunks_exact(part.channels) {
                    for (sum, slope) in squares.iter_mut().zip(gradient) {
                        *sum += f64::from(slope * slope);
                    }
                }
                Ok(())
            },
        )?;
        Ok(squares)
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

    /// Of a channel at a position of the tile's latents.
    pub fn at(&self, position: usize, channel: usize) -> f32 {
        let local = self.local.as_ref().map_or(1.0, |local| local[position]);
        local * self.by_channel[channel]
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
