//! The synthesis transform and the samples (§10).

use super::arrays::{Array, Integers};
use super::model::{Model, Quality};
use super::vector;

/// The padded picture's samples in raster order.
pub fn samples(model: &Model, quality: &Quality, latent: &Array<f32>) -> Vec<[u8; 3]> {
    let y = latent.rounded(model.exponent("latent"));
    let linear = model.layer("synthesis.linear").reals(&y).depth_to_space(2);
    let patches = linear.plus(&network(model, quality, &y));
    let picture = patches.depth_to_space(8);
    picture
        .values
        .chunks_exact(3)
        .map(|pixel| [sample(pixel[0]), sample(pixel[1]), sample(pixel[2])])
        .collect()
}

fn network(model: &Model, quality: &Quality, y: &Integers) -> Array<f32> {
    let mut x = model.gained("synthesis.conv_in", vector(quality, "synthesis16"), y);
    for i in 0..model.sizes.stage16_blocks {
        x = model.block(&format!("synthesis.stage16.{i}"), &x);
    }
    x = model
        .gained("synthesis.up", vector(quality, "synthesis8"), &x)
        .depth_to_space(2);
    for i in 0..model.sizes.stage8_blocks {
        x = model.block(&format!("synthesis.stage8.{i}"), &x);
    }
    if model.sizes.synthesis_out_gain {
        let exponent = model.exponent("synthesis.out");
        x = x.scale(vector(quality, "synthesis_out"), exponent);
    }
    model.layer("synthesis.conv_out").reals(&x)
}

fn sample(x: f32) -> u8 {
    let v = x * 255.0;
    let v = v + 127.5;
    let v = if v > 0.0 { v } else { 0.0 };
    let v = if v < 255.0 { v } else { 255.0 };
    (v + 0.5).floor() as u8
}
