//! Training forms of what lies between the context model's steps.
//!
//! A step codes a quarter of the latents: one channel group at each position, another one in each phase of a
//! 2 x 2 pattern. What belongs to those latents alone is kept together as `[b, h, w, M / 4]`, so that everything
//! here and the steps' last layers are a quarter of the work that they would be on whole latents.

use candle_core::{Result, Shape, Tensor, bail};

use super::call::Call;
use super::elementwise::{affine, size};
use super::tape::{Made, record, record_all};
use super::train::{TrainPointwise, add};
use super::with_values;
use crate::format::CONTEXT_STEPS;
use crate::network::context::{PHASES, StepMask, channel_group};
use crate::train::cuda::{Kernel, Size, Step};
use crate::train::kernels::{self, Precision};

/// Of what is coded in a step: the shape of the whole latents, and the step.
fn whole(coded: &Shape, step: usize) -> Result<(Shape, Step)> {
    let (b, height, width, group) = coded.dims4()?;
    let size = Size {
        height,
        width,
        channels: CONTEXT_STEPS * group,
    };
    let shape = Shape::from((b, height, width, size.channels));
    Ok((shape, Step { size, step }))
}

/// A call on latents that makes latents.
fn of_latents(kernel: fn(Step) -> Kernel, latent: &Shape, step: usize) -> Result<Call> {
    let size = size(latent)?;
    Ok(Call::new(kernel(Step { size, step }), latent))
}

/// A call on coded values that makes coded values.
fn of_coded(kernel: fn(Step) -> Kernel, coded: &Shape, step: usize) -> Result<Call> {
    Ok(Call::new(kernel(whole(coded, step)?.1), coded))
}

/// What a step codes of a latent.
fn take(latent: &Shape, step: usize) -> Result<Call> {
    let (b, h, w, c) = latent.dims4()?;
    of_coded(
        Kernel::TakeStep,
        &Shape::from((b, h, w, channel_group(c))),
        step,
    )
}

/// A latent with `coded` in the place of what the step codes, and zeros elsewhere.
fn put(coded: &Tensor, step: usize) -> Result<Tensor> {
    let (latent, step) = whole(coded.shape(), step)?;
    Call::new(Kernel::PutStep(step), latent).run([coded, coded])
}

/// A call that makes sums over positions of coded values: `[b, M]`.
fn sums(kernel: fn(Step) -> Kernel, coded: &Shape, step: usize) -> Result<Call> {
    let (latent, step) = whole(coded, step)?;
    Ok(Call::new(
        kernel(step),
        (latent.dims4()?.0, step.size.channels),
    ))
}

/// What each step codes of a latent.
///
/// # Errors
/// When an operation fails.
pub fn take_steps(latent: &Tensor) -> Result<[Tensor; CONTEXT_STEPS]> {
    let mut parts = Vec::with_capacity(CONTEXT_STEPS);
    for step in 0..CONTEXT_STEPS {
        parts.push(take(latent.shape(), step)?.make([latent])?);
    }
    let Ok(parts) = <[Made; CONTEXT_STEPS]>::try_from(parts) else {
        bail!("a latent has four parts");
    };
    record_all([latent], parts, |gradients| {
        let mut whole: Option<Tensor> = None;
        for (step, gradient) in gradients.into_iter().enumerate() {
            whole = match (whole, gradient) {
                (Some(whole), Some(gradient)) => Some(
                    of_latents(Kernel::PlaceStep, whole.shape(), step)?.run([&whole, &gradient])?,
                ),
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
    let made = of_latents(Kernel::PlaceStep, latent.shape(), step)?.make([latent, coded])?;
    let is_wanted = latent.is_variable();
    record([latent, coded], made, move |grad| {
        let others = || of_latents(Kernel::ClearStep, grad.shape(), step)?.run([&grad]);
        let coded = take(grad.shape(), step)?.run([&grad])?;
        Ok([is_wanted.then(others).transpose()?, Some(coded)])
    })
}

/// What a step codes times its channels' gains `[b, M]`.
///
/// # Errors
/// When an operation fails.
pub fn scale_step(step: usize, coded: &Tensor, gains: &Tensor) -> Result<Tensor> {
    let made = of_coded(Kernel::ScaleStep, coded.shape(), step)?.make([coded, gains])?;
    let (x, g) = (coded.clone(), gains.clone());
    record([coded, gains], made, move |grad| {
        let gx = of_coded(Kernel::ScaleStep, grad.shape(), step)?.run([&grad, &g])?;
        let gg = sums(Kernel::StepProducts, grad.shape(), step)?.run([&grad, &x])?;
        Ok([Some(gx), Some(gg)])
    })
}

/// The last layer's output for what a step codes as scale indices: `8 x + o[channel]` with offsets `[b, M]`.
///
/// # Errors
/// When an operation fails.
pub fn index_step(step: usize, coded: &Tensor, offsets: &Tensor) -> Result<Tensor> {
    let made = of_coded(Kernel::IndexStep, coded.shape(), step)?.make([coded, offsets])?;
    record([coded, offsets], made, move |grad| {
        let gx = affine(&grad, 8)?;
        let of_offsets = sums(Kernel::StepSums, grad.shape(), step)?.run([&grad])?;
        Ok([Some(gx), Some(of_offsets)])
    })
}

/// `round(y - mean) + mean`. Straight-through: the gradient goes to y, none to the mean.
///
/// # Errors
/// When an operation fails.
pub fn quantize(y: &Tensor, mean: &Tensor) -> Result<Tensor> {
    let made = Call::new(Kernel::Quantize, y.shape()).make([y, mean])?;
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
        let made = take(whole.shape(), step)?.make([&whole])?;
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
            kernels::pointwise_forward(
                Precision::Bf16,
                &x,
                positions.len(),
                k,
                group,
                &params,
                &mut y,
            );
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
                Precision::Bf16,
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

    use super::super::call::repeatable as tensor;
    use super::super::tape::recorded;
    use super::super::train::squared_error;
    use super::*;

    fn values(x: &Tensor) -> Result<Vec<f32>> {
        x.detach().flatten_all()?.to_vec1()
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
