//! What both kinds of safetensors files share: models, and weights as they are trained.
//!
//! A file is hostile input: its size, its configuration and its tensors are checked before they are used.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::config::ModelConfig;
use crate::error::{Error, Result};
use crate::limits::at_most;

/// Largest model file that is read.
pub const MAX_MODEL_BYTES: u64 = 256 << 20;
/// Name of the tensor that holds the integer scale tables.
const TABLES: &str = "entropy.tables";
/// Metadata key of the configuration.
const CONFIG: &str = "config";

/// The bytes of a model file.
///
/// # Errors
/// [`Error::Io`] when it cannot be read, [`Error::LimitExceeded`] over [`MAX_MODEL_BYTES`].
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = File::open(path)?;
    // Known in advance for files, and refused before they are read; not for pipes.
    check_size(file.metadata()?.len())?;
    file.by_ref()
        .take(MAX_MODEL_BYTES + 1)
        .read_to_end(&mut bytes)?;
    check_size(bytes.len() as u64)?;
    Ok(bytes)
}

/// Refuses what is too large for a model file.
fn check_size(found: u64) -> Result<()> {
    at_most("model size", found, MAX_MODEL_BYTES)
}

/// An error of the file's layers below, on one line: it may quote names and text of the file.
pub(super) fn malformed(error: impl std::fmt::Display) -> Error {
    const LONGEST: usize = 200;
    let text = error.to_string();
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    Error::Weights(clean.take(LONGEST).collect())
}

/// A tensor of a file: what it is called and how it is stored.
pub(super) struct Part {
    pub name: String,
    pub shape: Vec<usize>,
    pub dtype: Dtype,
}

impl Part {
    /// Elements of the tensor.
    pub(super) fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The tensor, which must have the shape and the type.
    pub(super) fn find<'a>(&self, file: &SafeTensors<'a>) -> Result<TensorView<'a>> {
        let view = find(file, &self.name)?;
        if view.shape() != self.shape || view.dtype() != self.dtype {
            let Self { name, shape, dtype } = self;
            let (found, kind) = (view.shape(), view.dtype());
            return Err(malformed(format!(
                "{name} should be {dtype:?} {shape:?}, not {kind:?} {found:?}"
            )));
        }
        Ok(view)
    }
}

/// The tensor called `name`.
fn find<'a>(file: &SafeTensors<'a>, name: &str) -> Result<TensorView<'a>> {
    let missing = |_| Error::Weights(format!("{name} is missing"));
    file.tensor(name).map_err(missing)
}

/// Opens a file: its configuration, checked, and its tensors.
///
/// What is packed is bounded by the configuration alone: its parameters, too, are at most [`MAX_MODEL_BYTES`].
pub(super) fn open(bytes: &[u8]) -> Result<(ModelConfig, SafeTensors<'_>)> {
    check_size(bytes.len() as u64)?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(malformed)?;
    let config: ModelConfig =
        serde_json::from_str(config_text(header.metadata().as_ref())?).map_err(malformed)?;
    config.validate()?;
    check_size(config.parameters() as u64)?;
    Ok((config, SafeTensors::deserialize(bytes).map_err(malformed)?))
}

/// Checks that a file holds its tables and so many tensors besides.
pub(super) fn check_count(file: &SafeTensors, others: usize) -> Result<()> {
    let (found, expected) = (file.len(), 1 + others);
    if found != expected {
        return Err(Error::Weights(format!(
            "{found} tensors, expected {expected}"
        )));
    }
    Ok(())
}

/// The text of a file's configuration, as it is stored.
pub(super) fn config_text(metadata: Option<&HashMap<String, String>>) -> Result<&str> {
    let text = metadata.and_then(|map| map.get(CONFIG));
    text.map(String::as_str)
        .ok_or_else(|| malformed("no configuration"))
}

/// The values of a binary32 tensor, which must be finite.
pub(super) fn read_reals(name: &str, view: &TensorView) -> Result<Vec<f32>> {
    let numbers = view.data().as_chunks::<4>().0.iter();
    let values: Vec<f32> = numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect();
    check_finite(name, &values)?;
    Ok(values)
}

/// Refuses infinities and what is no number.
pub(super) fn check_finite(name: &str, values: &[f32]) -> Result<()> {
    if values.iter().any(|value| !value.is_finite()) {
        return Err(Error::Weights(format!(
            "{name} has a value that is not finite"
        )));
    }
    Ok(())
}

/// The bytes of a binary32 tensor.
pub(crate) fn real_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// The scale tables, however many words they are.
pub(super) fn tables_part(file: &SafeTensors) -> Result<Part> {
    let view = find(file, TABLES)?;
    Ok(tables_of(view.data().len() / 2))
}

/// Scale tables of so many words.
fn tables_of(words: usize) -> Part {
    Part {
        name: TABLES.into(),
        shape: vec![words],
        dtype: Dtype::U16,
    }
}

/// The words of the scale tables.
pub(super) fn read_tables(file: &SafeTensors) -> Result<Vec<u16>> {
    let view = tables_part(file)?.find(file)?;
    let words = view.data().as_chunks::<2>().0.iter();
    Ok(words.map(|bytes| u16::from_le_bytes(*bytes)).collect())
}

/// A file: safetensors with the configuration in its metadata, and the scale tables.
pub(super) fn to_bytes(
    config: &ModelConfig,
    mut parts: Vec<(Part, Vec<u8>)>,
    tables: &[u16],
) -> Result<Vec<u8>> {
    let words = tables.iter().flat_map(|word| word.to_le_bytes()).collect();
    parts.push((tables_of(tables.len()), words));
    let views = parts.iter().map(|(part, bytes)| {
        let view = TensorView::new(part.dtype, part.shape.clone(), bytes);
        Ok((part.name.as_str(), view.map_err(malformed)?))
    });
    let views: Vec<(&str, TensorView)> = views.collect::<Result<_>>()?;
    let config = serde_json::to_string(config).map_err(malformed)?;
    let metadata = HashMap::from([(CONFIG.to_string(), config)]);
    safetensors::serialize(views, Some(metadata)).map_err(malformed)
}
