//! The optimizer's state and steps on a GPU. Nothing here waits for the GPU but
//! [`State::report`] and [`State::moments`].

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::{CudaDevice, DType, Device, Result, Tensor, Var, bail};

use super::rule::{Gradients, Moments, Part, Report, Rule};
use crate::train::cuda;
use crate::train::ops::{composed::orthogonalize_stack, elementwise::square_sums};

/// Device state of all layers.
pub struct State {
    device: CudaDevice,
    layers: BTreeMap<String, Layer>,
    /// Matrices of equal size, whose directions are orthogonalized together.
    stacks: Vec<Stack>,
    /// Sum of the gradients' norms and number of skipped steps since the last report, `[2]`.
    report: Tensor,
}

/// One layer's state, flat like its parameters.
struct Layer {
    first: Tensor,
    second: Tensor,
    average: Tensor,
    /// Directions of the layer's matrices before they are orthogonalized.
    directions: Tensor,
    /// 1 for parameters of matrices, 0 for others.
    kinds: Tensor,
}

/// Matrices of `rows` x `columns`.
struct Stack {
    rows: usize,
    columns: usize,
    members: Vec<(String, Range<usize>)>,
}

impl State {
    /// State on `device` that goes on from `moments`.
    ///
    /// # Errors
    /// When memory does not suffice.
    pub fn new(
        device: &CudaDevice,
        moments: &BTreeMap<String, Moments>,
        parts: &BTreeMap<String, Vec<Part>>,
    ) -> Result<Self> {
        let mut stacks: BTreeMap<(usize, usize), Vec<_>> = BTreeMap::new();
        for (path, parts) in parts {
            for part in parts {
                if let Some(sizes) = part.matrix {
                    let member = (path.clone(), part.range.clone());
                    stacks.entry(sizes).or_default().push(member);
                }
            }
        }
        let stack = |((rows, columns), members)| Stack {
            rows,
            columns,
            members,
        };
        let mut state = Self {
            device: device.clone(),
            layers: BTreeMap::new(),
            stacks: stacks.into_iter().map(stack).collect(),
            report: Tensor::zeros(2, DType::F32, &Device::Cuda(device.clone()))?,
        };
        state.set_moments(moments, parts)?;
        Ok(state)
    }

    /// Goes on from `moments`.
    ///
    /// # Errors
    /// When memory does not suffice.
    pub fn set_moments(
        &mut self,
        moments: &BTreeMap<String, Moments>,
        parts: &BTreeMap<String, Vec<Part>>,
    ) -> Result<()> {
        let device = Device::Cuda(self.device.clone());
        let upload = |values: &[f32]| Tensor::from_slice(values, values.len(), &device);
        for (path, moments) in moments {
            let mut kinds = vec![0f32; moments.first.len()];
            for part in parts.get(path).into_iter().flatten() {
                if part.matrix.is_some() {
                    kinds[part.range.clone()].fill(1.0);
                }
            }
            let layer = Layer {
                first: upload(&moments.first)?,
                second: upload(&moments.second)?,
                average: upload(&moments.average)?,
                directions: Tensor::zeros(kinds.len(), DType::F32, &device)?,
                kinds: upload(&kinds)?,
            };
            self.layers.insert(path.clone(), layer);
        }
        Ok(())
    }

    /// The state, read back.
    ///
    /// # Errors
    /// When the GPU fails.
    pub fn moments(&self) -> Result<BTreeMap<String, Moments>> {
        let read = |(path, layer): (&String, &Layer)| {
            let moments = Moments {
                first: layer.first.to_vec1()?,
                second: layer.second.to_vec1()?,
                average: layer.average.to_vec1()?,
            };
            Ok((path.clone(), moments))
        };
        self.layers.iter().map(read).collect()
    }

    /// What the steps since the last report did.
    ///
    /// # Errors
    /// When the GPU fails.
    pub fn report(&mut self) -> Result<Report> {
        let sums = self.report.to_vec1::<f32>()?;
        self.report = self.report.zeros_like()?;
        Ok(Report {
            norms: f64::from(sums[0]),
            skipped: sums[1] as u64,
        })
    }

    /// Moves every variable along its gradient, or nothing where a gradient is not finite.
    ///
    /// # Errors
    /// When a gradient is missing or the GPU fails.
    pub fn step(
        &mut self,
        variables: &BTreeMap<String, Var>,
        gradients: &Gradients,
        rule: &dyn Fn(&str) -> Rule,
    ) -> Result<()> {
        let squares: Vec<Tensor> = gradients.values().map(square_sums).collect::<Result<_>>()?;
        let squared_norm = Tensor::cat(&squares, 0)?.sum_all()?.reshape(1)?;
        self.note(&squared_norm)?;
        for (path, layer) in &self.layers {
            let (Some(var), Some(gradient)) = (variables.get(path), gradients.get(path)) else {
                bail!("layer {path} has no gradient");
            };
            let layer = [
                var.as_tensor(),
                &layer.first,
                &layer.second,
                &layer.average,
                &layer.directions,
                gradient,
                &layer.kinds,
            ];
            cuda::move_moments(&self.device, layer, &squared_norm, &rule(path))?;
        }
        for stack in &self.stacks {
            self.move_matrices(stack, variables, &squared_norm, rule)?;
        }
        Ok(())
    }

    /// Adds a step's norm, or that it was skipped, to the report.
    fn note(&mut self, squared_norm: &Tensor) -> Result<()> {
        let norm = squared_norm.sqrt()?;
        let none = norm.zeros_like()?;
        // Infinity and NaN times 0 are NaN, which equals nothing.
        let is_finite = (&norm * 0.0)?.eq(&none)?;
        let counted = is_finite.where_cond(&norm, &none)?;
        let skipped = is_finite.where_cond(&none, &norm.ones_like()?)?;
        self.report = (&self.report + Tensor::cat(&[counted, skipped], 0)?)?;
        Ok(())
    }

    fn move_matrices(
        &self,
        stack: &Stack,
        variables: &BTreeMap<String, Var>,
        squared_norm: &Tensor,
        rule: &dyn Fn(&str) -> Rule,
    ) -> Result<()> {
        let is_tall = stack.rows > stack.columns;
        let mut matrices = Vec::with_capacity(stack.members.len());
        for (path, range) in &stack.members {
            let Some(layer) = self.layers.get(path) else {
                bail!("layer {path} has no state");
            };
            let matrix = layer
                .directions
                .narrow(0, range.start, range.len())?
                .reshape((stack.rows, stack.columns))?;
            matrices.push(if is_tall { matrix.t()? } else { matrix });
        }
        let directions = orthogonalize_stack(&Tensor::stack(&matrices, 0)?)?;
        for (i, (path, range)) in stack.members.iter().enumerate() {
            let direction = directions.get(i)?;
            let direction = if is_tall { direction.t()? } else { direction };
            let direction = direction.contiguous()?;
            let (Some(var), Some(layer)) = (variables.get(path), self.layers.get(path)) else {
                bail!("layer {path} has no variable");
            };
            let of_matrix = |all: &Tensor| all.narrow(0, range.start, range.len());
            let parameters = of_matrix(&var.as_tensor().detach())?;
            let state = [&parameters, &of_matrix(&layer.average)?, &direction];
            let rule = rule(path);
            let rate = rule.matrix_rate(stack.rows, stack.columns);
            cuda::move_matrix(&self.device, state, squared_norm, rate, &rule)?;
        }
        Ok(())
    }
}
