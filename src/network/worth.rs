//! What errors are worth in bits: how the encoder, and training on its choices, weigh distortion against rate.

use crate::format::PATCH16;

/// A Lagrange multiplier (bits per pixel and mean squared error of 8-bit samples) in bits per squared error of one
/// sample from 0 to 1.
#[must_use]
pub fn bits_per_squared_sample(lambda: f64) -> f32 {
    // The mean squared error is over three samples per pixel.
    (lambda * 255.0 * 255.0 / 3.0) as f32
}

/// Squared norms of the columns of the linear path's matrix `[768, channels]` in `linear`: how much an error in a
/// latent channel shows in the picture.
#[must_use]
pub fn patch_norms(linear: &[f32], channels: usize) -> Vec<f32> {
    let mut norms = vec![0.0; channels];
    for row in linear.chunks_exact(channels).take(PATCH16) {
        for (norm, weight) in norms.iter_mut().zip(row) {
            *norm += weight * weight;
        }
    }
    norms
}
