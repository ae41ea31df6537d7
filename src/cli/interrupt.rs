//! Signals: at Ctrl-C the process ends with status 130 and leaves no unfinished file behind;
//! a file over the system's size limit is an error of the write.

use std::error::Error;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::NamedTempFile;

use super::messages::INTERRUPTED;

/// The temporary files being written.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Whether the work ends itself at the first request, having saved what it did.
static IS_GRACEFUL: AtomicBool = AtomicBool::new(false);
/// Set at the first request to end.
static STOP: AtomicBool = AtomicBool::new(false);

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Installs the handler for Ctrl-C and requests to terminate.
pub(super) fn install() {
    // With a handler, `write` reports what by default would kill the process.
    #[cfg(unix)]
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    // Without a handler the system's default action ends the process, which is good enough.
    let _ = ctrlc::set_handler(|| {
        if !STOP.swap(true, Ordering::Relaxed) && IS_GRACEFUL.load(Ordering::Relaxed) {
            return;
        }
        // The lock is never given back: no file can be renamed into place after this line.
        let paths = unfinished();
        for path in paths.iter() {
            let _ = std::fs::remove_file(path);
        }
        std::process::exit(INTERRUPTED);
    });
}

/// Makes the first Ctrl-C set the flag that is returned instead of ending the
/// process; a second one still ends it.
pub(super) fn stop_at_request() -> &'static AtomicBool {
    IS_GRACEFUL.store(true, Ordering::Relaxed);
    &STOP
}

/// What the names of temporary files start and end with.
const PREFIX: &str = ".aec-";
const SUFFIX: &str = ".tmp";

/// Removes the temporary files that a killed run left in a folder of its own.
pub(super) fn remove_unfinished(folder: &Path) {
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

/// A temporary file that becomes the target in one step, or disappears.
pub(super) struct UnfinishedFile {
    temporary: Option<NamedTempFile>,
    /// Where it was made.
    path: PathBuf,
}

impl UnfinishedFile {
    /// Creates the file in `folder`.
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
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
    pub(super) fn file(&mut self) -> &mut File {
        let temporary = self.temporary.as_mut();
        let temporary = temporary.expect("taken only by persist, which consumes self");
        temporary.as_file_mut()
    }

    /// Renames the file to `target`; without `overwrite` an existing target is an error.
    ///
    /// The content is on the disk before it takes the old one's place, and the new name is when this returns.
    pub(super) fn persist(mut self, target: &Path, overwrite: bool) -> io::Result<()> {
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
        sync_folder(target);
        Ok(())
    }
}

/// Brings a new name in the folder of `path` to the disk, where the file system can.
fn sync_folder(path: &Path) {
    if cfg!(unix)
        && let Some(folder) = path.parent()
        && let Ok(folder) = File::open(if folder == Path::new("") {
            Path::new(".")
        } else {
            folder
        })
    {
        // Some file systems refuse; the content is safe all the same.
        let _ = folder.sync_all();
    }
}

/// The system's own error: the path of a temporary file tells nobody anything.
fn without_path(error: io::Error) -> io::Error {
    let code = error
        .source()
        .and_then(|inner| inner.downcast_ref::<io::Error>())
        .and_then(io::Error::raw_os_error);
    code.map_or(error, io::Error::from_raw_os_error)
}

impl Drop for UnfinishedFile {
    fn drop(&mut self) {
        let mut registered = unfinished();
        // Removes the file if it was not renamed, while the handler has to wait.
        self.temporary = None;
        registered.retain(|path| *path != self.path);
    }
}
