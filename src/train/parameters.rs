//! The trainable form of a model's weights: one variable per layer.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use rayon::prelude::*;

use super::optimizer::Optimizer;
use super::rule::Gradients;
use crate::error::{Error, Result};
use crate::network::config::LayerKind;
use crate::network::worth::patch_norms;
use crate::network::{ModelConfig, Weights};
use crate::train::network::{Loader, Network};
use crate::train::ops::tape::{self, add_in_place};

/// Variables of every layer and the networks that read them.
pub struct Parameters {
    /// Flat parameters by layer path.
    pub variables: BTreeMap<String, Var>,
    /// Replicas of the network over the same variables, one per worker.
    pub replicas: Vec<Network>,
    config: ModelConfig,
    tables: Vec<u16>,
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
            let var = Var::from_vec(trained, layer.kind.parameters(), device)?;
            variables.insert(layer.path, var);
        }
        let from = Loader {
            config: &weights.config,
            variables: &variables,
        };
        let replica = |_| Ok(Network::new(&from, device)?);
        let replicas = (0..replicas).map(replica).collect::<Result<_>>()?;
        Ok(Self {
            variables,
            replicas,
            config: weights.config.clone(),
            tables: weights.tables.clone(),
        })
    }

    /// Every variable's gradient, summed over `parts` of a batch in their order.
    ///
    /// # Errors
    /// When a variable has no gradient (a bug in an operation's backward).
    pub fn gradients(&self, mut parts: Vec<tape::Gradients>) -> Result<Gradients> {
        let mut of_parts = Vec::with_capacity(self.variables.len());
        for (path, var) in &self.variables {
            let missing = || Error::Compute(format!("layer {path} has no gradient"));
            let of_part = |part: &mut tape::Gradients| part.take(var.id()).ok_or_else(missing);
            let parts: Result<Vec<_>> = parts.iter_mut().map(of_part).collect();
            of_parts.push((path.clone(), parts?));
        }
        let sum = |(path, parts): (String, Vec<Tensor>)| {
            let mut parts = parts.into_iter();
            let none = || Error::Compute("no gradients".into());
            let sum = parts.next().ok_or_else(none)?;
            parts.try_for_each(|part| add_in_place(&sum, &part))?;
            Ok((path, sum))
        };
        of_parts.into_par_iter().map(sum).collect()
    }

    /// Squared norm of each latent channel's patch in the linear path: how much an error in it shows in the picture.
    ///
    /// # Errors
    /// When the path's weights cannot be read back from a GPU.
    pub fn patch_norms(&self) -> Result<Vec<f32>> {
        let weights = match self.variables.get("synthesis.linear") {
            Some(linear) => linear.as_tensor().to_vec1()?,
            None => Vec::new(),
        };
        Ok(patch_norms(&weights, self.config.latent_channels))
    }

    /// One variable's gradient, if it has one.
    #[cfg(test)]
    pub fn gradient_of(&self, path: &str, gradients: &mut tape::Gradients) -> Option<Tensor> {
        gradients.take(self.variables.get(path)?.id())
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
