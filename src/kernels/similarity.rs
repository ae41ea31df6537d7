//! What the visual error sees in two planes: structural similarity under a Gaussian window, and edges that are
//! stronger in one than in the other; sums of these maps, and their gradient.
//!
//! Computed tile by tile, so that what lies between samples and sums stays in the cache. Every operation has one
//! order and is rounded alone, so every path gives the same bits.
// Indices run through many rows side by side.
#![allow(clippy::needless_range_loop)]

use std::ops::Range;

use rayon::prelude::*;

use super::dispatch::{self, on_path};

/// Taps of the window to each side of the middle one.
pub const REACH: usize = 5;

/// All taps in one direction.
const WIDTH: usize = 2 * REACH + 1;

/// The middle tap and those beside it: a Gaussian of standard deviation 1.5 whose eleven taps
/// sum to one. Written out, because files depend on them and mathematical libraries differ.
const TAPS: [f32; REACH + 1] = [
    0.266_011_73,
    0.213_005_54,
    0.109_360_69,
    0.036_000_773,
    0.007_598_758,
    0.001_028_380_1,
];

/// The constant of the similarity.
const C2: f32 = 0.0009;

/// Maps of a pair of planes: dissimilarity, artifacts, lost detail.
pub const MAPS: usize = 3;

/// Rows and columns of a tile.
const TILE: (usize, usize) = (64, 256);

/// Sums side by side, each of every eighth column.
const LANES: usize = 8;

/// A plane of the original picture, the same of the decoded one, and how wide they are.
#[derive(Debug, Clone, Copy)]
pub struct PlanePair<'a> {
    pub a: &'a [f32],
    pub b: &'a [f32],
    pub width: usize,
    /// Whether the maps of edges count.
    pub has_edges: bool,
}

/// Sums over these rows of each map's values and of their fourth powers.
///
/// # Panics
/// When the lengths do not agree.
pub fn map_sums(pair: &PlanePair<'_>, rows: Range<usize>) -> [[f64; 2]; MAPS] {
    let height = pair.height();
    let rows = rows.start.min(height)..rows.end.min(height);
    let path = dispatch::active();
    let strips = rows.clone().into_par_iter().step_by(TILE.0);
    let by_strip = strips.map_init(Scratch::default, |scratch, top| {
        let mut sums = [[0.0; 2]; MAPS];
        for tile in tiles(top..(top + TILE.0).min(rows.end), pair.width) {
            let scratch = &mut *scratch;
            let of_tile = on_path!(path, <'a> {
                pair: &'a PlanePair<'a>, tile: Tile, scratch: &'a mut Scratch
            } -> [[f64; 2]; MAPS] => {
                tile_sums(pair, &tile, scratch)
            });
            add_sums(&mut sums, &of_tile);
        }
        sums
    });
    let by_strip: Vec<_> = by_strip.collect();
    let mut all = [[0.0; 2]; MAPS];
    for strip in by_strip {
        add_sums(&mut all, &strip);
    }
    all
}

/// The gradient, with respect to `b`, of an error that moves with the values of each map and with their cubes as
/// `slopes` say.
///
/// # Panics
/// When the lengths do not agree.
pub fn map_gradient(pair: &PlanePair<'_>, slopes: &[[f32; 2]; MAPS]) -> Vec<f32> {
    let height = pair.height();
    let path = dispatch::active();
    let mut gradient = vec![0.0; pair.b.len()];
    let strips = gradient.par_chunks_mut(TILE.0 * pair.width).enumerate();
    strips.for_each_init(Scratch::default, |scratch, (strip, out)| {
        let top = strip * TILE.0;
        for tile in tiles(top..(top + TILE.0).min(height), pair.width) {
            let (scratch, out) = (&mut *scratch, &mut *out);
            on_path!(path, <'a> {
                pair: &'a PlanePair<'a>, tile: Tile, slopes: &'a [[f32; 2]; MAPS], scratch: &'a mut Scratch,
                out: &'a mut [f32]
            } => {
                tile_gradient(pair, &tile, slopes, scratch, out);
            });
        }
    });
    gradient
}

/// Adds the sums of other positions.
pub fn add_sums(sums: &mut [[f64; 2]; MAPS], other: &[[f64; 2]; MAPS]) {
    for (sums, other) in sums.iter_mut().zip(other) {
        sums[0] += other[0];
        sums[1] += other[1];
    }
}

impl<'a> PlanePair<'a> {
    /// The samples of both planes in some columns of a row.
    #[inline(always)]
    fn samples(&self, row: usize, columns: &Range<usize>) -> [&'a [f32]; 2] {
        let start = row * self.width;
        [self.a, self.b].map(|plane| &plane[start + columns.start..start + columns.end])
    }

    fn height(&self) -> usize {
        assert_eq!(self.a.len(), self.b.len(), "similarity: lengths");
        assert!(
            self.width > 0 && self.a.len().is_multiple_of(self.width),
            "similarity: width"
        );
        self.a.len() / self.width
    }
}

/// A rectangle of positions.
#[derive(Debug, Clone)]
struct Tile {
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Tile {
    /// The positions that the window reaches from these.
    fn grown(&self, height: usize, width: usize) -> Self {
        let grown = |range: &Range<usize>, length: usize| {
            range.start.saturating_sub(REACH)..(range.end + REACH).min(length)
        };
        Self {
            rows: grown(&self.rows, height),
            columns: grown(&self.columns, width),
        }
    }
}

/// The tiles of a strip, from left to right.
fn tiles(rows: Range<usize>, width: usize) -> impl Iterator<Item = Tile> {
    (0..width).step_by(TILE.1).map(move |left| Tile {
        rows: rows.clone(),
        columns: left..(left + TILE.1).min(width),
    })
}

/// Memory of one thread.
#[derive(Default)]
struct Scratch {
    /// Rows with zeros beyond the edges.
    padded: [Vec<f32>; 4],
    /// Windowed across, with the rows above and below that the window reaches.
    between: [Vec<f32>; 4],
    /// Windowed both ways: means of a, of b, of a² + b² and of ab; then slopes.
    moments: [Vec<f32>; 4],
    /// Windowed slopes.
    sums: [Vec<f32>; 3],
}

/// Gives vectors their lengths; what they hold afterwards is unknown.
fn resize<const N: usize>(buffers: &mut [Vec<f32>; N], length: usize) {
    for buffer in buffers {
        buffer.resize(length, 0.0);
    }
}

/// The window over samples in these places, from the first one that it reaches to the last.
#[inline(always)]
fn windowed(samples: [&[f32]; WIDTH], out: &mut [f32]) {
    let [a, b, c, d, e, f, g, h, i, j, k] = samples;
    for x in 0..out.len() {
        let mut sum = TAPS[0] * f[x];
        sum += TAPS[1] * (e[x] + g[x]);
        sum += TAPS[2] * (d[x] + h[x]);
        sum += TAPS[3] * (c[x] + i[x]);
        sum += TAPS[4] * (b[x] + j[x]);
        sum += TAPS[5] * (a[x] + k[x]);
        out[x] = sum;
    }
}

/// The window across a row that begins and ends with [`REACH`] samples more.
#[inline(always)]
fn across(padded: &[f32], out: &mut [f32]) {
    let n = out.len();
    windowed(
        std::array::from_fn(|offset| &padded[offset..offset + n]),
        out,
    );
}

/// The window down: row `y` of rows that begin and end with [`REACH`] rows more.
#[inline(always)]
fn down(between: &[f32], y: usize, out: &mut [f32]) {
    let n = out.len();
    windowed(
        std::array::from_fn(|offset| &between[(y + offset) * n..(y + offset) * n + n]),
        out,
    );
}

/// The rows that the window reaches from those of a tile; none for those beyond the planes.
#[inline(always)]
fn reached(tile: &Tile, inside: Range<usize>) -> impl Iterator<Item = (usize, Option<usize>)> {
    (0..tile.rows.len() + 2 * REACH).map(move |at| {
        let y = (tile.rows.start + at).checked_sub(REACH);
        (at, y.filter(|y| inside.contains(y)))
    })
}

/// Fills `moments` for the positions of a tile.
#[inline(always)]
fn moments(pair: &PlanePair<'_>, tile: &Tile, scratch: &mut Scratch) {
    let (width, columns) = (pair.width, tile.columns.len());
    let height = pair.a.len() / width;
    let Scratch {
        padded,
        between,
        moments,
        ..
    } = scratch;
    resize(padded, columns + 2 * REACH);
    resize(between, (tile.rows.len() + 2 * REACH) * columns);
    resize(moments, tile.rows.len() * columns);
    let (start, end) = (
        tile.columns.start.saturating_sub(REACH),
        (tile.columns.end + REACH).min(width),
    );
    let inside = start + REACH - tile.columns.start..end + REACH - tile.columns.start;
    for padded in padded.iter_mut() {
        padded[..inside.start].fill(0.0);
        padded[inside.end..].fill(0.0);
    }
    for (at, y) in reached(tile, 0..height) {
        let place = at * columns..(at + 1) * columns;
        let Some(y) = y else {
            for between in between.iter_mut() {
                between[place.clone()].fill(0.0);
            }
            continue;
        };
        let [a, b] = pair.samples(y, &(start..end));
        let [of_a, of_b, squares, cross] = &mut *padded;
        of_a[inside.clone()].copy_from_slice(a);
        of_b[inside.clone()].copy_from_slice(b);
        let products = squares[inside.clone()]
            .iter_mut()
            .zip(&mut cross[inside.clone()]);
        for ((squares, cross), (a, b)) in products.zip(a.iter().zip(b)) {
            *squares = a * a + b * b;
            *cross = a * b;
        }
        for (padded, between) in padded.iter().zip(between.iter_mut()) {
            across(padded, &mut between[place.clone()]);
        }
    }
    for (between, moments) in between.iter().zip(moments) {
        for (y, out) in moments.chunks_exact_mut(columns).enumerate() {
            down(between, y, out);
        }
    }
}

/// Fills `sums` for the positions of `tile` from the slopes of the first three `moments` around it, which are known
/// for the positions `known` and zero elsewhere.
#[inline(always)]
fn windowed_slopes(tile: &Tile, known: &Tile, scratch: &mut Scratch) {
    let columns = tile.columns.len();
    let Scratch {
        padded,
        between,
        moments,
        sums,
    } = scratch;
    resize(padded, columns + 2 * REACH);
    resize(between, (tile.rows.len() + 2 * REACH) * columns);
    resize(sums, tile.rows.len() * columns);
    let first = known.columns.start + REACH - tile.columns.start;
    let padded = &mut padded[0];
    padded.fill(0.0);
    for ((moments, between), sums) in moments.iter().zip(between).zip(sums) {
        for (at, y) in reached(tile, known.rows.clone()) {
            let between = &mut between[at * columns..(at + 1) * columns];
            let Some(y) = y else {
                between.fill(0.0);
                continue;
            };
            let row = (y - known.rows.start) * known.columns.len();
            padded[first..first + known.columns.len()]
                .copy_from_slice(&moments[row..row + known.columns.len()]);
            across(padded, between);
        }
        for (y, out) in sums.chunks_exact_mut(columns).enumerate() {
            down(between, y, out);
        }
    }
}

/// The sums of one tile.
#[inline(always)]
fn tile_sums(pair: &PlanePair<'_>, tile: &Tile, scratch: &mut Scratch) -> [[f64; 2]; MAPS] {
    moments(pair, tile, scratch);
    let columns = tile.columns.len();
    let all = &scratch.moments;
    let mut lanes = [[[0.0f64; LANES]; 2]; MAPS];
    for (row, y) in tile.rows.clone().enumerate() {
        let [a, b] = pair.samples(y, &tile.columns);
        let known = row * columns..(row + 1) * columns;
        let [mean_a, mean_b, squares, cross] = all.each_ref().map(|all| &all[known.clone()]);
        for left in (0..columns).step_by(LANES) {
            let count = LANES.min(columns - left);
            let mut values = [[0.0f32; LANES]; MAPS];
            for lane in 0..count {
                let at = left + lane;
                let moments = [mean_a[at], mean_b[at], squares[at], cross[at]];
                let position = Position::new(moments, a[at], b[at]);
                values[0][lane] = position.dissimilarity().0;
                if pair.has_edges {
                    let change = position.edge_change();
                    values[1][lane] = change.max(0.0);
                    values[2][lane] = (-change).max(0.0);
                }
            }
            for (lanes, values) in lanes.iter_mut().zip(values) {
                for lane in 0..LANES {
                    let value = f64::from(values[lane]);
                    let square = value * value;
                    lanes[0][lane] += value;
                    lanes[1][lane] += square * square;
                }
            }
        }
    }
    lanes.map(|map| map.map(|lanes| lanes.iter().sum()))
}

/// The gradient of one tile; `out` are all columns of its rows.
#[inline(always)]
fn tile_gradient(
    pair: &PlanePair<'_>,
    tile: &Tile,
    slopes: &[[f32; 2]; MAPS],
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    let width = pair.width;
    let known = tile.grown(pair.a.len() / width, width);
    moments(pair, &known, scratch);
    slopes_of_moments(pair, &known, slopes, scratch);
    windowed_slopes(tile, &known, scratch);
    let columns = tile.columns.len();
    let all = &scratch.sums;
    for (row, y) in tile.rows.clone().enumerate() {
        let [a, b] = pair.samples(y, &tile.columns);
        let windowed = row * columns..(row + 1) * columns;
        let [of_mean, of_squares, of_cross] = all.each_ref().map(|all| &all[windowed.clone()]);
        let direct =
            (y - known.rows.start) * known.columns.len() + tile.columns.start - known.columns.start;
        let direct = &scratch.moments[3][direct..direct + columns];
        let out = &mut out[row * width + tile.columns.start..][..columns];
        for x in 0..columns {
            out[x] = ((direct[x] + of_mean[x]) + 2.0 * b[x] * of_squares[x]) + a[x] * of_cross[x];
        }
    }
}

/// Puts the slopes with respect to the moments that depend on `b` in the first three places of `moments`, and those
/// with respect to `b` itself in the last.
#[inline(always)]
fn slopes_of_moments(
    pair: &PlanePair<'_>,
    tile: &Tile,
    slopes: &[[f32; 2]; MAPS],
    scratch: &mut Scratch,
) {
    let columns = tile.columns.len();
    for (row, y) in tile.rows.clone().enumerate() {
        let [a, b] = pair.samples(y, &tile.columns);
        let known = row * columns..(row + 1) * columns;
        let all = scratch.moments.each_mut();
        let [first, second, third, fourth] = all.map(|all| &mut all[known.clone()]);
        for x in 0..columns {
            let moments = [first[x], second[x], third[x], fourth[x]];
            let position = Position::new(moments, a[x], b[x]);
            let (value, slope) = position.dissimilarity();
            let factor = counted(slopes[0], value);
            let of_edge = if pair.has_edges {
                let change = position.edge_change();
                let more = counted(slopes[1], change.max(0.0));
                let less = counted(slopes[2], (-change).max(0.0));
                (more - less) * position.edge_slope()
            } else {
                0.0
            };
            first[x] = factor * slope.mean_b - of_edge;
            second[x] = factor * slope.squares;
            third[x] = factor * slope.cross;
            fourth[x] = of_edge;
        }
    }
}

/// What a map's value counts in the gradient; nothing where it is 0, for it is clipped there.
#[inline(always)]
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
    /// Of the moments there (means of a, of b, of a² + b² and of ab) and the sample of each plane.
    #[inline(always)]
    fn new([mean_a, mean_b, squares, cross]: [f32; 4], a: f32, b: f32) -> Self {
        Self {
            mean_a,
            mean_b,
            squares,
            cross,
            edge_a: a - mean_a,
            edge_b: b - mean_b,
        }
    }

    /// One minus the structural similarity, at least 0, and its slopes.
    #[inline(always)]
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
    #[inline(always)]
    fn edge_change(&self) -> f32 {
        (1.0 + self.edge_b.abs()) / (1.0 + self.edge_a.abs()) - 1.0
    }

    /// The slope of [`edge_change`](Self::edge_change) with respect to the decoded sample.
    #[inline(always)]
    fn edge_slope(&self) -> f32 {
        let sign = f32::from(self.edge_b > 0.0) - f32::from(self.edge_b < 0.0);
        sign / (1.0 + self.edge_a.abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tests::same_everywhere;

    fn plane(length: usize, seed: usize) -> Vec<f32> {
        let value = |i: usize| ((i * i * seed + i) % 1009) as f32 / 1009.0;
        (0..length).map(value).collect()
    }

    #[test]
    fn the_taps_are_a_gaussian_that_sums_to_one() {
        let gaussian = |x: f64| (-x * x / 4.5).exp();
        let sum: f64 = (-5..=5).map(|x| gaussian(f64::from(x))).sum();
        for (x, tap) in TAPS.iter().enumerate() {
            assert!(
                (f64::from(*tap) - gaussian(x as f64) / sum).abs() < 1e-7,
                "{x}"
            );
        }
    }

    #[test]
    fn means_are_those_of_the_window() {
        let (width, height) = (9, 13);
        let (a, b) = (plane(width * height, 3), plane(width * height, 5));
        let pair = PlanePair {
            a: &a,
            b: &b,
            width,
            has_edges: true,
        };
        let tile = Tile {
            rows: 2..11,
            columns: 1..9,
        };
        let mut scratch = Scratch::default();
        moments(&pair, &tile, &mut scratch);
        let tap = |distance: usize| TAPS.get(distance).copied().unwrap_or(0.0);
        for (row, y) in tile.rows.clone().enumerate() {
            for (column, x) in tile.columns.clone().enumerate() {
                let mut sums = [0.0; 4];
                for at in 0..width * height {
                    let weight = tap((at / width).abs_diff(y)) * tap((at % width).abs_diff(x));
                    let (a, b) = (a[at], b[at]);
                    for (sum, value) in sums.iter_mut().zip([a, b, a * a + b * b, a * b]) {
                        *sum += weight * value;
                    }
                }
                for (found, sum) in scratch.moments.iter().zip(sums) {
                    let found = found[row * tile.columns.len() + column];
                    assert!((found - sum).abs() < 1e-5, "{y} {x}: {found} {sum}");
                }
            }
        }
    }

    #[test]
    fn neither_paths_nor_threads_change_a_bit() {
        let (width, height) = (TILE.1 + 37, TILE.0 + 41);
        let (a, b) = (plane(width * height, 3), plane(width * height, 5));
        let pair = PlanePair {
            a: &a,
            b: &b,
            width,
            has_edges: true,
        };
        let slopes = [[0.5, 2.0], [1.0, 0.3], [0.7, 0.1]];
        same_everywhere(|| (map_sums(&pair, 0..height), map_gradient(&pair, &slopes)));
    }
}
