//! The trainable form of a model's weights: one variable per layer.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, DType, Device, InplaceOp2, Layout, Tensor, Var};
use candle_nn::VarBuilder;
use rayon::prelude::*;

use super::optimizer::{Gradients, Optimizer};
use crate::error::{Error, Result};
use crate::model::config::LayerKind;
use crate::model::weights::FlatTensors;
use crate::model::{GradientSink, Mode, ModelConfig, Network, Weights};

/// Variables of every layer and the networks that read them.
pub struct Parameters {
    /// Flat parameters by layer path.
    pub variables: BTreeMap<String, Var>,
    /// Replicas of the network over the same variables, one per worker.
    pub replicas: Vec<Replica>,
    config: ModelConfig,
    tables: Vec<u16>,
}

/// A network and the place where its layers leave their gradients.
pub struct Replica {
    /// The network.
    pub network: Network,
    sink: GradientSink,
}

impl Parameters {
    /// Makes variables of `weights` and `replicas` networks over them.
    ///
    /// # Errors
    /// When a layer is missing or a tensor cannot be made.
    pub fn new(weights: &Weights, device: &Device, replicas: usize) -> Result<Self> {
        let mut variables = BTreeMap::new();
        for layer in weights.config.layers() {
            let stored = weights
                .layers
                .get(&layer.path)
                .map_or(&[][..], Vec::as_slice);
            let trained: Vec<f32> = match layer.kind {
                LayerKind::Table { unit, .. } => {
                    stored.iter().map(|v| unit.to_trained(*v)).collect()
                }
                _ => stored.to_vec(),
            };
            variables.insert(
                layer.path,
                Var::from_vec(trained, layer.kind.len(), device)?,
            );
        }
        let tensors: BTreeMap<_, _> = variables
            .iter()
            .map(|(path, var)| (path.clone(), var.as_tensor().clone()))
            .collect();
        let vb =
            VarBuilder::from_backend(Box::new(FlatTensors(&tensors)), DType::F32, device.clone());
        let replica = |_| {
            let sink = GradientSink::default();
            let network = Network::new(&weights.config, &vb, &Mode::Train(sink.clone()))?;
            Ok(Replica { network, sink })
        };
        let replicas = (0..replicas).map(replica).collect::<Result<_>>()?;
        drop(vb);
        Ok(Self {
            variables,
            replicas,
            config: weights.config.clone(),
            tables: weights.tables.clone(),
        })
    }

    /// Every variable's gradient, summed over the replicas in their order.
    ///
    /// # Errors
    /// When a variable has no gradient (a bug in an operation's backward).
    pub fn gradients(&self, stores: &[GradStore]) -> Result<Gradients> {
        let of_variable = |(path, var): (&String, &Var)| {
            let mut parts = self
                .replicas
                .iter()
                .zip(stores)
                .map(|(replica, store)| replica.gradient(path, var, store));
            let none = || Err(Error::Compute("no gradients".into()));
            let sum = parts.next().unwrap_or_else(none)?;
            for part in parts {
                sum.inplace_op2(&part?, &AddTo)?;
            }
            Ok((path.clone(), sum))
        };
        self.variables.par_iter().map(of_variable).collect()
    }

    /// One variable's gradient in the first replica, if it has one.
    #[cfg(test)]
    pub fn gradient_of(&self, path: &str, store: &GradStore) -> Option<Tensor> {
        self.replicas[0]
            .gradient(path, self.variables.get(path)?, store)
            .ok()
    }

    /// The running average of the weights, in their stored form.
    ///
    /// # Errors
    /// When it cannot be read back from a GPU.
    pub fn averaged(&self, optimizer: &Optimizer) -> Result<Weights> {
        let mut layers = BTreeMap::new();
        let moments = optimizer.moments()?;
        for layer in self.config.layers() {
            let trained = moments
                .get(&layer.path)
                .map_or(&[][..], |m| m.average.as_slice());
            let stored = match layer.kind {
                LayerKind::Table { unit, .. } => {
                    trained.iter().map(|v| unit.to_stored(*v)).collect()
                }
                _ => trained.to_vec(),
            };
            layers.insert(layer.path, stored);
        }
        Ok(Weights {
            config: self.config.clone(),
            layers,
            tables: self.tables.clone(),
        })
    }
}

impl Replica {
    /// A variable's gradient, from the layers' sink or from candle's store: flat.
    fn gradient(&self, path: &str, var: &Var, store: &GradStore) -> Result<Tensor> {
        match (self.sink.take(var.id()), store.get(var)) {
            (Some(gradient), _) => Ok(gradient),
            (None, Some(gradient)) => Ok(gradient.flatten_all()?.contiguous()?),
            (None, None) => Err(Error::Compute(format!("layer {path} has no gradient"))),
        }
    }
}

/// `a += b` on the CPU, where there may be several replicas.
struct AddTo;

impl InplaceOp2 for AddTo {
    fn name(&self) -> &'static str {
        "add-to"
    }

    fn cpu_fwd(
        &self,
        a: &mut CpuStorage,
        la: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> candle_core::Result<()> {
        let (CpuStorage::F32(a), CpuStorage::F32(b)) = (a, b) else {
            candle_core::bail!("gradients must be f32");
        };
        let (Some(to), Some(from)) = (la.contiguous_offsets(), lb.contiguous_offsets()) else {
            candle_core::bail!("gradients must be contiguous");
        };
        let sums = a[to.0..to.1].iter_mut().zip(&b[from.0..from.1]);
        sums.for_each(|(a, b)| *a += b);
        Ok(())
    }
}
