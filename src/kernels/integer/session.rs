//! The choice among the units: the one of a kernel path, ready on a thread.

#[cfg(target_arch = "aarch64")]
use super::neon::Sums128;
use super::plain::PlainUnit;
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
use super::registers::Registers;
#[cfg(target_arch = "x86_64")]
use super::tiles::Tiles;
use super::unit::Kernel;
#[cfg(target_arch = "x86_64")]
use super::x86::{Sums256, Sums512};
#[cfg(target_arch = "x86_64")]
use crate::kernels::amx;
use crate::kernels::dispatch::KernelPath;
use std::marker::PhantomData;

/// The time in which a thread computes sums: its unit is ready from
/// [`Session::begin`] on until the session is dropped.
pub(super) struct Session {
    path: KernelPath,
    /// What is ready belongs to one thread.
    thread: PhantomData<*const ()>,
}

impl Session {
    /// Makes the unit of a path ready on this thread; that of the portable
    /// path when this CPU lacks `path`. Sessions of a thread must not overlap.
    pub(super) fn begin(path: KernelPath) -> Self {
        let path = match path.is_available() {
            true => path,
            false => KernelPath::Portable,
        };
        #[cfg(target_arch = "x86_64")]
        if path == KernelPath::Amx {
            // SAFETY: tiles are available.
            unsafe { amx::configure() }
        }
        Self {
            path,
            thread: PhantomData,
        }
    }

    /// Runs `kernel` on the unit.
    pub(super) fn run<K: Kernel>(&self, kernel: K) -> K::Output {
        // SAFETY: `begin` found that the CPU has the instruction set of the
        // path, and made its unit ready; plain Rust needs neither.
        unsafe {
            match self.path {
                #[cfg(target_arch = "x86_64")]
                KernelPath::Amx => run_amx(kernel),
                #[cfg(target_arch = "x86_64")]
                KernelPath::Avx512Vnni => run_avx512_vnni(kernel),
                #[cfg(target_arch = "x86_64")]
                KernelPath::Avx512 => run_avx512(kernel),
                #[cfg(target_arch = "x86_64")]
                KernelPath::AvxVnni => run_avx_vnni(kernel),
                #[cfg(target_arch = "x86_64")]
                KernelPath::Avx2 => run_avx2(kernel),
                // 24 of 32 registers.
                #[cfg(target_arch = "aarch64")]
                KernelPath::Neon => kernel.run::<Registers<Sums128, 6, 4>>(),
                _ => kernel.run::<PlainUnit>(),
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        if self.path == KernelPath::Amx {
            // SAFETY: tiles are available.
            unsafe { amx::release() }
        }
    }
}

/// Defines a function that runs a kernel on a unit, compiled for its instructions.
#[cfg(target_arch = "x86_64")]
macro_rules! run_on {
    ($name:ident, $features:literal, $unit:ty) => {
        /// # Safety
        /// As [`Kernel::run`].
        #[target_feature(enable = $features)]
        unsafe fn $name<K: Kernel>(kernel: K) -> K::Output {
            // SAFETY: the same contract.
            unsafe { kernel.run::<$unit>() }
        }
    };
}

// The sums of AVX-512 are in 24 of 32 registers, those of AVX2 in 12 of 16.
#[cfg(target_arch = "x86_64")]
run_on!(run_amx, "avx512f,avx512bw,avx512vnni,avx512vbmi", Tiles);
#[cfg(target_arch = "x86_64")]
run_on!(
    run_avx512_vnni,
    "avx512f,avx512bw,avx512vnni",
    Registers<Sums512<true>, 12, 2>
);
#[cfg(target_arch = "x86_64")]
run_on!(
    run_avx512,
    "avx512f,avx512bw",
    Registers<Sums512<false>, 12, 2>
);
#[cfg(target_arch = "x86_64")]
run_on!(
    run_avx_vnni,
    "avx2,fma,avxvnni",
    Registers<Sums256<true>, 6, 2>
);
#[cfg(target_arch = "x86_64")]
run_on!(run_avx2, "avx2,fma", Registers<Sums256<false>, 6, 2>);
