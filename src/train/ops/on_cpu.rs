//! The elementwise operations of training and the sums of their gradients on the CPU: what the kernels of `train.cu`
//! do on a GPU, but for those that only a GPU is asked for.

use candle_core::Result;
#[cfg(not(test))]
use candle_core::bail;
use rayon::prelude::*;

use crate::format::CONTEXT_STEPS;
use crate::kernels::{depth_to_space, space_to_depth};
use crate::network::context::{StepMask, channel_group};
use crate::train::cuda::{Kernel, Parts, Size, Step, Strips};
use crate::train::kernels::{chosen_symbols, rate_bits, rate_gradients};

/// Values per parallel task: large enough to amortize the hand-over.
const TASK: usize = 1 << 14;

/// Computes what `kernel` makes of the inputs, which have the sizes that belong to it.
///
/// # Errors
/// When only a GPU is asked for it: parts of layers and of the visual error, which the CPU computes as a whole
/// (`train::kernels`, `metrics::visual`), and the optimizer's.
pub fn run(kernel: Kernel, inputs: &[&[f32]], y: &mut [f32]) -> Result<()> {
    let (a, b, c) = (
        inputs[0],
        inputs.get(1).copied().unwrap_or_default(),
        inputs.get(2).copied().unwrap_or_default(),
    );
    match kernel {
        Kernel::Add => of_pairs(a, b, y, |a, b| a + b),
        Kernel::Subtract => of_pairs(a, b, y, |a, b| a - b),
        Kernel::ScaleChannels(size) => scale_channels(a, b, size, y),
        Kernel::ScaleSamples(sample) => scale_samples(a, b, sample, y),
        Kernel::SquaredError => of_pairs(a, b, y, |a, b| (a - b) * (a - b)),
        Kernel::RoundEven => (y.iter_mut().zip(a)).for_each(|(y, a)| *y = a.round_ties_even()),
        Kernel::Quantize => {
            for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
                *y = (a - b).round_ties_even() + b;
            }
        }
        Kernel::ColumnProducts(sizes) => column_products(a, b, sizes, y),
        Kernel::RowSums(sizes) => row_sums(a, sizes, y, |v| v),
        Kernel::SpaceToDepth { size, cell } => of_pictures(a, size, y, |a, y| {
            space_to_depth(a, size.height, size.width, size.channels, cell, y);
        }),
        Kernel::DepthToSpace { size, cell } => of_pictures(a, size, y, |a, y| {
            depth_to_space(a, size.height, size.width, size.channels, cell, y);
        }),
        Kernel::TakeStep(step) => of_coded(y, step, |_, first, at, y| {
            y.copy_from_slice(&a[at + first..][..y.len()]);
        }),
        Kernel::PlaceStep(step) => place_step(a, b, step, y),
        Kernel::ScaleStep(step) => coded_channels(a, b, step, y, |a, b| a * b),
        Kernel::IndexStep(step) => coded_channels(a, b, step, y, |a, b| 8.0 * a + b),
        Kernel::StepProducts(step) => step_products(a, b, step, y),
        Kernel::Rate => rate_bits(a, b, y),
        Kernel::RateChoices => chosen_symbols(a, b, c, y),
        Kernel::RateGradients => {
            let (of_residuals, of_indices) = y.split_at_mut(y.len() / 2);
            rate_gradients(a, b, of_residuals, of_indices);
        }
        Kernel::BiasActivate(_)
        | Kernel::BiasActivateGradient(_)
        | Kernel::AddBias(_)
        | Kernel::AddBiasAndResidual(_)
        | Kernel::Depthwise(_)
        | Kernel::DepthwiseTurned(_)
        | Kernel::DepthwiseGradients { .. }
        | Kernel::ColumnSums(_)
        | Kernel::RowSquares(_)
        | Kernel::Visual(_) => {
            #[cfg(not(test))]
            bail!("{kernel:?} is computed on GPUs alone");
            #[cfg(test)]
            tests::as_on_a_gpu(kernel, [a, b, c], y);
        }
    }
    Ok(())
}

/// Writes `f(values at i, i / per_sample, channel)` for runs of whole pixels, in parallel.
fn for_pieces(
    x: &[f32],
    y: &mut [f32],
    (sample, c): (usize, usize),
    f: impl Fn(usize, &[f32], &mut [f32]) + Sync,
) {
    if x.is_empty() {
        return;
    }
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

/// Writes `f(a, b)` of each pair of values, in parallel.
fn of_pairs(a: &[f32], b: &[f32], out: &mut [f32], f: impl Fn(f32, f32) -> f32 + Sync) {
    let inputs = a.par_chunks(TASK).zip(b.par_chunks(TASK));
    out.par_chunks_mut(TASK)
        .zip(inputs)
        .for_each(|(out, (a, b))| {
            for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
                *out = f(*a, *b);
            }
        });
}

fn scale_channels(x: &[f32], g: &[f32], size: Size, y: &mut [f32]) {
    let c = size.channels;
    for_pieces(x, y, (size.values(), c), |i, x, y| {
        let g = &g[i * c..][..c];
        for (y, x) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
            for ((y, x), g) in y.iter_mut().zip(x).zip(g) {
                *y = x * g;
            }
        }
    });
}

fn scale_samples(x: &[f32], g: &[f32], sample: usize, y: &mut [f32]) {
    for_pieces(x, y, (sample, 1), |i, x, y| {
        let g = g[i];
        y.iter_mut().zip(x).for_each(|(y, x)| *y = x * g);
    });
}

/// Sums of the columns of the products of `a` and `x`.
fn column_products(a: &[f32], x: &[f32], sizes: Strips, sums: &mut [f32]) {
    let columns = sizes.columns;
    let strip = (sizes.strip * columns).max(1);
    let strips = a.par_chunks(strip).zip(x.par_chunks(strip));
    let sums = sums.par_chunks_mut(columns);
    sums.zip(strips).for_each(|(sums, (a, x))| {
        sums.fill(0.0);
        for (a, x) in a.chunks_exact(columns).zip(x.chunks_exact(columns)) {
            for ((sum, a), x) in sums.iter_mut().zip(a).zip(x) {
                *sum += a * x;
            }
        }
    });
}

/// Sums of `f` of the values of each part of each row.
fn row_sums(a: &[f32], sizes: Parts, sums: &mut [f32], f: impl Fn(f64) -> f64) {
    let Parts { columns, parts } = sizes;
    let rows = a.chunks_exact(columns.max(1));
    for (row, sums) in rows.zip(sums.chunks_exact_mut(parts)) {
        for (part, sum) in sums.iter_mut().enumerate() {
            let range = columns * part / parts..columns * (part + 1) / parts;
            *sum = row[range].iter().map(|v| f(f64::from(*v))).sum::<f64>() as f32;
        }
    }
}

/// Applies `f(picture, out)` to each picture of a batch.
fn of_pictures(x: &[f32], size: Size, out: &mut [f32], f: impl Fn(&[f32], &mut [f32])) {
    let picture = size.values().max(1);
    for (x, out) in x.chunks(picture).zip(out.chunks_mut(picture)) {
        f(x, out);
    }
}

/// Calls `f(sample, first active channel, start of the position, values)` for the coded values at each position,
/// in parallel.
fn of_coded(
    values: &mut [f32],
    Step { size, step }: Step,
    f: impl Fn(usize, usize, usize, &mut [f32]) + Sync,
) {
    let (w, h, c) = (size.width, size.height, size.channels);
    let (group, mask) = (channel_group(c), StepMask::new(step));
    let rows = values.par_chunks_mut((w * group).max(1)).enumerate();
    rows.for_each(|(row, values)| {
        for (x, values) in values.chunks_exact_mut(group).enumerate() {
            let first = mask.group_at(row % h, x) * group;
            f(row / h, first, (row * w + x) * c, values);
        }
    });
}

/// Latents with coded values in their places.
fn place_step(latents: &[f32], coded: &[f32], Step { size, step }: Step, y: &mut [f32]) {
    let (w, h, c) = (size.width, size.height, size.channels);
    let (group, mask) = (channel_group(c), StepMask::new(step));
    let places = y.par_chunks_mut(c.max(1)).enumerate();
    places.with_min_len(w).for_each(|(place, y)| {
        let first = mask.group_at(place / w % h, place % w) * group;
        y.copy_from_slice(&latents[place * c..][..c]);
        y[first..first + group].copy_from_slice(&coded[place * group..][..group]);
    });
}

/// Writes `f(x, g[sample, channel])` of coded values `x`.
fn coded_channels(
    x: &[f32],
    g: &[f32],
    step: Step,
    y: &mut [f32],
    f: impl Fn(f32, f32) -> f32 + Sync,
) {
    of_coded(y, step, |sample, first, at, y| {
        let x = &x[at / CONTEXT_STEPS..];
        let g = &g[sample * step.size.channels + first..];
        for ((y, x), g) in y.iter_mut().zip(x).zip(g) {
            *y = f(*x, *g);
        }
    });
}

/// Sums over positions of the products of coded values.
fn step_products(a: &[f32], b: &[f32], Step { size, step }: Step, sums: &mut [f32]) {
    let (w, h, c) = (size.width, size.height, size.channels);
    let (group, mask) = (channel_group(c), StepMask::new(step));
    sums.fill(0.0);
    let samples = sums.par_chunks_mut(c.max(1)).enumerate();
    samples.for_each(|(sample, sums)| {
        for place in 0..w * h {
            let at = (sample * w * h + place) * group;
            let first = mask.group_at(place / w, place % w) * group;
            let products = a[at..at + group].iter().zip(&b[at..at + group]);
            for (sum, (a, b)) in sums[first..first + group].iter_mut().zip(products) {
                *sum += a * b;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::cuda::tests::emulation::emulator;
    use crate::train::ops::tests::values;

    /// What a kernel makes that only a GPU is asked for.
    pub(super) fn as_on_a_gpu(kernel: Kernel, [a, b, c]: [&[f32]; 3], y: &mut [f32]) {
        match kernel {
            Kernel::BiasActivate(_) => of_pairs(&biased(a, b), a, y, |x, _| x * gate(x)),
            Kernel::BiasActivateGradient(_) => of_pairs(&biased(a, b), c, y, |x, c| c * slope(x)),
            Kernel::AddBias(_) => y.copy_from_slice(&biased(a, b)),
            Kernel::AddBiasAndResidual(_) => of_pairs(&biased(a, b), c, y, |x, c| x + c),
            Kernel::Depthwise(size) => depthwise(a, b, size, |tap| tap, y),
            Kernel::DepthwiseTurned(size) => {
                let [taps, bias] = [&b[..TAPS * size.channels], &vec![0.0; size.channels]];
                depthwise(a, &[taps, bias].concat(), size, |tap| TAPS - 1 - tap, y);
            }
            Kernel::DepthwiseGradients {
                size,
                all_rows,
                strip,
            } => depthwise_gradients(a, b, size, all_rows, strip, y),
            Kernel::ColumnSums(sizes) => column_products(a, &vec![1.0; a.len()], sizes, y),
            Kernel::RowSquares(sizes) => row_sums(a, sizes, y, |v| v * v),
            Kernel::Visual(_) => {
                let emulator = emulator().expect("its tests look for one");
                let given = [a, b, c].into_iter().filter(|input| !input.is_empty());
                let inputs: Vec<&[f32]> = given.collect();
                y.copy_from_slice(&emulator.run(kernel, &inputs, y.len()));
            }
            other => unreachable!("{other:?} is computed on the CPU"),
        }
    }

    /// `x + bias` of each channel.
    fn biased(x: &[f32], bias: &[f32]) -> Vec<f32> {
        let values = x.iter().zip(bias.iter().cycle());
        values.map(|(x, bias)| x + bias).collect()
    }

    /// The factor of `x` in its activation.
    fn gate(x: f32) -> f32 {
        (0.25 * x + 0.5).clamp(0.0, 1.0)
    }

    /// The derivative of the activation.
    fn slope(x: f32) -> f32 {
        if x.abs() <= 2.0 {
            0.5 * x + 0.5
        } else {
            gate(x)
        }
    }

    /// Taps of a depthwise convolution.
    const TAPS: usize = 9;

    /// Where the tap of a 3x3 window in the middle of row `at` of all rows and of column `x` reads: the index of a pixel;
    /// none outside of the picture.
    fn tapped((h, w): (usize, usize), (at, x): (usize, usize), tap: usize) -> Option<usize> {
        // Of the row and the column before, one too many.
        let (below, right) = (at % h + tap / 3, x + tap % 3);
        let is_inside = (1..=h).contains(&below) && (1..=w).contains(&right);
        is_inside.then(|| (at - at % h + below - 1) * w + right - 1)
    }

    /// Depthwise convolution with `params` (taps `[9, channels]` and bias), the taps in the order that `tap` says.
    fn depthwise(
        x: &[f32],
        params: &[f32],
        size: Size,
        order: impl Fn(usize) -> usize,
        out: &mut [f32],
    ) {
        let (h, w, c) = (size.height, size.width, size.channels);
        let (taps, bias) = params.split_at(TAPS * c);
        for (i, out) in out.chunks_exact_mut(c.max(1)).enumerate() {
            out.copy_from_slice(bias);
            for tap in 0..TAPS {
                let Some(at) = tapped((h, w), (i / w, i % w), tap) else {
                    continue;
                };
                let products = x[at * c..].iter().zip(&taps[order(tap) * c..]);
                (out.iter_mut().zip(products)).for_each(|(out, (x, tap))| *out += x * tap);
            }
        }
    }

    fn depthwise_gradients(
        x: &[f32],
        gradient: &[f32],
        size: Size,
        all_rows: usize,
        strip: usize,
        sums: &mut [f32],
    ) {
        let (h, w, c) = (size.height, size.width, size.channels);
        sums.fill(0.0);
        for i in 0..all_rows * w {
            let (row, column) = (i / w, i % w);
            let sums = &mut sums[row / strip * (TAPS + 1) * c..][..(TAPS + 1) * c];
            let gradient = &gradient[i * c..][..c];
            for (tap, sums) in sums.chunks_exact_mut(c).enumerate() {
                if tap == TAPS {
                    sums.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
                    continue;
                }
                if let Some(at) = tapped((h, w), (row, column), tap) {
                    let products = gradient.iter().zip(&x[at * c..]);
                    (sums.iter_mut().zip(products)).for_each(|(sum, (g, x))| *sum += g * x);
                }
            }
        }
    }

    #[test]
    fn kernels_agree_with_the_cpu() {
        let Some(emulator) = emulator() else { return };
        let agree = |kernel: Kernel, inputs: &[&[f32]], outputs: usize| {
            let mut want = vec![f32::NAN; outputs];
            run(kernel, inputs, &mut want).expect("tests compute all of them");
            let found = emulator.run(kernel, inputs, outputs);
            let largest = (want.iter()).fold(1e-3, |largest: f32, v| largest.max(v.abs()));
            for (i, (found, want)) in found.iter().zip(&want).enumerate() {
                let is_close = (found - want).abs() <= 2e-5 * largest;
                assert!(
                    is_close,
                    "{kernel:?}, value {i}: {found}, on the CPU {want}"
                );
            }
        };
        let (samples, height, width, channels) = (3, 6, 4, 36);
        let size = Size::new(height, width, channels);
        let sample = height * width * channels;
        let n = samples * sample;
        let (x, y, z) = (values(n, 1), values(n, 2), values(n, 3));
        let per_channel = values(samples * channels, 4);
        let (per_sample, bias, taps) = (values(samples, 5), values(channels, 6), values(360, 7));
        agree(Kernel::Add, &[&x, &y], n);
        agree(Kernel::Subtract, &[&x, &y], n);
        agree(Kernel::ScaleChannels(size), &[&x, &per_channel], n);
        agree(Kernel::ScaleSamples(sample), &[&x, &per_sample], n);
        agree(Kernel::SquaredError, &[&x, &y], n);
        agree(Kernel::RoundEven, &[&x], n);
        agree(Kernel::Quantize, &[&x, &y], n);
        agree(Kernel::BiasActivate(channels), &[&x, &bias], n);
        agree(Kernel::BiasActivateGradient(channels), &[&x, &bias, &y], n);
        agree(Kernel::AddBias(channels), &[&x, &bias], n);
        agree(Kernel::AddBiasAndResidual(channels), &[&x, &bias, &y], n);
        agree(Kernel::Depthwise(size), &[&x, &taps], n);
        agree(Kernel::DepthwiseTurned(size), &[&x, &taps], n);
        let all_rows = samples * height;
        for strip in [4, 7] {
            let kernel = Kernel::DepthwiseGradients {
                size,
                all_rows,
                strip,
            };
            agree(kernel, &[&x, &y], all_rows.div_ceil(strip) * 10 * channels);
        }
        for (columns, strip) in [(channels, height * width), (channels, 5), (40, 256)] {
            let rows = n / columns;
            let sizes = Strips {
                rows,
                columns,
                strip,
            };
            let outputs = rows.div_ceil(strip) * columns;
            let (x, y) = (&x[..rows * columns], &y[..rows * columns]);
            agree(Kernel::ColumnSums(sizes), &[x], outputs);
            agree(Kernel::ColumnProducts(sizes), &[x, y], outputs);
        }
        for (columns, parts) in [(sample, 64), (64, 1), (n, 64)] {
            let (sizes, outputs) = (Parts { columns, parts }, n / columns * parts);
            let x = &x[..n / columns * columns];
            agree(Kernel::RowSums(sizes), &[x], outputs);
            agree(Kernel::RowSquares(sizes), &[x], outputs);
        }
        for cell in [1, 2] {
            agree(Kernel::SpaceToDepth { size, cell }, &[&x], n);
            agree(Kernel::DepthToSpace { size, cell }, &[&x], n);
        }
        let coded = &y[..n / CONTEXT_STEPS];
        for step in 0..CONTEXT_STEPS {
            let step = Step { size, step };
            agree(Kernel::TakeStep(step), &[&x], coded.len());
            agree(Kernel::PlaceStep(step), &[&x, coded], n);
            agree(Kernel::ScaleStep(step), &[coded, &per_channel], coded.len());
            agree(Kernel::IndexStep(step), &[coded, &per_channel], coded.len());
            agree(
                Kernel::StepProducts(step),
                &[coded, &x[..coded.len()]],
                per_channel.len(),
            );
        }
        let indices: Vec<f32> = y.iter().map(|y| (y + 2.5) * 14.0).collect();
        let wide: Vec<f32> = x.iter().map(|x| 3.0 * x).collect();
        let weights: Vec<f32> = z.iter().map(|z| z * z).collect();
        agree(Kernel::Rate, &[&x, &indices], n);
        agree(Kernel::RateChoices, &[&wide, &indices, &weights], n);
        agree(Kernel::RateGradients, &[&x, &indices], 2 * n);
    }
}
