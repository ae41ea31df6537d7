//! Multi-scale structural similarity (Wang, Simoncelli, Bovik 2003).
//!
//! Five scales, an 11-tap Gaussian window of sigma 1.5 applied without padding,
//! 2x2 average pooling between scales, computed per RGB channel and averaged:
//! the values of the widely used `pytorch-msssim` with `data_range = 255`,
//! including its zero padding at the left and top when a side is odd.

use rayon::prelude::*;

use super::RgbView;
use crate::error::Result;

/// Shortest picture side that MS-SSIM is defined for: 11 pixels must remain at the coarsest scale.
pub const MS_SSIM_MIN_SIDE: usize = (TAPS - 1) * 16 + 1;

/// Weight of every scale, finest first.
const SCALE_WEIGHTS: [f64; 5] = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333];
const TAPS: usize = 11;
const HALF: usize = TAPS / 2;
const SIGMA: f64 = 1.5;
const C1: f32 = (0.01 * 255.0) * (0.01 * 255.0);
const C2: f32 = (0.03 * 255.0) * (0.03 * 255.0);
/// Subtracted from every sample: variances do not change and their 32-bit sums lose less.
const CENTER: f32 = 128.0;

/// MS-SSIM of two pictures, 0 to 1 (1 for identical pictures).
///
/// # Errors
/// [`Error::Image`](crate::Error::Image) when the sizes differ or a side is shorter than [`MS_SSIM_MIN_SIDE`].
pub fn ms_ssim(a: &RgbView, b: &RgbView) -> Result<f64> {
    a.check_sides(b, "MS-SSIM", MS_SSIM_MIN_SIDE)?;
    let window = gaussian_window();
    let score = |channel: usize| {
        let plane = |picture| Plane::of_channel(picture, channel);
        channel_score(plane(a), plane(b), &window)
    };
    let channels: Vec<f64> = (0..3).into_par_iter().map(score).collect();
    // Rounding takes the value of equal pictures over 1.
    Ok((channels.iter().sum::<f64>() / 3.0).min(1.0))
}

/// MS-SSIM on a decibel scale: `-10 log10(1 - ms_ssim)`, on which curves and averages are easier to read.
///
/// Infinity for equal pictures.
pub fn ms_ssim_db(ms_ssim: f64) -> f64 {
    0.0 - 10.0 * (1.0 - ms_ssim).max(0.0).log10()
}

/// One half of the symmetric window, center tap last, normalized to a sum of one over all taps.
fn gaussian_window() -> [f32; HALF + 1] {
    let tap = |i: usize| {
        let distance = (HALF - i) as f64;
        (-distance * distance / (2.0 * SIGMA * SIGMA)).exp()
    };
    let sum: f64 = 2.0 * (0..HALF).map(tap).sum::<f64>() + tap(HALF);
    std::array::from_fn(|i| (tap(i) / sum) as f32)
}

/// One channel at one scale, samples minus [`CENTER`].
struct Plane {
    samples: Vec<f32>,
    width: usize,
    height: usize,
}

impl Plane {
    fn of_channel(picture: &RgbView, channel: usize) -> Self {
        let pixels = picture.samples().chunks_exact(3);
        let samples = pixels.map(|pixel| f32::from(pixel[channel]) - CENTER);
        Self {
            samples: samples.collect(),
            width: picture.width(),
            height: picture.height(),
        }
    }

    fn row(&self, y: usize) -> &[f32] {
        &self.samples[y * self.width..(y + 1) * self.width]
    }

    /// Averages 2x2 blocks; an odd side gets one row or column of zero samples in front.
    fn halved(&self) -> Self {
        let (width, height) = (self.width.div_ceil(2), self.height.div_ceil(2));
        let black = vec![-CENTER; self.width];
        let mut samples = Vec::with_capacity(width * height);
        for y in 0..height {
            let bottom = 2 * y + 1 - self.height % 2;
            let top = bottom
                .checked_sub(1)
                .map_or(black.as_slice(), |y| self.row(y));
            push_halved_row(top, self.row(bottom), &mut samples);
        }
        Self {
            samples,
            width,
            height,
        }
    }
}

/// Appends the 2x2 averages of two rows.
fn push_halved_row(top: &[f32], bottom: &[f32], out: &mut Vec<f32>) {
    let odd = top.len() % 2;
    if odd == 1 {
        out.push(0.25 * (top[0] + bottom[0] - 2.0 * CENTER));
    }
    let pairs = top[odd..]
        .chunks_exact(2)
        .zip(bottom[odd..].chunks_exact(2));
    out.extend(pairs.map(|(top, bottom)| 0.25 * (top[0] + top[1] + bottom[0] + bottom[1])));
}

/// Weighted product over the scales of one channel.
fn channel_score(mut a: Plane, mut b: Plane, window: &[f32; HALF + 1]) -> f64 {
    let mut score = 1.0;
    for (scale, weight) in SCALE_WEIGHTS.iter().enumerate() {
        if scale > 0 {
            (a, b) = (a.halved(), b.halved());
        }
        let similarity = plane_similarity(&a, &b, window);
        let last = scale + 1 == SCALE_WEIGHTS.len();
        let term = if last {
            similarity.full
        } else {
            similarity.structure
        };
        score *= term.max(0.0).powf(*weight);
    }
    score
}

/// Means over a plane: contrast and structure alone, and times luminance.
struct Similarity {
    structure: f64,
    full: f64,
}

/// The four filtered quantities of one row: a, b, a² + b², a b.
#[derive(Clone)]
struct Moments([Vec<f32>; 4]);

impl Moments {
    fn zero(width: usize) -> Self {
        Self(std::array::from_fn(|_| vec![0.0; width]))
    }
}

/// SSIM means of one scale. Rows are filtered horizontally once, into a ring of the last
/// eleven, and combined vertically, so that the working set stays in cache.
fn plane_similarity(a: &Plane, b: &Plane, window: &[f32; HALF + 1]) -> Similarity {
    let out_width = a.width - (TAPS - 1);
    let out_height = a.height - (TAPS - 1);
    let mut ring = vec![Moments::zero(out_width); TAPS];
    let mut products = [vec![0.0; a.width], vec![0.0; a.width]];
    let mut sums = Moments::zero(out_width);
    let (mut structure, mut full) = (0.0, 0.0);
    for y in 0..a.height {
        let filtered = &mut ring[y % TAPS];
        filter_row(a.row(y), b.row(y), &mut products, filtered, window);
        if y + 1 < TAPS {
            continue;
        }
        combine_rows(&ring, y + 1, &mut sums, window);
        let row = row_similarity(&mut sums);
        structure += row.structure;
        full += row.full;
    }
    let pixels = (out_width * out_height) as f64;
    Similarity {
        structure: structure / pixels,
        full: full / pixels,
    }
}

/// Filters one input row horizontally into `out`.
fn filter_row(
    a: &[f32],
    b: &[f32],
    products: &mut [Vec<f32>; 2],
    out: &mut Moments,
    window: &[f32; HALF + 1],
) {
    let [squares, cross] = products;
    for (((square, cross), &a), &b) in squares.iter_mut().zip(cross.iter_mut()).zip(a).zip(b) {
        *square = a * a + b * b;
        *cross = a * b;
    }
    for (source, out) in [a, b, squares, cross].into_iter().zip(&mut out.0) {
        for (taps, out) in source.windows(TAPS).zip(out) {
            let mut sum = window[HALF] * taps[HALF];
            for i in 0..HALF {
                sum += window[i] * (taps[i] + taps[TAPS - 1 - i]);
            }
            *out = sum;
        }
    }
}

/// Filters vertically: the oldest row of the ring is at `first % TAPS`.
fn combine_rows(ring: &[Moments], first: usize, sums: &mut Moments, window: &[f32; HALF + 1]) {
    for (quantity, sums) in sums.0.iter_mut().enumerate() {
        let row = |tap: usize| ring[(first + tap) % TAPS].0[quantity].as_slice();
        for (sum, center) in sums.iter_mut().zip(row(HALF)) {
            *sum = window[HALF] * center;
        }
        for (tap, weight) in window[..HALF].iter().enumerate() {
            for ((sum, above), below) in sums.iter_mut().zip(row(tap)).zip(row(TAPS - 1 - tap)) {
                *sum += weight * (above + below);
            }
        }
    }
}

/// SSIM sums over one row of moments, which it overwrites.
fn row_similarity(moments: &mut Moments) -> Similarity {
    let [means_a, means_b, squares, cross] = &mut moments.0;
    let samples = means_a
        .iter()
        .zip(means_b.iter())
        .zip(squares.iter_mut())
        .zip(cross.iter_mut());
    for (((&a, &b), square), cross) in samples {
        let covariance = *cross - a * b;
        let variances = *square - a * a - b * b;
        let structure = (2.0 * covariance + C2) / (variances + C2);
        let (a, b) = (a + CENTER, b + CENTER);
        let luminance = (2.0 * a * b + C1) / (a * a + b * b + C1);
        *square = structure;
        *cross = luminance * structure;
    }
    let sum = |row: &[f32]| row.iter().map(|&value| f64::from(value)).sum();
    Similarity {
        structure: sum(squares),
        full: sum(cross),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identical_pictures_score_one() {
        let samples: Vec<u8> = (0..161_usize * 170 * 3)
            .map(|i| (i * i % 251) as u8)
            .collect();
        let view = RgbView::new(&samples, 161, 170).expect("valid");
        let score = ms_ssim(&view, &view).expect("large enough");
        assert!((1.0 - 1e-6..=1.0).contains(&score), "{score}");
    }

    #[test]
    fn a_side_of_160_is_too_small_and_said_so() {
        let samples = vec![0_u8; 160 * 400 * 3];
        let view = RgbView::new(&samples, 400, 160).expect("valid");
        let message = ms_ssim(&view, &view).expect_err("too small").to_string();
        assert!(
            message.contains("400x160") && message.contains("161"),
            "{message}"
        );
    }

    #[test]
    fn the_window_sums_to_one() {
        let window = gaussian_window();
        let sum = 2.0 * window[..HALF].iter().sum::<f32>() + window[HALF];
        assert!((sum - 1.0).abs() < 1e-6);
    }

    #[test]
    fn odd_sides_are_padded_in_front_with_black() {
        let plane = Plane {
            samples: vec![CENTER; 9],
            width: 3,
            height: 3,
        };
        let halved = plane.halved();
        assert_eq!((halved.width, halved.height), (2, 2));
        // One of four samples is real in the corner, two on the edges, all inside.
        assert_eq!(halved.samples, [-64.0, 0.0, 0.0, 128.0]);
    }

    #[test]
    fn decibels() {
        assert!((ms_ssim_db(0.99) - 20.0).abs() < 1e-9);
        for equal in [1.0, 1.0 + f64::EPSILON] {
            assert_eq!(ms_ssim_db(equal), f64::INFINITY);
        }
    }
}
