//! The optimizer, over flat parameter vectors and with state that is saved: Muon for
//! the matrices of the networks (Jordan et al., "Muon: an optimizer for hidden layers";
//! scaled as in Liu et al., "Muon is scalable for LLM training"), AdamW for everything
//! else (Loshchilov and Hutter, "Decoupled weight decay regularization").

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Mutex;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Var, bail};
use rayon::prelude::*;

use super::config::TrainConfig;
use super::rule::{BETA1, BETA2, Gradients, Moments, Part, Report, Rule, parts};
use crate::network::config::LayerSpec;
use crate::sync::lock;
use crate::train::kernels::{Descent, Engine, descend, momentum, orthogonalize, square_sum};
use crate::train::ops::with_values;

const EPSILON: f32 = 1e-8;
/// Momentum of matrices.
const MATRIX_BETA: f32 = 0.95;
const TASK: usize = 1 << 14;

/// The optimizer.
pub struct Optimizer {
    /// Updates done so far.
    pub updates: u64,
    /// Steps skipped because the gradient was not finite.
    pub skipped: u64,
    /// How each layer's parameters move, by layer path.
    parts: BTreeMap<String, Vec<Part>>,
    state: State,
}

/// The optimizer's state by layer path, where the variables are.
enum State {
    Host(BTreeMap<String, Moments>),
    #[cfg(feature = "cuda")]
    Gpu(super::gpu::State),
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StepOutcome {
    /// Parameters moved; the gradient's norm before clipping.
    Updated(f64),
    /// The gradient was not finite; nothing moved.
    Skipped,
    /// Not known yet: see [`Optimizer::report`].
    Launched,
}

impl Optimizer {
    /// Fresh state for `variables`, which are `layers`.
    ///
    /// # Errors
    /// When a variable cannot be read.
    pub fn new(variables: &BTreeMap<String, Var>, layers: &[LayerSpec]) -> Result<Self> {
        let parts: BTreeMap<_, _> = layers
            .iter()
            .map(|layer| (layer.path.clone(), parts(layer)))
            .collect();
        let mut moments = BTreeMap::new();
        for (path, var) in variables {
            let average = var.flatten_all()?.to_vec1::<f32>()?;
            let zeros = vec![0f32; average.len()];
            let of_layer = Moments {
                first: zeros.clone(),
                second: zeros,
                average,
            };
            moments.insert(path.clone(), of_layer);
        }
        let state = match variables.values().next().map(|var| var.device()) {
            #[cfg(feature = "cuda")]
            Some(candle_core::Device::Cuda(device)) => {
                State::Gpu(super::gpu::State::new(device, &moments, &parts)?)
            }
            _ => State::Host(moments),
        };
        Ok(Self {
            updates: 0,
            skipped: 0,
            parts,
            state,
        })
    }

    /// Moments and running averages by layer path.
    ///
    /// # Errors
    /// When they cannot be read back from a GPU.
    pub fn moments(&self) -> Result<Cow<'_, BTreeMap<String, Moments>>> {
        match &self.state {
            State::Host(moments) => Ok(Cow::Borrowed(moments)),
            #[cfg(feature = "cuda")]
            State::Gpu(state) => Ok(Cow::Owned(state.moments()?)),
        }
    }

    /// Goes on from moments of the same layers.
    ///
    /// # Errors
    /// When they cannot be copied to a GPU.
    pub fn set_moments(&mut self, moments: BTreeMap<String, Moments>) -> Result<()> {
        match &mut self.state {
            State::Host(state) => *state = moments,
            #[cfg(feature = "cuda")]
            State::Gpu(state) => state.set_moments(&moments, &self.parts)?,
        }
        Ok(())
    }

    /// What the steps since the last call did that answered [`StepOutcome::Launched`]. Waits for them.
    ///
    /// # Errors
    /// When a GPU fails.
    pub fn report(&mut self) -> Result<Report> {
        match &mut self.state {
            State::Host(_) => Ok(Report::default()),
            #[cfg(feature = "cuda")]
            State::Gpu(state) => {
                let report = state.report()?;
                self.skipped += report.skipped;
                self.updates -= report.skipped.min(self.updates);
                Ok(report)
            }
        }
    }

    /// Moves every variable along its gradient.
    ///
    /// # Errors
    /// When a variable is not an f32 vector of its gradient's length.
    pub fn step(
        &mut self,
        variables: &BTreeMap<String, Var>,
        gradients: &Gradients,
        config: &TrainConfig,
        step: u64,
    ) -> Result<StepOutcome> {
        let rate = |path: &str| config.learning_rate_at(step) * config.layer_rate(path);
        #[cfg(feature = "cuda")]
        if let State::Gpu(state) = &mut self.state {
            self.updates += 1;
            let updates = self.updates;
            let rule = |path: &str| Rule::new(config, rate(path), updates);
            state.step(variables, gradients, &rule)?;
            return Ok(StepOutcome::Launched);
        }
        #[cfg_attr(not(feature = "cuda"), allow(irrefutable_let_patterns))]
        let State::Host(moments) = &mut self.state else {
            bail!("the optimizer's state is on no device");
        };
        let norm = gradient_norm(gradients)?;
        if !norm.is_finite() {
            self.skipped += 1;
            return Ok(StepOutcome::Skipped);
        }
        self.updates += 1;
        let (parts, updates) = (&self.parts, self.updates);
        let layers: Vec<_> = moments.iter_mut().collect();
        // Layers side by side: many are too small to share out.
        layers.into_par_iter().try_for_each(|(path, moments)| {
            let (Some(var), Some(gradient), Some(parts)) =
                (variables.get(path), gradients.get(path), parts.get(path))
            else {
                bail!("layer {path} has no gradient");
            };
            let rule = Rule::new(config, rate(path), updates);
            with_values([gradient], |[gradient]| {
                var.inplace_op1(&Update {
                    gradient_scale: rule.gradient_scale(norm),
                    rule,
                    parts,
                    gradient,
                    moments: Mutex::new(moments),
                })
            })?
        })?;
        Ok(StepOutcome::Updated(norm))
    }
}

/// Euclidean norm of all gradients together; the same for every thread count.
fn gradient_norm(gradients: &Gradients) -> Result<f64> {
    let of_task = |task: &[f32]| square_sum(Engine::best(), task);
    let mut total = 0.0;
    for gradient in gradients.values() {
        total += with_values([gradient], |[gradient]| {
            let sums: Vec<f64> = gradient.par_chunks(TASK).map(of_task).collect();
            sums.iter().sum::<f64>()
        })?;
    }
    Ok(total.sqrt())
}

thread_local! {
    /// Of the matrix that a thread moves.
    static DIRECTION: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl Rule {
    /// AdamW.
    fn adam(&self, state: Slices<'_>, gradient_scale: f32) {
        let [correction1, correction2] = self.corrections;
        let moments = state.first.iter_mut().zip(state.second);
        let gradients = state.gradient.iter().zip(moments);
        let parameters = state.parameters.iter_mut().zip(state.average);
        for ((p, average), (g, (m, v))) in parameters.zip(gradients) {
            let g = g * gradient_scale;
            *m = BETA1 * *m + (1.0 - BETA1) * g;
            *v = BETA2 * *v + (1.0 - BETA2) * g * g;
            let step = *m * correction1 / ((*v * correction2).sqrt() + EPSILON);
            *p -= self.rate * step + self.decay * *p;
            *average = self.average * *average + (1.0 - self.average) * *p;
        }
    }

    /// Muon with Nesterov's momentum: all directions of the matrix at one pace.
    fn muon(&self, state: Slices<'_>, gradient_scale: f32, (rows, columns): (usize, usize)) {
        DIRECTION.with_borrow_mut(|direction| {
            direction.resize(state.gradient.len(), 0.0);
            let Slices {
                parameters,
                gradient,
                first,
                average,
                ..
            } = state;
            momentum(first, gradient, gradient_scale, MATRIX_BETA, direction);
            orthogonalize(Engine::best(), direction, rows, columns);
            let by = Descent {
                rate: self.matrix_rate(rows, columns),
                decay: self.decay,
                average: self.average,
            };
            descend(parameters, average, direction, by);
        });
    }
}

/// A part's parameters, gradient and state.
struct Slices<'a> {
    parameters: &'a mut [f32],
    gradient: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    average: &'a mut [f32],
}

/// The update as a candle in-place operation on the parameters.
struct Update<'a> {
    rule: Rule,
    gradient_scale: f32,
    parts: &'a [Part],
    gradient: &'a [f32],
    moments: Mutex<&'a mut Moments>,
}

impl InplaceOp1 for Update<'_> {
    fn name(&self) -> &'static str {
        "optimizer"
    }

    fn cpu_fwd(&self, p: &mut CpuStorage, lp: &Layout) -> Result<()> {
        let CpuStorage::F32(p) = p else {
            bail!("parameters must be f32")
        };
        let Some((start, end)) = lp.contiguous_offsets() else {
            bail!("parameters must be contiguous")
        };
        let (p, g) = (&mut p[start..end], self.gradient);
        if p.len() != g.len() {
            bail!("{} parameters, {} gradients", p.len(), g.len());
        }
        let mut guard = lock(&self.moments);
        let moments = &mut **guard;
        for Part { range, matrix } in self.parts {
            let state = Slices {
                parameters: &mut p[range.clone()],
                gradient: &g[range.clone()],
                first: &mut moments.first[range.clone()],
                second: &mut moments.second[range.clone()],
                average: &mut moments.average[range.clone()],
            };
            match *matrix {
                Some(sizes) => self.rule.muon(state, self.gradient_scale, sizes),
                None => self.rule.adam(state, self.gradient_scale),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::config::{LayerKind, Side};
    use candle_core::{Device, Tensor};

    /// A layer that is no matrix.
    fn vector() -> LayerSpec {
        let unit = crate::network::config::Unit::Gain;
        LayerSpec {
            path: "a".into(),
            kind: LayerKind::Table {
                rows: 1,
                columns: 3,
                unit,
            },
            stride: 0,
            side: Side::Decoder,
        }
    }

    #[test]
    fn first_step_moves_by_the_learning_rate_against_the_gradient() -> Result<()> {
        let var = Var::new(&[1f32, 2., 3.], &Device::Cpu)?;
        let variables = BTreeMap::from([("a".to_string(), var.clone())]);
        let target = Tensor::new(&[0f32, 2.5, 3.], &Device::Cpu)?;
        let store = (var.as_tensor() - target)?.sqr()?.sum_all()?.backward()?;
        let gradient = store.get(&var).expect("the loss depends on it").clone();
        let grads = BTreeMap::from([("a".to_string(), gradient)]);
        let config = TrainConfig {
            warmup_steps: 1,
            decay_fraction: 0.0,
            learning_rate: 0.1,
            ..Default::default()
        };
        let mut optimizer = Optimizer::new(&variables, &[vector()])?;
        assert!(matches!(
            optimizer.step(&variables, &grads, &config, 0)?,
            StepOutcome::Updated(_)
        ));
        // Adam's first step is the sign of the gradient times the rate.
        let moved = var.to_vec1::<f32>()?;
        for (moved, want) in moved.iter().zip([0.9, 2.1, 3.0]) {
            assert!((moved - want).abs() < 1e-4, "{moved} {want}");
        }
        Ok(())
    }

    #[test]
    fn a_gradient_that_is_not_finite_moves_nothing() -> Result<()> {
        let var = Var::new(&[1f32], &Device::Cpu)?;
        let variables = BTreeMap::from([("a".to_string(), var.clone())]);
        let grads = BTreeMap::from([("a".to_string(), Tensor::new(&[f32::NAN], &Device::Cpu)?)]);
        let mut optimizer = Optimizer::new(&variables, &[vector()])?;
        assert!(matches!(
            optimizer.step(&variables, &grads, &TrainConfig::default(), 0)?,
            StepOutcome::Skipped
        ));
        assert_eq!((var.to_vec1::<f32>()?, optimizer.skipped), (vec![1.0], 1));
        Ok(())
    }
}
