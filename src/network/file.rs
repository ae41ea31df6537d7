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
pub(super) const TABLES: &str = "entropy.tables";
/// Metadata key of the configuration.
pub(super) const CONFIG: &str = "config";

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

/// The configuration in a file, checked.
pub(super) fn read_config(bytes: &[u8]) -> Result<ModelConfig> {
    check_size(bytes.len() as u64)?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(malformed)?;
    let config: ModelConfig =
        serde_json::from_str(config_text(header.metadata().as_ref())?).map_err(malformed)?;
    config.validate()?;
    Ok(config)
}

/// Its text as it is stored.
pub(super) fn config_text(metadata: Option<&HashMap<String, String>>) -> Result<&str> {
    let text = metadata.and_then(|map| map.get(CONFIG));
    text.map(String::as_str)
        .ok_or_else(|| malformed("no configuration"))
}

/// The tensor called `name`, which must have the given shape and type.
pub(super) fn find_part<'a>(
    file: &SafeTensors<'a>,
    name: &str,
    shape: &[usize],
    dtype: Dtype,
) -> Result<TensorView<'a>> {
    let view = file
        .tensor(name)
        .map_err(|_| Error::Weights(format!("{name} is missing")))?;
    if view.shape() != shape || view.dtype() != dtype {
        let (found, kind) = (view.shape(), view.dtype());
        return Err(malformed(format!(
            "{name} should be {dtype:?} {shape:?}, not {kind:?} {found:?}"
        )));
    }
    Ok(view)
}

/// The words of the scale tables.
pub(super) fn read_tables(file: &SafeTensors) -> Result<Vec<u16>> {
    let view = file
        .tensor(TABLES)
        .map_err(|_| Error::Weights(format!("{TABLES} is missing")))?;
    if view.dtype() != Dtype::U16 {
        return Err(Error::Weights(format!(
            "{TABLES} is {:?}, expected U16",
            view.dtype()
        )));
    }
    Ok(view
        .data()
        .chunks_exact(2)
        .map(|b| u16::from_le_bytes([b[0], b[1]]))
        .collect())
}
