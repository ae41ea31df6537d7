//! The trainable form of a model's weights: one variable per layer.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Var};
use candle_nn::VarBuilder;

use super::optimizer::{Gradients, Optimizer};
use crate::error::{Error, Result};
use crate::model::config::LayerKind;
use crate::model::weights::FlatTensors;
use crate::model::{GradientSink, Mode, ModelConfig, Network, Weights};

/// Variables of every layer and the network that reads them.
pub struct Parameters {
    /// Flat parameters by layer path.
    pub variables: BTreeMap<String, Var>,
    /// The network over these variables.
    pub network: Network,
    sink: GradientSink,
    config: ModelConfig,
    tables: Vec<u16>,
}

impl Parameters {
    /// Makes variables of `weights`.
    ///
    /// # Errors
    /// When a layer is missing or a tensor cannot be made.
    pub fn new(weights: &Weights, device: &Device) -> Result<Self> {
        let mut variables = BTreeMap::new();
        for layer in weights.config.layers() {
            let stored = weights.layers.get(&layer.path).map_or(&[][..], Vec::as_slice);
            let trained: Vec<f32> = match layer.kind {
                LayerKind::Table { unit, .. } => stored.iter().map(|v| unit.to_trained(*v)).collect(),
                _ => stored.to_vec(),
            };
            variables.insert(layer.path, Var::from_vec(trained, layer.kind.len(), device)?);
        }
        let tensors: BTreeMap<_, _> = variables.iter().map(|(path, var)| (path.clone(), var.as_tensor().clone())).collect();
        let vb = VarBuilder::from_backend(Box::new(FlatTensors(&tensors)), DType::F32, device.clone());
        let sink = GradientSink::default();
        let network = Network::new(&weights.config, &vb, &Mode::Train(sink.clone()))?;
        drop(vb);
        Ok(Self { variables, network, sink, config: weights.config.clone(), tables: weights.tables.clone() })
    }

    /// Every variable's gradient after a backward pass, from the layers' sink or
    /// from candle's store.
    ///
    /// # Errors
    /// When a variable has no gradient (a bug in an operation's backward).
    pub fn gradients(&self, store: &GradStore) -> Result<Gradients> {
        let mut gradients = BTreeMap::new();
        for (path, var) in &self.variables {
            let gradient = match (self.sink.take(var.id()), store.get(var)) {
                (Some(gradient), _) => gradient,
                (None, Some(gradient)) => gradient.flatten_all()?.to_vec1()?,
                (None, None) => return Err(Error::Compute(format!("layer {path} has no gradient"))),
            };
            gradients.insert(path.clone(), gradient);
        }
        Ok(gradients)
    }

    /// The running average of the weights, in their stored form.
    #[must_use]
    pub fn averaged(&self, optimizer: &Optimizer) -> Weights {
        let mut layers = BTreeMap::new();
        for layer in self.config.layers() {
            let trained = optimizer.moments.get(&layer.path).map_or(&[][..], |m| m.average.as_slice());
            let stored = match layer.kind {
                LayerKind::Table { unit, .. } => trained.iter().map(|v| unit.to_stored(*v)).collect(),
                _ => trained.to_vec(),
            };
            layers.insert(layer.path, stored);
        }
        Weights { config: self.config.clone(), layers, tables: self.tables.clone() }
    }
}
