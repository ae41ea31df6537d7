//! Everything a run needs to go on exactly where it stopped, as one safetensors file.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{Device, Tensor, Var};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::optimizer::{Moments, Optimizer};
use crate::error::{Error, Result};

fn malformed(error: impl std::fmt::Display) -> Error {
    Error::Weights(format!("checkpoint: {error}"))
}

/// Writes bytes to a temporary file beside `path`, then renames it.
///
/// The temporary file's name is `path` with `.tmp` added: what a killed run left is replaced by the next.
///
/// # Errors
/// [`Error::Io`] when the folder cannot be written.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let write = || {
        let mut file = std::fs::File::create(&temporary)?;
        std::io::Write::write_all(&mut file, bytes)?;
        // On the disk before it takes the old one's place.
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary);
    })?;
    Ok(())
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
            parts.push((
                format!("{kind}.{layer}"),
                values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ));
        }
    }
    let views: Vec<(&str, TensorView)> = parts
        .iter()
        .map(|(name, bytes)| {
            Ok((
                name.as_str(),
                TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes).map_err(malformed)?,
            ))
        })
        .collect::<Result<_>>()?;
    let metadata = [
        ("step", step),
        ("updates", optimizer.updates),
        ("skipped", optimizer.skipped),
    ];
    let metadata: HashMap<String, String> = metadata
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .into();
    write_atomically(
        path,
        &safetensors::serialize(views, Some(metadata)).map_err(malformed)?,
    )
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
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(malformed)?;
    let number = |key: &str| -> Result<u64> {
        let text = header
            .metadata()
            .as_ref()
            .and_then(|map| map.get(key))
            .ok_or_else(|| malformed(format!("no {key}")))?;
        text.parse().map_err(malformed)
    };
    let file = SafeTensors::deserialize(&bytes).map_err(malformed)?;
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
    optimizer.updates = number("updates")?;
    optimizer.skipped = number("skipped")?;
    number("step")
}

fn read_values(file: &SafeTensors, name: &str, len: usize) -> Result<Vec<f32>> {
    let view = file.tensor(name).map_err(malformed)?;
    if view.dtype() != Dtype::F32 || view.data().len() != len * 4 {
        return Err(malformed(format!("{name} has another size")));
    }
    Ok(view
        .data()
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect())
}
