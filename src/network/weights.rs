//! Weights as they are trained, in binary32, and as a safetensors file: what a training run
//! writes beside the model, and starts from.
//!
//! A file is hostile input: every name, shape and value is checked before a network is built
//! from it.

use std::collections::{BTreeMap, HashMap};

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::config::{LayerSpec, ModelConfig};
use super::file::{CONFIG, TABLES, find_part, malformed, read_config, read_tables};
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
        let config = read_config(bytes)?;
        let file = SafeTensors::deserialize(bytes).map_err(malformed)?;
        let specs = config.layers();
        let names = 1 + specs
            .iter()
            .map(|layer| layer.kind.parts().len())
            .sum::<usize>();
        let layers = specs
            .par_iter()
            .map(|layer| read_layer(&file, layer))
            .collect::<Result<_>>()?;
        if file.len() != names {
            return Err(Error::Weights(format!(
                "{} tensors, expected {names}",
                file.len()
            )));
        }
        Ok(Self {
            config,
            layers,
            tables: read_tables(&file)?,
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

    /// The file: safetensors with the configuration in its metadata.
    ///
    /// # Errors
    /// [`Error::Weights`] when a value is not finite as stored.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let parts = self.stored_parts()?;
        let views: Vec<(&str, TensorView)> = parts
            .iter()
            .map(|(name, part)| {
                Ok((
                    name.as_str(),
                    TensorView::new(part.dtype, part.shape.clone(), &part.bytes)
                        .map_err(malformed)?,
                ))
            })
            .collect::<Result<_>>()?;
        let config = serde_json::to_string(&self.config).map_err(malformed)?;
        let metadata = HashMap::from([(CONFIG.to_string(), config)]);
        safetensors::serialize(views, Some(metadata)).map_err(malformed)
    }

    /// Every tensor as it is stored, by name.
    fn stored_parts(&self) -> Result<BTreeMap<String, StoredPart>> {
        let mut parts = BTreeMap::new();
        for LayerSpec { path, kind, .. } in self.config.layers() {
            let mut rest = self.layers.get(&path).map_or(&[][..], Vec::as_slice);
            for (part, shape) in kind.parts() {
                let len = shape.iter().product();
                let values = rest
                    .split_off(..len)
                    .ok_or_else(|| Error::Weights(format!("{path} is too short")))?;
                let name = format!("{path}.{part}");
                let part = StoredPart::new(&name, values, shape, stored_dtype(part))?;
                parts.insert(name, part);
            }
        }
        let bytes = self
            .tables
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        parts.insert(
            TABLES.into(),
            StoredPart {
                dtype: Dtype::U16,
                shape: vec![self.tables.len()],
                bytes,
            },
        );
        Ok(parts)
    }
}

/// Whether a file holds the weights of a training run rather than a model's integers.
#[must_use]
pub fn is_of_training(bytes: &[u8]) -> bool {
    let header = SafeTensors::read_metadata(bytes);
    header.is_ok_and(|(_, header)| {
        let tensor = header.info("analysis.conv_in.weight");
        tensor.is_some_and(|tensor| tensor.dtype == Dtype::F16)
    })
}

struct StoredPart {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl StoredPart {
    fn new(name: &str, values: &[f32], shape: Vec<usize>, dtype: Dtype) -> Result<Self> {
        let as_stored = |v: f32| {
            if dtype == Dtype::F16 {
                f16::from_f32(v).to_f32()
            } else {
                v
            }
        };
        if !values.iter().all(|v| as_stored(*v).is_finite()) {
            return Err(Error::Weights(format!(
                "{name} has a value that cannot be stored"
            )));
        }
        let bytes = match dtype {
            Dtype::F16 => values
                .iter()
                .flat_map(|v| f16::from_f32(*v).to_le_bytes())
                .collect(),
            _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        Ok(Self {
            dtype,
            shape,
            bytes,
        })
    }
}

fn read_layer(file: &SafeTensors, layer: &LayerSpec) -> Result<(String, Vec<f32>)> {
    // All tensors are found and checked before memory is asked for: a configuration may
    // promise more than the file holds.
    let parts: Vec<(String, TensorView)> = layer
        .kind
        .parts()
        .into_iter()
        .map(|(part, shape)| {
            let name = format!("{}.{part}", layer.path);
            let view = find_part(file, &name, &shape, stored_dtype(part))?;
            Ok((name, view))
        })
        .collect::<Result<_>>()?;
    let mut flat = Vec::with_capacity(layer.kind.len());
    for (name, view) in &parts {
        append_values(name, view, &mut flat)?;
    }
    Ok((layer.path.clone(), flat))
}

/// Appends the values of a binary16 or binary32 tensor.
fn append_values(name: &str, view: &TensorView, flat: &mut Vec<f32>) -> Result<()> {
    let start = flat.len();
    match view.dtype() {
        Dtype::F16 => {
            let halves: Vec<f16> = view
                .data()
                .chunks_exact(2)
                .map(|b| f16::from_le_bytes([b[0], b[1]]))
                .collect();
            flat.resize(start + halves.len(), 0.0);
            halves.convert_to_f32_slice(&mut flat[start..]);
        }
        _ => flat.extend(
            view.data()
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        ),
    }
    if flat[start..].iter().any(|v| !v.is_finite()) {
        return Err(Error::Weights(format!(
            "{name} has a value that is not finite"
        )));
    }
    Ok(())
}
