//! Everything a run needs to go on exactly where it stopped, as one safetensors file.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{Device, Tensor, Var};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::optimizer::Optimizer;
use super::rule::Moments;
use crate::atomic;
use crate::error::{Error, Result};
use crate::network::file::real_bytes;

/// Names of the numbers of a checkpoint in its metadata.
const NUMBERS: [&str; 3] = ["step", "updates", "skipped"];
/// Name of the checksum there.
const CHECKSUM: &str = "crc32";

fn malformed(error: impl std::fmt::Display) -> Error {
    Error::Weights(format!("checkpoint: {error}"))
}

/// Saves variables and optimizer state after `step` steps.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written.
pub fn save(
    path: &Path,
    step: u64,
    variables: &BTreeMap<String, Var>,
    optimizer: &Optimizer,
) -> Result<()> {
    let mut parts: Vec<(String, Vec<u8>)> = Vec::new();
    let all = optimizer.moments()?;
    for (layer, var) in variables {
        let Some(moments) = all.get(layer) else {
            continue;
        };
        let values = var.to_vec1::<f32>()?;
        for (kind, values) in [
            ("p", &values),
            ("m", &moments.first),
            ("v", &moments.second),
            ("a", &moments.average),
        ] {
            parts.push((format!("{kind}.{layer}"), real_bytes(values)));
        }
    }
    let tensors = || parts.iter().map(|(name, bytes)| (&name[..], &bytes[..]));
    let views = tensors().map(|(name, bytes)| {
        let view = TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes);
        Ok((name, view.map_err(malformed)?))
    });
    let views: Vec<(&str, TensorView)> = views.collect::<Result<_>>()?;
    let numbers = [step, optimizer.updates, optimizer.skipped];
    let pairs = NUMBERS.map(String::from).into_iter();
    let mut metadata: HashMap<_, _> = pairs.zip(numbers.map(|value| value.to_string())).collect();
    metadata.insert(CHECKSUM.into(), checksum(numbers, tensors().collect()));
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(malformed)?;
    Ok(atomic::write(path, &bytes)?)
}

/// Restores variables and optimizer state; the number of steps done.
///
/// # Errors
/// [`Error::Weights`] when the file does not belong to this network.
pub fn restore(
    path: &Path,
    variables: &BTreeMap<String, Var>,
    optimizer: &mut Optimizer,
) -> Result<u64> {
    let bytes = std::fs::read(path)?;
    let malformed =
        |error: &dyn std::fmt::Display| malformed(format!("{}: {error}", path.display()));
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| malformed(&error))?;
    let text = |key: &str| header.metadata().as_ref().and_then(|map| map.get(key));
    let number = |key: &str| -> Result<u64> {
        let text = text(key).ok_or_else(|| malformed(&format!("no {key}")))?;
        text.parse().map_err(|error| malformed(&error))
    };
    let file = SafeTensors::deserialize(&bytes).map_err(|error| malformed(&error))?;
    let [step, updates, skipped] = NUMBERS.map(number);
    let numbers = [step?, updates?, skipped?];
    let tensors = file.tensors();
    let tensors = tensors.iter().map(|(name, view)| (&name[..], view.data()));
    // Checkpoints from before they had one are taken as they are.
    if text(CHECKSUM).is_some_and(|sum| *sum != checksum(numbers, tensors.collect())) {
        let damaged = "the checksum does not match: the file is damaged";
        return Err(malformed(&damaged));
    }
    let mut all = BTreeMap::new();
    for (layer, var) in variables {
        let read = |kind: &str| read_values(&file, &format!("{kind}.{layer}"), var.elem_count());
        var.set(&Tensor::new(read("p")?, &Device::Cpu)?.to_device(var.device())?)?;
        let moments = Moments {
            first: read("m")?,
            second: read("v")?,
            average: read("a")?,
        };
        all.insert(layer.clone(), moments);
    }
    optimizer.set_moments(all)?;
    let [step, updates, skipped] = numbers;
    (optimizer.updates, optimizer.skipped) = (updates, skipped);
    Ok(step)
}

/// CRC-32 of the numbers and of every tensor's name and bytes, by name, as text.
fn checksum(numbers: [u64; 3], mut tensors: Vec<(&str, &[u8])>) -> String {
    tensors.sort_unstable();
    let mut crc = crc32fast::Hasher::new();
    for number in numbers {
        crc.update(&number.to_le_bytes());
    }
    for (name, bytes) in tensors {
        crc.update(name.as_bytes());
        crc.update(bytes);
    }
    format!("{:08x}", crc.finalize())
}

fn read_values(file: &SafeTensors, name: &str, len: usize) -> Result<Vec<f32>> {
    let view = file.tensor(name).map_err(malformed)?;
    if view.dtype() != Dtype::F32 || view.data().len() != len * 4 {
        return Err(malformed(format!("{name} has another size")));
    }
    let numbers = view.data().as_chunks::<4>().0.iter();
    Ok(numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect())
}
