//! The error that SSIMULACRA2 sees, with its gradient: what `--tune ssim` minimises, in training and in the
//! encoder's search.
//!
//! SSIMULACRA2 (Sneyers 2023, version 2.1, <https://github.com/cloudinary/ssimulacra2>) halves both pictures in
//! linear light scale by scale, turns each scale into planes of an opponent color space (XYB), and compares them
//! by three maps: structural similarity, artifacts (edges that only the decoded picture has), and lost detail
//! (edges that only the original has). Means and fourth-power means of the maps, weighed, sum to an error, of
//! which its score is a decreasing function ([`score`]). Here the parts whose weights are next to nothing are left
//! out, the sixth scale with them.
//!
//! Every operation has one order and is rounded alone, so that values and gradients
//! are the same on every machine: what an encoder searches for may depend on them.

use std::ops::Range;

use rayon::prelude::*;

use crate::kernels::opponent::{
    Planes, light_gradient, light_planes, opponent_gradient, opponent_planes,
};
use crate::kernels::window::{REACH, window_sums};

/// Scales, each half as large as the one before.
const SCALES: usize = 5;

/// Planes: red against green (X), brightness (Y), blue against brightness (B).
const PLANES: usize = 3;

/// Rows above and below that a row's gradient depends on: the reach of the window and of its gradient at the
/// coarsest scale. A multiple of [`ALIGNMENT`].
pub const MARGIN: usize = 192;

/// Parts of a picture have the whole one's values where they start at a multiple of this.
pub const ALIGNMENT: usize = 1 << (SCALES - 1);

const _: () = assert!(MARGIN >= (2 * REACH + 1) * ALIGNMENT && MARGIN.is_multiple_of(ALIGNMENT));

/// The maps of one plane at one scale: similarity, artifacts, lost detail.
const MAPS: usize = 3;

/// Weights of the mean and of the fourth-power mean of each map.
type Weights = [[f64; 2]; MAPS];

const NOTHING: Weights = [[0.0; 2]; MAPS];

/// SSIMULACRA2's weights, from the finest scale on, of X, Y and B.
#[rustfmt::skip]
const WEIGHTS: [[Weights; PLANES]; SCALES] = [
    [NOTHING,
     [[0.0, 7.466_890_328], [0.0, 0.0], [0.0, 17.445_833_984]],
     NOTHING],
    [[[0.0, 1.104_172_643], [0.0, 0.0], [0.0, 0.0]],
     [[0.0, 6.683_678_146], [0.0, 0.0], [0.0, 1.027_889_938]],
     NOTHING],
    [[[0.0, 1.842_245_552], [0.0, 11.441_172_604], [0.0, 0.0]],
     [[225.205_153_008, 19.213_238_186], [0.0, 0.0], [0.0, 0.0]],
     NOTHING],
    [[[0.0, 1.878_759_498], [0.0, 10.949_069_906], [0.0, 0.0]],
     [[176.393_175_985, 24.433_009_999], [0.0, 0.285_208_026], [0.0, 0.0]],
     [[0.0, 8.826_982_765], [0.0, 23.192_433_440], [0.0, 0.0]]],
    [[[0.0, 0.0], [0.967_793_708, 0.998_176_698], [0.0, 0.0]],
     [[0.0, 34.779_063_445], [0.0, 44.835_625_329], [0.0, 0.0]],
     [[95.108_049_881, 0.0], [0.986_397_803, 171.266_725_590], [0.983_438_279, 0.980_785_887]]],
];

/// Factor on the weighted sum.
const SCALE: f64 = 0.956_238_261_683_484_4;

/// The constant of the similarity.
const C2: f32 = 0.0009;

/// SSIMULACRA2's score of an error: 100 for none, falling without a bound.
#[must_use]
pub fn score(error: f64) -> f64 {
    let bent = 2.326_765_642_916_932 * error - 0.020_884_521_182_843_837 * error * error
        + 6.248_496_625_763_138e-5 * error * error * error;
    100.0 - 10.0 * bent.max(0.0).powf(0.627_633_646_783_138_7)
}

/// Sums over the maps of a picture or of a part of it: the sums of several parts add up to those of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sums {
    /// Of each map's values and of their fourth powers.
    maps: [[[[f64; 2]; MAPS]; PLANES]; SCALES],
    /// Positions of each scale.
    positions: [f64; SCALES],
}

/// What a map's values and their cubes count in the gradient of the error.
type Slopes = [[[[f32; 2]; MAPS]; PLANES]; SCALES];

impl Sums {
    /// Adds those of another part.
    pub fn add(&mut self, other: &Self) {
        for (scale, other) in self.maps.iter_mut().zip(&other.maps) {
            for (plane, other) in scale.iter_mut().zip(other) {
                for (map, other) in plane.iter_mut().zip(other) {
                    map[0] += other[0];
                    map[1] += other[1];
                }
            }
        }
        for (positions, other) in self.positions.iter_mut().zip(other.positions) {
            *positions += other;
        }
    }

    /// The error of the picture: 0 for equal ones.
    #[must_use]
    pub fn error(&self) -> f64 {
        let mut error = 0.0;
        self.each(|weight, [sum, fourth], positions| {
            error += weight[0] * (sum / positions) + weight[1] * (fourth / positions).sqrt().sqrt();
            [0.0; 2]
        });
        error
    }

    /// How the error of the whole picture moves with the values of its maps.
    fn slopes(&self) -> Slopes {
        self.each(|weight, [_, fourth], positions| {
            // Of the fourth root of the mean of d^4: d^3 / (positions * root^3).
            let root = (fourth / positions).sqrt().sqrt();
            let of_cubes = if root > 0.0 {
                weight[1] / (positions * root * root * root)
            } else {
                0.0
            };
            [(weight[0] / positions) as f32, of_cubes as f32]
        })
    }

    /// A function of each map's weights, sums and positions.
    fn each(&self, mut function: impl FnMut([f64; 2], [f64; 2], f64) -> [f32; 2]) -> Slopes {
        let mut slopes = Slopes::default();
        for (scale, slopes) in slopes.iter_mut().enumerate() {
            for (plane, slopes) in slopes.iter_mut().enumerate() {
                for (map, slope) in slopes.iter_mut().enumerate() {
                    let weight = WEIGHTS[scale][plane][map].map(|weight| SCALE * weight);
                    *slope = function(weight, self.maps[scale][plane][map], self.positions[scale]);
                }
            }
        }
        slopes
    }
}

/// Two pictures, or the same part of both, compared.
pub struct Comparison {
    scales: Vec<ScaleComparison>,
}

impl Comparison {
    /// Compares `decoded` with `original`, both `[height, width, 3]`: red, green and blue with the sRGB transfer
    /// function, in -0.5..=0.5 (beyond, they are clipped).
    ///
    /// # Panics
    /// When the lengths do not agree or a side is zero.
    #[must_use]
    pub fn new(original: &[f32], decoded: &[f32], width: usize) -> Self {
        assert_eq!(original.len(), decoded.len(), "visual: lengths");
        assert!(
            width > 0 && original.len().is_multiple_of(3 * width),
            "visual: width"
        );
        let (mut original, mut decoded) = (light_planes(original), light_planes(decoded));
        let mut width = width;
        let mut scales = Vec::with_capacity(SCALES);
        for scale in 0..SCALES {
            if scale > 0 {
                original = original.map(|plane| halved(&plane, width));
                decoded = decoded.map(|plane| halved(&plane, width));
                width = width.div_ceil(2);
            }
            scales.push(ScaleComparison::new(
                scale,
                &original,
                decoded.clone(),
                width,
            ));
        }
        Self { scales }
    }

    /// The sums over these rows (all of them for a whole picture; a part's start at a multiple of [`ALIGNMENT`]).
    #[must_use]
    pub fn sums(&self, rows: Range<usize>) -> Sums {
        let mut sums = Sums::default();
        for (scale, comparison) in self.scales.iter().enumerate() {
            let rows = rows.start >> scale..rows.end.div_ceil(1 << scale);
            let width = comparison.width;
            {
                sums.positions[scale] = (rows.len() * width) as f64;
            }
            for plane in &comparison.planes {
                sums.maps[scale][plane.plane] = plane.sums(rows.clone(), width);
            }
        }
        sums
    }

    /// The gradient of the whole picture's error with respect to `decoded`, `[height, width, 3]`, where `whole` are
    /// the sums of the whole picture. Of a part, the rows at least [`MARGIN`] inside are those of the whole picture.
    ///
    /// # Panics
    /// When `gradient` is not of the pictures' length.
    pub fn gradient(self, decoded: &[f32], whole: &Sums, gradient: &mut [f32]) {
        assert_eq!(decoded.len(), gradient.len(), "visual: lengths");
        let slopes = whole.slopes();
        let mut coarser: Option<(Planes, usize)> = None;
        for (scale, slopes) in self.scales.into_iter().zip(&slopes).rev() {
            let width = scale.width;
            let mut planes = scale.gradient(slopes);
            if let Some((coarser, half)) = coarser {
                for (plane, coarser) in planes.iter_mut().zip(&coarser) {
                    add_doubled(plane, width, coarser, half);
                }
            }
            coarser = Some((planes, width));
        }
        if let Some((of_light, _)) = coarser {
            light_gradient(decoded, &of_light, gradient);
        }
    }
}

/// One scale of both pictures.
struct ScaleComparison {
    width: usize,
    /// The decoded picture in linear light, for the slopes of the color transform.
    decoded: Planes,
    /// The planes that have weights.
    planes: Vec<PlaneComparison>,
}

impl ScaleComparison {
    fn new(scale: usize, original: &Planes, decoded: Planes, width: usize) -> Self {
        let (a, b) = (opponent_planes(original), opponent_planes(&decoded));
        let planes = a.into_iter().zip(b).zip(WEIGHTS[scale]).enumerate();
        let planes = planes
            .filter(|(_, (_, weights))| *weights != NOTHING)
            .map(|(plane, ((a, b), weights))| PlaneComparison::new(plane, a, b, width, weights))
            .collect();
        Self {
            width,
            decoded,
            planes,
        }
    }

    /// The gradient with respect to the decoded picture in linear light at this scale.
    fn gradient(self, slopes: &[[[f32; 2]; MAPS]; PLANES]) -> Planes {
        let mut of_planes: Planes = Default::default();
        for plane in self.planes {
            let at = plane.plane;
            of_planes[at] = plane.gradient(&slopes[at], self.width);
        }
        let mut light = self.decoded;
        opponent_gradient(&mut light, &of_planes);
        light
    }
}

/// One plane of both pictures at one scale.
struct PlaneComparison {
    plane: usize,
    weights: Weights,
    a: Vec<f32>,
    b: Vec<f32>,
    mean_a: Vec<f32>,
    mean_b: Vec<f32>,
    /// Means of a² + b² and of ab.
    squares: Vec<f32>,
    cross: Vec<f32>,
}

impl PlaneComparison {
    fn new(plane: usize, a: Vec<f32>, b: Vec<f32>, width: usize, weights: Weights) -> Self {
        let mut between = vec![0.0; a.len()];
        let mut means = |plane: &[f32]| {
            let mut out = vec![0.0; plane.len()];
            window_sums(plane, width, &mut between, &mut out);
            out
        };
        let product = |f: fn(f32, f32) -> f32| -> Vec<f32> {
            let pairs = a.par_iter().zip(&b).with_min_len(1 << 12);
            pairs.map(|(a, b)| f(*a, *b)).collect()
        };
        Self {
            plane,
            weights,
            mean_a: means(&a),
            mean_b: means(&b),
            squares: means(&product(|a, b| a * a + b * b)),
            cross: means(&product(|a, b| a * b)),
            a,
            b,
        }
    }

    /// What the maps are made of at one position.
    fn position(&self, at: usize) -> Position {
        Position {
            mean_a: self.mean_a[at],
            mean_b: self.mean_b[at],
            squares: self.squares[at],
            cross: self.cross[at],
            edge_a: self.a[at] - self.mean_a[at],
            edge_b: self.b[at] - self.mean_b[at],
        }
    }

    /// Whether the artifacts or the lost detail of this plane count.
    fn has_edges(&self) -> bool {
        self.weights[1..] != NOTHING[1..]
    }

    fn sums(&self, rows: Range<usize>, width: usize) -> [[f64; 2]; MAPS] {
        let has_edges = self.has_edges();
        let of_row = |y: usize| {
            let mut sums = [[0.0; 2]; MAPS];
            let mut add = |map: usize, value: f32| {
                let value = f64::from(value);
                let square = value * value;
                sums[map][0] += value;
                sums[map][1] += square * square;
            };
            for at in y * width..(y + 1) * width {
                let position = self.position(at);
                add(0, position.dissimilarity().0);
                if has_edges {
                    let change = position.edge_change();
                    add(1, change.max(0.0));
                    add(2, (-change).max(0.0));
                }
            }
            sums
        };
        let height = self.a.len() / width;
        let rows = rows.start.min(height)..rows.end.min(height);
        let by_row: Vec<_> = rows.into_par_iter().map(of_row).collect();
        by_row.into_iter().fold([[0.0; 2]; MAPS], |mut all, row| {
            for (all, row) in all.iter_mut().zip(row) {
                all[0] += row[0];
                all[1] += row[1];
            }
            all
        })
    }

    /// The gradient with respect to `b`.
    fn gradient(self, slopes: &[[f32; 2]; MAPS], width: usize) -> Vec<f32> {
        let has_edges = self.has_edges();
        let mut of_moments = [(); 3].map(|()| vec![0.0; self.b.len()]);
        let mut gradient = vec![0.0; self.b.len()];
        let [of_mean, of_squares, of_cross] = &mut of_moments;
        let outputs = (of_mean.par_iter_mut().zip(of_squares))
            .zip(of_cross.par_iter_mut().zip(&mut gradient))
            .with_min_len(1 << 12)
            .enumerate();
        outputs.for_each(|(at, ((of_mean, of_squares), (of_cross, direct)))| {
            let position = self.position(at);
            let (value, slope) = position.dissimilarity();
            let factor = counted(slopes[0], value);
            *of_mean = factor * slope.mean_b;
            *of_squares = factor * slope.squares;
            *of_cross = factor * slope.cross;
            if has_edges {
                let change = position.edge_change();
                let factor =
                    counted(slopes[1], change.max(0.0)) - counted(slopes[2], (-change).max(0.0));
                let of_edge = factor * position.edge_slope();
                *direct = of_edge;
                *of_mean -= of_edge;
            }
        });
        let (mut between, mut sums) = (vec![0.0; self.b.len()], vec![0.0; self.b.len()]);
        // The window is symmetric, so that it is its own transpose.
        let factors: [fn(f32, f32) -> f32; 3] = [|_, _| 1.0, |_, b| 2.0 * b, |a, _| a];
        for (of_moment, factor) in of_moments.iter().zip(factors) {
            window_sums(of_moment, width, &mut between, &mut sums);
            let samples = sums.par_iter().zip(self.a.par_iter().zip(&self.b));
            let to = gradient.par_iter_mut().zip(samples).with_min_len(1 << 12);
            to.for_each(|(gradient, (sum, (a, b)))| *gradient += factor(*a, *b) * sum);
        }
        gradient
    }
}

/// What a map's value counts in the gradient; nothing where it is 0, for it is clipped there.
fn counted([of_value, of_cube]: [f32; 2], value: f32) -> f32 {
    if value > 0.0 {
        of_value + of_cube * value * value * value
    } else {
        0.0
    }
}

/// Moments and edges of both planes at one position.
struct Position {
    mean_a: f32,
    mean_b: f32,
    squares: f32,
    cross: f32,
    edge_a: f32,
    edge_b: f32,
}

/// Slopes with respect to the moments that depend on the decoded picture.
struct MomentSlopes {
    mean_b: f32,
    squares: f32,
    cross: f32,
}

impl Position {
    /// One minus the structural similarity, at least 0, and its slopes.
    fn dissimilarity(&self) -> (f32, MomentSlopes) {
        let (mu_a, mu_b) = (self.mean_a, self.mean_b);
        let difference = mu_a - mu_b;
        let closeness = 1.0 - difference * difference;
        let shared = 2.0 * (self.cross - mu_a * mu_b) + C2;
        // Rounding may leave less than nothing of the variances.
        let below = (self.squares - (mu_a * mu_a + mu_b * mu_b)).max(0.0) + C2;
        let structure = shared / below;
        let slopes = MomentSlopes {
            mean_b: 2.0 * closeness * (mu_a - mu_b * structure) / below
                - 2.0 * difference * structure,
            squares: closeness * structure / below,
            cross: -2.0 * closeness / below,
        };
        ((1.0 - closeness * structure).max(0.0), slopes)
    }

    /// How much stronger the edge is in the decoded picture: above 0 an artifact, below lost detail.
    fn edge_change(&self) -> f32 {
        (1.0 + self.edge_b.abs()) / (1.0 + self.edge_a.abs()) - 1.0
    }

    /// The slope of [`edge_change`](Self::edge_change) with respect to the decoded sample.
    fn edge_slope(&self) -> f32 {
        let sign = f32::from(self.edge_b > 0.0) - f32::from(self.edge_b < 0.0);
        sign / (1.0 + self.edge_a.abs())
    }
}

/// The means of 2 x 2 samples; the last row and column count twice where sides are odd.
fn halved(plane: &[f32], width: usize) -> Vec<f32> {
    let rows = plane.par_chunks(2 * width).map(|pair| {
        let (top, bottom) = (&pair[..width], &pair[pair.len() - width..]);
        let columns = (0..width).step_by(2).map(|left| {
            let right = (left + 1).min(width - 1);
            ((top[left] + top[right]) + (bottom[left] + bottom[right])) * 0.25
        });
        columns.collect::<Vec<f32>>()
    });
    rows.flatten_iter().collect()
}

/// Adds the gradient of the [`halved`] plane to that of the plane.
fn add_doubled(plane: &mut [f32], width: usize, coarser: &[f32], half: usize) {
    let height = plane.len() / width;
    plane
        .par_chunks_mut(width)
        .enumerate()
        .for_each(|(y, row)| {
            let slopes = &coarser[y / 2 * half..][..half];
            let of_row = if y + 1 == height && y % 2 == 0 {
                0.5
            } else {
                0.25
            };
            for (x, to) in row.iter_mut().enumerate() {
                let of_column = if x + 1 == width && x % 2 == 0 {
                    2.0
                } else {
                    1.0
                };
                *to += of_row * of_column * slopes[x / 2];
            }
        });
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
        let smooth =
            |i: usize| ((i / 3 % width) as f32 * 0.1 + (i / 3 / width) as f32 * 0.07).sin() * 0.3;
        (0..width * height * 3)
            .map(|i| smooth(i) + 0.2 * next())
            .collect()
    }

    fn error(a: &[f32], b: &[f32], width: usize) -> f64 {
        let comparison = Comparison::new(a, b, width);
        comparison.sums(0..a.len() / 3 / width).error()
    }

    fn gradient(a: &[f32], b: &[f32], width: usize) -> Vec<f32> {
        let comparison = Comparison::new(a, b, width);
        let sums = comparison.sums(0..a.len() / 3 / width);
        let mut gradient = vec![0.0; a.len()];
        comparison.gradient(b, &sums, &mut gradient);
        gradient
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        for (width, height) in [(1, 1), (7, 3), (40, 37)] {
            let (a, b) = (picture(width, height, 3), picture(width, height, 5));
            let gradient = gradient(&a, &b, width);
            let at_distance = |step: f32| {
                let moved: Vec<f32> = b
                    .iter()
                    .zip(&gradient)
                    .map(|(b, slope)| b + step * slope)
                    .collect();
                error(&a, &moved, width)
            };
            // Along the gradient, where the slope is the sum of squares; far enough for 24 bits of precision.
            let want: f64 = gradient.iter().map(|slope| f64::from(slope * slope)).sum();
            let h = (3e-3 * error(&a, &b, width) / want) as f32;
            let found = (at_distance(h) - at_distance(-h)) / (2.0 * f64::from(h));
            assert!((found / want - 1.0).abs() < 2e-2, "{width}: {found} {want}");
        }
    }

    #[test]
    fn every_sample_has_its_slope() {
        let (width, height) = (33, 18);
        let (a, mut b) = (picture(width, height, 3), picture(width, height, 5));
        let gradient = gradient(&a, &b, width);
        let largest = gradient
            .iter()
            .fold(0.0f32, |largest, slope| largest.max(slope.abs()));
        for at in (0..a.len()).step_by(97) {
            let before = b[at];
            let mut moved = |by: f32| {
                b[at] = before + by;
                error(&a, &b, width)
            };
            let found = (moved(2e-3) - moved(-2e-3)) / 4e-3;
            b[at] = before;
            let want = f64::from(gradient[at]);
            assert!(
                (found - want).abs() < 3e-2 * f64::from(largest),
                "{at}: {found} {want}"
            );
        }
    }

    #[test]
    fn equal_pictures_have_no_error() {
        let a = picture(30, 20, 1);
        assert!(error(&a, &a, 30).abs() < 1e-4);
        assert!((score(0.0) - 100.0).abs() < f64::EPSILON);
        assert!(gradient(&a, &a, 30).iter().all(|slope| slope.is_finite()));
    }

    #[test]
    fn parts_have_the_sums_and_the_gradient_of_the_whole() {
        let (width, height) = (20, 640);
        let (a, b) = (picture(width, height, 3), picture(width, height, 5));
        let whole = gradient(&a, &b, width);
        let all = Comparison::new(&a, &b, width).sums(0..height);
        let part = |rows: Range<usize>| {
            let around = rows.start.saturating_sub(MARGIN)..(rows.end + MARGIN).min(height);
            let samples = around.start * width * 3..around.end * width * 3;
            let comparison = Comparison::new(&a[samples.clone()], &b[samples.clone()], width);
            (
                comparison,
                rows.start - around.start..rows.end - around.start,
                samples,
            )
        };
        let mut sums = Sums::default();
        for rows in [0..208, 208..320, 320..640] {
            let (comparison, rows, _) = part(rows);
            sums.add(&comparison.sums(rows));
        }
        assert!((sums.error() / all.error() - 1.0).abs() < 1e-12);
        let (comparison, rows, samples) = part(208..320);
        let mut gradient = vec![0.0; samples.len()];
        comparison.gradient(&b[samples], &all, &mut gradient);
        assert!(
            gradient[rows.start * width * 3..rows.end * width * 3]
                == whole[208 * width * 3..320 * width * 3]
        );
    }

    #[cfg(feature = "cli")]
    #[test]
    fn the_score_is_that_of_the_reference() {
        use crate::metrics::{RgbView, ssimulacra2};
        let (width, height) = (160, 120);
        let bytes = |picture: &[f32]| -> Vec<u8> {
            let byte = |value: &f32| ((value.clamp(-0.5, 0.5) + 0.5) * 255.0).round() as u8;
            picture.iter().map(byte).collect()
        };
        let samples = |bytes: &[u8]| -> Vec<f32> {
            bytes.iter().map(|b| f32::from(*b) / 255.0 - 0.5).collect()
        };
        let original = bytes(&picture(width, height, 3));
        for strength in [0.02f32, 0.1, 0.3] {
            let noise = picture(width, height, 9);
            let pairs = samples(&original).into_iter().zip(noise);
            let decoded = bytes(
                &pairs
                    .map(|(a, noise)| a + strength * noise)
                    .collect::<Vec<f32>>(),
            );
            let view =
                |bytes| RgbView::new(bytes, width as u32, height as u32).expect("the sizes agree");
            let want = ssimulacra2(&view(&original), &view(&decoded)).expect("large enough");
            let found = score(error(&samples(&original), &samples(&decoded), width));
            assert!((found - want).abs() < 1.0, "{strength}: {found} {want}");
        }
    }
}
