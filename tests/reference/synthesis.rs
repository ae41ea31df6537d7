//! The synthesis transform and the samples (§10).

use super::arrays::Array;
use super::model::{Model, Quality};
use super::vector;

/// The padded picture's samples in raster order.
pub fn samples(model: &Model, quality: &Quality, latent: &Array) -> Vec<[u8; 3]> {
    let linear = model
        .pointwise("synthesis.linear")
        .apply(latent)
        .depth_to_space(2);
    let patches = linear.plus(&network(model, quality, latent));
    let picture = patches.depth_to_space(8);
    picture
        .values
        .chunks_exact(3)
        .map(|pixel| [sample(pixel[0]), sample(pixel[1]), sample(pixel[2])])
        .collect()
}

fn network(model: &Model, quality: &Quality, latent: &Array) -> Array {
    let mut x = model
        .pointwise("synthesis.conv_in")
        .apply(latent)
        .scale(vector(quality, "synthesis16"));
    for i in 0..model.sizes.stage16_blocks {
        x = model.block(&format!("synthesis.stage16.{i}")).apply(&x);
    }
    x = model
        .pointwise("synthesis.up")
        .apply(&x)
        .depth_to_space(2)
        .scale(vector(quality, "synthesis8"));
    for i in 0..model.sizes.stage8_blocks {
        x = model.block(&format!("synthesis.stage8.{i}")).apply(&x);
    }
    if model.sizes.synthesis_out_gain {
        x = x.scale(vector(quality, "synthesis_out"));
    }
    model.pointwise("synthesis.conv_out").apply(&x)
}

fn sample(x: f32) -> u8 {
    let v = x.mul_add(255.0, 127.5);
    let v = if v > 0.0 { v } else { 0.0 };
    let v = if v < 255.0 { v } else { 255.0 };
    (v + 0.5).floor() as u8
}
