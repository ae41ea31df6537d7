//! The visual error of reconstructions as a training operation: what SSIMULACRA2 sees, with its gradient.

use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;

use crate::format::PATCH;
use crate::kernels::{depth_to_space, space_to_depth};
use crate::metrics::visual::Comparison;
use crate::train::ops::elementwise::scale_samples;
use crate::train::ops::tape::{Made, record};
use crate::train::ops::with_values;

/// The visual error of each sample, `[batch]`: of its patches `[batch, h, w, 192]` in -0.5..=0.5 against `original`.
///
/// # Errors
/// When an operation fails.
pub fn visual_error(reconstruction: &Tensor, original: &Tensor) -> Result<Tensor> {
    let (errors, gradients) = compare(&reconstruction.detach(), original)?;
    record([reconstruction], Made::copy_of(&errors)?, move |slopes| {
        Ok([Some(scale_samples(&gradients, &slopes)?)])
    })
}

/// The error of each sample and its gradient.
fn compare(reconstruction: &Tensor, original: &Tensor) -> Result<(Tensor, Tensor)> {
    #[cfg(feature = "cuda")]
    if reconstruction.device().is_cuda() {
        return crate::train::ops::visual::compare(reconstruction, original);
    }
    let (batch, rows, columns, _) = reconstruction.dims4()?;
    let (errors, gradients) = with_values([original, reconstruction], |[a, b]| {
        compare_values(a, b, batch, (rows, columns))
    })?;
    Ok((
        Tensor::from_vec(errors, batch, &Device::Cpu)?,
        Tensor::from_vec(gradients, reconstruction.shape(), &Device::Cpu)?,
    ))
}

/// Errors of `batch` samples of `size` patches, side by side, and their gradients.
fn compare_values(
    a: &[f32],
    b: &[f32],
    batch: usize,
    (rows, columns): (usize, usize),
) -> (Vec<f32>, Vec<f32>) {
    let (height, width) = (rows * PATCH, columns * PATCH);
    let mut gradients = vec![0.0; b.len()];
    let samples = a.len() / batch;
    let sets = (a.par_chunks_exact(samples)).zip(b.par_chunks_exact(samples));
    let buffers = || [(); 3].map(|()| vec![0.0; samples]);
    let errors = sets.zip(gradients.par_chunks_exact_mut(samples)).map_init(
        buffers,
        |[original, decoded, gradient], ((a, b), patches)| {
            depth_to_space(a, height, width, 3, PATCH, original);
            depth_to_space(b, height, width, 3, PATCH, decoded);
            let comparison = Comparison::new(original, decoded, width);
            let sums = comparison.sums(0..height);
            comparison.gradient(decoded, &sums, gradient);
            space_to_depth(gradient, height, width, 3, PATCH, patches);
            sums.error() as f32
        },
    );
    (errors.collect(), gradients)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::ops::tape::recorded;

    #[test]
    fn the_gradient_is_that_of_each_sample() -> Result<()> {
        let values = |seed: u32| -> Result<Tensor> {
            let value = |i: u32| ((i.wrapping_mul(seed) >> 20) as f32 / 4096.0 - 0.5) * 0.8;
            Tensor::from_vec(
                (0..2 * 4 * 6 * 192).map(value).collect::<Vec<f32>>(),
                (2, 4, 6, 192),
                &Device::Cpu,
            )
        };
        let (original, decoded) = (values(2_654_435_761)?, values(2_246_822_519)?);
        let variable = candle_core::Var::from_tensor(&decoded)?;
        let (errors, tape) = recorded(|| visual_error(variable.as_tensor(), &original))?;
        let before: Vec<f32> = errors.to_vec1()?;
        let mut gradients = tape.backward(&errors, 2.0)?;
        let gradient = gradients
            .take(variable.id())
            .expect("the variable has a gradient");
        // A step along the gradient of the second sample moves its error by what the gradient says, and no other.
        let step = Tensor::cat(
            &[
                gradient.narrow(0, 0, 1)?.zeros_like()?,
                gradient.narrow(0, 1, 1)?,
            ],
            0,
        )?;
        let squares = step.sqr()?.sum_all()?.to_scalar::<f32>()?;
        let by = 3e-3 * before[1] / squares;
        let moved = |by: f32| -> Result<Vec<f32>> {
            visual_error(&(&decoded + (&step * f64::from(by))?)?, &original)?.to_vec1()
        };
        let (more, less) = (moved(by)?, moved(-by)?);
        assert!((more[0] - before[0]).abs() < 1e-5 * before[0]);
        // The tape was told to count twice.
        let found = (more[1] - less[1]) / (2.0 * by) * 2.0;
        assert!((found / squares - 1.0).abs() < 3e-2, "{found} {squares}");
        Ok(())
    }
}
