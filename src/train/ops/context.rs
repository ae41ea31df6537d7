//! Training forms of what lies between the context model's steps.
//!
//! A step codes a quarter of the latents: one channel group at each position, another one in each phase of a
//! 2 x 2 pattern. What belongs to those latents alone is kept together as `[b, h, w, M / 4]`, so that everything
//! here and the steps' last layers are a quarter of the work that they would be on whole latents.

use candle_core::{Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::call::{Call, OnCpu};
use super::tape::{Made, record, record_all};
use super::train::{TrainPointwise, add};
use super::with_values;
use crate::network::config::CONTEXT_STEPS;
use crate::network::context::{PHASES, StepMask, channel_group};
use crate::train::kernels;

/// Added to a step: the other kind of a kernel.
const OTHER: usize = CONTEXT_STEPS;

/// Columns, rows and channels of the whole latents of which `shape` is coded in a step.
fn whole(shape: &Shape) -> Result<(Shape, [usize; 3])> {
    let (b, h, w, group) = shape.dims4()?;
    let c = CONTEXT_STEPS * group;
    Ok((Shape::from((b, h, w, c)), [w, h, c]))
}

/// Calls `f(sample, first active channel, start of the position, values)` for the coded values at each position,
/// in parallel.
fn for_coded(
    values: &mut [f32],
    [_, w, h, c, step]: [usize; 5],
    f: impl Fn(usize, usize, usize, &mut [f32]) + Sync,
) {
    let (group, mask) = (channel_group(c), StepMask::new(step));
    let rows = values.par_chunks_mut((w * group).max(1)).enumerate();
    rows.for_each(|(row, values)| {
        for (x, values) in values.chunks_exact_mut(group).enumerate() {
            let first = mask.group_at(row % h, x) * group;
            f(row / h, first, (row * w + x) * c, values);
        }
    });
}

/// A call whose outputs are the coded values of a step.
fn coded_call(kernel: &'static str, on_cpu: OnCpu, coded: &Shape, step: usize) -> Result<Call> {
    let [w, h, c] = whole(coded)?.1;
    Ok(Call::new(
        kernel,
        on_cpu,
        [coded.elem_count(), w, h, c, step],
        coded,
    ))
}

/// A call whose outputs are whole latents.
fn whole_call(kernel: &'static str, on_cpu: OnCpu, latent: &Shape, step: usize) -> Result<Call> {
    let (_, h, w, c) = latent.dims4()?;
    Ok(Call::new(
        kernel,
        on_cpu,
        [latent.elem_count(), w, h, c, step],
        latent,
    ))
}

/// What a step codes of a latent.
fn take_call(latent: &Shape, step: usize) -> Result<Call> {
    let on_cpu: OnCpu = |inputs, sizes, out| {
        for_coded(out, sizes, |_, first, at, out| {
            out.copy_from_slice(&inputs[0][at + first..][..out.len()]);
        });
    };
    let (b, h, w, c) = latent.dims4()?;
    coded_call(
        "take_step",
        on_cpu,
        &Shape::from((b, h, w, channel_group(c))),
        step,
    )
}

/// A latent with `coded` in the place of what the step codes, and zeros elsewhere.
fn put(coded: &Tensor, step: usize) -> Result<Tensor> {
    let latent = whole(coded.shape())?.0;
    place_call(&latent, step + OTHER)?.run([coded, coded])
}

/// Of a latent and coded values: the latent with those in their place, or zeros instead of the latent.
fn place_call(latent: &Shape, step: usize) -> Result<Call> {
    let on_cpu: OnCpu = |inputs, [_, w, h, c, step], out| {
        let (group, mask) = (channel_group(c), StepMask::new(step));
        let places = out.par_chunks_mut(c.max(1)).enumerate();
        places.with_min_len(w).for_each(|(place, out)| {
            match step < OTHER {
                true => out.copy_from_slice(&inputs[0][place * c..][..c]),
                false => out.fill(0.0),
            }
            let first = mask.group_at(place / w % h, place % w) * group;
            out[first..first + group].copy_from_slice(&inputs[1][place * group..][..group]);
        });
    };
    whole_call("place_step", on_cpu, latent, step)
}

/// A latent with zeros in the place of what a step codes.
fn clear_call(latent: &Shape, step: usize) -> Result<Call> {
    let on_cpu: OnCpu = |inputs, [_, w, h, c, step], out| {
        let (group, mask) = (channel_group(c), StepMask::new(step));
        let places = out.par_chunks_mut(c.max(1)).enumerate();
        places.with_min_len(w).for_each(|(place, out)| {
            out.copy_from_slice(&inputs[0][place * c..][..c]);
            let first = mask.group_at(place / w % h, place % w) * group;
            out[first..first + group].fill(0.0);
        });
    };
    whole_call("clear_step", on_cpu, latent, step)
}

/// Coded values times the gains of their channels, of `[b, h, w, M / 4]` and `[b, M]`.
fn scale_call(coded: &Shape, step: usize) -> Result<Call> {
    let on_cpu: OnCpu = |inputs, sizes, out| {
        let c = sizes[3];
        for_coded(out, sizes, |sample, first, at, out| {
            let x = &inputs[0][at / CONTEXT_STEPS..];
            let gains = &inputs[1][sample * c + first..];
            for ((out, x), gain) in out.iter_mut().zip(x).zip(gains) {
                *out = x * gain;
            }
        });
    };
    coded_call("scale_step", on_cpu, coded, step)
}

/// `8 x + o` of coded values and the offsets of their channels.
fn index_call(coded: &Shape, step: usize) -> Result<Call> {
    let on_cpu: OnCpu = |inputs, sizes, out| {
        let c = sizes[3];
        for_coded(out, sizes, |sample, first, at, out| {
            let x = &inputs[0][at / CONTEXT_STEPS..];
            let offsets = &inputs[1][sample * c + first..];
            for ((out, x), offset) in out.iter_mut().zip(x).zip(offsets) {
                *out = 8.0 * x + offset;
            }
        });
    };
    coded_call("index_step", on_cpu, coded, step)
}

/// Sums over positions of coded values, or of the products of two, by sample and channel: `[b, M]`.
fn sums_call(coded: &Shape, step: usize, product: bool) -> Result<Call> {
    let on_cpu: OnCpu = |inputs, [_, w, h, c, step], sums| {
        let (group, mask) = (channel_group(c), StepMask::new(step));
        sums.fill(0.0);
        sums.par_chunks_mut(c.max(1))
            .enumerate()
            .for_each(|(sample, sums)| {
                for place in 0..w * h {
                    let at = (sample * w * h + place) * group;
                    let first = mask.group_at(place / w, place % w) * group;
                    let sums = &mut sums[first..first + group];
                    let a = &inputs[0][at..at + group];
                    if step >= OTHER {
                        sums.iter_mut().zip(a).for_each(|(sum, a)| *sum += a);
                        continue;
                    }
                    for ((sum, a), b) in sums.iter_mut().zip(a).zip(&inputs[1][at..at + group]) {
                        *sum += a * b;
                    }
                }
            });
    };
    let (latent, [w, h, c]) = whole(coded)?;
    let shape = Shape::from((latent.dims4()?.0, c));
    let step = if product { step } else { step + OTHER };
    let sizes = [shape.elem_count(), w, h, c, step];
    Ok(Call::new("step_sums", on_cpu, sizes, &shape))
}

/// `round(y - mean) + mean`.
fn quantize_call(y: &Shape) -> Call {
    let on_cpu: OnCpu = |inputs, _, out| {
        for ((out, y), mean) in out.iter_mut().zip(inputs[0]).zip(inputs[1]) {
            *out = (y - mean).round_ties_even() + mean;
        }
    };
    Call::new("quantize", on_cpu, [y.elem_count(), 0, 0, 0, 0], y)
}

/// What each step codes of a latent.
///
/// # Errors
/// When an operation fails.
pub fn take_steps(latent: &Tensor) -> Result<[Tensor; CONTEXT_STEPS]> {
    let mut parts = Vec::with_capacity(CONTEXT_STEPS);
    for step in 0..CONTEXT_STEPS {
        parts.push(take_call(latent.shape(), step)?.make([latent])?);
    }
    let Ok(parts) = <[Made; CONTEXT_STEPS]>::try_from(parts) else {
        bail!("a latent has four parts");
    };
    record_all([latent], parts, |gradients| {
        let mut whole: Option<Tensor> = None;
        for (step, gradient) in gradients.into_iter().enumerate() {
            whole = match (whole, gradient) {
                (Some(whole), Some(gradient)) => {
                    Some(place_call(whole.shape(), step)?.run([&whole, &gradient])?)
                }
                (None, Some(gradient)) => Some(put(&gradient, step)?),
                (whole, None) => whole,
            };
        }
        Ok([whole])
    })
}

/// A latent with `coded` in the place of what the step codes.
///
/// # Errors
/// When an operation fails.
pub fn place_step(step: usize, latent: &Tensor, coded: &Tensor) -> Result<Tensor> {
    let made = place_call(latent.shape(), step)?.make([latent, coded])?;
    let is_wanted = latent.is_variable();
    record([latent, coded], made, move |grad| {
        let others = || clear_call(grad.shape(), step)?.run([&grad]);
        let coded = take_call(grad.shape(), step)?.run([&grad])?;
        Ok([is_wanted.then(others).transpose()?, Some(coded)])
    })
}

/// What a step codes times its channels' gains `[b, M]`.
///
/// # Errors
/// When an operation fails.
pub fn scale_step(step: usize, coded: &Tensor, gains: &Tensor) -> Result<Tensor> {
    let made = scale_call(coded.shape(), step)?.make([coded, gains])?;
    let (x, g) = (coded.clone(), gains.clone());
    record([coded, gains], made, move |grad| {
        let gx = scale_call(grad.shape(), step)?.run([&grad, &g])?;
        let gg = sums_call(grad.shape(), step, true)?.run([&grad, &x])?;
        Ok([Some(gx), Some(gg)])
    })
}

/// The last layer's output for what a step codes as scale indices: `8 x + o[channel]` with offsets `[b, M]`.
///
/// # Errors
/// When an operation fails.
pub fn index_step(step: usize, coded: &Tensor, offsets: &Tensor) -> Result<Tensor> {
    let made = index_call(coded.shape(), step)?.make([coded, offsets])?;
    record([coded, offsets], made, move |grad| {
        let gx = super::elementwise::affine(&grad, 8)?;
        let sums = sums_call(grad.shape(), step, false)?.run([&grad])?;
        Ok([Some(gx), Some(sums)])
    })
}

/// `round(y - mean) + mean`. Straight-through: the gradient goes to y, none to the mean.
///
/// # Errors
/// When an operation fails.
pub fn quantize(y: &Tensor, mean: &Tensor) -> Result<Tensor> {
    let made = quantize_call(y.shape()).make([y, mean])?;
    record([y], made, |grad| Ok([Some(grad)]))
}

/// A layer whose outputs are latents, for what a step codes: `[b, h, w, F]` to `[b, h, w, M / 4]`.
///
/// # Errors
/// When an operation fails.
pub fn coded_layer(
    step: usize,
    layer: TrainPointwise,
    x: &Tensor,
    params: &Tensor,
) -> Result<Tensor> {
    if !x.device().is_cpu() {
        let whole = layer.forward(x, params)?;
        let made = take_call(whole.shape(), step)?.make([&whole])?;
        return record([&whole], made, move |grad| Ok([Some(put(&grad, step)?)]));
    }
    let phases = Phases::new(step, layer, x.shape())?;
    let made = with_values([x, params], |[x, params]| phases.forward(x, params))?;
    let (input, weights) = (x.clone(), params.clone());
    record([x, params], made, move |grad| {
        let values = [&input, &weights, &grad];
        let [gx, gp] = with_values(values, |[x, params, grad]| phases.backward(x, params, grad))?;
        Ok([Some(gx.plain()), Some(gp.plain())])
    })
}

/// A layer for latents in the four phases of a step: each has its rows of the weights.
#[derive(Clone, Copy)]
struct Phases {
    mask: StepMask,
    layer: TrainPointwise,
    /// Samples, rows, columns.
    grid: [usize; 3],
}

impl Phases {
    fn new(step: usize, layer: TrainPointwise, x: &Shape) -> Result<Self> {
        let (b, h, w, _) = x.dims4()?;
        Ok(Self {
            mask: StepMask::new(step),
            layer,
            grid: [b, h, w],
        })
    }

    fn group(&self) -> usize {
        channel_group(self.layer.outputs)
    }

    /// Where the phase's positions are among all.
    fn positions(&self, phase: usize) -> Vec<usize> {
        let [b, h, w] = self.grid;
        let rows = (0..b * h).filter(|row| row % h % 2 == phase / 2);
        rows.flat_map(|row| (phase % 2..w).step_by(2).map(move |x| row * w + x))
            .collect()
    }

    /// The first of the phase's channels.
    fn first_channel(&self, phase: usize) -> usize {
        self.mask.group_at(phase / 2, phase % 2) * self.group()
    }

    /// The phase's rows of `w [outputs, inputs] | b [outputs]`.
    fn params(&self, params: &[f32], phase: usize) -> Vec<f32> {
        let (k, group, first) = (self.layer.inputs, self.group(), self.first_channel(phase));
        let (weights, bias) = params.split_at(self.layer.outputs * k);
        [&weights[first * k..][..group * k], &bias[first..][..group]].concat()
    }

    fn forward(&self, x: &[f32], params: &[f32]) -> Made {
        let (k, group) = (self.layer.inputs, self.group());
        let [b, h, w] = self.grid;
        let mut out = kernels::unwritten(b * h * w * group);
        for phase in 0..PHASES {
            let positions = self.positions(phase);
            let mut y = kernels::unwritten(positions.len() * group);
            let (x, params) = (gather(x, k, &positions), self.params(params, phase));
            kernels::pointwise_forward(&x, positions.len(), k, group, &params, &mut y);
            scatter(&y, group, &positions, &mut out);
        }
        Made::on_cpu(out, (b, h, w, group))
    }

    /// Gradients of input and parameters.
    fn backward(&self, x: &[f32], params: &[f32], grad: &[f32]) -> [Made; 2] {
        let (k, group, outputs) = (self.layer.inputs, self.group(), self.layer.outputs);
        let [b, h, w] = self.grid;
        let mut all_gx = kernels::unwritten(x.len());
        let mut all_gp = kernels::unwritten(params.len());
        for phase in 0..PHASES {
            let positions = self.positions(phase);
            let pixels = positions.len();
            let (x, grad) = (gather(x, k, &positions), gather(grad, group, &positions));
            let params = self.params(params, phase);
            let (mut gx, mut gp) = (
                kernels::unwritten(x.len()),
                kernels::unwritten(params.len()),
            );
            kernels::pointwise_backward(
                &x,
                &grad,
                pixels,
                k,
                group,
                &params,
                Some(&mut gx),
                &mut gp,
            );
            scatter(&gx, k, &positions, &mut all_gx);
            let first = self.first_channel(phase);
            let (weights, bias) = all_gp.split_at_mut(outputs * k);
            let (gw, gb) = gp.split_at(group * k);
            weights[first * k..][..group * k].copy_from_slice(gw);
            bias[first..][..group].copy_from_slice(gb);
        }
        [
            Made::on_cpu(all_gx, (b, h, w, k)),
            Made::on_cpu(all_gp, outputs * (k + 1)),
        ]
    }
}

/// The values of some positions, `c` at each.
fn gather(values: &[f32], c: usize, positions: &[usize]) -> Vec<f32> {
    let mut out = kernels::unwritten(positions.len() * c);
    for (out, position) in out.chunks_exact_mut(c).zip(positions) {
        out.copy_from_slice(&values[position * c..][..c]);
    }
    out
}

/// The reverse of [`gather`].
fn scatter(values: &[f32], c: usize, positions: &[usize], out: &mut [f32]) {
    for (values, position) in values.chunks_exact(c).zip(positions) {
        out[position * c..][..c].copy_from_slice(values);
    }
}

/// Sum of the bits of all steps.
///
/// # Errors
/// When an operation fails or there are none.
pub fn total(bits: Vec<Tensor>) -> Result<Tensor> {
    let mut bits = bits.into_iter();
    let Some(first) = bits.next() else {
        bail!("no steps");
    };
    bits.try_fold(first, |sum, bits| add(&sum, &bits))
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::super::call::{emulated, repeatable as tensor};
    use super::super::tape::recorded;
    use super::super::train::{Precision, squared_error};
    use super::*;

    fn values(x: &Tensor) -> Result<Vec<f32>> {
        x.detach().flatten_all()?.to_vec1()
    }

    #[test]
    fn kernels_agree_with_the_cpu() -> Result<()> {
        let latent = tensor((3, 6, 4, 36), 1)?;
        let coded = tensor((3, 6, 4, 9), 2)?;
        let gains = tensor((3, 36), 3)?;
        emulated(|| {
            for step in 0..CONTEXT_STEPS {
                take_call(latent.shape(), step)?.run([&latent])?;
                put(&coded, step)?;
                place_call(latent.shape(), step)?.run([&latent, &coded])?;
                clear_call(latent.shape(), step)?.run([&latent])?;
                scale_call(coded.shape(), step)?.run([&coded, &gains])?;
                index_call(coded.shape(), step)?.run([&coded, &gains])?;
                sums_call(coded.shape(), step, true)?.run([&coded, &coded])?;
                sums_call(coded.shape(), step, false)?.run([&coded])?;
            }
            quantize_call(coded.shape()).run([&coded, &coded])?;
            Ok(())
        })
    }

    #[test]
    fn the_steps_together_code_every_latent_once() -> Result<()> {
        let latent = tensor((2, 4, 6, 8), 1)?;
        let mut back = latent.zeros_like()?;
        for (step, part) in take_steps(&latent)?.iter().enumerate() {
            back = place_step(step, &back, part)?;
        }
        assert_eq!(values(&back)?, values(&latent)?);
        Ok(())
    }

    #[test]
    fn a_coded_layer_is_the_coded_part_of_the_layer() -> Result<()> {
        let (k, n) = (24, 16);
        let layer = TrainPointwise {
            inputs: k,
            outputs: n,
            precision: Precision::Bf16,
            input_gradient: true,
        };
        let x = Var::from_tensor(&tensor((2, 6, 4, k), 1)?)?;
        let params = Var::from_tensor(&(tensor(n * k + n, 2)? * 0.1)?)?;
        let target = tensor((2, 6, 4, n / 4), 3)?;
        for step in 0..CONTEXT_STEPS {
            let run = |coded: &dyn Fn() -> Result<Tensor>| -> Result<[Tensor; 3]> {
                let (out, tape) = recorded(|| {
                    let y = coded()?;
                    squared_error(&y, &target).map(|loss| (y, loss))
                })?;
                let mut gradients = tape.backward(&out.1, 1.0)?;
                let [gx, gp] = [&x, &params].map(|var| gradients.take(var.id()));
                let depends = "the loss depends on it";
                Ok::<_, candle_core::Error>([out.0, gx.expect(depends), gp.expect(depends)])
            };
            let found = run(&|| coded_layer(step, layer, x.as_tensor(), params.as_tensor()))?;
            let want: [Tensor; 3] = run(&|| {
                let whole = layer.forward(x.as_tensor(), params.as_tensor())?;
                take_steps(&whole).map(|parts| parts[step].clone())
            })?;
            for (found, want) in found.iter().zip(&want) {
                let largest = values(want)?.iter().fold(0f32, |most, v| most.max(v.abs()));
                for (found, want) in values(found)?.iter().zip(values(want)?) {
                    // Sums are rounded in another order.
                    assert!((found - want).abs() < 1e-5 * largest, "{found} {want}");
                }
            }
        }
        Ok(())
    }
}
