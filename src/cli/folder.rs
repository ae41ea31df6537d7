//! Files in folders that are named on the command line.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::text;

/// The files with one of these lower-case extensions in a folder, and in its sub-folders down to a depth (1: in the
/// folder alone), by path. Hidden ones are left out, and links to folders are not followed: one to a parent would
/// never end.
///
/// A folder that cannot be read is an error among the files, and so is a file that cannot be looked at.
pub(super) fn files<'a>(
    root: &'a Path,
    depth: usize,
    extensions: &'a [&str],
) -> impl Iterator<Item = anyhow::Result<PathBuf>> + 'a {
    let is_hidden = |entry: &DirEntry| entry.file_name().as_encoded_bytes().starts_with(b".");
    let walk = WalkDir::new(root).max_depth(depth).sort_by_file_name();
    let entries = walk
        .into_iter()
        .filter_entry(move |entry| entry.depth() == 0 || !is_hidden(entry));
    entries.filter_map(move |entry| match entry {
        Ok(entry) => {
            let path = entry.into_path();
            if !has_extension(&path, extensions) {
                return None;
            }
            match fs::metadata(&path) {
                Ok(found) => found.is_file().then_some(Ok(path)),
                // A link that leads nowhere is no file.
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    Some(Err(
                        error.context(format!("cannot read {}", text::quoted(&path)))
                    ))
                }
            }
        }
        Err(error) => {
            let folder = text::quoted(error.path().unwrap_or(root));
            // Of links that are not followed there is no loop, which would be no error of the system's.
            let error = anyhow::Error::from(error.into_io_error()?);
            Some(Err(error.context(format!("cannot read folder {folder}"))))
        }
    })
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    extensions.contains(&extension.to_lowercase().as_str())
}
