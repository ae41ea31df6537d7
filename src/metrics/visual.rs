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
    Planes, brightness_gradient, brightness_plane, light_gradient, light_gradient_of_bytes,
    light_planes, light_planes_of_bytes, opponent_gradient, opponent_planes,
};
use crate::kernels::similarity::{MAPS, PlanePair, REACH, add_sums, map_gradient, map_sums};

/// Scales, each half as large as the one before.
pub const SCALES: usize = 5;

/// Planes: red against green (X), brightness (Y), blue against brightness (B).
pub const PLANES: usize = 3;

/// The plane Y.
const BRIGHTNESS: usize = 1;

/// Rows above and below that a row's gradient depends on: the reach of the window and of its gradient at the
/// coarsest scale. A multiple of [`ALIGNMENT`].
pub const MARGIN: usize = 192;

/// Parts of a picture have the whole one's values where they start at a multiple of this.
pub const ALIGNMENT: usize = 1 << (SCALES - 1);

const _: () = assert!(MARGIN >= (2 * REACH + 1) * ALIGNMENT && MARGIN.is_multiple_of(ALIGNMENT));

/// Weights of the mean and of the fourth-power mean of each map.
pub type Weights = [[f64; 2]; MAPS];

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

/// What the maps of a plane weigh in the error.
pub fn weights(scale: usize, plane: usize) -> Weights {
    WEIGHTS[scale][plane].map(|map| map.map(|weight| SCALE * weight))
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
                add_sums(plane, other);
            }
        }
        for (positions, other) in self.positions.iter_mut().zip(other.positions) {
            *positions += other;
        }
    }

    /// The error of the picture: 0 for equal ones.
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
                let weights = weights(scale, plane);
                for (map, slope) in slopes.iter_mut().enumerate() {
                    let sums = self.maps[scale][plane][map];
                    *slope = function(weights[map], sums, self.positions[scale]);
                }
            }
        }
        slopes
    }
}

/// Two pictures, or the same part of both, compared on some scales.
pub struct Comparison {
    scales: Vec<ScaleComparison>,
}

impl Comparison {
    /// Compares `decoded` with `original`, both `[height, width, 3]`: red, green and blue with the sRGB transfer
    /// function, in -0.5..=0.5 (beyond, they are clipped).
    ///
    /// # Panics
    /// When the lengths do not agree or a side is zero.
    pub fn new(original: &[f32], decoded: &[f32], width: usize) -> Self {
        check_sizes(original.len(), decoded.len(), width);
        let light = [light_planes(original), light_planes(decoded)];
        Self::of_light(0..SCALES, light, width).0
    }

    /// Compares planes of light, original and decoded, that are those of the first of `scales`; gives their halves
    /// on the scale after the last, too.
    fn of_light(
        scales: Range<usize>,
        light: [Planes; 2],
        width: usize,
    ) -> (Self, [Planes; 2], usize) {
        let ([mut original, mut decoded], mut width) = (light, width);
        let compare = |scale: usize| {
            let half = |planes: &Planes| planes.each_ref().map(|plane| halved(plane, width));
            let halves = [half(&original), half(&decoded)];
            let [whole_original, whole_decoded] =
                [std::mem::take(&mut original), std::mem::take(&mut decoded)];
            let comparison = ScaleComparison::new(scale, &whole_original, whole_decoded, width);
            [original, decoded] = halves;
            width = width.div_ceil(2);
            comparison
        };
        let scales = scales.map(compare).collect();
        (Self { scales }, [original, decoded], width)
    }

    /// The sums over these rows of the finest scale (all of them for a whole picture; a part's start at a multiple of
    /// [`ALIGNMENT`]).
    pub fn sums(&self, rows: Range<usize>) -> Sums {
        let mut sums = Sums::default();
        for (halvings, comparison) in self.scales.iter().enumerate() {
            let rows = rows.start >> halvings..rows.end.div_ceil(1 << halvings);
            sums.positions[comparison.scale] = (rows.len() * comparison.width) as f64;
            for plane in &comparison.planes {
                let pair = plane.pair(comparison.width);
                sums.maps[comparison.scale][plane.plane] = map_sums(&pair, rows.clone());
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
        let of_light = self.light_gradient(&whole.slopes(), None);
        light_gradient(decoded, &of_light, gradient);
    }

    /// The gradient with respect to the decoded picture's light on the finest scale; `coarser` is that of the scales
    /// after the last, and how wide they begin.
    fn light_gradient(self, slopes: &Slopes, mut coarser: Option<(Planes, usize)>) -> Planes {
        for scale in self.scales.into_iter().rev() {
            let width = scale.width;
            let mut planes = scale.gradient(slopes);
            if let Some((coarser, half)) = coarser {
                for (plane, coarser) in planes.iter_mut().zip(&coarser) {
                    add_doubled(plane, width, coarser, half);
                }
            }
            coarser = Some((planes, width));
        }
        coarser.map_or_else(Planes::default, |(planes, _)| planes)
    }
}

/// One scale of both pictures.
struct ScaleComparison {
    scale: usize,
    width: usize,
    /// The decoded picture in linear light, for the slopes of the color transform.
    decoded: Planes,
    /// The planes that have weights.
    planes: Vec<PlaneComparison>,
}

impl ScaleComparison {
    fn new(scale: usize, original: &Planes, decoded: Planes, width: usize) -> Self {
        let counted = planes_of(scale);
        let pairs = (compared(original, &counted).into_iter()).zip(compared(&decoded, &counted));
        let planes = counted.into_iter().zip(pairs);
        let planes = planes
            .map(|(plane, (a, b))| PlaneComparison {
                plane,
                has_edges: WEIGHTS[scale][plane][1..] != NOTHING[1..],
                a,
                b,
            })
            .collect();
        Self {
            scale,
            width,
            decoded,
            planes,
        }
    }

    /// The gradient with respect to the decoded picture in linear light at this scale.
    fn gradient(self, slopes: &Slopes) -> Planes {
        let slopes = &slopes[self.scale];
        let of_plane =
            |plane: &PlaneComparison| map_gradient(&plane.pair(self.width), &slopes[plane.plane]);
        let mut light = self.decoded;
        if let [brightness] = &self.planes[..]
            && brightness.plane == BRIGHTNESS
        {
            brightness_gradient(&mut light, &of_plane(brightness));
        } else {
            let mut of_planes = [const { Vec::new() }; PLANES];
            for plane in &self.planes {
                of_planes[plane.plane] = of_plane(plane);
            }
            for plane in &mut of_planes {
                plane.resize(light[0].len(), 0.0);
            }
            opponent_gradient(&mut light, &of_planes);
        }
        light
    }
}

/// Panics unless two pictures have the same number of samples, in whole rows of this width.
fn check_sizes(original: usize, decoded: usize, width: usize) {
    assert_eq!(original, decoded, "visual: lengths");
    let is_whole = width > 0 && original.is_multiple_of(3 * width);
    assert!(is_whole, "visual: width");
}

/// The planes of a scale that have weights.
pub fn planes_of(scale: usize) -> Vec<usize> {
    let planes = 0..PLANES;
    planes
        .filter(|plane| WEIGHTS[scale][*plane] != NOTHING)
        .collect()
}

/// These planes of a picture. Where there is only brightness, as on the finest scale, the others are not made.
fn compared(light: &Planes, counted: &[usize]) -> Vec<Vec<f32>> {
    if counted == [BRIGHTNESS] {
        return vec![brightness_plane(light)];
    }
    let mut planes = opponent_planes(light);
    let counted = counted.iter();
    counted
        .map(|plane| std::mem::take(&mut planes[*plane]))
        .collect()
}

/// One plane of both pictures at one scale.
struct PlaneComparison {
    plane: usize,
    /// Whether the artifacts or the lost detail of this plane count.
    has_edges: bool,
    a: Vec<f32>,
    b: Vec<f32>,
}

impl PlaneComparison {
    fn pair(&self, width: usize) -> PlanePair<'_> {
        PlanePair {
            a: &self.a,
            b: &self.b,
            width,
            has_edges: self.has_edges,
        }
    }
}

/// Scales that are compared band by band; the others are small enough to be compared whole.
const FINE_SCALES: usize = 2;

/// Rows above and below that a row's gradient on the fine scales depends on, as [`MARGIN`] on all.
const FINE_MARGIN: usize = 24;

const _: () = assert!(FINE_MARGIN >= (2 * REACH) << (FINE_SCALES - 1));
const _: () = assert!(FINE_MARGIN.is_multiple_of(1 << FINE_SCALES));

/// Pixels of a band.
const BAND: usize = 1 << 20;

/// Bands whose fine scales are kept for the gradient: 27 bytes a pixel.
const KEPT_BANDS: usize = 4;

/// Two whole pictures of samples as they are shown, compared in memory that is small beside theirs.
pub struct BandedComparison<'a> {
    original: &'a [u8],
    decoded: &'a [u8],
    width: usize,
    /// The fine scales of the first bands: the gradient of the others computes them again.
    fine: Vec<Comparison>,
    /// The scales after them.
    coarse: Comparison,
    sums: Sums,
}

impl<'a> BandedComparison<'a> {
    /// Compares `decoded` with `original`, both `[height, width, 3]`.
    ///
    /// # Panics
    /// When the lengths do not agree or a side is zero.
    pub fn new(original: &'a [u8], decoded: &'a [u8], width: usize) -> Self {
        check_sizes(original.len(), decoded.len(), width);
        let mut sums = Sums::default();
        let mut kept = Vec::new();
        let mut light: [Planes; 2] = Default::default();
        let mut coarse_width = 0;
        for band in bands(original.len() / 3 / width, width) {
            let (fine, halves, half) = fine_comparison(original, decoded, width, &band);
            sums.add(&fine.sums(band.inside()));
            coarse_width = half;
            let rows = band.inside();
            let rows = rows.start >> FINE_SCALES..rows.end.div_ceil(1 << FINE_SCALES);
            for (light, halves) in light.iter_mut().flatten().zip(halves.iter().flatten()) {
                light.extend_from_slice(&halves[rows.start * half..rows.end * half]);
            }
            if kept.len() < KEPT_BANDS {
                kept.push(fine);
            }
        }
        let coarse_height = light[0][0].len() / coarse_width.max(1);
        let (coarse, _, _) = Comparison::of_light(FINE_SCALES..SCALES, light, coarse_width);
        sums.add(&coarse.sums(0..coarse_height));
        Self {
            original,
            decoded,
            width,
            fine: kept,
            coarse,
            sums,
        }
    }

    /// The error: 0 for equal pictures.
    pub fn error(&self) -> f64 {
        self.sums.error()
    }

    /// The gradient of the error with respect to `decoded` (in units of the whole range of samples): `emit` gets rows
    /// of it, `[rows, width, 3]`, from top to bottom, and which they are.
    pub fn gradient(self, emit: &mut dyn FnMut(Range<usize>, &[f32])) {
        let (width, slopes) = (self.width, self.sums.slopes());
        let coarse_width = width.div_ceil(1 << FINE_SCALES);
        let coarse = self.coarse.light_gradient(&slopes, None);
        let mut gradient = Vec::new();
        let mut kept = self.fine.into_iter();
        for band in bands(self.original.len() / 3 / width, width) {
            let fine = kept.next();
            let fine = fine
                .unwrap_or_else(|| fine_comparison(self.original, self.decoded, width, &band).0);
            let around =
                band.around.start >> FINE_SCALES..band.around.end.div_ceil(1 << FINE_SCALES);
            let around = around.start * coarse_width..around.end * coarse_width;
            let part = coarse
                .each_ref()
                .map(|plane| plane[around.clone()].to_vec());
            let of_light = fine.light_gradient(&slopes, Some((part, coarse_width)));
            let inside = band.inside();
            let inside = inside.start * width..inside.end * width;
            let of_light = of_light.each_ref().map(|plane| &plane[inside.clone()]);
            let samples = band.rows.start * width * 3..band.rows.end * width * 3;
            gradient.resize(samples.len(), 0.0);
            light_gradient_of_bytes(&self.decoded[samples], of_light, &mut gradient);
            emit(band.rows, &gradient);
        }
    }
}

/// Rows that are compared at once.
struct Band {
    rows: Range<usize>,
    /// These and those that their gradient depends on.
    around: Range<usize>,
}

impl Band {
    /// The rows, counted from the first of those around them.
    fn inside(&self) -> Range<usize> {
        self.rows.start - self.around.start..self.rows.end - self.around.start
    }
}

/// The bands of a picture, the same for every machine.
fn bands(height: usize, width: usize) -> impl Iterator<Item = Band> {
    let rows = (BAND / width)
        .max(4 * FINE_MARGIN)
        .next_multiple_of(1 << FINE_SCALES);
    (0..height).step_by(rows).map(move |top| {
        let rows = top..(top + rows).min(height);
        Band {
            around: rows.start.saturating_sub(FINE_MARGIN)..(rows.end + FINE_MARGIN).min(height),
            rows,
        }
    })
}

/// The fine scales of the rows around a band, and what follows them.
fn fine_comparison(
    original: &[u8],
    decoded: &[u8],
    width: usize,
    band: &Band,
) -> (Comparison, [Planes; 2], usize) {
    let samples = band.around.start * width * 3..band.around.end * width * 3;
    let light = [original, decoded].map(|bytes| light_planes_of_bytes(&bytes[samples.clone()]));
    Comparison::of_light(0..FINE_SCALES, light, width)
}

/// The means of 2 x 2 samples; the last row and column count twice where sides are odd.
fn halved(plane: &[f32], width: usize) -> Vec<f32> {
    let (height, half) = (plane.len() / width, width.div_ceil(2));
    let mut out = vec![0.0; height.div_ceil(2) * half];
    let rows = out.par_chunks_mut(half).zip(plane.par_chunks(2 * width));
    rows.for_each(|(out, pair)| {
        let (top, bottom) = (&pair[..width], &pair[pair.len() - width..]);
        let pairs = top.chunks_exact(2).zip(bottom.chunks_exact(2));
        for (out, (top, bottom)) in out.iter_mut().zip(pairs) {
            *out = ((top[0] + top[1]) + (bottom[0] + bottom[1])) * 0.25;
        }
        if let ([.., out], 1) = (out, width % 2) {
            let (top, bottom) = (top[width - 1], bottom[width - 1]);
            *out = ((top + top) + (bottom + bottom)) * 0.25;
        }
    });
    out
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
            let (pairs, last) = row.as_chunks_mut::<2>();
            for (pair, slope) in pairs.iter_mut().zip(slopes) {
                pair[0] += of_row * slope;
                pair[1] += of_row * slope;
            }
            if let ([to], Some(slope)) = (last, slopes.last()) {
                *to += of_row * 2.0 * slope;
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

    /// SSIMULACRA2's score of an error: 100 for none, falling without a bound.
    fn score(error: f64) -> f64 {
        let bent = 2.326_765_642_916_932 * error - 0.020_884_521_182_843_837 * error * error
            + 6.248_496_625_763_138e-5 * error * error * error;
        100.0 - 10.0 * bent.max(0.0).powf(0.627_633_646_783_138_7)
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

    #[test]
    fn bands_have_the_error_and_the_gradient_of_the_whole() {
        let (width, height) = (BAND / 100 + 3, 231);
        let bytes = |seed: usize| -> Vec<u8> {
            let value = |i: usize| (i / 3 % width / 50 + i / 3 / width + (i * i * seed) % 61) % 256;
            (0..width * height * 3).map(|i| value(i) as u8).collect()
        };
        let samples = |bytes: &[u8]| -> Vec<f32> {
            bytes.iter().map(|b| f32::from(*b) / 255.0 - 0.5).collect()
        };
        let (a, b) = (bytes(3), bytes(5));
        let comparison = BandedComparison::new(&a, &b, width);
        assert!(bands(height, width).count() > 2);
        let (whole_a, whole_b) = (samples(&a), samples(&b));
        let want = error(&whole_a, &whole_b, width);
        assert!((comparison.error() / want - 1.0).abs() < 1e-9);
        let want = gradient(&whole_a, &whole_b, width);
        let mut next = 0;
        comparison.gradient(&mut |rows, gradient| {
            assert_eq!(rows.start, next);
            next = rows.end;
            let want = &want[rows.start * width * 3..rows.end * width * 3];
            // The sums, and with them the slopes, are rounded differently.
            let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * (a.abs() + b.abs()) + 1e-12;
            assert!(gradient.iter().zip(want).all(close), "{rows:?}");
        });
        assert_eq!(next, height);
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
