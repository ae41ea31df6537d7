//! AdamW over flat parameter vectors, fused into one pass per layer, with state
//! that is saved (Loshchilov and Hutter, "Decoupled weight decay regularization").

use std::collections::BTreeMap;
use std::sync::Mutex;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Var, bail};
use rayon::prelude::*;

use super::config::TrainConfig;

/// Flat gradients by layer path.
pub type Gradients = BTreeMap<String, Vec<f32>>;

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPSILON: f32 = 1e-8;
const TASK: usize = 1 << 14;

/// Moments and running average of one layer's parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// Running mean of the gradient.
    pub first: Vec<f32>,
    /// Running mean of its square.
    pub second: Vec<f32>,
    /// Running average of the parameters.
    pub average: Vec<f32>,
}

/// The optimizer's state.
pub struct Optimizer {
    /// State by layer path.
    pub moments: BTreeMap<String, Moments>,
    /// Updates done so far.
    pub updates: u64,
    /// Steps skipped because the gradient was not finite.
    pub skipped: u64,
}

/// What a step did.
pub enum StepOutcome {
    /// Parameters moved; the gradient's norm before clipping.
    Updated(f64),
    /// The gradient was not finite; nothing moved.
    Skipped,
}

impl Optimizer {
    /// Fresh state for `variables`.
    ///
    /// # Errors
    /// When a variable cannot be read.
    pub fn new(variables: &BTreeMap<String, Var>) -> Result<Self> {
        let mut moments = BTreeMap::new();
        for (path, var) in variables {
            let average = var.flatten_all()?.to_vec1::<f32>()?;
            let zeros = vec![0f32; average.len()];
            moments.insert(
                path.clone(),
                Moments {
                    first: zeros.clone(),
                    second: zeros,
                    average,
                },
            );
        }
        Ok(Self {
            moments,
            updates: 0,
            skipped: 0,
        })
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
        let norm = gradient_norm(gradients);
        if !norm.is_finite() {
            self.skipped += 1;
            return Ok(StepOutcome::Skipped);
        }
        self.updates += 1;
        for (path, var) in variables {
            let (Some(gradient), Some(moments)) = (gradients.get(path), self.moments.get_mut(path))
            else {
                bail!("layer {path} has no gradient");
            };
            let rule = Rule::new(
                config,
                config.learning_rate_at(step) * config.layer_rate(path),
                self.updates,
                norm,
            );
            var.inplace_op1(&Update {
                rule,
                gradient,
                moments: Mutex::new(moments),
            })?;
        }
        Ok(StepOutcome::Updated(norm))
    }
}

/// Euclidean norm of all gradients together; the same for every thread count.
fn gradient_norm(gradients: &Gradients) -> f64 {
    let of_task = |task: &[f32]| {
        task.iter()
            .map(|g| f64::from(*g) * f64::from(*g))
            .sum::<f64>()
    };
    let tasks: Vec<&[f32]> = gradients
        .values()
        .flat_map(|gradient| gradient.chunks(TASK))
        .collect();
    let sums: Vec<f64> = tasks.into_par_iter().map(of_task).collect();
    sums.iter().sum::<f64>().sqrt()
}

/// One layer's scalars at one step.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::cast_possible_truncation)]
struct Rule {
    rate: f32,
    decay: f32,
    gradient_scale: f32,
    correction1: f32,
    correction2: f32,
    average: f32,
}

impl Rule {
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    fn new(config: &TrainConfig, rate: f64, updates: u64, norm: f64) -> Self {
        let t = updates.min(1 << 30) as i32;
        // Early averages forget the initial weights quickly.
        let average = config
            .ema_decay
            .min((1.0 + updates as f64) / (10.0 + updates as f64));
        Self {
            rate: rate as f32,
            decay: (rate * config.weight_decay) as f32,
            gradient_scale: (config.clip_norm / norm.max(config.clip_norm)) as f32,
            correction1: 1.0 / (1.0 - BETA1.powi(t)),
            correction2: 1.0 / (1.0 - BETA2.powi(t)),
            average: average as f32,
        }
    }

    fn apply(&self, p: &mut f32, g: f32, m: &mut f32, v: &mut f32, average: &mut f32) {
        let g = g * self.gradient_scale;
        *m = BETA1 * *m + (1.0 - BETA1) * g;
        *v = BETA2 * *v + (1.0 - BETA2) * g * g;
        let step = *m * self.correction1 / ((*v * self.correction2).sqrt() + EPSILON);
        *p -= self.rate * step + self.decay * *p;
        *average = self.average * *average + (1.0 - self.average) * *p;
    }
}

/// The update as a candle in-place operation on the parameters.
struct Update<'a> {
    rule: Rule,
    gradient: &'a [f32],
    moments: Mutex<&'a mut Moments>,
}

impl InplaceOp1 for Update<'_> {
    fn name(&self) -> &'static str {
        "adamw"
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
        let mut guard = self
            .moments
            .lock()
            .map_err(|_| candle_core::Error::Msg("optimizer state is poisoned".into()))?;
        let Moments {
            first,
            second,
            average,
        } = &mut **guard;
        let state = first
            .par_chunks_mut(TASK)
            .zip(second.par_chunks_mut(TASK))
            .zip(average.par_chunks_mut(TASK));
        p.par_chunks_mut(TASK)
            .zip(g.par_chunks(TASK))
            .zip(state)
            .for_each(|((p, g), ((m, v), a))| {
                for ((((p, g), m), v), a) in p.iter_mut().zip(g).zip(m).zip(v).zip(a) {
                    self.rule.apply(p, *g, m, v, a);
                }
            });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};

    #[test]
    fn first_step_moves_by_the_learning_rate_against_the_gradient() -> Result<()> {
        let var = Var::new(&[1f32, 2., 3.], &Device::Cpu)?;
        let variables = BTreeMap::from([("a".to_string(), var.clone())]);
        let target = Tensor::new(&[0f32, 2.5, 3.], &Device::Cpu)?;
        let store = (var.as_tensor() - target)?.sqr()?.sum_all()?.backward()?;
        let gradient = store.get(&var).expect("the loss depends on it").to_vec1()?;
        let grads = BTreeMap::from([("a".to_string(), gradient)]);
        let config = TrainConfig {
            warmup_steps: 1,
            decay_fraction: 0.0,
            learning_rate: 0.1,
            ..Default::default()
        };
        let mut optimizer = Optimizer::new(&variables)?;
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
        let grads = BTreeMap::from([("a".to_string(), vec![f32::NAN])]);
        let mut optimizer = Optimizer::new(&variables)?;
        assert!(matches!(
            optimizer.step(&variables, &grads, &TrainConfig::default(), 0)?,
            StepOutcome::Skipped
        ));
        assert_eq!((var.to_vec1::<f32>()?, optimizer.skipped), (vec![1.0], 1));
        Ok(())
    }
}
