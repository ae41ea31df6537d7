//! Colors as the visual error compares them: light from sRGB samples, the opponent planes of XYB from light, and
//! gradients back through both.
//!
//! Roots are found by Newton's steps and every operation is rounded alone, so every path gives the same bits.

use std::sync::OnceLock;

use rayon::prelude::*;

use super::dispatch::{self, on_path};

/// Pixels that are computed at once.
const CHUNK: usize = 1 << 12;

/// Light that the receptors of XYB take in, by red, green and blue.
const ABSORBANCE: [[f32; 3]; 3] = [
    [0.3, 0.622, 0.078],
    [0.23, 0.692, 0.078],
    [0.243_422_69, 0.204_767_44, 0.551_809_87],
];

/// Added to it.
const BIAS: f32 = 0.003_793_073_3;

/// The cube root of [`BIAS`].
const BIAS_ROOT: f32 = 0.155_954_2;

/// Three planes of one size.
pub type Planes = [Vec<f32>; 3];

/// Red, green and blue `[pixels, 3]` (sRGB samples in -0.5..=0.5, clipped beyond) as planes of linear light, 0 to 1.
pub fn light_planes(rgb: &[f32]) -> Planes {
    [0, 1, 2].map(|channel| {
        let mut plane: Vec<f32> = rgb.chunks_exact(3).map(|pixel| pixel[channel]).collect();
        let path = dispatch::active();
        (plane.par_chunks_mut(CHUNK)).for_each(|values| {
            on_path!(path, <'a> { values: &'a mut [f32] } => {
                values.iter_mut().for_each(|value| *value = light(*value).0);
            });
        });
        plane
    })
}

/// The same of samples as they are shown, `[pixels, 3]`.
pub fn light_planes_of_bytes(rgb: &[u8]) -> Planes {
    let light = light_of_bytes();
    [0, 1, 2].map(|channel| {
        let mut plane = vec![0.0; rgb.len() / 3];
        let chunks = plane.par_chunks_mut(CHUNK).zip(rgb.par_chunks(3 * CHUNK));
        chunks.for_each(|(plane, rgb)| {
            for (value, pixel) in plane.iter_mut().zip(rgb.chunks_exact(3)) {
                *value = light[usize::from(pixel[channel])].0;
            }
        });
        plane
    })
}

/// Turns the gradient with respect to light (planes) into that with respect to samples as they are shown.
///
/// # Panics
/// When the lengths do not agree.
pub fn light_gradient_of_bytes(rgb: &[u8], of_light: [&[f32]; 3], gradient: &mut [f32]) {
    assert_eq!(rgb.len(), gradient.len(), "opponent: lengths");
    assert!(
        of_light.iter().all(|plane| rgb.len() == 3 * plane.len()),
        "opponent: lengths"
    );
    let light = light_of_bytes();
    let chunks = gradient
        .par_chunks_mut(3 * CHUNK)
        .zip(rgb.par_chunks(3 * CHUNK));
    chunks.enumerate().for_each(|(at, (gradient, rgb))| {
        let pixels = gradient.chunks_exact_mut(3).zip(rgb.chunks_exact(3));
        for (index, (gradient, pixel)) in pixels.enumerate() {
            for channel in 0..3 {
                let slope = of_light[channel][at * CHUNK + index];
                gradient[channel] = slope * light[usize::from(pixel[channel])].1;
            }
        }
    });
}

/// Light of every byte, and its slope.
fn light_of_bytes() -> &'static [(f32, f32); 256] {
    static TABLE: OnceLock<[(f32, f32); 256]> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = [(0.0, 0.0); 256];
        for (byte, entry) in (0..=u8::MAX).zip(&mut table) {
            *entry = light(f32::from(byte) / 255.0 - 0.5);
        }
        table
    })
}

/// Turns the gradient with respect to light (planes) into that with respect to the samples `rgb` `[pixels, 3]`.
///
/// # Panics
/// When the lengths do not agree.
pub fn light_gradient(rgb: &[f32], of_light: &Planes, gradient: &mut [f32]) {
    assert_eq!(rgb.len(), gradient.len(), "opponent: lengths");
    let path = dispatch::active();
    for (channel, of_light) in of_light.iter().enumerate() {
        assert_eq!(rgb.len(), 3 * of_light.len(), "opponent: lengths");
        let pixels = gradient
            .par_chunks_mut(3 * CHUNK)
            .zip(rgb.par_chunks(3 * CHUNK));
        pixels
            .zip(of_light.par_chunks(CHUNK))
            .for_each(|((gradient, rgb), of_light)| {
                let values: Vec<f32> = rgb.chunks_exact(3).map(|pixel| pixel[channel]).collect();
                let mut slopes = of_light.to_vec();
                let (values, of_light) = (&values[..], &mut slopes[..]);
                on_path!(path, <'a> { values: &'a [f32], of_light: &'a mut [f32] } => {
                    for (slope, value) in of_light.iter_mut().zip(values) {
                        *slope *= light(*value).1;
                    }
                });
                for (to, slope) in gradient.chunks_exact_mut(3).zip(slopes) {
                    to[channel] = slope;
                }
            });
    }
}

/// The opponent planes of planes of light, moved and stretched to about 0 to 1: red against green (X), brightness (Y),
/// blue against brightness (B).
pub fn opponent_planes(light: &Planes) -> Planes {
    let mut planes = light.clone();
    each_chunk(&mut planes, |path, _, [red, green, blue]| {
        on_path!(path, <'a> { red: &'a mut [f32], green: &'a mut [f32], blue: &'a mut [f32] } => {
            for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
                // Not `array::map`, of which no vectors come.
                let of = |i: usize| receptor(i, *red, *green, *blue);
                let (long, middle, short) = (of(0), of(1), of(2));
                let bright = brightness(long, middle);
                *red = 7.0 * ((long - BIAS_ROOT) - (middle - BIAS_ROOT)) + 0.42;
                *green = bright + 0.01;
                *blue = (short - BIAS_ROOT) - bright + 0.55;
            }
        });
    });
    planes
}

/// Only the second one, brightness, of these.
pub fn brightness_plane(light: &Planes) -> Vec<f32> {
    let mut plane = vec![0.0; light[0].len()];
    let path = dispatch::active();
    (plane.par_chunks_mut(CHUNK).enumerate()).for_each(|(at, plane)| {
        let light = part_of(light, at, plane.len());
        on_path!(path, <'a> { light: [&'a [f32]; 3], plane: &'a mut [f32] } => {
            let [red, green, blue] = light;
            let light = red.iter().zip(green).zip(blue);
            for (plane, ((red, green), blue)) in plane.iter_mut().zip(light) {
                let of = |i: usize| receptor(i, *red, *green, *blue);
                let (long, middle) = (of(0), of(1));
                *plane = brightness(long, middle) + 0.01;
            }
        });
    });
    plane
}

/// Turns the gradient with respect to the opponent planes into that with respect to `light`, in whose place it stands
/// afterwards.
///
/// # Panics
/// When the lengths do not agree.
pub fn opponent_gradient(light: &mut Planes, of_planes: &Planes) {
    let length = light[0].len();
    assert!(
        of_planes.iter().all(|plane| plane.len() == length),
        "opponent: lengths"
    );
    each_chunk(light, |path, at, light| {
        let slopes = part_of(of_planes, at, light[0].len());
        on_path!(path, <'a> { light: [&'a mut [f32]; 3], slopes: [&'a [f32]; 3] } => {
            let ([red, green, blue], [x, y, b]) = (light, slopes);
            let slopes = x.iter().zip(y).zip(b);
            for (((red, green), blue), ((x, y), b)) in red.iter_mut().zip(green).zip(blue).zip(slopes) {
                let bright = 0.5 * (y - b);
                let of_roots = [bright + 7.0 * x, bright - 7.0 * x, *b];
                let of = |i: usize| slope_of(of_roots[i], receptor(i, *red, *green, *blue));
                let (long, middle, short) = (of(0), of(1), of(2));
                let mix = |i: usize| {
                    ABSORBANCE[0][i] * long + ABSORBANCE[1][i] * middle + ABSORBANCE[2][i] * short
                };
                (*red, *green, *blue) = (mix(0), mix(1), mix(2));
            }
        });
    });
}

/// The same where brightness alone has a gradient.
///
/// # Panics
/// When the lengths do not agree.
pub fn brightness_gradient(light: &mut Planes, of_brightness: &[f32]) {
    assert_eq!(light[0].len(), of_brightness.len(), "opponent: lengths");
    each_chunk(light, |path, at, light| {
        let slopes = &of_brightness[at * CHUNK..][..light[0].len()];
        on_path!(path, <'a> { light: [&'a mut [f32]; 3], slopes: &'a [f32] } => {
            let [red, green, blue] = light;
            for (((red, green), blue), y) in red.iter_mut().zip(green).zip(blue).zip(slopes) {
                let of = |i: usize| slope_of(0.5 * y, receptor(i, *red, *green, *blue));
                let (long, middle) = (of(0), of(1));
                let mix = |i: usize| ABSORBANCE[0][i] * long + ABSORBANCE[1][i] * middle;
                (*red, *green, *blue) = (mix(0), mix(1), mix(2));
            }
        });
    });
}

/// The values of every plane that belong to chunk `at`, which has this length.
fn part_of(planes: &Planes, at: usize, length: usize) -> [&[f32]; 3] {
    (planes.each_ref()).map(|plane| &plane[at * CHUNK..at * CHUNK + length])
}

fn each_chunk(
    planes: &mut Planes,
    function: impl Fn(dispatch::KernelPath, usize, [&mut [f32]; 3]) + Sync,
) {
    let path = dispatch::active();
    let [a, b, c] = planes;
    let chunks = a
        .par_chunks_mut(CHUNK)
        .zip(b.par_chunks_mut(CHUNK))
        .zip(c.par_chunks_mut(CHUNK));
    (chunks.enumerate()).for_each(|(at, ((a, b), c))| function(path, at, [a, b, c]));
}

/// Brightness, of the cube roots of what the receptors of long and middle waves take in.
#[inline(always)]
fn brightness(long: f32, middle: f32) -> f32 {
    0.5 * ((long - BIAS_ROOT) + (middle - BIAS_ROOT))
}

/// From the slope with respect to a cube root, and that root, the slope with respect to what it is of.
#[inline(always)]
fn slope_of(of_root: f32, root: f32) -> f32 {
    of_root / (3.0 * root * root)
}

/// The light of an sRGB sample in -0.5..=0.5, and its slope; beyond that range it is clipped.
#[inline(always)]
fn light(sample: f32) -> (f32, f32) {
    let value = sample + 0.5;
    #[allow(clippy::manual_clamp)]
    let inside = value.clamp(0.0, 1.0);
    let base = (inside + 0.055) / 1.055;
    // base^2.4 and its slope 2.4 base^1.4 / 1.055.
    let fifth = fifth_root(base);
    let power = base * (fifth * fifth);
    let is_dark = inside <= 0.040_45;
    let light = if is_dark {
        inside / 12.92
    } else {
        base * power
    };
    let slope = if is_dark {
        1.0 / 12.92
    } else {
        2.4 / 1.055 * power
    };
    (light, if value == inside { slope } else { 0.0 })
}

/// The cube root of what the receptors of long, middle or short waves (0 to 2) take in.
#[inline(always)]
fn receptor(waves: usize, red: f32, green: f32, blue: f32) -> f32 {
    let mix = ABSORBANCE[waves];
    cube_root(mix[0] * red + mix[1] * green + mix[2] * blue + BIAS)
}

/// The cube root of a positive number.
#[inline(always)]
fn cube_root(x: f32) -> f32 {
    // A third of the exponent is within a few percent; Newton's steps square the error.
    let mut root = f32::from_bits(x.to_bits() / 3 + 709_921_077);
    for _ in 0..3 {
        root -= (root - x / (root * root)) * (1.0 / 3.0);
    }
    root
}

/// The fifth root of a positive number.
#[inline(always)]
fn fifth_root(x: f32) -> f32 {
    let mut root = f32::from_bits(x.to_bits() / 5 + 851_982_320);
    for _ in 0..3 {
        let square = root * root;
        root -= (root - x / (square * square)) * 0.2;
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tests::same_everywhere;

    #[test]
    fn roots_are_roots() {
        for x in [1e-3f32, 0.003_793, 0.05, 0.3, 0.999, 1.0, 1.1] {
            assert!((cube_root(x) - x.cbrt()).abs() < 2e-7 * x.cbrt(), "{x}");
            assert!(
                (fifth_root(x) - x.powf(0.2)).abs() < 4e-7 * x.powf(0.2),
                "{x}"
            );
        }
        assert!((BIAS_ROOT - BIAS.cbrt()).abs() < 1e-7);
    }

    #[test]
    fn light_is_that_of_srgb() {
        for byte in 0..=255u8 {
            let value = f32::from(byte) / 255.0;
            let want = if value <= 0.040_45 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            };
            assert!((light(value - 0.5).0 - want).abs() < 1e-6, "{byte}");
        }
        assert_eq!(light(0.7), (light(0.5).0, 0.0));
    }

    #[test]
    fn all_paths_give_the_same_bits() {
        let pixels = CHUNK + 7;
        let rgb: Vec<f32> = (0..3 * pixels)
            .map(|i| (i * i % 1009) as f32 / 900.0 - 0.55)
            .collect();
        same_everywhere(|| {
            let light = light_planes(&rgb);
            let planes = opponent_planes(&light);
            let (mut slopes, mut gradient) = (light.clone(), rgb.clone());
            opponent_gradient(&mut slopes, &planes);
            light_gradient(&rgb, &slopes, &mut gradient);
            (light, planes, slopes, gradient)
        });
    }

    #[test]
    fn brightness_alone_is_that_of_all_planes() {
        let pixels = CHUNK + 7;
        let light: Planes = [3, 5, 7].map(|seed| {
            let value = |i: usize| (i * i * seed % 1009) as f32 / 1009.0;
            (0..pixels).map(value).collect()
        });
        let [_, bright, _] = opponent_planes(&light);
        assert!(brightness_plane(&light) == bright);
        let (zeros, slopes) = (vec![0.0; pixels], light[1].clone());
        let (mut all, mut alone) = (light.clone(), light);
        brightness_gradient(&mut alone, &slopes);
        opponent_gradient(&mut all, &[zeros.clone(), slopes, zeros]);
        assert!(all == alone);
    }
}
