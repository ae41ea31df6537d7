//! Which pictures a benchmark runs over.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::bail;

use super::super::options::{PICTURE_EXTENSIONS, PICTURES};
use super::super::{folder, text};
use super::codec::Source;
use crate::limits::Limits;
use crate::picture::io;

/// A picture by its path, read when its turn comes.
#[derive(Debug, Clone)]
pub(super) struct Input {
    /// Name in results: the file name, or the path when file names repeat.
    pub(super) name: String,
    path: PathBuf,
}

impl Input {
    /// Reads the picture.
    pub(super) fn read(&self, limits: &Limits) -> anyhow::Result<Source> {
        let bytes = fs::read(&self.path)?;
        Ok(Source::new(io::read(&bytes, limits)?)?)
    }
}

/// The pictures in the given files and folders (not their sub-folders), by name.
pub(super) fn collect(paths: &[PathBuf]) -> anyhow::Result<Vec<Input>> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            for picture in folder::files(path, 1, &PICTURE_EXTENSIONS) {
                found.push(picture?);
            }
        } else if path.exists() {
            found.push(path.clone());
        } else {
            bail!("there is no file or folder {}", text::quoted(path));
        }
    }
    found.sort();
    found.dedup();
    if found.is_empty() {
        let named: Vec<String> = paths.iter().map(|path| text::quoted(path)).collect();
        bail!("no {PICTURES} in {}", named.join(", "));
    }
    Ok(named(found))
}

/// Gives every picture a name of its own.
fn named(paths: Vec<PathBuf>) -> Vec<Input> {
    let file_name = |path: &Path| {
        let name = path.file_name().unwrap_or(path.as_os_str());
        clean(&name.to_string_lossy())
    };
    let mut uses: HashMap<String, u32> = HashMap::new();
    for path in &paths {
        *uses.entry(file_name(path)).or_default() += 1;
    }
    let input = |path: PathBuf| {
        let short = file_name(&path);
        let name = if uses.get(&short) == Some(&1) {
            short
        } else {
            clean(&path.to_string_lossy())
        };
        Input { name, path }
    };
    paths.into_iter().map(input).collect()
}

/// A name that cannot break a table.
fn clean(name: &str) -> String {
    name.replace(char::is_control, "_")
}
