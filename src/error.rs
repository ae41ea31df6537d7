//! The library's one error type.
//!
//! Flat on purpose: a caller can tell "need more bytes" (`Truncated`), "broken
//! file" (`Corrupt`), "newer than I am" (`UnsupportedVersion`, `UnknownModel`,
//! `Unsupported`) and "too large for the limits" (`LimitExceeded`) apart.
//! Messages are lower case, one line, and say what was found and wanted.

/// Everything that can go wrong in the library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes do not start with the `.aec` signature.
    #[error("not an aec file")]
    NotAec,
    /// The file's format version is newer than this decoder.
    #[error("format version {found} is not supported (this decoder reads {supported})")]
    UnsupportedVersion {
        /// Version in the file.
        found: u8,
        /// The newest version this decoder reads.
        supported: u8,
    },
    /// The file names a model that is not available here.
    #[error("model {0} is not installed")]
    UnknownModel(String),
    /// The file names another model than the one that was given to decode it with.
    #[error("the file was made with model {needed}, not with {given}")]
    WrongModel {
        /// The id of the model in the file.
        needed: String,
        /// The id of the model that was given.
        given: String,
    },
    /// The bytes end before the structure they describe does.
    #[error("file is truncated ({what} needs {needed} bytes, {left} left)")]
    Truncated {
        /// The structure being read.
        what: &'static str,
        /// Bytes it needs.
        needed: u64,
        /// Bytes that are left.
        left: u64,
    },
    /// The bytes contradict the specification or their own checksums.
    #[error("file is corrupt: {0}")]
    Corrupt(String),
    /// A size in the file or the input is over the caller's limits.
    #[error("{what} {found} is more than the limit of {limit}")]
    LimitExceeded {
        /// What was measured, e.g. `number of pixels`.
        what: &'static str,
        /// The value found.
        found: u64,
        /// The largest value allowed.
        limit: u64,
    },
    /// A valid request or file that this version does not handle.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// A weights file that is malformed or does not match its configuration.
    #[error("invalid weights: {0}")]
    Weights(String),
    /// An option outside its documented range.
    #[error("invalid option: {0}")]
    InvalidOption(String),
    /// No quality meets a target (see [`Encoder::max_bytes`](crate::Encoder::max_bytes)).
    #[error(
        "the target of {wanted} is out of reach: the closest is {closest}, at quality {quality}"
    )]
    TargetOutOfReach {
        /// The target, with its unit.
        wanted: String,
        /// The closest value that was found, with its unit.
        closest: String,
        /// The quality that gives it, 0 to 100.
        quality: f64,
    },
    /// A picture that cannot be read or written.
    #[error("invalid image: {0}")]
    Image(String),
    /// The caller's progress callback asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// The tensor backend failed (out of memory, device errors).
    #[error("computation failed: {0}")]
    Compute(String),
    /// Reading or writing bytes failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// `std::result::Result` with this crate's [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;
