//! Input and output named on the command line; the only place that knows `-`.
//!
//! Files are written beside their target and renamed at the end, so a failed run leaves the
//! old file as it was and nothing new.

use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::interrupt::UnfinishedFile;
use super::messages::Complaint;
use crate::bitstream::SIGNATURE;
use crate::error::{Error, Result};
use crate::image::io as pictures;
use crate::limits::Limits;

/// The argument that means stdin or stdout.
const STANDARD_STREAM: &str = "-";

/// Whether `path` is `-`.
#[must_use]
pub fn is_standard_stream(path: &Path) -> bool {
    path.as_os_str() == STANDARD_STREAM
}

/// How messages call an input: its path in quotes, or `stdin`.
#[must_use]
pub fn input_name(path: &Path) -> String {
    if is_standard_stream(path) {
        "stdin".into()
    } else {
        format!("'{}'", path.display())
    }
}

/// How messages call an output: its path in quotes, or `stdout`.
#[must_use]
pub fn output_name(path: &Path) -> String {
    if is_standard_stream(path) {
        "stdout".into()
    } else {
        format!("'{}'", path.display())
    }
}

/// `input → output`, for summary lines.
#[must_use]
pub fn route(input: &Path, output: &Path) -> String {
    let [input, output] = [input_name(input), output_name(output)];
    format!(
        "{} → {}",
        input.trim_matches('\''),
        output.trim_matches('\'')
    )
}

/// Reads a whole file, or stdin for `-`.
///
/// # Errors
/// When it cannot be read, is a folder, or is longer than any picture within `limits`.
pub fn read_input(path: &Path, limits: &Limits) -> anyhow::Result<Vec<u8>> {
    let read = || {
        if is_standard_stream(path) {
            let stdin = io::stdin().lock();
            if stdin.is_terminal() {
                return Err(Complaint::failure(
                    "refusing to read binary data from a terminal",
                    "use '-' with a pipe, or name a file",
                )
                .into());
            }
            return read_bounded(stdin, limits);
        }
        if path.is_dir() {
            anyhow::bail!("it is a folder");
        }
        read_bounded(fs::File::open(path)?, limits)
    };
    read().with_context(|| format!("cannot read {}", input_name(path)))
}

/// Bytes that are read before it is decided whether to read on.
const FIRST_BYTES: u64 = 1 << 16;

/// Reads a picture or an `.aec` file: the whole, but not more than the most wasteful picture format could need. Of
/// anything else it reads no more than the start, which is enough to say what it is not.
fn read_bounded(mut source: impl Read, limits: &Limits) -> anyhow::Result<Vec<u8>> {
    // A pixel of plain-text PPM with 16 bits: three numbers of five digits, three separators.
    const MOST_BYTES_PER_PIXEL: u64 = 18;
    let mut bytes = Vec::new();
    source.by_ref().take(FIRST_BYTES).read_to_end(&mut bytes)?;
    if !pictures::is_picture(&bytes) && !bytes.starts_with(&SIGNATURE) {
        return Ok(bytes);
    }
    // Most headers of pictures state the size within the first bytes.
    let pixels = match pictures::pixels(&bytes) {
        0 => limits.max_pixels,
        pixels => pixels.min(limits.max_pixels),
    };
    let limit = (pixels.saturating_mul(MOST_BYTES_PER_PIXEL))
        .saturating_add(limits.max_metadata_bytes.saturating_mul(4))
        .saturating_add(FIRST_BYTES);
    let more = limit.saturating_add(1) - bytes.len() as u64;
    source.take(more).read_to_end(&mut bytes)?;
    let found = bytes.len() as u64;
    if found > limit {
        let what = "number of input bytes allowed for that many pixels";
        return Err(Error::LimitExceeded { what, found, limit }.into());
    }
    Ok(bytes)
}

/// Gives `output` the modification time of `input` if `is_asked`, and both are files.
///
/// # Errors
/// When the time cannot be read or set.
pub fn keep_time(is_asked: bool, input: &Path, output: &Path) -> anyhow::Result<()> {
    let is_file = |path: &Path| !is_standard_stream(path) && path.is_file();
    if !is_asked || !is_file(input) || !is_file(output) {
        return Ok(());
    }
    let set = || {
        fs::File::options()
            .append(true)
            .open(output)?
            .set_modified(fs::metadata(input)?.modified()?)
    };
    set().with_context(|| format!("cannot keep the time of {}", input_name(input)))
}

/// A place to write one result to.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    target: Target,
    no_clobber: bool,
}

#[derive(Debug)]
enum Target {
    Stdout,
    /// A file that is replaced in one step: its real path, links resolved.
    File(PathBuf),
    /// A device or pipe, written directly.
    Special,
}

impl Output {
    /// Checks that `path` can be written to, before any work is done. Creates nothing.
    ///
    /// # Errors
    /// When it is a terminal, a folder, in a folder that does not exist, or exists already
    /// and `no_clobber` is set.
    pub fn prepare(path: &Path, no_clobber: bool) -> anyhow::Result<Self> {
        let target = Self::target(path, no_clobber)
            .with_context(|| format!("cannot write {}", output_name(path)))?;
        Ok(Self {
            path: path.to_path_buf(),
            target,
            no_clobber,
        })
    }

    fn target(path: &Path, no_clobber: bool) -> anyhow::Result<Target> {
        if is_standard_stream(path) {
            if io::stdout().is_terminal() {
                return Err(Complaint::failure(
                    "refusing to write binary data to a terminal",
                    "use '-' with a pipe, or name a file",
                )
                .into());
            }
            return Ok(Target::Stdout);
        }
        if let Ok(existing) = fs::metadata(path) {
            if existing.is_dir() {
                anyhow::bail!("it is a folder");
            }
            if no_clobber {
                return Err(exists());
            }
            if !existing.is_file() {
                return Ok(Target::Special);
            }
            return Ok(Target::File(fs::canonicalize(path)?));
        }
        let folder = parent(path);
        if !folder.is_dir() {
            anyhow::bail!("there is no folder '{}'", folder.display());
        }
        Ok(Target::File(path.to_path_buf()))
    }

    /// Writes the result: all of it, or nothing.
    ///
    /// # Errors
    /// When `fill` fails or the file cannot be written; then no file has changed.
    pub fn commit(self, fill: impl FnOnce(&mut dyn Write) -> Result<()>) -> anyhow::Result<()> {
        let write = || match &self.target {
            Target::Stdout => {
                let mut out = io::stdout().lock();
                fill(&mut out)?;
                Ok(out.flush()?)
            }
            Target::Special => {
                let mut out = fs::OpenOptions::new().write(true).open(&self.path)?;
                Ok(fill(&mut out)?)
            }
            Target::File(path) => replace(path, self.no_clobber, fill),
        };
        write().with_context(|| format!("cannot write {}", output_name(&self.path)))
    }
}

/// Fills a temporary file beside `path` and renames it.
fn replace(
    path: &Path,
    no_clobber: bool,
    fill: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> anyhow::Result<()> {
    let mut unfinished = UnfinishedFile::create(parent(path))?;
    let file = unfinished.file();
    if let Ok(existing) = fs::metadata(path) {
        fs::set_permissions(file.path(), existing.permissions())?;
    }
    fill(file)?;
    match unfinished.persist(path, !no_clobber) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(exists()),
        other => Ok(other?),
    }
}

fn exists() -> anyhow::Error {
    Complaint::failure("it exists already", "leave out --no-clobber to replace it").into()
}

/// The folder that holds `path`; `.` for a bare name.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}
