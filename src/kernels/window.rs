//! A Gaussian window over a plane of samples, for the structural measure of the encoder's
//! search: eleven taps of standard deviation 1.5 in each direction, zeros beyond the edges.
//!
//! Products and sums are rounded one by one, so every path gives the same bits.

use rayon::prelude::*;

use super::dispatch::{self, Kernel};
use super::lanes::Lanes;

/// Taps to each side of the middle one.
pub const REACH: usize = 5;

/// The middle tap and those beside it: a Gaussian of standard deviation 1.5 whose eleven taps
/// sum to one. Written out, because files depend on them and mathematical libraries differ.
pub const TAPS: [f32; REACH + 1] = [
    0.266_011_73,
    0.213_005_54,
    0.109_360_69,
    0.036_000_773,
    0.007_598_758,
    0.001_028_380_1,
];

/// Writes the windowed sums of `plane` (`[height, width]`) to `out`; `between` is scratch
/// memory of the same length. Parallel over rows.
///
/// # Panics
/// When the lengths do not agree.
pub fn window_sums(plane: &[f32], width: usize, between: &mut [f32], out: &mut [f32]) {
    assert_eq!(plane.len(), between.len(), "window: lengths");
    assert_eq!(plane.len(), out.len(), "window: lengths");
    if plane.is_empty() {
        return;
    }
    let path = dispatch::active();
    between
        .par_chunks_mut(width)
        .zip(plane.par_chunks(width))
        .for_each_init(Vec::new, |padded, (out, row)| {
            padded.resize(width + 2 * REACH, 0.0);
            padded[REACH..REACH + width].copy_from_slice(row);
            dispatch::run(path, Across { padded, out });
        });
    let rows = &*between;
    out.par_chunks_mut(width).enumerate().for_each(|(y, out)| {
        dispatch::run(path, Down { rows, y, out });
    });
}

/// The sum of the window's taps that lie inside, for each of `length` positions.
#[must_use]
pub fn window_mass(length: usize) -> Vec<f32> {
    let at = |x: usize| {
        let tap = |offset: usize| {
            let sides = usize::from(x >= offset) + usize::from(x + offset < length);
            TAPS[offset] * sides as f32
        };
        TAPS[0] + (1..=REACH).map(tap).sum::<f32>()
    };
    (0..length).map(at).collect()
}

/// One row with the window across.
struct Across<'a> {
    padded: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Across<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Lanes, const ROWS: usize, const VECTORS: usize>(self) {
        let width = self.out.len();
        let at = |offset: usize| &self.padded[offset..offset + width];
        for (out, middle) in self.out.iter_mut().zip(at(REACH)) {
            *out = TAPS[0] * middle;
        }
        for offset in 1..=REACH {
            let sides = at(REACH - offset).iter().zip(at(REACH + offset));
            for (out, (left, right)) in self.out.iter_mut().zip(sides) {
                *out += TAPS[offset] * (left + right);
            }
        }
    }
}

/// One row with the window down.
struct Down<'a> {
    rows: &'a [f32],
    y: usize,
    out: &'a mut [f32],
}

impl Kernel for Down<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Lanes, const ROWS: usize, const VECTORS: usize>(self) {
        let width = self.out.len();
        let row = |y: usize| self.rows.get(y * width..(y + 1) * width);
        if let Some(middle) = row(self.y) {
            for (out, middle) in self.out.iter_mut().zip(middle) {
                *out = TAPS[0] * middle;
            }
        }
        for offset in 1..=REACH {
            let above = self.y.checked_sub(offset).and_then(row);
            for row in [above, row(self.y + offset)].into_iter().flatten() {
                for (out, value) in self.out.iter_mut().zip(row) {
                    *out += TAPS[offset] * value;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!((window_mass(100)[50] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn sums_are_those_of_the_window() {
        let (width, height) = (9, 13);
        let plane: Vec<f32> = (0..width * height).map(|i| (i * i % 17) as f32).collect();
        let (mut between, mut out) = (plane.clone(), plane.clone());
        window_sums(&plane, width, &mut between, &mut out);
        for y in 0..height {
            for x in 0..width {
                let mut sum = 0.0;
                for (v, row) in plane.chunks_exact(width).enumerate() {
                    for (u, value) in row.iter().enumerate() {
                        let tap = |distance| TAPS.get(distance).copied().unwrap_or(0.0);
                        sum += tap(v.abs_diff(y)) * tap(u.abs_diff(x)) * value;
                    }
                }
                assert!((out[y * width + x] - sum).abs() < 1e-4);
            }
        }
    }
}
