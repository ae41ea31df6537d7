//! Files that are written whole or not at all: beside their target, and renamed at the end.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use tempfile::NamedTempFile;

use crate::sync;

/// The temporary files being written.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// What the names of temporary files start and end with.
const PREFIX: &str = ".aec-";
const SUFFIX: &str = ".tmp";

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    sync::lock(&UNFINISHED)
}

/// Removes all temporary files of this process, which must end while it holds what is returned: no file can be
/// renamed into place before.
#[must_use]
pub(crate) fn discard_all() -> impl Sized {
    let paths = unfinished();
    for path in paths.iter() {
        let _ = std::fs::remove_file(path);
    }
    paths
}

/// Removes the temporary files that a killed run left in a folder of its own.
pub(crate) fn remove_left(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
            // It is only in the way.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The folder that holds `path`; `.` for a bare name.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Writes a file, in the place of what has its name.
///
/// # Errors
/// When it cannot be written; then nothing has changed.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut unfinished = UnfinishedFile::create(parent(path))?;
    unfinished.file().write_all(bytes)?;
    unfinished.persist(path, true)
}

/// A temporary file that becomes the target in one step, or disappears.
pub(crate) struct UnfinishedFile {
    temporary: Option<NamedTempFile>,
    /// Where it was made.
    path: PathBuf,
}

impl UnfinishedFile {
    /// Creates the file in `folder`.
    pub(crate) fn create(folder: &Path) -> io::Result<Self> {
        let mut registered = unfinished();
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).suffix(SUFFIX);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As for any new file: read and write for all, less the umask.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let temporary = builder.tempfile_in(folder).map_err(without_path)?;
        let path = temporary.path().to_path_buf();
        registered.push(path.clone());
        Ok(Self {
            temporary: Some(temporary),
            path,
        })
    }

    /// The open file.
    pub(crate) fn file(&mut self) -> &mut File {
        let temporary = self.temporary.as_mut();
        let temporary = temporary.expect("taken only by persist, which consumes self");
        temporary.as_file_mut()
    }

    /// Renames the file to `target`; without `overwrite` an existing target is an error.
    ///
    /// The content is on the disk before it takes the old one's place, and the new name is when this returns.
    pub(crate) fn persist(mut self, target: &Path, overwrite: bool) -> io::Result<()> {
        self.file().sync_all()?;
        let registered = unfinished();
        let Some(temporary) = self.temporary.take() else {
            return Ok(());
        };
        let result = if overwrite {
            temporary.persist(target)
        } else {
            temporary.persist_noclobber(target)
        };
        // Dropping `self` takes the lock again.
        drop(registered);
        result.map_err(|error| without_path(error.error))?;
        if cfg!(unix)
            && let Ok(folder) = File::open(parent(target))
        {
            // Some file systems refuse; the content is safe all the same.
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

/// The system's own error: the path of a temporary file tells nobody anything.
fn without_path(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(_) => error,
        // The path is in what the error wraps, from which the system's own does not come out.
        None => error.kind().into(),
    }
}

impl Drop for UnfinishedFile {
    fn drop(&mut self) {
        let mut registered = unfinished();
        // Removes the file if it was not renamed, while the handler has to wait.
        self.temporary = None;
        registered.retain(|path| *path != self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_do_not_name_temporary_files() {
        let folder = tempfile::tempdir().expect("there is room");
        let found = write(&folder.path().join("none/x.aec"), b"");
        let error = found.expect_err("there is no such folder");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(!error.to_string().contains(PREFIX), "{error}");
    }
}
