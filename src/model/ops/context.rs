//! Training forms of the context model's steps: which latents a step codes,
//! their quantization, and the merging of the steps' entropy parameters.

use candle_core::{Result, Shape, Tensor};
use rayon::prelude::*;

use super::super::context::{StepMask, channel_group};
use super::call::{Call, OnCpu};
use super::tape::record;

/// Sizes of a call over latents of the given shape in a step: n, columns, rows, channels, step.
fn sizes(latent: &Shape, step: usize) -> Result<[usize; 5]> {
    let (_, h, w, c) = latent.dims4()?;
    Ok([latent.elem_count(), w, h, c, step])
}

/// Calls `f(is active, start, run)` for every run of channels of one group, in parallel;
/// `start` is where the run lies in the latent.
fn for_runs(
    out: &mut [f32],
    [_, w, h, c, step]: [usize; 5],
    f: impl Fn(bool, usize, &mut [f32]) + Sync,
) {
    let (group, mask) = (channel_group(c), StepMask::new(step));
    let rows = out.par_chunks_mut((w * c).max(1)).enumerate();
    rows.for_each(|(row, values)| {
        for (run, values) in values.chunks_exact_mut(group).enumerate() {
            let (x, channels) = (run * group / c, run * group % c / group);
            let start = row * w * c + run * group;
            f(mask.is_active(channels, row % h, x), start, values);
        }
    });
}

/// The part of a gradient that a step codes, or all others; the rest is zero.
pub(super) fn keep(gradient: &Tensor, step: usize, active: bool) -> Result<Tensor> {
    /// Added to the step to keep what it does not code.
    const OTHERS: usize = 4;
    let on_cpu: OnCpu = |inputs, sizes, out| {
        let [.., step] = sizes;
        for_runs(out, sizes, |is_active, start, run| {
            match is_active == (step < OTHERS) {
                true => run.copy_from_slice(&inputs[0][start..start + run.len()]),
                false => run.fill(0.0),
            }
        });
    };
    let step = if active { step } else { step + OTHERS };
    let shape = gradient.shape();
    Call::new("keep_step", on_cpu, sizes(shape, step)?, shape).run([gradient])
}

/// `merged[active] = new[active]`, elsewhere `merged` stays.
///
/// # Errors
/// When an operation fails.
pub fn merge_step(step: usize, merged: &Tensor, new: &Tensor) -> Result<Tensor> {
    let on_cpu: OnCpu = |inputs, sizes, out| {
        for_runs(out, sizes, |is_active, start, run| {
            let from = inputs[usize::from(is_active)];
            run.copy_from_slice(&from[start..start + run.len()]);
        });
    };
    let shape = merged.shape();
    let call = Call::new("merge_step", on_cpu, sizes(shape, step)?, shape);
    record([merged, new], call.make([merged, new])?, move |grad| {
        Ok([
            Some(keep(&grad, step, false)?),
            Some(keep(&grad, step, true)?),
        ])
    })
}

/// Quantizes the latents that a step codes: of `[ŷ so far, y, means]` to ŷ,
/// `ŷ = round(y - mean) + mean`, all in quantization steps.
///
/// Straight-through: the gradient of an active ŷ goes to y, none to the mean.
///
/// # Errors
/// When an operation fails.
pub fn quantize_step(step: usize, [so_far, y, means]: [&Tensor; 3]) -> Result<Tensor> {
    let on_cpu: OnCpu = |inputs, sizes, out| {
        for_runs(out, sizes, |is_active, start, run| {
            let [so_far, y, means] = [0, 1, 2].map(|i| &inputs[i][start..start + run.len()]);
            if !is_active {
                return run.copy_from_slice(so_far);
            }
            for ((out, y), mean) in run.iter_mut().zip(y).zip(means) {
                *out = (y - mean).round_ties_even() + mean;
            }
        });
    };
    let shape = so_far.shape();
    let call = Call::new("quantize_step", on_cpu, sizes(shape, step)?, shape);
    record([so_far, y], call.make([so_far, y, means])?, move |grad| {
        Ok([
            Some(keep(&grad, step, false)?),
            Some(keep(&grad, step, true)?),
        ])
    })
}
