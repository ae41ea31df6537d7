//! Training forms of what lies between the context model's steps.
//!
//! A step codes a quarter of the latents: one channel group at each position, another one in each phase of a
//! 2 x 2 pattern. What belongs to those latents alone is kept together as `[b, h, w, M / 4]`, so that everything
//! here and the steps' last layers are a quarter of the work that they would be on whole latents.

use std::ops::Range;

use candle_core::{DType, Result, Shape, Tensor, bail};

use super::call::Call;
use super::elementwise::{affine, size};
use super::tape::{Made, record, record_all};
use super::train::{TrainPointwise, add};
use super::with_values;
use crate::format::CONTEXT_STEPS;
use crate::network::context::{PHASES, StepMask, channel_group, phase_positions};
use crate::train::cuda::{Kernel, Size, Step};
use crate::train::kernels::{self, Engine, PointwiseLayer};

/// Of what is coded in a step: the shape of the whole latents, and the step.
fn whole(coded: &Shape, step: usize) -> Result<(Shape, Step)> {
    let (b, h, w, group) = coded.dims4()?;
    let size = Size::new(h, w, CONTEXT_STEPS * group);
    let shape = Shape::from((b, h, w, size.channels));
    Ok((shape, Step { size, step }))
}

/// A call on coded values that makes coded values.
fn of_coded(kernel: fn(Step) -> Kernel, coded: &Shape, step: usize) -> Result<Call> {
    Ok(Call::new(kernel(whole(coded, step)?.1), coded))
}

/// What a step codes of a latent.
fn take(latent: &Shape, step: usize) -> Result<Call> {
    let (b, h, w, c) = latent.dims4()?;
    let coded = Shape::from((b, h, w, channel_group(c)));
    of_coded(Kernel::TakeStep, &coded, step)
}

/// A latent with something else in the place of what the step codes.
fn place(latent: &Shape, step: usize) -> Result<Call> {
    let size = size(latent)?;
    Ok(Call::new(Kernel::PlaceStep(Step { size, step }), latent))
}

/// A latent with `coded` in the place of what the step codes, and zeros elsewhere.
fn put(coded: &Tensor, step: usize) -> Result<Tensor> {
    let (latent, _) = whole(coded.shape(), step)?;
    let zeros = Tensor::zeros(&latent, DType::F32, coded.device())?;
    place(&latent, step)?.run([&zeros, coded])
}

/// Sums over positions of the products of coded values, `[b, M]`.
fn sums(a: &Tensor, b: &Tensor, step: usize) -> Result<Tensor> {
    let (latent, of_step) = whole(a.shape(), step)?;
    let shape = (latent.dims4()?.0, of_step.size.channels);
    Call::new(Kernel::StepProducts(of_step), shape).run([a, b])
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
                (Some(whole), Some(gradient)) => {
                    Some(place(whole.shape(), step)?.run([&whole, &gradient])?)
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
    let made = place(latent.shape(), step)?.make([latent, coded])?;
    let is_wanted = latent.is_variable();
    record([latent, coded], made, move |grad| {
        let coded = take(grad.shape(), step)?.run([&grad])?;
        let others = || place(grad.shape(), step)?.run([&grad, &coded.zeros_like()?]);
        let others = is_wanted.then(others).transpose()?;
        Ok([others, Some(coded)])
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
        Ok([Some(gx), Some(sums(&grad, &x, step)?)])
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
        let of_offsets = sums(&grad, &grad.ones_like()?, step)?;
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
    let phases = Phases::new(step, layer.layer, x.shape())?;
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
    /// Of all latents.
    whole: PointwiseLayer,
    /// Of what a phase codes.
    coded: PointwiseLayer,
    /// Samples, rows, columns.
    grid: [usize; 3],
}

impl Phases {
    fn new(step: usize, whole: PointwiseLayer, x: &Shape) -> Result<Self> {
        let (b, h, w, _) = x.dims4()?;
        Ok(Self {
            mask: StepMask::new(step),
            whole,
            coded: PointwiseLayer {
                outputs: channel_group(whole.outputs),
                ..whole
            },
            grid: [b, h, w],
        })
    }

    /// Where the phase's positions are among all. Samples have an even number of rows, and so count as one.
    fn positions(&self, phase: usize) -> Vec<usize> {
        let [b, h, w] = self.grid;
        phase_positions(phase, b * h, w)
    }

    /// Where the phase's weights and biases are in `W [outputs, inputs] | b [outputs]`.
    fn places(&self, phase: usize) -> [Range<usize>; 2] {
        let (k, group) = (self.whole.inputs, self.coded.outputs);
        let first = self.mask.group_of_phase(phase) * group;
        let bias = self.whole.outputs * k + first;
        [first * k..(first + group) * k, bias..bias + group]
    }

    /// The phase's parameters.
    fn params(&self, params: &[f32], phase: usize) -> Vec<f32> {
        self.places(phase).map(|place| &params[place]).concat()
    }

    fn forward(&self, x: &[f32], params: &[f32]) -> Made {
        let (k, group) = (self.coded.inputs, self.coded.outputs);
        let [b, h, w] = self.grid;
        let mut out = kernels::unwritten(b * h * w * group);
        for phase in 0..PHASES {
            let positions = self.positions(phase);
            let mut y = kernels::unwritten(positions.len() * group);
            let (x, params) = (gather(x, k, &positions), self.params(params, phase));
            self.coded.forward(Engine::best(), &x, &params, &mut y);
            scatter(&y, group, &positions, &mut out);
        }
        Made::on_cpu(out, (b, h, w, group))
    }

    /// Gradients of input and parameters.
    fn backward(&self, x: &[f32], params: &[f32], grad: &[f32]) -> [Made; 2] {
        let (k, group) = (self.coded.inputs, self.coded.outputs);
        let [b, h, w] = self.grid;
        let mut all_gx = kernels::unwritten(x.len());
        let mut all_gp = kernels::unwritten(params.len());
        for phase in 0..PHASES {
            let positions = self.positions(phase);
            let (x, grad) = (gather(x, k, &positions), gather(grad, group, &positions));
            let params = self.params(params, phase);
            let [mut gx, mut gp] = [x.len(), params.len()].map(kernels::unwritten);
            let engine = Engine::best();
            let wanted = Some(&mut gx[..]);
            self.coded
                .backward(engine, &x, &grad, &params, wanted, &mut gp);
            scatter(&gx, k, &positions, &mut all_gx);
            let [weights, bias] = self.places(phase);
            let (gw, gb) = gp.split_at(weights.len());
            all_gp[weights].copy_from_slice(gw);
            all_gp[bias].copy_from_slice(gb);
        }
        let params = all_gp.len();
        [
            Made::on_cpu(all_gx, (b, h, w, k)),
            Made::on_cpu(all_gp, params),
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

    use super::super::tape::recorded;
    use super::super::tests::tensor;
    use super::super::train::squared_error;
    use super::*;
    use crate::train::kernels::Precision;

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
            layer: PointwiseLayer {
                inputs: k,
                outputs: n,
                precision: Precision::Bf16,
            },
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
