//! Reused, cache-line aligned buffers.

use super::lanes::Bf16;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Memory that grows on demand and is never given back. What a view holds at first is unspecified but initialized.
#[derive(Default)]
pub(super) struct Buffer(Vec<Line>);

impl Buffer {
    fn lines(&mut self, bytes: usize) -> *mut Line {
        let lines = bytes.div_ceil(size_of::<Line>());
        if self.0.len() < lines {
            self.0.resize(lines, Line([0; 64]));
        }
        self.0.as_mut_ptr()
    }

    /// The first `len` numbers as bf16.
    pub(super) fn bf16(&mut self, len: usize) -> &mut [Bf16] {
        let start = self.lines(len * size_of::<Bf16>()).cast();
        // SAFETY: the lines hold that many bytes, all initialized, and every bit pattern is a number.
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    }

    /// The first `len` numbers as binary32.
    pub(super) fn f32(&mut self, len: usize) -> &mut [f32] {
        let start = self.lines(len * size_of::<f32>()).cast();
        // SAFETY: the lines hold that many bytes, all initialized, and every bit pattern is a number.
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    }
}

/// `len` numbers that are yet to be written: what they are is unspecified.
pub fn unwritten(len: usize) -> Vec<f32> {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        let mut values: Vec<f32> = Vec::with_capacity(len);
        // SAFETY: the capacity is `len`, and every bit pattern is a number. The memory counts as initialized: the
        // assembly, which the compiler must believe to write it, stands for a write of the bytes that are there.
        unsafe {
            std::arch::asm!("/* {0} */", in(reg) values.as_mut_ptr(), options(nostack, preserves_flags));
            values.set_len(len);
        }
        values
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    vec![0.0; len]
}

/// Runs `work` with this thread's instance of `T`, kept from call to call. Nested calls get a fresh one.
pub(super) fn with_kept<T: Default, R>(
    slot: &'static std::thread::LocalKey<std::cell::Cell<T>>,
    work: impl FnOnce(&mut T) -> R,
) -> R {
    let mut kept = slot.take();
    let result = work(&mut kept);
    slot.set(kept);
    result
}
