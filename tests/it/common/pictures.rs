//! Pictures made by code, in integers, so that they are the same everywhere.

use aec::unstable::{Alpha, Depth, Image};

use super::random::Random;

/// Soft gradients, a sharp disc and some noise, in color.
pub fn scene(width: u32, height: u32) -> Image {
    let mut random = Random::new((u64::from(width) << 32) | u64::from(height));
    let mut rgb = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..height {
        for x in 0..width {
            rgb.extend(scene_pixel(x, y, &mut random));
        }
    }
    Image::new(width, height, rgb).unwrap()
}

fn scene_pixel(x: u32, y: u32, random: &mut Random) -> [u8; 3] {
    let triangle = |t: u32, period: u32| (t % period).abs_diff(period / 2) * 510 / period;
    let noise = u32::from(random.byte() & 15);
    let disc = (x % 96).abs_diff(40).pow(2) + (y % 80).abs_diff(30).pow(2) < 400;
    let red = if disc { 230 } else { triangle(x, 130) };
    let green = (triangle(x + y, 90) + triangle(y, 60)) / 2;
    let blue = if disc { 20 } else { triangle(x + 2 * y, 200) };
    [red, green, blue].map(|v| (v * 15 / 16 + noise).min(255) as u8)
}

/// Noise in every sample: the hardest picture to code.
pub fn noise(width: u32, height: u32) -> Image {
    let mut random = Random::new(7);
    let rgb = (0..width * height * 3).map(|_| if random.byte() > 127 { 255 } else { 0 });
    Image::new(width, height, rgb.collect()).unwrap()
}

/// One color.
pub fn flat(width: u32, height: u32, color: [u8; 3]) -> Image {
    Image::new(width, height, color.repeat((width * height) as usize)).unwrap()
}

/// [`scene`] in gray.
pub fn gray_scene(width: u32, height: u32) -> Image {
    let mut picture = scene(width, height);
    picture.make_gray();
    picture
}

/// Hard and soft edges, a slope, some noise, and much that is constant, in integers.
pub fn alpha(width: u32, height: u32, depth: Depth) -> Alpha {
    let mut random = Random::new(11);
    let max = u32::from(depth.max());
    let mut samples = Vec::with_capacity((width * height) as usize);
    for y in 0..height {
        for x in 0..width {
            let distance = (x % 90).abs_diff(40).pow(2) + (y % 70).abs_diff(30).pow(2);
            let sample = match (x / 90 + y / 70) % 4 {
                // A disc with a soft edge.
                0 => max - (distance.clamp(500, 620) - 500) * max / 120,
                // A hard one.
                1 => u32::from(distance < 700) * max,
                // A slope with noise.
                2 => (x % 90 + y % 70) * max / 200 + u32::from(random.byte() & 3),
                _ => 0,
            };
            samples.push(sample.min(max) as u16);
        }
    }
    Alpha::new(depth, samples).unwrap()
}

/// `picture` with [`alpha`].
pub fn with_alpha(picture: Image, depth: Depth) -> Image {
    let alpha = alpha(picture.width, picture.height, depth);
    picture.with_alpha(alpha).unwrap()
}
