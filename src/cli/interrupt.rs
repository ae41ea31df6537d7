//! Ctrl-C: the process ends with status 130 and leaves no unfinished file behind.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::NamedTempFile;

/// The temporary files being written.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Whether the work ends itself at the first request, having saved what it did.
static IS_GRACEFUL: AtomicBool = AtomicBool::new(false);
/// Set at the first request to end.
static STOP: AtomicBool = AtomicBool::new(false);

/// Exit status after Ctrl-C, as shells report it: 128 + SIGINT.
const STATUS: i32 = 130;

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Installs the handler for Ctrl-C and requests to terminate.
pub(super) fn install() {
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
        std::process::exit(STATUS);
    });
}

/// Makes the first Ctrl-C set the flag that is returned instead of ending the
/// process; a second one still ends it.
pub(super) fn stop_at_request() -> &'static AtomicBool {
    IS_GRACEFUL.store(true, Ordering::Relaxed);
    &STOP
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
        builder.prefix(".aec-").suffix(".tmp");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As for any new file: read and write for all, less the umask.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let temporary = builder.tempfile_in(folder)?;
        let path = temporary.path().to_path_buf();
        registered.push(path.clone());
        Ok(Self {
            temporary: Some(temporary),
            path,
        })
    }

    /// The open file.
    pub(super) fn file(&mut self) -> &mut NamedTempFile {
        self.temporary
            .as_mut()
            .expect("taken only by persist, which consumes self")
    }

    /// Renames the file to `target`; without `overwrite` an existing target is an error.
    pub(super) fn persist(mut self, target: &Path, overwrite: bool) -> io::Result<()> {
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
        result.map(drop).map_err(|error| error.error)
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
