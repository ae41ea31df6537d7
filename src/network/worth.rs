//! What errors are worth in bits: how the encoder, and training on its choices, weigh distortion against rate.

use crate::format::PATCH16;

/// A Lagrange multiplier (bits per pixel and mean squared error of 8-bit samples) in bits per squared error of one
/// sample from 0 to 1.
pub fn bits_per_squared_sample(lambda: f64) -> f32 {
    // The mean squared error is over three samples per pixel.
    (lambda * 255.0 * 255.0 / 3.0) as f32
}

/// How much more than its own error keeping a latent's symbol is worth, where symbols are chosen by bits and error: a
/// smaller one also tells the latents after it less, and they take more bits. On 16 validation pictures this takes
/// 1.8 % fewer bits than 1 without search and 1 % with it, and 2 takes 0.3 % more.
pub const CHOICE_WORTH: f32 = 1.5;

/// Squared norms of the columns of the linear path's matrix `[768, channels]` in `linear`: how much an error in a
/// latent channel shows in the picture.
pub fn patch_norms(linear: &[f32], channels: usize) -> Vec<f32> {
    let mut norms = vec![0.0; channels];
    for row in linear.chunks_exact(channels).take(PATCH16) {
        for (norm, weight) in norms.iter_mut().zip(row) {
            *norm += weight * weight;
        }
    }
    norms
}

/// The squared error (mean, of 8-bit samples) that weighs as much as a visual error of one. Over validation
/// crops the model for squared error makes 6.5 times as much of it at the lowest quality, 8.5 times at the middle
/// one, and 9.9 times at the highest: the two rise together, so that one factor serves all rates.
pub const VISUAL_BALANCE: f64 = 8.5;

/// The sum of squared errors (samples from 0 to 1) that weighs as much as a visual error of one of a picture of
/// `samples` samples.
pub fn squared_error_of_visual(samples: usize) -> f64 {
    VISUAL_BALANCE * samples as f64 / (255.0 * 255.0)
}

/// How much more or less than plain squared error the distortion of `--tune ssim` may weigh at a latent.
pub const LOCAL_WEIGHTS: (f32, f32) = (0.125, 8.0);

/// How far rounds of search move the values that symbols are chosen for.
pub struct Strides {
    /// Part of the way to the new values that the first round goes.
    pub first: f32,
    /// By how much each round's stride is shorter than the one before: `1 / (1 + n * this)`.
    pub shortening: f32,
    /// How far against the gradient, relative to the minimum that the curvature promises.
    pub overshoot: f32,
}

impl Strides {
    /// Part of the way that a round goes, counted from 0.
    #[must_use]
    pub fn at(&self, round: usize) -> f32 {
        self.first / (1.0 + self.shortening * round as f32)
    }
}
