//! A vector register as a type: the few operations the kernels need.
//!
//! Every kernel body is written once against [`Lanes`] and compiled once per
//! instruction set by the dispatcher. Each operation is the IEEE-754
//! binary32 operation on every lane, so the number of lanes never shows in a
//! result.

/// A vector of `COUNT` binary32 lanes.
///
/// Making a value needs the instruction set of the type, so the constructors
/// are `unsafe`; a value that exists proves that the instructions do too, so
/// the rest is safe.
pub(super) trait Lanes: Copy {
    /// Number of lanes.
    const COUNT: usize;

    /// All lanes equal to `value`.
    ///
    /// # Safety
    /// The CPU must have the instruction set of `Self`.
    unsafe fn splat(value: f32) -> Self;

    /// Reads `COUNT` values from `from` (no alignment needed).
    ///
    /// # Safety
    /// As [`Lanes::splat`], and `from` must be readable for `COUNT` values.
    unsafe fn load(from: *const f32) -> Self;

    /// Writes `COUNT` values to `to` (no alignment needed).
    ///
    /// # Safety
    /// `to` must be writable for `COUNT` values.
    unsafe fn store(self, to: *mut f32);

    /// `self * factor + addend`, rounded once.
    fn fused(self, factor: Self, addend: Self) -> Self;

    /// `self + other`.
    fn plus(self, other: Self) -> Self;
}

/// Four lanes in plain Rust: the portable path, and on aarch64 (where fused
/// multiply-add is part of the base instruction set) the NEON path.
#[derive(Clone, Copy)]
pub(super) struct Plain4(pub(super) [f32; 4]);

impl Lanes for Plain4 {
    const COUNT: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: readable by the contract of `load`; arrays of f32 need the
        // alignment of f32 only.
        Self(unsafe { from.cast::<[f32; 4]>().read() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: writable by the contract of `store`.
        unsafe { to.cast::<[f32; 4]>().write(self.0) }
    }

    #[inline(always)]
    fn fused(mut self, factor: Self, addend: Self) -> Self {
        for lane in 0..4 {
            self.0[lane] = self.0[lane].mul_add(factor.0[lane], addend.0[lane]);
        }
        self
    }

    #[inline(always)]
    fn plus(mut self, other: Self) -> Self {
        for lane in 0..4 {
            self.0[lane] += other.0[lane];
        }
        self
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    /// Implements [`Lanes`] for a newtype of one x86 register type.
    macro_rules! x86_lanes {
        ($name:ident, $register:ty, $count:literal, $doc:literal,
         $set1:ident, $loadu:ident, $storeu:ident, $fmadd:ident, $add:ident) => {
            #[doc = $doc]
            #[derive(Clone, Copy)]
            pub(in crate::kernels) struct $name(pub(in crate::kernels) $register);

            impl Lanes for $name {
                const COUNT: usize = $count;

                #[inline(always)]
                unsafe fn splat(value: f32) -> Self {
                    // SAFETY: the CPU has the instruction (contract).
                    Self(unsafe { $set1(value) })
                }

                #[inline(always)]
                unsafe fn load(from: *const f32) -> Self {
                    // SAFETY: readable, and the CPU has the instruction (contract).
                    Self(unsafe { $loadu(from) })
                }

                #[inline(always)]
                unsafe fn store(self, to: *mut f32) {
                    // SAFETY: writable (contract); a value exists, so the
                    // CPU has the instruction.
                    unsafe { $storeu(to, self.0) }
                }

                #[inline(always)]
                fn fused(self, factor: Self, addend: Self) -> Self {
                    // SAFETY: a value exists, so the CPU has the instruction.
                    Self(unsafe { $fmadd(self.0, factor.0, addend.0) })
                }

                #[inline(always)]
                fn plus(self, other: Self) -> Self {
                    // SAFETY: a value exists, so the CPU has the instruction.
                    Self(unsafe { $add(self.0, other.0) })
                }
            }
        };
    }

    x86_lanes!(
        Avx512,
        __m512,
        16,
        "One 512-bit register (AVX-512F).",
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_fmadd_ps,
        _mm512_add_ps
    );
    x86_lanes!(
        Avx2,
        __m256,
        8,
        "One 256-bit register (AVX2 and FMA).",
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_fmadd_ps,
        _mm256_add_ps
    );
}
