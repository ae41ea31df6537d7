//! The elementwise operations of training and the sums of their gradients, without
//! gradients of their own. Each is a [`Call`]: a function here, a kernel in `train.cu`.
//!
//! Tensors are `[batch, height, width, channels]` or flat; `n` is a number of values.

use candle_core::{Result, Shape, Tensor};
use rayon::prelude::*;

use super::call::{Call, OnCpu};
use crate::train::cuda::{Grid, SUM_COLUMNS};
use crate::train::kernels;

/// Values per parallel task: large enough to amortize the hand-over.
const TASK: usize = 1 << 14;

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
fn for_pairs(a: &[f32], b: &[f32], out: &mut [f32], f: impl Fn(f32, f32) -> f32 + Sync) {
    let inputs = a.par_chunks(TASK).zip(b.par_chunks(TASK));
    out.par_chunks_mut(TASK)
        .zip(inputs)
        .for_each(|(out, (a, b))| {
            for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
                *out = f(*a, *b);
            }
        });
}

/// `a + b`, or `a - b`.
pub(super) fn add(a: &Shape, subtract: bool) -> Call {
    let on_cpu: OnCpu = |inputs, [_, subtract, ..], y| match subtract {
        0 => for_pairs(inputs[0], inputs[1], y, |a, b| a + b),
        _ => for_pairs(inputs[0], inputs[1], y, |a, b| a - b),
    };
    let sizes = [a.elem_count(), usize::from(subtract), 0, 0, 0];
    Call::new("add", on_cpu, sizes, a)
}

/// Sizes of a call with a number per sample and channel: n, values per sample, channels.
fn per_channel(shape: &Shape) -> Result<[usize; 5]> {
    let (_, h, w, c) = shape.dims4()?;
    Ok([shape.elem_count(), h * w * c, c, 0, 0])
}

/// `x * g[sample, channel]`, of `x` of the given shape.
pub(super) fn scale_channels(x: &Shape) -> Result<Call> {
    let on_cpu: OnCpu = |inputs, [_, sample, c, ..], y| {
        for_pieces(inputs[0], y, (sample, c), |i, x, y| {
            let g = &inputs[1][i * c..][..c];
            for (y, x) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
                for ((y, x), g) in y.iter_mut().zip(x).zip(g) {
                    *y = x * g;
                }
            }
        });
    };
    Ok(Call::new("scale_channels", on_cpu, per_channel(x)?, x))
}

/// `8 x + o[sample, channel]` (the product by a power of two is exact).
pub(super) fn scale_index(x: &Shape) -> Result<Call> {
    let on_cpu: OnCpu = |inputs, [_, sample, c, ..], y| {
        for_pieces(inputs[0], y, (sample, c), |i, x, y| {
            let o = &inputs[1][i * c..][..c];
            for (y, x) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
                for ((y, x), o) in y.iter_mut().zip(x).zip(o) {
                    *y = 8.0 * x + o;
                }
            }
        });
    };
    Ok(Call::new("scale_index", on_cpu, per_channel(x)?, x))
}

/// Sums of `a` (`[.., columns]`) over strips of `rows` rows: `[strips, columns]`.
fn strip_sums(a: &Shape, columns: usize, rows: usize, product: bool) -> Call {
    let on_cpu: OnCpu = |inputs, [_, columns, _, rows, product], sums| {
        let strips = sums.par_chunks_mut(columns).enumerate();
        strips.for_each(|(strip, sums)| {
            sums.fill(0.0);
            let of_strip = |input: &[f32]| {
                let first = strip * rows * columns;
                first..input.len().min(first + rows * columns)
            };
            let a = inputs[0][of_strip(inputs[0])].chunks_exact(columns);
            if product == 0 {
                for a in a {
                    sums.iter_mut().zip(a).for_each(|(sum, a)| *sum += a);
                }
                return;
            }
            for (a, x) in a.zip(inputs[1][of_strip(inputs[1])].chunks_exact(columns)) {
                for ((sum, a), x) in sums.iter_mut().zip(a).zip(x) {
                    *sum += a * x;
                }
            }
        });
    };
    let n = a.elem_count() / columns.max(1);
    let strips = n.div_ceil(rows.max(1));
    let sizes = [n, columns, 0, rows, usize::from(product)];
    let shape = Shape::from((strips, columns));
    Call {
        grid: Grid::Blocks(strips * columns.div_ceil(SUM_COLUMNS)),
        ..Call::new("column_sums", on_cpu, sizes, &shape)
    }
}

/// `sums[sample, channel]` over pixels of `a`.
pub(super) fn sum_channels(a: &Tensor) -> Result<Tensor> {
    let (_, h, w, c) = a.dims4()?;
    strip_sums(a.shape(), c, h * w, false).run([a])
}

/// `sums[sample, channel]` over pixels of `a * x`.
pub(super) fn sum_products(a: &Tensor, x: &Tensor) -> Result<Tensor> {
    let (_, h, w, c) = a.dims4()?;
    strip_sums(a.shape(), c, h * w, true).run([a, x])
}

/// Sums of the columns of a matrix: `[columns]`.
pub(super) fn sum_rows(a: &Tensor) -> Result<Tensor> {
    /// Rows that one block of threads adds up.
    const STRIP: usize = 256;
    let (rows, columns) = a.dims2()?;
    let strips = strip_sums(a.shape(), columns, STRIP, false).run([a])?;
    let sums = if rows > STRIP {
        strip_sums(strips.shape(), columns, strips.dim(0)?, false).run([&strips])?
    } else {
        strips
    };
    sums.flatten_all()
}

/// Sums of equal parts of the `rows` rows of a matrix, or of their squares: `[rows, parts]`.
fn part_sums(rows: usize, columns: usize, parts: usize, squares: bool) -> Call {
    let on_cpu: OnCpu = |inputs, [_, columns, parts, squares, _], sums| {
        let rows = inputs[0].chunks_exact(columns.max(1));
        for (row, sums) in rows.zip(sums.chunks_exact_mut(parts)) {
            for (part, sum) in sums.iter_mut().enumerate() {
                let range = columns * part / parts..columns * (part + 1) / parts;
                let values = row[range].iter().map(|v| f64::from(*v));
                *sum = match squares {
                    0 => values.sum::<f64>(),
                    _ => values.map(|v| v * v).sum(),
                } as f32;
            }
        }
    };
    let sizes = [rows, columns, parts, usize::from(squares), 0];
    Call {
        grid: Grid::Blocks(rows * parts),
        ..Call::new("row_sums", on_cpu, sizes, &Shape::from((rows, parts)))
    }
}

/// Parts of a row that are added up side by side.
const PARTS: usize = 64;

/// Two calls, one after the other, that sum up each of `rows` rows of `n` values: `[rows]`.
pub(super) fn row_sums(rows: usize, n: usize) -> [Call; 2] {
    let mut sums = part_sums(rows, PARTS, 1, false);
    sums.shape = Shape::from(rows);
    [part_sums(rows, n / rows.max(1), PARTS, false), sums]
}

/// Partial sums of the squares of all values, `[64]`.
///
/// # Errors
/// When an operation fails.
#[cfg(any(feature = "cuda", test))]
pub fn square_sums(a: &Tensor) -> Result<Tensor> {
    part_sums(1, a.elem_count(), PARTS, true)
        .run([a])?
        .flatten_all()
}

/// `a * g[sample]`.
pub(super) fn scale_samples(a: &Tensor, g: &Tensor) -> Result<Tensor> {
    let on_cpu: OnCpu = |inputs, [_, sample, ..], y| {
        for_pieces(inputs[0], y, (sample, 1), |i, x, y| {
            let g = inputs[1][i];
            y.iter_mut().zip(x).for_each(|(y, x)| *y = x * g);
        });
    };
    let sample = a.elem_count() / g.elem_count().max(1);
    let sizes = [a.elem_count(), sample, 0, 0, 0];
    Call::new("scale_samples", on_cpu, sizes, a.shape()).run([a, g])
}

/// `factor * a`.
pub(super) fn affine(a: &Tensor, factor: i8) -> Result<Tensor> {
    let factor = Tensor::full(f32::from(factor), 1, a.device())?;
    scale_samples(a, &factor)
}

/// `(a - b)^2`.
pub(super) fn squared_differences(a: &Shape) -> Call {
    let on_cpu: OnCpu = |inputs, _, y| for_pairs(inputs[0], inputs[1], y, |a, b| (a - b) * (a - b));
    Call::new("squared_error", on_cpu, [a.elem_count(), 0, 0, 0, 0], a)
}

/// Gradient of the sums of [`squared_differences`]: `2 g[sample] (a - b)`.
pub(super) fn squared_error_gradient(a: &Tensor, b: &Tensor, g: &Tensor) -> Result<Tensor> {
    let on_cpu: OnCpu = |inputs, [_, sample, ..], y| {
        let samples = y.par_chunks_mut(sample.max(1)).zip(inputs[2]).enumerate();
        samples.for_each(|(i, (y, g))| {
            let [a, b] = [0, 1].map(|input| &inputs[input][i * sample..][..y.len()]);
            for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
                *y = 2.0 * g * (a - b);
            }
        });
    };
    let sample = a.elem_count() / g.elem_count().max(1);
    let sizes = [a.elem_count(), sample, 0, 0, 0];
    Call::new("squared_error_gradient", on_cpu, sizes, a.shape()).run([a, b, g])
}

/// To the nearest integer, ties to even.
pub(super) fn round_even(x: &Shape) -> Call {
    let on_cpu: OnCpu = |inputs, _, y| {
        for (y, x) in y.iter_mut().zip(inputs[0]) {
            *y = x.round_ties_even();
        }
    };
    Call::new("round_even", on_cpu, [x.elem_count(), 0, 0, 0, 0], x)
}

/// `act(x + bias)`, of `x` `[pixels, channels]`.
pub(super) fn bias_activate(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let on_cpu: OnCpu = |inputs, [_, c, ..], y| {
        let mut sum = vec![0.0; y.len()];
        let bias = inputs[1].iter().cycle();
        let values = sum.iter_mut().zip(inputs[0]).zip(bias);
        values.for_each(|((sum, x), bias)| *sum = x + bias);
        debug_assert_eq!(inputs[1].len(), c);
        kernels::activation_forward(&sum, y);
    };
    let sizes = [x.elem_count(), bias.elem_count(), 0, 0, 0];
    Call::new("bias_activate", on_cpu, sizes, x.shape()).run([x, bias])
}

/// Gradient of [`bias_activate`] with respect to `x`: `g act'(x + bias)`.
pub(super) fn bias_activate_gradient(x: &Tensor, bias: &Tensor, g: &Tensor) -> Result<Tensor> {
    let on_cpu: OnCpu = |inputs, _, y| {
        let bias = inputs[1].iter().cycle();
        let sum: Vec<f32> = inputs[0].iter().zip(bias).map(|(x, b)| x + b).collect();
        kernels::activation_backward(&sum, inputs[2], y);
    };
    let sizes = [x.elem_count(), bias.elem_count(), 0, 0, 0];
    Call::new("bias_activate_gradient", on_cpu, sizes, x.shape()).run([x, bias, g])
}

/// `x + bias` of each channel, and `+ residual`.
pub(super) fn add_bias(x: &Tensor, bias: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
    let on_cpu: OnCpu = |inputs, [_, _, with_residual, ..], y| {
        let bias = inputs[1].iter().cycle();
        for ((y, x), bias) in y.iter_mut().zip(inputs[0]).zip(bias) {
            *y = x + bias;
        }
        if with_residual == 1 {
            y.iter_mut().zip(inputs[2]).for_each(|(y, r)| *y += r);
        }
    };
    let with_residual = usize::from(residual.is_some());
    let sizes = [x.elem_count(), bias.elem_count(), with_residual, 0, 0];
    let call = Call::new("add_bias", on_cpu, sizes, x.shape());
    match residual {
        Some(residual) => call.run([x, bias, residual]),
        None => call.run([x, bias]),
    }
}

/// Depthwise 3x3 convolution with `params` `dw [9, c] | bias [c]`.
pub(super) fn depthwise(x: &Tensor, params: &Tensor) -> Result<Tensor> {
    depthwise_call(x.shape(), false)?.run([x, params])
}

/// Gradient of the input of [`depthwise`] from that of its output.
pub(super) fn depthwise_input_gradient(g: &Tensor, params: &Tensor) -> Result<Tensor> {
    depthwise_call(g.shape(), true)?.run([g, params])
}

fn depthwise_call(x: &Shape, backward: bool) -> Result<Call> {
    let on_cpu: OnCpu = |inputs, [n, h, w, c, backward], y| {
        let batch = n / (h * w * c).max(1);
        let (x, params) = (inputs[0], inputs[1]);
        if backward == 0 {
            return kernels::depthwise_forward(x, batch, h, w, c, params, y);
        }
        let mut unused = vec![0.0; params.len()];
        kernels::depthwise_backward(x, x, batch, h, w, c, params, y, &mut unused);
    };
    let (_, h, w, c) = x.dims4()?;
    let sizes = [x.elem_count(), h, w, c, usize::from(backward)];
    Ok(Call::new("depthwise", on_cpu, sizes, x))
}

/// Gradient of the parameters of [`depthwise`] from its input and the gradient of its output.
pub(super) fn depthwise_parameter_gradient(x: &Tensor, g: &Tensor) -> Result<Tensor> {
    /// Rows of pictures that a block of threads adds up.
    const STRIP: usize = 4;
    let on_cpu: OnCpu = |inputs, [rows, h, w, c, strip], sums| {
        sums.fill(0.0);
        for i in 0..rows * w {
            let (row, y, x) = (i / w, i / w % h, i % w);
            let sums = &mut sums[row / strip * 10 * c..][..10 * c];
            let gradient = &inputs[1][i * c..][..c];
            for (tap, sums) in sums.chunks_exact_mut(c).enumerate() {
                if tap == 9 {
                    sums.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
                    continue;
                }
                // Of the row and the column before, one too many.
                let (below, right) = (y + tap / 3, x + tap % 3);
                if (1..=h).contains(&below) && (1..=w).contains(&right) {
                    let at = ((row - y + below - 1) * w + right - 1) * c;
                    let products = gradient.iter().zip(&inputs[0][at..at + c]);
                    sums.iter_mut()
                        .zip(products)
                        .for_each(|(sum, (g, x))| *sum += g * x);
                }
            }
        }
    };
    let (b, h, w, c) = x.dims4()?;
    let strips = (b * h).div_ceil(STRIP);
    let sizes = [b * h, h, w, c, STRIP];
    let shape = Shape::from((strips, 10 * c));
    let call = Call {
        grid: Grid::Blocks(strips * c.div_ceil(SUM_COLUMNS)),
        ..Call::new("depthwise_gradients", on_cpu, sizes, &shape)
    };
    sum_rows(&call.run([x, g])?)
}

#[cfg(test)]
mod tests {
    use super::super::call::{emulated, repeatable as tensor};
    use super::super::rate;
    use super::*;

    #[test]
    fn kernels_agree_with_the_cpu() -> Result<()> {
        let shape = (3, 6, 4, 36);
        let (x, y) = (tensor(shape, 1)?, tensor(shape, 2)?);
        let per_channel = tensor((3, 36), 4)?;
        let per_sample = tensor(3, 5)?;
        let rows = x.reshape((72, 36))?;
        let bias = tensor(36, 6)?;
        let taps = tensor(360, 7)?;
        emulated(|| {
            add(x.shape(), false).run([&x, &y])?;
            add(x.shape(), true).run([&x, &y])?;
            scale_channels(x.shape())?.run([&x, &per_channel])?;
            scale_index(x.shape())?.run([&x, &per_channel])?;
            sum_channels(&x)?;
            sum_products(&x, &y)?;
            sum_rows(&tensor((1000, 40), 8)?)?;
            sum_rows(&rows)?;
            square_sums(&x)?;
            let [parts, _] = row_sums(3, 864);
            parts.run([&x])?;
            scale_samples(&x, &per_sample)?;
            squared_differences(x.shape()).run([&x, &y])?;
            squared_error_gradient(&x, &y, &per_sample)?;
            round_even(x.shape()).run([&x])?;
            bias_activate(&rows, &bias)?;
            bias_activate_gradient(&rows, &bias, &y.reshape((72, 36))?)?;
            add_bias(&rows, &bias, None)?;
            add_bias(&rows, &bias, Some(&y.reshape((72, 36))?))?;
            depthwise(&x, &taps)?;
            depthwise_input_gradient(&x, &taps)?;
            depthwise_parameter_gradient(&x, &y)?;
            let indices = ((&y + 2.5)? * 14.0)?;
            rate::bits_call(x.shape()).run([&x, &indices])?;
            rate::bits_gradients(&x, &indices)?;
            rate::choices_call(x.shape()).run([&(&x * 3.0)?, &indices, &y.sqr()?])?;
            Ok(())
        })
    }
}
