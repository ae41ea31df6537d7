//! Renders the sample picture of this project, `samples/scene.png`: a mountain lake with a
//! balloon and a jetty, ray-marched, so that no photograph has to be distributed.
//!
//! It has what photographs have and codecs find hard: soft gradients, fine texture at many
//! scales, sharp edges, lettering, reflections and a little grain.
//!
//! Run `cargo run --release --example render_sample -- samples/scene.png`.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // samples are rounded to bytes

mod noise;
mod objects;
mod scene;
mod terrain;
mod vector;

use aec::unstable::picture::{Image, io};
use rayon::prelude::*;
use vector::{Vec3, vec3};

const WIDTH: usize = 768;
const HEIGHT: usize = 512;
/// Rays per pixel and axis.
const SAMPLES: usize = 3;
/// Factor on the light before it meets the film.
const EXPOSURE: f32 = 0.66;
/// Standard deviation of the grain, in steps of 8-bit samples.
const GRAIN: f32 = 0.9;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("usage: render_sample OUTPUT.png")?;
    let rows: Vec<Vec<u8>> = (0..HEIGHT).into_par_iter().map(render_row).collect();
    let image = Image::new(WIDTH as u32, HEIGHT as u32, rows.concat())?;
    let file = std::fs::File::create(&path)?;
    io::write(&image, io::OutputFormat::Png, file)?;
    Ok(())
}

fn render_row(y: usize) -> Vec<u8> {
    (0..WIDTH)
        .flat_map(|x| develop(expose(x, y), x, y))
        .collect()
}

/// The light that reaches a pixel: the mean of a jittered grid of rays.
fn expose(x: usize, y: usize) -> Vec3 {
    let mut sum = vec3(0.0, 0.0, 0.0);
    for i in 0..SAMPLES * SAMPLES {
        let jitter = |axis: i32| noise::hash(x as i32 * 9 + i as i32, y as i32 * 2 + axis);
        let px = x as f32 + ((i % SAMPLES) as f32 + jitter(0)) / SAMPLES as f32;
        let py = y as f32 + ((i / SAMPLES) as f32 + jitter(1)) / SAMPLES as f32;
        let u = (px - WIDTH as f32 / 2.0) / HEIGHT as f32;
        let v = (HEIGHT as f32 / 2.0 - py) / HEIGHT as f32;
        // Bright samples are bounded, so that an edge against the sun stays smooth.
        sum = sum + scene::radiance(scene::CAMERA, scene::view_direction(u, v)).min(4.0);
    }
    sum * (1.0 / (SAMPLES * SAMPLES) as f32)
}

/// Light to 8-bit samples: vignette, film curve, display gamma, grain.
fn develop(light: Vec3, x: usize, y: usize) -> [u8; 3] {
    let u = x as f32 / WIDTH as f32 - 0.5;
    let v = y as f32 / HEIGHT as f32 - 0.5;
    let exposed = light * (EXPOSURE * (1.0 - 0.6 * (u * u + v * v)));
    let grain = gaussian(x as i32, y as i32) * GRAIN;
    [exposed.x, exposed.y, exposed.z].map(|c| {
        let film = (c * (2.51 * c + 0.03)) / (c * (2.43 * c + 0.59) + 0.14);
        let display = film.clamp(0.0, 1.0).powf(1.0 / 2.2) * 255.0;
        (display + grain).round().clamp(0.0, 255.0) as u8
    })
}

/// A nearly normal number: the sum of uniform ones.
fn gaussian(x: i32, y: i32) -> f32 {
    let sum: f32 = (0..4).map(|i| noise::hash(x + 7919 * i, y - 104_729)).sum();
    (sum - 2.0) * 3.0_f32.sqrt()
}
