//! A buffer of values that starts on a cache line, so that no vector load
//! crosses one.

/// Values per cache line.
const LINE: usize = 16;

/// One cache line of values.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Values in memory aligned to 64 bytes; zero when made.
#[derive(Debug, Clone, Default)]
pub(super) struct AlignedBuffer {
    lines: Vec<Line>,
    len: usize,
}

impl AlignedBuffer {
    /// `len` zeros.
    pub(super) fn zeros(len: usize) -> Self {
        let lines = vec![Line([0.0; LINE]); len.div_ceil(LINE)];
        Self { lines, len }
    }

    /// Changes the length; values beyond the old length are unspecified.
    pub(super) fn resize(&mut self, len: usize) {
        self.lines.resize(len.div_ceil(LINE), Line([0.0; LINE]));
        self.len = len;
    }

    /// The values.
    pub(super) fn values(&self) -> &[f32] {
        // SAFETY: `Line` is `repr(C)` and exactly LINE values long (64 bytes),
        // so `lines` is an array of at least `len` values.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    /// The values, to write.
    pub(super) fn values_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `values`; the borrow of `self` is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

impl From<&[f32]> for AlignedBuffer {
    fn from(values: &[f32]) -> Self {
        let mut buffer = Self::zeros(values.len());
        buffer.values_mut().copy_from_slice(values);
        buffer
    }
}
