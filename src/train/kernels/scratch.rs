//! Reused, cache-line aligned buffers.

use super::lanes::Bf16;
use crate::kernels::aligned::{AlignedBuffer, Number};

/// Memory for operands of products, or for other numbers.
pub(super) type Buffer<T = Bf16> = AlignedBuffer<T>;

impl Number for Bf16 {}

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
