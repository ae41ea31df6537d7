//! A multi-scale structural measure with its gradient: what `--tune ssim` minimises.
//!
//! One minus the structural similarity (Wang et al. 2004) of brightness and, with less weight,
//! of the two color differences, on five scales that count the same. A window of standard
//! deviation 1.5; at the picture's edges the part of it that lies inside, so that pictures of
//! any size have a value. Every sum has one order, so gradients are the same on every machine.

use rayon::prelude::*;

use crate::kernels::window::{REACH, window_mass, window_sums};

/// Scales, each half as large as the one before.
const SCALES: usize = 5;

/// Weight of brightness and of each color difference.
const WEIGHTS: [f32; 3] = [1.0, 0.2, 0.2];

/// Brightness and color differences of red, green and blue (BT.601).
const PLANES: [[f32; 3]; 3] = [
    [0.299, 0.587, 0.114],
    [-0.168_736, -0.331_264, 0.5],
    [0.5, -0.418_688, -0.081_312],
];

const C1: f32 = 0.01 * 0.01;
const C2: f32 = 0.03 * 0.03;

/// Rows above and below that a row's gradient depends on: the reach of the window and of its
/// gradient at the coarsest scale. A multiple of [`ALIGNMENT`].
pub const MARGIN: usize = 192;

/// Parts of a picture have the whole one's values where they start at a multiple of this.
pub const ALIGNMENT: usize = 1 << (SCALES - 1);

const _: () = assert!(MARGIN >= (2 * REACH + 1) * ALIGNMENT && MARGIN.is_multiple_of(ALIGNMENT));

/// The measure of two pictures: the sum over all samples of both (0 for equal ones), and
/// where wanted its gradient with respect to `decoded`.
///
/// `original`, `decoded` and `gradient` are `[height, width, 3]`: red, green and blue in
/// -0.5..=0.5. The value counts the rows `rows` only (all of them for a whole picture), and
/// only their gradient is that of the whole picture.
///
/// # Panics
/// When the lengths do not agree or a side is zero.
pub fn structural_error(
    original: &[f32],
    decoded: &[f32],
    width: usize,
    rows: std::ops::Range<usize>,
    gradient: &mut [f32],
) -> f64 {
    assert_eq!(original.len(), decoded.len(), "structure: lengths");
    assert_eq!(original.len(), gradient.len(), "structure: lengths");
    gradient.fill(0.0);
    let mut sum = 0.0;
    for (mix, weight) in PLANES.iter().zip(WEIGHTS) {
        let (a, b) = (plane(original, mix), plane(decoded, mix));
        let (value, slopes) = plane_error(a, b, width, &rows, SCALES);
        sum += f64::from(weight) * value;
        gradient
            .par_chunks_mut(3)
            .zip(&slopes)
            .with_min_len(1 << 12)
            .for_each(|(gradient, slope)| {
                for (gradient, mix) in gradient.iter_mut().zip(mix) {
                    *gradient += weight * mix * slope;
                }
            });
    }
    sum
}

fn plane(rgb: &[f32], mix: &[f32; 3]) -> Vec<f32> {
    let offset = 0.5 * (mix[0] + mix[1] + mix[2]);
    rgb.par_chunks(3)
        .with_min_len(1 << 12)
        .map(|rgb| mix[0] * rgb[0] + mix[1] * rgb[1] + mix[2] * rgb[2] + offset)
        .collect()
}

/// The error of one plane at this scale and the coarser ones, and its gradient.
fn plane_error(
    a: Vec<f32>,
    b: Vec<f32>,
    width: usize,
    rows: &std::ops::Range<usize>,
    scales: usize,
) -> (f64, Vec<f32>) {
    let (sum, mut gradient) = scale_error(&a, &b, width, rows);
    if scales == 1 || a.len() == 1 {
        return (sum, gradient);
    }
    let (halved_a, halved_b) = (halved(&a, width), halved(&b, width));
    drop((a, b));
    let halved_rows = rows.start / 2..rows.end.div_ceil(2);
    let halved_width = width.div_ceil(2);
    let (coarser, slopes) = plane_error(halved_a, halved_b, halved_width, &halved_rows, scales - 1);
    // A position of the coarser scale stands for four.
    let height = gradient.len() / width;
    gradient
        .par_chunks_mut(width)
        .enumerate()
        .for_each(|(y, row)| {
            let slopes = &slopes[y / 2 * halved_width..][..halved_width];
            for (x, gradient) in row.iter_mut().enumerate() {
                let inside = ((height - y / 2 * 2).min(2) * (width - x / 2 * 2).min(2)) as f32;
                *gradient += 4.0 / inside * slopes[x / 2];
            }
        });
    (sum + 4.0 * coarser, gradient)
}

/// The means of 2 x 2 samples, of fewer at the right and the bottom of odd sides.
fn halved(plane: &[f32], width: usize) -> Vec<f32> {
    let half = width.div_ceil(2);
    let rows = plane.par_chunks(2 * width).map(|pair| {
        let (top, bottom) = pair.split_at(width);
        let at = |x: usize| {
            let end = (2 * x + 2).min(width);
            let sum = |row: &[f32]| {
                row.get(2 * x..end)
                    .map_or(0.0, |row| row.iter().sum::<f32>())
            };
            let count = (end - 2 * x) * (pair.len() / width);
            (sum(top) + sum(bottom)) / count as f32
        };
        (0..half).map(at).collect::<Vec<f32>>()
    });
    rows.flatten_iter().collect()
}

/// The error of one plane at one scale, and its gradient.
fn scale_error(
    a: &[f32],
    b: &[f32],
    width: usize,
    rows: &std::ops::Range<usize>,
) -> (f64, Vec<f32>) {
    let mut window = Window::new(width, a.len() / width);
    let product = |f: fn(f32, f32) -> f32| -> Vec<f32> {
        let pairs = a.par_iter().zip(b).with_min_len(1 << 12);
        pairs.map(|(a, b)| f(*a, *b)).collect()
    };
    let mut mean_a = window.means(a);
    let mut mean_b = window.means(b);
    let mut squares = window.means(&product(|a, b| a * a + b * b));
    let mut cross = window.means(&product(|a, b| a * b));
    let of_row = |((a, b), (squares, cross)): Moments<'_>| row_slopes(a, b, squares, cross);
    let sums: Vec<f64> = mean_a
        .par_chunks_mut(width)
        .zip(mean_b.par_chunks_mut(width))
        .zip(
            squares
                .par_chunks_mut(width)
                .zip(cross.par_chunks_mut(width)),
        )
        .map(of_row)
        .collect();
    let sum = sums[rows.start.min(sums.len())..rows.end.min(sums.len())]
        .iter()
        .sum();
    // From here on these are slopes with respect to the moments.
    let mut gradient = window.transposed(&mut mean_b);
    let of_squares = window.transposed(&mut squares);
    let of_cross = window.transposed(&mut cross);
    gradient
        .par_iter_mut()
        .zip(of_squares.par_iter().zip(&of_cross))
        .zip(a.par_iter().zip(b))
        .with_min_len(1 << 12)
        .for_each(|((gradient, (squares, cross)), (a, b))| {
            *gradient += 2.0 * b * squares + a * cross;
        });
    (sum, gradient)
}

/// Means of both planes, and means of their squares and of their product: one row of each.
type Moments<'a> = (
    (&'a mut [f32], &'a mut [f32]),
    (&'a mut [f32], &'a mut [f32]),
);

/// The error of one row. The slopes with respect to the mean of `b`, the squares and the
/// product replace these.
fn row_slopes(a: &mut [f32], b: &mut [f32], squares: &mut [f32], cross: &mut [f32]) -> f64 {
    let mut sum = 0.0;
    let moments = a.iter().zip(b).zip(squares.iter_mut().zip(cross));
    for ((&mean_a, mean_b), (squares, cross)) in moments {
        let (mu_a, mu_b) = (mean_a, *mean_b);
        let luminance = 2.0 * mu_a * mu_b + C1;
        let structure = 2.0 * (*cross - mu_a * mu_b) + C2;
        let energy = mu_a * mu_a + mu_b * mu_b;
        let below1 = energy + C1;
        let below2 = (*squares - energy).max(0.0) + C2;
        let similarity = luminance * structure / (below1 * below2);
        sum += f64::from(1.0 - similarity);
        *mean_b = -(2.0 * mu_a * (structure - luminance) / (below1 * below2)
            - 2.0 * mu_b * similarity * (1.0 / below1 - 1.0 / below2));
        *squares = similarity / below2;
        *cross = -2.0 * luminance / (below1 * below2);
    }
    sum
}

/// The window on planes of one size.
struct Window {
    width: usize,
    /// One over the window's mass at each column and row.
    across: Vec<f32>,
    down: Vec<f32>,
    scratch: Vec<f32>,
}

impl Window {
    fn new(width: usize, height: usize) -> Self {
        let inverse = |length| window_mass(length).iter().map(|mass| 1.0 / mass).collect();
        Self {
            width,
            across: inverse(width),
            down: inverse(height),
            scratch: vec![0.0; width * height],
        }
    }

    /// Means over the window around each sample.
    fn means(&mut self, plane: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; plane.len()];
        window_sums(plane, self.width, &mut self.scratch, &mut out);
        self.scale(&mut out);
        out
    }

    /// The gradient with respect to samples, from that with respect to their means.
    fn transposed(&mut self, slopes: &mut [f32]) -> Vec<f32> {
        self.scale(slopes);
        let mut out = vec![0.0; slopes.len()];
        window_sums(slopes, self.width, &mut self.scratch, &mut out);
        out
    }

    fn scale(&self, plane: &mut [f32]) {
        plane
            .par_chunks_mut(self.width)
            .zip(&self.down)
            .for_each(|(row, down)| {
                let values = row.iter_mut().zip(&self.across);
                values.for_each(|(value, across)| *value *= across * down);
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: usize, height: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 16_777_216.0 - 0.5
        };
        let smooth = |i: usize| ((i / 3 % width) as f32 * 0.1).sin() * 0.3;
        (0..width * height * 3)
            .map(|i| smooth(i) + 0.2 * next())
            .collect()
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        for (width, height) in [(1, 1), (7, 3), (40, 37)] {
            let (a, mut b) = (picture(width, height, 3), picture(width, height, 5));
            let mut gradient = vec![0.0; a.len()];
            let mut unused = gradient.clone();
            structural_error(&a, &b, width, 0..height, &mut gradient);
            for at in (0..a.len()).step_by(a.len() / 3) {
                let mut moved = |by: f32| {
                    let before = b[at];
                    b[at] = before + by;
                    let value = structural_error(&a, &b, width, 0..height, &mut unused);
                    b[at] = before;
                    value
                };
                // Wide enough that the rounding of the value, about 1e-3, does not show.
                let found = (moved(16e-3) - moved(-16e-3)) / 32e-3;
                let want = f64::from(gradient[at]);
                assert!(
                    (found - want).abs() < 3e-2 * want.abs() + 6e-2,
                    "{width}: {found} {want}"
                );
            }
        }
    }

    #[test]
    fn equal_pictures_have_none() {
        let a = picture(30, 20, 1);
        let mut gradient = vec![0.0; a.len()];
        let value = structural_error(&a, &a, 30, 0..20, &mut gradient);
        assert!(value.abs() < 1e-2, "{value}");
        assert!(gradient.iter().all(|slope| slope.abs() < 1e-2));
    }

    #[test]
    fn parts_have_the_gradient_of_the_whole() {
        let (width, height) = (20, 640);
        let (a, b) = (picture(width, height, 3), picture(width, height, 5));
        let mut whole = vec![0.0; a.len()];
        structural_error(&a, &b, width, 0..height, &mut whole);
        // Rows 208 to 320 with the margin around them.
        let part = (208 - MARGIN) * width * 3..(320 + MARGIN) * width * 3;
        let mut gradient = vec![0.0; part.len()];
        let rows = MARGIN..MARGIN + 112;
        structural_error(
            &a[part.clone()],
            &b[part],
            width,
            rows.clone(),
            &mut gradient,
        );
        let rows = rows.start * width * 3..rows.end * width * 3;
        assert!(gradient[rows] == whole[208 * width * 3..320 * width * 3]);
    }
}
