//! Training forms of the context model's steps: which latents a step codes,
//! their quantization, and the merging of the steps' entropy parameters.

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::super::context::{StepMask, channel_group};
use super::{dims4, values, with_values};

/// `merged[active] = step[active]`, elsewhere `merged` stays: `(merged, step's output) -> merged`.
#[derive(Debug, Clone, Copy)]
pub struct MergeStep(pub usize);

/// Quantizes the latents that a step codes: `(ŷ so far, y, normalized means) -> ŷ`,
/// `ŷ = round(y - mean) + mean` with `mean = normalized mean * gain`.
///
/// Straight-through: the gradient of an active ŷ goes to y, none to the mean.
#[derive(Debug, Clone)]
pub struct QuantizeStep {
    /// The step, 0 to 3.
    pub step: usize,
    /// Latent gains `[batch, channels]`.
    pub gains: Vec<f32>,
}

/// Calls `f(sample, range of values)` for every run of channels that the step codes.
fn for_runs(
    b: usize,
    h: usize,
    w: usize,
    c: usize,
    step: usize,
    mut f: impl FnMut(usize, Range<usize>),
) {
    let mask = StepMask::new(step);
    let group = channel_group(c);
    for pixel in 0..b * h * w {
        let (y, x) = (pixel / w % h, pixel % w);
        for g in 0..c / group {
            let start = pixel * c + g * group;
            if mask.is_active(g, y, x) {
                f(pixel / (h * w), start..start + group);
            }
        }
    }
}

/// Splits a gradient into its active and its inactive part.
fn split_gradient(grad: &Tensor, step: usize) -> Result<(Tensor, Tensor)> {
    let (b, h, w, c) = grad.dims4()?;
    let mut active = vec![0f32; grad.elem_count()];
    let mut inactive = vec![0f32; grad.elem_count()];
    with_values([grad], |[grad]| {
        let (group, mask) = (channel_group(c), StepMask::new(step));
        let rows = active
            .par_chunks_mut(w * c)
            .zip(inactive.par_chunks_mut(w * c))
            .zip(grad.par_chunks(w * c));
        rows.enumerate()
            .for_each(|(row, ((active, inactive), grad))| {
                for (run, values) in grad.chunks_exact(group).enumerate() {
                    let (x, g) = (run * group / c, run * group % c / group);
                    let target = if mask.is_active(g, row % h, x) {
                        &mut *active
                    } else {
                        &mut *inactive
                    };
                    target[run * group..][..group].copy_from_slice(values);
                }
            });
    })?;
    let shape = (b, h, w, c);
    Ok((
        Tensor::from_vec(active, shape, grad.device())?,
        Tensor::from_vec(inactive, shape, grad.device())?,
    ))
}

impl CustomOp2 for MergeStep {
    fn name(&self) -> &'static str {
        "merge-step"
    }

    fn cpu_fwd(
        &self,
        m: &CpuStorage,
        lm: &Layout,
        s: &CpuStorage,
        ls: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (b, h, w, c) = dims4(lm)?;
        let mut merged = values(m, lm)?.to_vec();
        let step = values(s, ls)?;
        for_runs(b, h, w, c, self.0, |_, run| {
            merged[run.clone()].copy_from_slice(&step[run])
        });
        Ok((CpuStorage::F32(merged), lm.shape().clone()))
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (active, inactive) = split_gradient(grad, self.0)?;
        Ok((Some(inactive), Some(active)))
    }
}

impl CustomOp3 for QuantizeStep {
    fn name(&self) -> &'static str {
        "quantize-step"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        lq: &Layout,
        y: &CpuStorage,
        ly: &Layout,
        m: &CpuStorage,
        lm: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (b, h, w, c) = dims4(lq)?;
        let mut quantized = values(q, lq)?.to_vec();
        let (y, means) = (values(y, ly)?, values(m, lm)?);
        for_runs(b, h, w, c, self.step, |sample, run| {
            let gains = &self.gains[sample * c + run.start % c..];
            for (i, gain) in run.zip(gains) {
                let mean = means[i] * gain;
                quantized[i] = (y[i] - mean).round_ties_even() + mean;
            }
        });
        Ok((CpuStorage::F32(quantized), lq.shape().clone()))
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (active, inactive) = split_gradient(grad, self.step)?;
        Ok((Some(inactive), Some(active), None))
    }
}
