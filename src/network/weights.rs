//! Weights as they are trained, in binary32, and as a safetensors file: what a training run
//! writes beside the model, and starts from.
//!
//! A file is hostile input: every name, shape and value is checked before a network is built
//! from it.

use std::collections::BTreeMap;

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::config::{LayerSpec, ModelConfig};
use super::file::{self, Part, check_count, check_finite, read_reals, read_tables, real_bytes};
use super::integer::IntegerWeights;
use crate::error::{Error, Result};

/// A model's configuration and parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// Sizes of the network.
    pub config: ModelConfig,
    /// Flat parameters by layer path, in the order of [`parts`](super::config::LayerKind::parts).
    pub layers: BTreeMap<String, Vec<f32>>,
    /// The serialized integer scale tables.
    pub tables: Vec<u16>,
}

/// Matrices are stored as binary16, everything else as binary32.
fn stored_dtype(part: &str) -> Dtype {
    if part.ends_with("weight") && part != "depthwise.weight" {
        Dtype::F16
    } else {
        Dtype::F32
    }
}

impl Weights {
    /// Reads a file of weights.
    ///
    /// # Errors
    /// [`Error::Weights`] when the file is malformed, lacks a tensor, has one of
    /// another shape, or holds a value that is not finite.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let (config, file) = file::open(bytes)?;
        let specs = config.layers();
        let layers = specs
            .par_iter()
            .map(|layer| Ok((layer.path.clone(), read_layer(&file, layer)?)))
            .collect::<Result<_>>()?;
        let counts = specs.iter().map(|layer| layer.kind.parts().len());
        check_count(&file, counts.sum())?;
        let tables = read_tables(&file)?;
        Ok(Self {
            config,
            layers,
            tables,
        })
    }

    /// Reads a file of weights, or a model, whose integers stand for weights.
    ///
    /// # Errors
    /// As [`Weights::from_bytes`] and [`IntegerWeights::from_bytes`].
    pub fn of_any(bytes: &[u8]) -> Result<Self> {
        if is_of_training(bytes) {
            Self::from_bytes(bytes)
        } else {
            Ok(IntegerWeights::from_bytes(bytes)?.to_real())
        }
    }

    /// The flat parameters of a layer of the configuration.
    ///
    /// # Errors
    /// [`Error::Weights`] when it is missing or of another size.
    pub(super) fn layer(&self, layer: &LayerSpec) -> Result<&[f32]> {
        let values = self.layers.get(&layer.path);
        let right = values.filter(|values| values.len() == layer.kind.parameters());
        let refused = || Error::Weights(format!("{} has another size", layer.path));
        right.map(Vec::as_slice).ok_or_else(refused)
    }

    /// The file: safetensors with the configuration in its metadata.
    ///
    /// # Errors
    /// [`Error::Weights`] when a value is not finite as stored.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut parts = Vec::new();
        for layer in self.config.layers() {
            let values = layer.kind.split(self.layer(&layer)?).into_iter();
            for (part, values) in stored_parts(&layer).into_iter().zip(values) {
                let bytes = stored_bytes(&part, values)?;
                parts.push((part, bytes));
            }
        }
        file::to_bytes(&self.config, parts, &self.tables)
    }
}

/// Whether a file holds the weights of a training run rather than a model's integers.
pub fn is_of_training(bytes: &[u8]) -> bool {
    let header = SafeTensors::read_metadata(bytes);
    header.is_ok_and(|(_, header)| {
        let tensor = header.info("analysis.conv_in.weight");
        tensor.is_some_and(|tensor| tensor.dtype == Dtype::F16)
    })
}

/// A layer's tensors.
fn stored_parts(layer: &LayerSpec) -> Vec<Part> {
    let parts = layer.kind.parts().into_iter();
    let part = |(name, shape)| Part {
        name: format!("{}.{name}", layer.path),
        shape,
        dtype: stored_dtype(name),
    };
    parts.map(part).collect()
}

/// Values as they are stored.
fn stored_bytes(part: &Part, values: &[f32]) -> Result<Vec<u8>> {
    let halves = || values.iter().map(|v| f16::from_f32(*v));
    let is_half = part.dtype == Dtype::F16;
    let is_finite = if is_half {
        halves().all(f16::is_finite)
    } else {
        values.iter().all(|v| v.is_finite())
    };
    if !is_finite {
        let name = &part.name;
        return Err(Error::Weights(format!(
            "{name} has a value that cannot be stored"
        )));
    }
    Ok(if is_half {
        halves().flat_map(f16::to_le_bytes).collect()
    } else {
        real_bytes(values)
    })
}

/// A layer's flat parameters.
fn read_layer(file: &SafeTensors, layer: &LayerSpec) -> Result<Vec<f32>> {
    // All tensors are found and checked before memory is asked for: a configuration may
    // promise more than the file holds.
    let found = stored_parts(layer).into_iter().map(|part| {
        let view = part.find(file)?;
        Ok((part, view))
    });
    let found: Vec<(Part, TensorView)> = found.collect::<Result<_>>()?;
    let mut flat = Vec::with_capacity(layer.kind.parameters());
    for (part, view) in &found {
        if part.dtype == Dtype::F16 {
            flat.extend(read_halves(&part.name, view)?);
        } else {
            flat.extend(read_reals(&part.name, view)?);
        }
    }
    Ok(flat)
}

/// The values of a binary16 tensor, which must be finite.
fn read_halves(name: &str, view: &TensorView) -> Result<Vec<f32>> {
    let numbers = view.data().as_chunks::<2>().0.iter();
    let halves: Vec<f16> = numbers.map(|bytes| f16::from_le_bytes(*bytes)).collect();
    let values = halves.to_f32_vec();
    check_finite(name, &values)?;
    Ok(values)
}
