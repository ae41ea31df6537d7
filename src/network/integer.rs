//! The weights of the exact network, and the model file that holds them.
//!
//! A model file is hostile input: every name, shape and value is checked before a network is
//! built from it (codec-spec.md, Model), so that no sum can overflow and no value become
//! infinite.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};

use super::config::{LayerKind, LayerSpec, ModelConfig};
use super::file::{
    self, Part, check_count, config_text, malformed, read_reals, read_tables, real_bytes,
    tables_part,
};
use super::signals::Signal;
use super::stored::{Stored, store_narrow, store_wide};
use crate::error::{Error, Result};
use crate::format::{EXPONENTS, MAX_REAL, MAX_WIDE, PATCH_EXPONENT};
use crate::kernels::integer::{split_wide, sums_fit};

/// The integers of a matrix or of taps.
#[derive(Debug, Clone, PartialEq)]
pub enum Integers {
    /// Of 8 bits, shared with the layers that are made of them.
    Narrow(Arc<[i8]>),
    /// Of 16 bits.
    Wide(Vec<i16>),
}

/// A convolution: `real(sum) * multiplier + bias`.
#[derive(Debug, Clone, PartialEq)]
pub struct IntegerConvolution {
    /// `[outputs, inputs]`, or the taps `[9, channels]`.
    pub weight: Integers,
    /// From the sum of integers to a real number, by output.
    pub multiplier: Vec<f32>,
    /// By output.
    pub bias: Vec<f32>,
}

/// A layer's parameters.
#[derive(Debug, Clone, PartialEq)]
pub enum IntegerLayer {
    /// The convolutions of a pointwise layer (one) or of a block: `conv1`, the depthwise one,
    /// `conv2`, `conv3` and `conv4`.
    Convolutions(Vec<IntegerConvolution>),
    /// A quality table, `[rows, columns]`.
    Table(Vec<f32>),
}

/// The exact network's configuration and parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct IntegerWeights {
    /// Sizes of the network.
    pub config: ModelConfig,
    /// By path.
    pub layers: BTreeMap<String, IntegerLayer>,
    /// The exponents of the tensors of integers, by name (see [`ModelConfig::exponents`]).
    pub exponents: BTreeMap<String, Vec<i8>>,
    /// The serialized integer scale tables.
    pub tables: Vec<u16>,
}

/// The convolutions of a layer: for each its weight, multiplier and bias.
fn convolutions(layer: &LayerSpec) -> Vec<[Part; 3]> {
    let parts = layer.kind.parts();
    let of_convolution = |pair: &[(&str, Vec<usize>)]| {
        let [(weight, shape), (bias, outputs)] = pair else {
            return None;
        };
        let part = |name: &str, shape: &[usize], dtype| Part {
            name: format!("{}.{name}", layer.path),
            shape: shape.to_vec(),
            dtype,
        };
        let multiplier = weight.replace("weight", "multiplier");
        let integers = if layer.is_wide() {
            Dtype::I16
        } else {
            Dtype::I8
        };
        Some([
            part(weight, shape, integers),
            part(&multiplier, outputs, Dtype::F32),
            part(bias, outputs, Dtype::F32),
        ])
    };
    parts.chunks(2).filter_map(of_convolution).collect()
}

/// A quality table.
fn table(layer: &LayerSpec) -> Option<Part> {
    let LayerKind::Table { rows, columns, .. } = layer.kind else {
        return None;
    };
    Some(Part {
        name: format!("{}.table", layer.path),
        shape: vec![rows, columns],
        dtype: Dtype::F32,
    })
}

/// All tensors of a model but the scale tables.
fn parts(config: &ModelConfig) -> Vec<Part> {
    let specs = config.layers();
    let of_layers = specs.iter().flat_map(|layer| {
        convolutions(layer)
            .into_iter()
            .flatten()
            .chain(table(layer))
    });
    let signals = config.exponents().into_iter();
    let of_signals = signals.map(|(name, count)| exponents(&name, count));
    of_layers.chain(of_signals).collect()
}

/// The exponents of a tensor of integers.
fn exponents(signal: &str, count: usize) -> Part {
    Part {
        name: format!("{signal}.exponents"),
        shape: vec![count],
        dtype: Dtype::I8,
    }
}

impl IntegerWeights {
    /// Reads a model file.
    ///
    /// # Errors
    /// [`Error::Weights`] when the file is malformed, lacks a tensor, has one of another shape,
    /// or breaks a rule for its values.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::read(bytes, |_| true)
    }

    /// Reads the layers of a model file that are `wanted`; the others are not looked at.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes).
    pub(super) fn read(bytes: &[u8], wanted: impl Fn(&LayerSpec) -> bool) -> Result<Self> {
        let (config, file) = file::open(bytes)?;
        let training = file.tensor("analysis.conv_in.weight");
        if training.is_ok_and(|tensor| tensor.dtype() == Dtype::F16) {
            let text = "weights of a training run, of which 'aec export' makes a model";
            return Err(Error::Weights(text.into()));
        }
        let mut specs = config.layers();
        specs.retain(wanted);
        let layers = specs
            .par_iter()
            .map(|layer| Ok((layer.path.clone(), read_layer(&file, layer)?)))
            .collect::<Result<_>>()?;
        let read = |(name, count): (String, usize)| {
            let values = read_exponents(&file, &exponents(&name, count))?;
            Ok((name, values))
        };
        let signals = config.exponents().into_iter();
        let exponents = signals.map(read).collect::<Result<_>>()?;
        check_count(&file, parts(&config).len())?;
        let tables = read_tables(&file)?;
        Ok(Self {
            config,
            layers,
            exponents,
            tables,
        })
    }

    /// The model file: safetensors with the configuration in its metadata, weights packed where that is shorter.
    ///
    /// # Errors
    /// [`Error::Weights`] when a layer is missing or of another size.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut parts = Vec::new();
        for layer in self.config.layers() {
            let missing = || Error::Weights(format!("{} is missing", layer.path));
            match self.layers.get(&layer.path).ok_or_else(missing)? {
                IntegerLayer::Table(values) => {
                    parts.extend(table(&layer).map(|part| (part, real_bytes(values))));
                }
                IntegerLayer::Convolutions(values) => {
                    for ([weight, multiplier, bias], values) in
                        convolutions(&layer).into_iter().zip(values)
                    {
                        parts.push(values.weight.stored(weight));
                        parts.push((multiplier, real_bytes(&values.multiplier)));
                        parts.push((bias, real_bytes(&values.bias)));
                    }
                }
            }
        }
        for (name, values) in &self.exponents {
            let bytes = values.iter().map(|value| value.cast_unsigned()).collect();
            parts.push((exponents(name, values.len()), bytes));
        }
        file::to_bytes(&self.config, parts, &self.tables)
    }

    /// The exponent of a tensor.
    pub fn exponent(&self, signal: &Signal) -> i32 {
        let stored = match signal {
            Signal::Patches => PATCH_EXPONENT,
            Signal::Named(name, part) => {
                let of_name = self.exponents.get(name);
                of_name
                    .and_then(|list| list.get(*part).copied())
                    .unwrap_or(0)
            }
        };
        stored.into()
    }
}

impl Integers {
    /// As they are stored.
    fn stored(&self, part: Part) -> (Part, Vec<u8>) {
        match self {
            Self::Narrow(values) => store_narrow(part, values),
            Self::Wide(values) => store_wide(part, values),
        }
    }
}

/// Whether no sum of products with weights of 16 bits of an output can overflow.
pub(super) fn wide_sums_fit(row: &[i16]) -> bool {
    let (high, low): (Vec<i8>, Vec<i8>) = row.iter().map(|w| split_wide(*w)).unzip();
    sums_fit(&high) && sums_fit(&low)
}

fn read_layer(file: &SafeTensors, layer: &LayerSpec) -> Result<IntegerLayer> {
    if let Some(part) = table(layer) {
        return Ok(IntegerLayer::Table(read_bounded(&part, &part.find(file)?)?));
    }
    // All tensors are found and checked before memory is asked for: a configuration may
    // promise more than the file holds.
    let found = convolutions(layer).into_iter().map(|parts| {
        let [weight, multiplier, bias] = &parts;
        let stored = Stored::find(weight, file)?;
        let views = [multiplier.find(file)?, bias.find(file)?];
        Ok((parts, stored, views))
    });
    let found: Vec<_> = found.collect::<Result<_>>()?;
    let read = found.iter().map(|(parts, stored, views)| {
        let [weight, multiplier, bias] = parts;
        Ok(IntegerConvolution {
            weight: read_integers(weight, stored)?,
            multiplier: read_bounded(multiplier, &views[0])?,
            bias: read_bounded(bias, &views[1])?,
        })
    });
    Ok(IntegerLayer::Convolutions(read.collect::<Result<_>>()?))
}

/// Weights whose sums cannot overflow. (Nine taps of 8 bits never do.)
fn read_integers(part: &Part, stored: &Stored) -> Result<Integers> {
    let inputs = part.shape.last().copied().unwrap_or(1);
    let is_taps = part.name.ends_with("depthwise.weight");
    let (integers, is_valid) = if part.dtype == Dtype::I16 {
        let values = stored.wide(part)?;
        let fits = |row: &[i16]| row.iter().all(|w| *w <= MAX_WIDE) && wide_sums_fit(row);
        let is_valid = values.chunks(inputs).all(fits);
        (Integers::Wide(values), is_valid)
    } else {
        let values = stored.narrow(part)?;
        let is_valid = is_taps || values.chunks(inputs).all(sums_fit);
        (Integers::Narrow(values), is_valid)
    };
    if !is_valid {
        let name = &part.name;
        return Err(Error::Weights(format!(
            "{name} has weights whose sum may overflow"
        )));
    }
    Ok(integers)
}

/// Real numbers with which no result becomes infinite.
fn read_bounded(part: &Part, view: &TensorView) -> Result<Vec<f32>> {
    let name = &part.name;
    let values = read_reals(name, view)?;
    if values.iter().any(|value| value.abs() > MAX_REAL) {
        return Err(Error::Weights(format!("{name} has a value beyond 65535")));
    }
    Ok(values)
}

fn read_exponents(file: &SafeTensors, part: &Part) -> Result<Vec<i8>> {
    let view = part.find(file)?;
    let values: Vec<i8> = view.data().iter().map(|byte| byte.cast_signed()).collect();
    if let Some(value) = values.iter().find(|value| !EXPONENTS.contains(value)) {
        let (low, high) = EXPONENTS.into_inner();
        let name = &part.name;
        return Err(Error::Weights(format!(
            "{name} has an exponent of {value}, expected {low} to {high}"
        )));
    }
    Ok(values)
}

/// SHA-256 over a model file's configuration and its tensors in the order of
/// their names (codec-spec.md, Model id): the same however the file is laid out, and whatever is packed.
///
/// # Errors
/// [`Error::Weights`] when the file is malformed.
pub fn digest(bytes: &[u8]) -> Result<[u8; 32]> {
    let (config, file) = file::open(bytes)?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(malformed)?;
    let mut parts = parts(&config);
    parts.push(tables_part(&file)?);
    parts.sort_by(|a, b| a.name.cmp(&b.name));
    let mut hash = Sha256::new();
    hash.update(config_text(header.metadata().as_ref())?);
    for part in parts {
        hash.update(&part.name);
        hash.update([0, type_tag(part.dtype)]);
        for side in &part.shape {
            hash.update((*side as u64).to_le_bytes());
        }
        hash.update(Stored::find(&part, &file)?.plain(&part)?);
    }
    Ok(hash.finalize().into())
}

/// One byte per type in the digest.
fn type_tag(dtype: Dtype) -> u8 {
    match dtype {
        Dtype::I8 => 1,
        Dtype::I16 => 2,
        Dtype::U16 => 3,
        Dtype::F32 => 4,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_weights_are_two_signed_bytes() {
        for weight in [0, 1, -1, 127, 128, -128, -129, 255, 256, i16::MIN, MAX_WIDE] {
            let (high, low) = split_wide(weight);
            assert_eq!(256 * i32::from(high) + i32::from(low), i32::from(weight));
        }
    }
}
