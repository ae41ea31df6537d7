//! A buffer of numbers that starts on a cache line, so that no vector load
//! crosses one.

use std::marker::PhantomData;

/// Bytes per cache line.
const LINE: usize = 64;

/// One cache line of bytes.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

/// Numbers that every pattern of bits is a valid value of, with an alignment of at most that of a line.
pub(crate) trait Number: Copy {}

impl Number for f32 {}
impl Number for i16 {}
impl Number for i8 {}

/// Numbers in memory aligned to 64 bytes; zero when made.
#[derive(Debug, Clone)]
pub(crate) struct AlignedBuffer<T: Number = f32> {
    lines: Vec<Line>,
    len: usize,
    numbers: PhantomData<T>,
}

impl<T: Number> Default for AlignedBuffer<T> {
    fn default() -> Self {
        Self::zeros(0)
    }
}

impl<T: Number> AlignedBuffer<T> {
    /// Numbers per cache line.
    const COUNT: usize = LINE / size_of::<T>();

    /// `len` zeros.
    pub(super) fn zeros(len: usize) -> Self {
        Self {
            lines: vec![Line([0; LINE]); len.div_ceil(Self::COUNT)],
            len,
            numbers: PhantomData,
        }
    }

    /// Changes the length; values beyond the old length are unspecified.
    pub(super) fn resize(&mut self, len: usize) {
        self.lines
            .resize(len.div_ceil(Self::COUNT), Line([0; LINE]));
        self.len = len;
    }

    /// The first `len` values, whatever they are, of a buffer that grows on demand.
    pub(crate) fn at_least(&mut self, len: usize) -> &mut [T] {
        if self.len < len {
            self.resize(len);
        }
        &mut self.values_mut()[..len]
    }

    /// The values.
    pub(super) fn values(&self) -> &[T] {
        // SAFETY: `Line` is `repr(C)` and exactly LINE bytes long, so `lines`
        // holds at least `len` numbers, for which any bits are valid; its
        // alignment is that of a line.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    /// The values, to write.
    pub(super) fn values_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `values`; the borrow of `self` is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

impl<T: Number> From<&[T]> for AlignedBuffer<T> {
    fn from(values: &[T]) -> Self {
        let mut buffer = Self::zeros(values.len());
        buffer.values_mut().copy_from_slice(values);
        buffer
    }
}
