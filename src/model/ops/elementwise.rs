//! The arithmetic of the elementwise operations, on plain slices and all cores.
//! `b` samples of equal size, channels last.

use rayon::prelude::*;

/// Values per parallel task: large enough to amortize the hand-over.
const TASK: usize = 1 << 14;

/// Calls `f(sample, y piece, x piece)` for pieces of whole pixels of every sample.
fn for_pieces(
    x: &[f32],
    y: &mut [f32],
    b: usize,
    c: usize,
    f: impl Fn(usize, &[f32], &mut [f32]) + Sync,
) {
    if x.is_empty() {
        return;
    }
    let sample = x.len() / b;
    let piece = (TASK / c).max(1) * c;
    y.par_chunks_mut(sample)
        .zip(x.par_chunks(sample))
        .enumerate()
        .for_each(|(i, (y, x))| {
            y.par_chunks_mut(piece)
                .zip(x.par_chunks(piece))
                .for_each(|(y, x)| f(i, x, y));
        });
}

/// `y = x * g[sample, channel]`.
pub fn scale_channels(x: &[f32], g: &[f32], b: usize, c: usize, y: &mut [f32]) {
    for_pieces(x, y, b, c, |sample, x, y| {
        let g = &g[sample * c..][..c];
        for (y, x) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
            for ((y, x), g) in y.iter_mut().zip(x).zip(g) {
                *y = x * g;
            }
        }
    });
}

/// `y = 8 x + o[sample, channel]` (the product by a power of two is exact).
pub fn scale_index(x: &[f32], o: &[f32], b: usize, c: usize, y: &mut [f32]) {
    for_pieces(x, y, b, c, |sample, x, y| {
        let o = &o[sample * c..][..c];
        for (y, x) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
            for ((y, x), o) in y.iter_mut().zip(x).zip(o) {
                *y = 8.0 * x + o;
            }
        }
    });
}

/// `y = x * factor`.
pub fn scale(x: &[f32], factor: f32, y: &mut [f32]) {
    y.par_chunks_mut(TASK)
        .zip(x.par_chunks(TASK))
        .for_each(|(y, x)| {
            for (y, x) in y.iter_mut().zip(x) {
                *y = x * factor;
            }
        });
}

/// `sums[sample, channel] = sum over pixels of a * x`.
pub fn sum_products(a: &[f32], x: &[f32], b: usize, c: usize, sums: &mut [f32]) {
    let sample = (a.len() / b).max(1);
    sums.par_chunks_mut(c)
        .zip(a.par_chunks(sample))
        .zip(x.par_chunks(sample))
        .for_each(|((sums, a), x)| {
            for (a, x) in a.chunks_exact(c).zip(x.chunks_exact(c)) {
                for ((sum, a), x) in sums.iter_mut().zip(a).zip(x) {
                    *sum += a * x;
                }
            }
        });
}

/// `sums[sample, channel] = sum over pixels of a`.
pub fn sum_channels(a: &[f32], b: usize, c: usize, sums: &mut [f32]) {
    let sample = (a.len() / b).max(1);
    sums.par_chunks_mut(c)
        .zip(a.par_chunks(sample))
        .for_each(|(sums, a)| {
            for a in a.chunks_exact(c) {
                for (sum, a) in sums.iter_mut().zip(a) {
                    *sum += a;
                }
            }
        });
}

/// Sum of squared differences of each of `b` samples.
pub fn squared_error(a: &[f32], target: &[f32], b: usize, sums: &mut [f32]) {
    let sample = (a.len() / b).max(1);
    sums.par_iter_mut()
        .zip(a.par_chunks(sample))
        .zip(target.par_chunks(sample))
        .for_each(|((sum, a), t)| {
            // Rows of 4096 keep the f32 sums short and vectorizable.
            let rows = a
                .chunks(4096)
                .zip(t.chunks(4096))
                .map(|(a, t)| f64::from(row_squared_error(a, t)));
            #[allow(clippy::cast_possible_truncation)]
            {
                *sum = rows.sum::<f64>() as f32;
            }
        });
}

fn row_squared_error(a: &[f32], t: &[f32]) -> f32 {
    let mut lanes = [0f32; 16];
    for (a, t) in a.chunks(16).zip(t.chunks(16)) {
        for ((lane, a), t) in lanes.iter_mut().zip(a).zip(t) {
            *lane += (a - t) * (a - t);
        }
    }
    lanes.iter().sum()
}

/// Gradient of [`squared_error`] with respect to `a`.
pub fn squared_error_backward(a: &[f32], target: &[f32], grad: &[f32], ga: &mut [f32]) {
    let sample = (a.len() / grad.len()).max(1);
    let samples = ga
        .par_chunks_mut(sample)
        .zip(a.par_chunks(sample))
        .zip(target.par_chunks(sample))
        .zip(grad);
    samples.for_each(|(((ga, a), target), grad)| {
        for ((ga, a), t) in ga.iter_mut().zip(a).zip(target) {
            *ga = 2.0 * grad * (a - t);
        }
    });
}
