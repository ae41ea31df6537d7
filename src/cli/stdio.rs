//! Inputs named on the command line, and how inputs and outputs are called; the only place that
//! knows `-`.

use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use anyhow::{Context, bail};

use super::messages::Complaint;
use super::text;
use crate::bitstream::{Header, Reader};
use crate::error::Error;
use crate::format::SIGNATURE;
use crate::limits::Limits;
use crate::picture::io as pictures;

/// The argument that means stdin or stdout.
const STANDARD_STREAM: &str = "-";

/// What can be done where data would come from a terminal, or go to one.
pub const PIPE_OR_FILE: &str = "use '-' with a pipe, or name a file";

/// Whether the process was started without a stdout. The standard library opens `/dev/null` in the place of a closed
/// stream, where all would be lost without an error; so this is asked before it does.
#[cfg(unix)]
#[ctor::ctor(unsafe)]
static IS_STDOUT_CLOSED: bool = rustix::io::fcntl_getfd(io::stdout()).is_err();

/// The standard output.
///
/// # Errors
/// When the process was started without one.
pub fn stdout() -> anyhow::Result<io::StdoutLock<'static>> {
    #[cfg(unix)]
    if *IS_STDOUT_CLOSED {
        bail!("stdout is closed");
    }
    Ok(io::stdout().lock())
}

/// Whether `path` is `-`.
pub fn is_standard_stream(path: &Path) -> bool {
    path.as_os_str() == STANDARD_STREAM
}

/// How messages call an input: its path in quotes, or `stdin`.
pub fn input_name(path: &Path) -> String {
    name(path, "stdin")
}

/// How messages call an output: its path in quotes, or `stdout`.
pub fn output_name(path: &Path) -> String {
    name(path, "stdout")
}

fn name(path: &Path, stream: &str) -> String {
    if is_standard_stream(path) {
        stream.into()
    } else {
        text::quoted(path)
    }
}

/// How results call an input: its path, or `stdin`.
pub fn plain_name(path: &Path) -> String {
    plain(path, "stdin")
}

/// `input → output`, for summary lines.
pub fn route(input: &Path, output: &Path) -> String {
    format!("{} → {}", plain(input, "stdin"), plain(output, "stdout"))
}

fn plain(path: &Path, stream: &str) -> String {
    if is_standard_stream(path) {
        stream.into()
    } else {
        text::printable(&path.to_string_lossy())
    }
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
                let message = "refusing to read binary data from a terminal";
                bail!(Complaint::failure(message, PIPE_OR_FILE));
            }
            return read_bounded(stdin, 0, limits);
        }
        if path.is_dir() {
            bail!("it is a folder");
        }
        let file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        read_bounded(file, length, limits)
    };
    read().with_context(|| format!("cannot read {}", input_name(path)))
}

/// Bytes that are read before it is decided whether to read on.
const FIRST_BYTES: u64 = 1 << 16;

/// Reads a picture or an `.aec` file: the whole, but not more than the most wasteful picture format could need. Of
/// anything else it reads no more than the start, which is enough to say what it is not. `expected` is how long it
/// says that it is, or 0.
fn read_bounded(mut source: impl Read, expected: u64, limits: &Limits) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.by_ref().take(FIRST_BYTES).read_to_end(&mut bytes)?;
    let is_encoded = bytes.starts_with(&SIGNATURE);
    if !pictures::is_picture(&bytes) && !is_encoded {
        return Ok(bytes);
    }
    // Most headers of pictures state the size within the first bytes.
    let (width, height) = if is_encoded {
        coded_size(&bytes)
    } else {
        pictures::size(&bytes)
    };
    let pixels = match u64::from(width) * u64::from(height) {
        0 => limits.max_pixels,
        pixels => pixels.min(limits.max_pixels),
    };
    let limit = limits.most_file_bytes(pixels);
    let more = limit.saturating_add(1).saturating_sub(bytes.len() as u64);
    // Memory that grows while it is filled would be copied again and again. Where there is not enough, reading says so.
    let rest = more.min(expected.saturating_sub(bytes.len() as u64));
    let _ = bytes.try_reserve_exact(rest as usize);
    source.take(more).read_to_end(&mut bytes)?;
    let found = bytes.len() as u64;
    if found > limit {
        let what = "number of bytes in a file of this picture";
        return Err(Error::LimitExceeded { what, found, limit }.into());
    }
    Ok(bytes)
}

/// Width and height, padding included, that the header of the `.aec` file `bytes` announces; 0 both when it cannot be
/// told.
pub fn coded_size(bytes: &[u8]) -> (u32, u32) {
    Header::read(&mut Reader::new(bytes)).map_or((0, 0), |header| {
        let grid = header.tile_grid();
        (grid.width, grid.height)
    })
}
