//! The optimizer, over flat parameter vectors and with state that is saved: Muon for
//! the matrices of the networks (Jordan et al., "Muon: an optimizer for hidden layers";
//! scaled as in Liu et al., "Muon is scalable for LLM training"), AdamW for everything
//! else (Loshchilov and Hutter, "Decoupled weight decay regularization").

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Var, bail};
use rayon::prelude::*;

use super::config::TrainConfig;
use super::orthogonal::orthogonalize;
use crate::model::config::LayerSpec;

/// Flat gradients by layer path.
pub type Gradients = BTreeMap<String, Vec<f32>>;

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPSILON: f32 = 1e-8;
/// Momentum of matrices.
const MATRIX_BETA: f32 = 0.95;
/// Root mean square of a matrix' step per learning rate, about that of AdamW's steps.
const MATRIX_RMS: f32 = 0.2;
const TASK: usize = 1 << 14;

/// Moments and running average of one layer's parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// Running mean of the gradient.
    pub first: Vec<f32>,
    /// Running mean of its square; zero for matrices, which need none.
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
    /// How each layer's parameters move, by layer path.
    parts: BTreeMap<String, Vec<Part>>,
}

/// What a step did.
pub enum StepOutcome {
    /// Parameters moved; the gradient's norm before clipping.
    Updated(f64),
    /// The gradient was not finite; nothing moved.
    Skipped,
}

/// A range of a layer's flat parameters that moves by one rule.
#[derive(Debug, Clone, PartialEq)]
struct Part {
    range: Range<usize>,
    /// Rows and columns of a matrix; `None` for anything else.
    matrix: Option<(usize, usize)>,
}

/// The parts of a layer. Depthwise taps are no matrix, and the linear path's
/// whitened coordinates have the pace that they need already.
fn parts(layer: &LayerSpec) -> Vec<Part> {
    let mut start = 0;
    let part = |(name, shape): (&str, Vec<usize>)| {
        let range = start..start + shape.iter().product::<usize>();
        start = range.end;
        let is_matrix = name.ends_with("weight") && name != "depthwise.weight";
        let matrix = match shape[..] {
            [rows, columns] if is_matrix && !layer.path.ends_with(".linear") => {
                Some((rows, columns))
            }
            _ => None,
        };
        Part { range, matrix }
    };
    layer.kind.parts().into_iter().map(part).collect()
}

impl Optimizer {
    /// Fresh state for `variables`, which are `layers`.
    ///
    /// # Errors
    /// When a variable cannot be read.
    pub fn new(variables: &BTreeMap<String, Var>, layers: &[LayerSpec]) -> Result<Self> {
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
            parts: layers
                .iter()
                .map(|layer| (layer.path.clone(), parts(layer)))
                .collect(),
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
        let updates = self.updates;
        let layers: Vec<_> = self.moments.iter_mut().collect();
        // Layers side by side: many are too small to share out.
        layers.into_par_iter().try_for_each(|(path, moments)| {
            let (Some(var), Some(gradient), Some(parts)) = (
                variables.get(path),
                gradients.get(path),
                self.parts.get(path),
            ) else {
                bail!("layer {path} has no gradient");
            };
            let rate = config.learning_rate_at(step) * config.layer_rate(path);
            var.inplace_op1(&Update {
                rule: Rule::new(config, rate, updates, norm),
                parts,
                gradient,
                moments: Mutex::new(moments),
            })
        })?;
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
    matrix_scale: f32,
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
            matrix_scale: MATRIX_RMS * config.matrix_rate as f32,
            decay: (rate * config.weight_decay) as f32,
            gradient_scale: (config.clip_norm / norm.max(config.clip_norm)) as f32,
            correction1: 1.0 / (1.0 - BETA1.powi(t)),
            correction2: 1.0 / (1.0 - BETA2.powi(t)),
            average: average as f32,
        }
    }

    /// AdamW.
    fn adam(&self, state: State<'_>) {
        state.for_each(|p, g, m, v, average| {
            let g = g * self.gradient_scale;
            *m = BETA1 * *m + (1.0 - BETA1) * g;
            *v = BETA2 * *v + (1.0 - BETA2) * g * g;
            let step = *m * self.correction1 / ((*v * self.correction2).sqrt() + EPSILON);
            self.step(p, step, average);
        });
    }

    /// Muon with Nesterov's momentum: all directions of the matrix at one pace.
    #[allow(clippy::cast_precision_loss)]
    fn muon(&self, state: State<'_>, rows: usize, columns: usize) {
        let mut steps = Vec::with_capacity(state.gradient.len());
        for (m, g) in state.first.iter_mut().zip(state.gradient) {
            let g = g * self.gradient_scale;
            *m = MATRIX_BETA * *m + (1.0 - MATRIX_BETA) * g;
            steps.push(MATRIX_BETA * *m + (1.0 - MATRIX_BETA) * g);
        }
        orthogonalize(&mut steps, rows, columns);
        let scale = self.matrix_scale * (rows.max(columns) as f32).sqrt();
        let state = State {
            gradient: &steps,
            ..state
        };
        state.for_each(|p, step, _, _, average| self.step(p, scale * step, average));
    }

    fn step(&self, p: &mut f32, step: f32, average: &mut f32) {
        *p -= self.rate * step + self.decay * *p;
        *average = self.average * *average + (1.0 - self.average) * *p;
    }
}

/// A part's parameters, gradient and state.
struct State<'a> {
    parameters: &'a mut [f32],
    gradient: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    average: &'a mut [f32],
}

impl State<'_> {
    /// Calls `apply` with parameter, gradient, both moments and average of each parameter. Parallel.
    fn for_each(self, apply: impl Fn(&mut f32, f32, &mut f32, &mut f32, &mut f32) + Sync) {
        let moments = self
            .first
            .par_chunks_mut(TASK)
            .zip(self.second.par_chunks_mut(TASK));
        self.parameters
            .par_chunks_mut(TASK)
            .zip(self.gradient.par_chunks(TASK))
            .zip(moments)
            .zip(self.average.par_chunks_mut(TASK))
            .for_each(|(((p, g), (m, v)), a)| {
                for ((((p, g), m), v), a) in p.iter_mut().zip(g).zip(m).zip(v).zip(a) {
                    apply(p, *g, m, v, a);
                }
            });
    }
}

/// The update as a candle in-place operation on the parameters.
struct Update<'a> {
    rule: Rule,
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
        let mut guard = self
            .moments
            .lock()
            .map_err(|_| candle_core::Error::Msg("optimizer state is poisoned".into()))?;
        let moments = &mut **guard;
        for Part { range, matrix } in self.parts {
            let state = State {
                parameters: &mut p[range.clone()],
                gradient: &g[range.clone()],
                first: &mut moments.first[range.clone()],
                second: &mut moments.second[range.clone()],
                average: &mut moments.average[range.clone()],
            };
            match *matrix {
                Some((rows, columns)) => self.rule.muon(state, rows, columns),
                None => self.rule.adam(state),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::{LayerKind, Side};
    use candle_core::{Device, Tensor};

    /// A layer that is no matrix.
    fn vector() -> LayerSpec {
        let unit = crate::model::config::Unit::Gain;
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
        let gradient = store.get(&var).expect("the loss depends on it").to_vec1()?;
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
        let grads = BTreeMap::from([("a".to_string(), vec![f32::NAN])]);
        let mut optimizer = Optimizer::new(&variables, &[vector()])?;
        assert!(matches!(
            optimizer.step(&variables, &grads, &TrainConfig::default(), 0)?,
            StepOutcome::Skipped
        ));
        assert_eq!((var.to_vec1::<f32>()?, optimizer.skipped), (vec![1.0], 1));
        Ok(())
    }
}
