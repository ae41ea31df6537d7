//! Outputs named on the command line: what they may replace, and writing them whole or not at all.
//!
//! Files are written beside their target and renamed at the end, so a failed run leaves the
//! old file as it was and nothing new. What is not a regular file is written into.

use std::fs::{self, Metadata};
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};

use super::messages::Complaint;
use super::stdio::{self, is_standard_stream, output_name};
use super::text;
use crate::atomic::{UnfinishedFile, parent};
use crate::error::Result;
use crate::format::SIGNATURE;
use crate::picture::io::is_own_png;

/// What the user wants done with files that exist.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct OverwriteOptions {
    /// Replace whatever OUTPUT is, but never an input
    ///
    /// Without it, only what this command wrote itself is replaced: 'encode' replaces .aec files, 'decode' the PNG
    /// files it made. Empty files are replaced too, read-only ones and dangling links not.
    #[arg(long, conflicts_with = "no_clobber", help_heading = "Resources")]
    pub overwrite: bool,

    /// Fail if OUTPUT exists; with --out-dir, skip the file
    #[arg(long, help_heading = "Resources")]
    pub no_clobber: bool,
}

impl OverwriteOptions {
    /// What may be done with an existing file by a command that writes files of this kind.
    pub fn existing(self, kind: Kind) -> Existing {
        match self {
            Self {
                overwrite: true, ..
            } => Existing::Replace,
            Self {
                no_clobber: true, ..
            } => Existing::Keep,
            Self { .. } => Existing::ReplaceOwn(kind),
        }
    }
}

/// What a command writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `.aec` files.
    Encoded,
    /// Pictures.
    Picture,
    /// Arrays and models, of which none says who wrote it.
    Data,
}

impl Kind {
    /// Bytes of a file that tell whether it is of this kind.
    const START: u64 = 128;

    /// Whether a file that starts with these bytes was written by the command.
    fn is_own(self, start: &[u8]) -> bool {
        match self {
            Self::Encoded => start.starts_with(&SIGNATURE),
            Self::Picture => is_own_png(start),
            Self::Data => false,
        }
    }

    fn foreign(self) -> &'static str {
        match self {
            Self::Encoded => "it exists and is not an .aec file",
            Self::Picture => "it exists and is not a PNG that 'aec decode' wrote",
            Self::Data => "it exists already",
        }
    }
}

/// What may be done with a file that stands where an output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Nothing: the output fails.
    Keep,
    /// It is replaced if it is empty or the command wrote it.
    ReplaceOwn(Kind),
    /// It is replaced.
    Replace,
}

/// A place to write one result to.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    target: Target,
    existing: Existing,
    /// The time of its last change, where that is not the time of writing.
    modified: Option<SystemTime>,
}

#[derive(Debug)]
enum Target {
    Stdout,
    /// A file that is replaced in one step: its real path, links resolved.
    File(PathBuf),
    /// A device, a pipe or an open file of a process, written into.
    Special,
}

impl Output {
    /// Checks that `path` can be written to, before any work is done. Creates nothing.
    ///
    /// # Errors
    /// When it is a terminal, a folder, in a folder that does not exist, or exists already
    /// and may not be replaced.
    pub fn prepare(path: &Path, existing: Existing) -> anyhow::Result<Self> {
        let target = Self::target(path, existing)
            .with_context(|| format!("cannot write {}", output_name(path)))?;
        Ok(Self {
            path: path.to_path_buf(),
            target,
            existing,
            modified: None,
        })
    }

    fn target(path: &Path, existing: Existing) -> anyhow::Result<Target> {
        let descriptor = descriptor(path);
        if is_standard_stream(path) || descriptor.as_deref().is_some_and(is_own_stdout) {
            if stdio::stdout()?.is_terminal() {
                let message = "refusing to write binary data to a terminal";
                bail!(Complaint::failure(message, stdio::PIPE_OR_FILE));
            }
            return Ok(Target::Stdout);
        }
        if descriptor.is_some() {
            return Ok(Target::Special);
        }
        let Some(found) = find(path)? else {
            check_new(path)?;
            return Ok(Target::File(path.to_path_buf()));
        };
        if found.is_dir() {
            bail!("it is a folder");
        }
        if found.is_file() || existing == Existing::Keep {
            check_replaceable(path, &found, existing)?;
            // A dangling link is itself replaced.
            let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
            check_writable(parent(&real))?;
            return Ok(Target::File(real));
        }
        if found.is_symlink() {
            check_dangling(path, existing)?;
            check_writable(parent(path))?;
            return Ok(Target::File(path.to_path_buf()));
        }
        Ok(Target::Special)
    }

    /// Refuses an output that is the input: the same file, by whatever name or link.
    ///
    /// # Errors
    /// When it is.
    pub fn refuse_input(self, input: &Path) -> anyhow::Result<Self> {
        if let Target::File(path) = &self.target
            && !is_standard_stream(input)
            && identity(path).is_some_and(|file| identity(input) == Some(file))
        {
            let (name, input) = (output_name(&self.path), text::quoted(input));
            let message = format!("cannot write {name}: it is the input {input}");
            bail!(Complaint::failure(message, "name another file"));
        }
        Ok(self)
    }

    /// Gives the file the modification time of `input` if `is_asked`, and both are files.
    ///
    /// # Errors
    /// When the time cannot be read.
    pub fn with_time_of(mut self, input: &Path, is_asked: bool) -> anyhow::Result<Self> {
        if is_asked && !is_standard_stream(input) && input.is_file() {
            let modified = fs::metadata(input).and_then(|found| found.modified());
            let context = || format!("cannot read the time of {}", stdio::input_name(input));
            self.modified = Some(modified.with_context(context)?);
        }
        Ok(self)
    }

    /// Writes the result: all of it, or nothing.
    ///
    /// # Errors
    /// When `fill` fails or the file cannot be written; then no file has changed.
    pub fn commit(self, fill: impl FnOnce(&mut dyn Write) -> Result<()>) -> anyhow::Result<()> {
        let write = || match &self.target {
            Target::Stdout => {
                let mut out = stdio::stdout()?;
                fill(&mut out)?;
                Ok(out.flush()?)
            }
            Target::Special => {
                // Behind what others wrote to the same open file.
                let mut out = fs::OpenOptions::new().append(true).open(&self.path)?;
                Ok(fill(&mut out)?)
            }
            Target::File(path) => replace(path, &self, fill),
        };
        write().with_context(|| format!("cannot write {}", output_name(&self.path)))
    }
}

/// Writes a file in the place of what has its name, if anything has.
///
/// # Errors
/// As [`Output::prepare`] and [`Output::commit`].
pub fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    Output::prepare(path, Existing::Replace)?.commit(|out| Ok(out.write_all(bytes)?))
}

/// Checks that a file at `path`, if there is one, may be replaced.
///
/// # Errors
/// When it may not.
pub fn check_existing(path: &Path, existing: Existing) -> anyhow::Result<()> {
    let check = || match find(path)? {
        Some(found) if found.is_symlink() => check_dangling(path, existing),
        Some(found) if found.is_file() => check_replaceable(path, &found, existing),
        None if parent(path).is_dir() => check_new(path),
        Some(_) | None => Ok(()),
    };
    check().with_context(|| format!("cannot write {}", output_name(path)))
}

/// What can be done where a run is not to be replaced.
pub const RESUME_OR_OVERWRITE: &str =
    "go on with it by --resume, name another folder, or replace it with --overwrite";

/// Refuses a folder that holds any of these files, left by an earlier run.
///
/// # Errors
/// When it does.
pub fn check_folder(
    folder: &Path,
    files: &[&str],
    what: &str,
    hint: &'static str,
) -> anyhow::Result<()> {
    let holds = |name: &&&str| fs::symlink_metadata(folder.join(name)).is_ok();
    let Some(name) = files.iter().find(holds) else {
        return Ok(());
    };
    let folder = text::quoted(folder);
    let message = format!("the folder {folder} holds {what} already: {name}");
    Err(Complaint::failure(message, hint).into())
}

/// What stands at `path`, links followed; of a dangling link, the link.
fn find(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::metadata(path).or_else(|_| fs::symlink_metadata(path)) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn check_replaceable(path: &Path, found: &Metadata, existing: Existing) -> anyhow::Result<()> {
    let kind = match existing {
        Existing::Keep => return Err(exists()),
        Existing::Replace => return Ok(()),
        Existing::ReplaceOwn(kind) => kind,
    };
    if found.permissions().readonly() {
        return Err(refusal("it is read-only"));
    }
    // Asks for the permission that replacing it by name would not need, and changes nothing.
    let file = fs::OpenOptions::new().read(true).append(true).open(path)?;
    let mut start = Vec::new();
    file.take(Kind::START).read_to_end(&mut start)?;
    if start.is_empty() || kind.is_own(&start) {
        return Ok(());
    }
    Err(refusal(kind.foreign()))
}

/// Checks that a file can be made at `path`, where there is none.
fn check_new(path: &Path) -> anyhow::Result<()> {
    if path.as_os_str().is_empty() {
        bail!("it has no name");
    }
    let folder = parent(path);
    if !folder.is_dir() {
        bail!("there is no folder {}", text::quoted(folder));
    }
    let last = path.as_os_str().as_encoded_bytes().last();
    if last.is_some_and(|&last| std::path::is_separator(last.into())) {
        bail!("it has the name of a folder");
    }
    check_writable(folder)
}

/// Checks that files can be made in a folder, which is found out before any work is done.
fn check_writable(folder: &Path) -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        use rustix::fs::{Access, AtFlags, CWD, accessat};
        let asked = Access::WRITE_OK | Access::EXEC_OK;
        accessat(CWD, folder, asked, AtFlags::EACCESS)
            .map_err(io::Error::from)
            .with_context(|| format!("the folder {}", text::quoted(folder)))?;
    }
    Ok(())
}

fn check_dangling(path: &Path, existing: Existing) -> anyhow::Result<()> {
    match existing {
        Existing::Keep => Err(exists()),
        Existing::Replace => Ok(()),
        Existing::ReplaceOwn(_) => {
            let to = text::quoted(&fs::read_link(path).unwrap_or_default());
            Err(refusal(format!(
                "it is a link to {to}, which does not exist"
            )))
        }
    }
}

fn refusal(message: impl Into<String>) -> anyhow::Error {
    Complaint::failure(message, "name another file, or replace it with --overwrite").into()
}

fn exists() -> anyhow::Error {
    Complaint::failure("it exists already", "leave out --no-clobber to replace it").into()
}

/// Fills a temporary file beside `path` and renames it.
fn replace(
    path: &Path,
    output: &Output,
    fill: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> anyhow::Result<()> {
    let mut unfinished = UnfinishedFile::create(parent(path))?;
    let file = unfinished.file();
    if let Ok(found) = fs::metadata(path) {
        file.set_permissions(found.permissions())?;
    }
    fill(file)?;
    if let Some(modified) = output.modified {
        file.set_modified(modified)?;
    }
    let existing = output.existing;
    // Another program may have written it meanwhile.
    if let (Existing::ReplaceOwn(_), Ok(found)) = (existing, fs::metadata(path)) {
        check_replaceable(path, &found, existing)?;
    }
    match unfinished.persist(path, existing != Existing::Keep) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(exists()),
        other => Ok(other?),
    }
}

/// What tells a file from all others, whatever it is called; `None` if there is none.
#[cfg(unix)]
pub fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

/// What tells a file from all others; `None` if there is none.
#[cfg(not(unix))]
pub fn identity(path: &Path) -> Option<PathBuf> {
    fs::canonicalize(path).ok()
}

/// The descriptor that `path` names, as `/dev/stdout` and `/dev/fd/3` do, by way of links or not.
///
/// The file it is open on must be written into: whoever opened it goes on with that one.
fn descriptor(path: &Path) -> Option<PathBuf> {
    const MOST_LINKS: usize = 40;
    let mut path = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        let folder = fs::canonicalize(parent(&path)).ok()?;
        if folder == Path::new("/dev/fd") || (folder.starts_with("/proc") && folder.ends_with("fd"))
        {
            return Some(folder.join(path.file_name()?));
        }
        path = folder.join(fs::read_link(&path).ok()?);
    }
    None
}

fn is_own_stdout(descriptor: &Path) -> bool {
    ["/proc/self/fd", "/dev/fd"]
        .iter()
        .filter_map(|folder| fs::canonicalize(folder).ok())
        .any(|folder| folder.join("1") == descriptor)
}
