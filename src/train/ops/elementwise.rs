//! The elementwise operations of training and the sums of their gradients as [`Call`]s, without gradients of their own.
//!
//! Tensors are `[batch, height, width, channels]` or flat.

use candle_core::{Result, Shape, Tensor, bail};

use super::call::Call;
use super::tape::Made;
use crate::train::cuda::{Kernel, Parts, Size, Strips};

/// Parts of a row that are added up side by side.
const PARTS: usize = 64;

/// Rows that one block of threads adds up.
const ROWS: usize = 256;

/// Rows of pictures that one block of threads adds up.
const PICTURE_ROWS: usize = 4;

/// The size of each picture of a batch.
pub(super) fn size(shape: &Shape) -> Result<Size> {
    let (_, h, w, c) = shape.dims4()?;
    Ok(Size::new(h, w, c))
}

/// `x * g[sample, channel]`, of `x` of the given shape.
pub(super) fn scale_channels(x: &Shape) -> Result<Call> {
    Ok(Call::new(Kernel::ScaleChannels(size(x)?), x))
}

/// Sizes and shape of sums over strips of `strip` rows of `a` (`[.., columns]`).
fn strips(a: &Shape, columns: usize, strip: usize) -> (Strips, Shape) {
    let rows = a.elem_count() / columns.max(1);
    let sizes = Strips {
        rows,
        columns,
        strip,
    };
    (sizes, (rows.div_ceil(strip.max(1)), columns).into())
}

/// `sums[sample, channel]` over pixels of `a * x`.
pub(super) fn sum_products(a: &Tensor, x: &Tensor) -> Result<Tensor> {
    let (_, h, w, c) = a.dims4()?;
    let (sizes, shape) = strips(a.shape(), c, h * w);
    Call::new(Kernel::ColumnProducts(sizes), shape).run([a, x])
}

/// Sums of the columns of a matrix: `[columns]`.
pub(super) fn sum_rows(a: &Tensor) -> Result<Tensor> {
    let (rows, columns) = a.dims2()?;
    let (sizes, shape) = strips(a.shape(), columns, ROWS);
    let mut sums = Call::new(Kernel::ColumnSums(sizes), shape).run([a])?;
    if rows > ROWS {
        let (sizes, shape) = strips(sums.shape(), columns, sums.dim(0)?);
        sums = Call::new(Kernel::ColumnSums(sizes), shape).run([&sums])?;
    }
    sums.flatten_all()
}

/// The sums of each sample (first dimension) of what a call makes.
pub(super) fn sample_sums<const N: usize>(call: Call, tensors: [&Tensor; N]) -> Result<Made> {
    let Some(&samples) = call.shape.dims().first() else {
        bail!("a scalar has no samples");
    };
    let columns = call.shape.elem_count() / samples.max(1);
    let sums = |columns, parts| Kernel::RowSums(Parts { columns, parts });
    let parts = Call::new(sums(columns, PARTS), (samples, PARTS));
    let parts = parts.run([&call.run(tensors)?])?;
    Call::new(sums(PARTS, 1), samples).make([&parts])
}

/// Partial sums of the squares of all values, `[64]`.
///
/// # Errors
/// When an operation fails.
#[cfg(feature = "cuda")]
pub fn square_sums(a: &Tensor) -> Result<Tensor> {
    let columns = a.elem_count();
    let squares = Kernel::RowSquares(Parts {
        columns,
        parts: PARTS,
    });
    Call::new(squares, PARTS).run([a])
}

/// `a * g[sample]`.
///
/// # Errors
/// When an operation fails.
pub fn scale_samples(a: &Tensor, g: &Tensor) -> Result<Tensor> {
    let sample = a.elem_count() / g.elem_count().max(1);
    Call::like(Kernel::ScaleSamples(sample), [a, g])
}

/// `factor * a`.
pub(super) fn affine(a: &Tensor, factor: i8) -> Result<Tensor> {
    let factor = Tensor::full(f32::from(factor), 1, a.device())?;
    scale_samples(a, &factor)
}

/// Gradient of the parameters of a depthwise convolution from its input and the gradient of its output.
pub(super) fn depthwise_parameter_gradient(x: &Tensor, g: &Tensor) -> Result<Tensor> {
    let size = size(x.shape())?;
    let all_rows = x.dim(0)? * size.height;
    let kernel = Kernel::DepthwiseGradients {
        size,
        all_rows,
        strip: PICTURE_ROWS,
    };
    let shape = (all_rows.div_ceil(PICTURE_ROWS), 10 * size.channels);
    sum_rows(&Call::new(kernel, shape).run([x, g])?)
}

/// Gradients of the bits of residuals at scale indices with respect to both.
pub(super) fn rate_gradients(v: &Tensor, s: &Tensor) -> Result<(Tensor, Tensor)> {
    let both = Call::new(Kernel::RateGradients, (2, v.elem_count())).run([v, s])?;
    Ok((
        both.get(0)?.reshape(v.shape())?,
        both.get(1)?.reshape(s.shape())?,
    ))
}
