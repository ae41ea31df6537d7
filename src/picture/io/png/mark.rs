//! The mark by which a PNG of ours is told from any other: a text chunk right behind its header.

use std::io::{self, Write};

/// Bytes before the first place where a chunk may be inserted: signature and `IHDR`.
const HEADER_BYTES: usize = 8 + 25;

/// A `tEXt` chunk "Software: aec".
const SOFTWARE: &[u8] = b"\0\0\0\x0ctEXtSoftware\0aec\x90\xb8\x3b\x50";

/// The content of that chunk.
pub(super) const SOFTWARE_TEXT: &[u8] = b"Software\0aec";

/// Whether a file that starts with these bytes (128 are enough) is a PNG that [`write`](crate::picture::io::write())
/// wrote: it says so.
pub fn is_own(start: &[u8]) -> bool {
    start
        .get(HEADER_BYTES..)
        .is_some_and(|rest| rest.starts_with(SOFTWARE))
}

/// A writer that marks the PNG passing through, and keeps the first failure, which the encoder
/// would report as text.
pub(super) struct Marking<W> {
    inner: W,
    header_left: usize,
    /// Why writing failed, if it did.
    pub failure: Option<io::Error>,
}

impl<W: Write> Marking<W> {
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            header_left: HEADER_BYTES,
            failure: None,
        }
    }

    fn pass(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.header_left == 0 {
            return self.inner.write(bytes);
        }
        let part = bytes.len().min(self.header_left);
        let written = self.inner.write(&bytes[..part])?;
        self.header_left -= written;
        if self.header_left == 0 {
            self.inner.write_all(SOFTWARE)?;
        }
        Ok(written)
    }

    fn keep_failure<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let kind = error.kind();
            self.failure.get_or_insert(error);
            kind.into()
        })
    }
}

impl<W: Write> Write for Marking<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let passed = self.pass(bytes);
        self.keep_failure(passed)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.inner.flush();
        self.keep_failure(flushed)
    }
}
