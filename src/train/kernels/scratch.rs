//! Reused, cache-line aligned buffers.

use super::lanes::Bf16;
use crate::kernels::aligned::{Lines, Number};

/// Memory that grows on demand and is never given back. What a view holds at first is unspecified but initialized.
#[derive(Default)]
pub(super) struct Buffer(Lines);

impl Number for Bf16 {}

impl Buffer {
    /// The first `len` numbers as bf16.
    pub(super) fn bf16(&mut self, len: usize) -> &mut [Bf16] {
        self.0.at_least(len)
    }

    /// The first `len` numbers as binary32.
    pub(super) fn f32(&mut self, len: usize) -> &mut [f32] {
        self.0.at_least(len)
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
