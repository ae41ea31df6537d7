//! The trainable form of a model's weights: one variable per layer.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Var};
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
            let mut sum = parts.next().unwrap_or_else(|| Ok(Vec::new()))?;
            for part in parts {
                sum.iter_mut().zip(part?).for_each(|(sum, g)| *sum += g);
            }
            Ok((path.clone(), sum))
        };
        self.variables.par_iter().map(of_variable).collect()
    }

    /// One variable's gradient in the first replica, if it has one.
    #[cfg(test)]
    pub fn gradient_of(&self, path: &str, store: &GradStore) -> Option<Vec<f32>> {
        self.replicas[0]
            .gradient(path, self.variables.get(path)?, store)
            .ok()
    }

    /// The running average of the weights, in their stored form.
    #[must_use]
    pub fn averaged(&self, optimizer: &Optimizer) -> Weights {
        let mut layers = BTreeMap::new();
        for layer in self.config.layers() {
            let trained = optimizer
                .moments
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
        Weights {
            config: self.config.clone(),
            layers,
            tables: self.tables.clone(),
        }
    }
}

impl Replica {
    /// A variable's gradient, from the layers' sink or from candle's store.
    fn gradient(&self, path: &str, var: &Var, store: &GradStore) -> Result<Vec<f32>> {
        match (self.sink.take(var.id()), store.get(var)) {
            (Some(gradient), _) => Ok(gradient),
            (None, Some(gradient)) => Ok(gradient.flatten_all()?.to_vec1()?),
            (None, None) => Err(Error::Compute(format!("layer {path} has no gradient"))),
        }
    }
}
