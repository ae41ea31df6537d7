//! The vectors of x86-64: AVX2 and AVX-512, with and without dot products.

use super::lanes::{IntegerLanes, MAX, PairSums, Sums};
use super::rows::{DepthwiseSums, Rows};
use crate::kernels::lanes::{Avx2, Avx512, Lanes};
use std::arch::asm;
use std::arch::x86_64::*;

/// Implements [`IntegerLanes`] for the lanes of one x86 register type.
///
/// `max(v, 0)` and `min(v, 1)` return their second operand for NaN, and
/// conversion to int32 gives the smallest one where it overflows, so that
/// saturation needs an upper bound alone.
macro_rules! lanes {
    ($name:ident, $set1:ident, $mul:ident, $min:ident, $max:ident,
     $loadu_integers:ident, $loadu_half:ident, $widen:ident, $to_real:ident, $to_integer:ident, $pack:ident,
     $storeu_integers:ident, $in_order:ident) => {
        impl IntegerLanes for $name {
            #[inline(always)]
            unsafe fn load_sums(from: *const i32) -> Self {
                // SAFETY: readable, and the CPU has the instructions (contract).
                Self(unsafe { $to_real($loadu_integers(from.cast())) })
            }

            #[inline(always)]
            unsafe fn load_integers(from: *const i16) -> Self {
                // SAFETY: as in `load_sums`.
                Self(unsafe { $to_real($widen($loadu_half(from.cast()))) })
            }

            #[inline(always)]
            unsafe fn store_integers(low: Self, high: Self, to: *mut i16) {
                // SAFETY: writable (contract); values exist, so the CPU has the
                // instructions.
                unsafe {
                    let most = $set1(MAX);
                    let low = $to_integer($min(low.0, most));
                    let high = $to_integer($min(high.0, most));
                    $storeu_integers(to.cast(), $in_order($pack(low, high)));
                }
            }

            #[inline(always)]
            unsafe fn store_interleaved(low: Self, high: Self, to: *mut i16) {
                // SAFETY: as in `store_integers`.
                unsafe {
                    let most = $set1(MAX);
                    let low = $to_integer($min(low.0, most));
                    let high = $to_integer($min(high.0, most));
                    $storeu_integers(to.cast(), $pack(low, high));
                }
            }

            #[inline(always)]
            fn times(self, factor: Self) -> Self {
                // SAFETY: a value exists, so the CPU has the instruction.
                Self(unsafe { $mul(self.0, factor.0) })
            }

            #[inline(always)]
            fn exact_times_plus(self, factor: Self, addend: Self) -> Self {
                self.fused(factor, addend)
            }

            #[inline(always)]
            fn gated(self, ramp: Self) -> Self {
                // SAFETY: as in `times`.
                unsafe {
                    let gate = $min($max(ramp.0, $set1(0.0)), $set1(1.0));
                    Self($mul(self.0, gate))
                }
            }
        }
    };
}

lanes!(
    Avx512,
    _mm512_set1_ps,
    _mm512_mul_ps,
    _mm512_min_ps,
    _mm512_max_ps,
    _mm512_loadu_si512,
    _mm256_loadu_si256,
    _mm512_cvtepi16_epi32,
    _mm512_cvtepi32_ps,
    _mm512_cvtps_epi32,
    _mm512_packs_epi32,
    _mm512_storeu_si512,
    in_order_512
);

lanes!(
    Avx2,
    _mm256_set1_ps,
    _mm256_mul_ps,
    _mm256_min_ps,
    _mm256_max_ps,
    _mm256_loadu_si256,
    _mm_loadu_si128,
    _mm256_cvtepi16_epi32,
    _mm256_cvtepi32_ps,
    _mm256_cvtps_epi32,
    _mm256_packs_epi32,
    _mm256_storeu_si256,
    in_order_256
);

/// Implements [`Sums`] for a newtype of one x86 register type: with `DOT`, pairs of products are added in one
/// instruction.
macro_rules! sums {
    ($name:ident, $register:ty, $count:literal, $doc:literal, $lanes:ident,
     $zero:ident, $loadu:ident, $storeu:ident, $set1:ident, $low:ident, $high:ident, $to_real:ident,
     $madd:ident, $add:ident, $dot_products:ident) => {
        #[doc = $doc]
        #[derive(Clone, Copy)]
        pub(super) struct $name<const DOT: bool>($register);

        impl<const DOT: bool> Sums for $name<DOT> {
            type Lanes = $lanes;
            type Factors = $register;
            const COUNT: usize = $count;
            const GROUP: usize = 2;

            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: the CPU has the instruction (contract).
                Self(unsafe { $zero() })
            }

            #[inline(always)]
            unsafe fn weights(from: *const i16) -> Self::Factors {
                // SAFETY: readable, and the CPU has the instruction (contract).
                unsafe { $loadu(from.cast()) }
            }

            #[inline(always)]
            unsafe fn inputs(from: *const i16) -> Self::Factors {
                // SAFETY: as in `weights`.
                unsafe { $set1(from.cast::<i32>().read_unaligned()) }
            }

            #[inline(always)]
            unsafe fn last_input(from: *const i16) -> Self::Factors {
                // SAFETY: as in `weights`.
                unsafe { $set1(i32::from(from.read().cast_unsigned())) }
            }

            #[inline(always)]
            fn plus_products(self, weights: Self::Factors, inputs: Self::Factors) -> Self {
                // SAFETY: a value exists, so the CPU has the instructions.
                Self(unsafe {
                    match DOT {
                        true => $dot_products(self.0, weights, inputs),
                        false => $add(self.0, $madd(weights, inputs)),
                    }
                })
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut i32) {
                // SAFETY: writable (contract); a value exists, so the CPU has
                // the instruction.
                unsafe { $storeu(to.cast(), self.0) }
            }
        }

        impl<const DOT: bool> DepthwiseSums for $name<DOT> {
            #[inline(always)]
            unsafe fn depthwise(rows: Rows<'_>) {
                // SAFETY: the same contract.
                unsafe { rows.compute::<Self>() }
            }
        }

        impl<const DOT: bool> PairSums for $name<DOT> {
            #[inline(always)]
            unsafe fn no_factors() -> Self::Factors {
                // SAFETY: the CPU has the instruction (contract).
                unsafe { $zero() }
            }

            #[inline(always)]
            fn values(self) -> $lanes {
                // SAFETY: as in `plus_products`.
                $lanes(unsafe { $to_real(self.0) })
            }

            #[inline(always)]
            unsafe fn interleaved(
                first: Self::Factors,
                second: Self::Factors,
            ) -> [Self::Factors; 2] {
                // SAFETY: the CPU has the instructions (contract).
                unsafe { [$low(first, second), $high(first, second)] }
            }
        }
    };
}

sums!(
    Sums512,
    __m512i,
    16,
    "One 512-bit register (AVX-512F and BW, with `DOT` VNNI).",
    Avx512,
    _mm512_setzero_si512,
    _mm512_loadu_si512,
    _mm512_storeu_si512,
    _mm512_set1_epi32,
    _mm512_unpacklo_epi16,
    _mm512_unpackhi_epi16,
    _mm512_cvtepi32_ps,
    _mm512_madd_epi16,
    _mm512_add_epi32,
    dot_products_512
);

sums!(
    Sums256,
    __m256i,
    8,
    "One 256-bit register (AVX2, with `DOT` AVX-VNNI).",
    Avx2,
    _mm256_setzero_si256,
    _mm256_loadu_si256,
    _mm256_storeu_si256,
    _mm256_set1_epi32,
    _mm256_unpacklo_epi16,
    _mm256_unpackhi_epi16,
    _mm256_cvtepi32_ps,
    _mm256_madd_epi16,
    _mm256_add_epi32,
    dot_products_256
);

/// Undoes the order in which `packs` takes the 64-bit parts of two vectors.
#[inline(always)]
unsafe fn in_order_512(packed: __m512i) -> __m512i {
    // SAFETY: the callers' vectors exist.
    unsafe { _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), packed) }
}

/// As [`in_order_512`].
#[inline(always)]
unsafe fn in_order_256(packed: __m256i) -> __m256i {
    // SAFETY: the callers' vectors exist.
    unsafe { _mm256_permute4x64_epi64::<0b11_01_10_00>(packed) }
}

/// The dot product in one instruction. The compiler would make two of the
/// intrinsic, for the sake of a latency that many sums at once hide.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn dot_products_512(mut sums: __m512i, weights: __m512i, inputs: __m512i) -> __m512i {
    // SAFETY: registers alone.
    unsafe {
        asm!(
            "vpdpwssd {sums}, {weights}, {inputs}",
            sums = inout(zmm_reg) sums,
            weights = in(zmm_reg) weights,
            inputs = in(zmm_reg) inputs,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// As [`dot_products_512`].
#[inline]
#[target_feature(enable = "avx2,avxvnni")]
fn dot_products_256(mut sums: __m256i, weights: __m256i, inputs: __m256i) -> __m256i {
    // SAFETY: registers alone.
    unsafe {
        asm!(
            "{{vex}} vpdpwssd {sums}, {weights}, {inputs}",
            sums = inout(ymm_reg) sums,
            weights = in(ymm_reg) weights,
            inputs = in(ymm_reg) inputs,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

impl Avx512 {
    /// Reads sums of which the high parts count 256.
    ///
    /// # Safety
    /// 16 sums are readable at each place, and the CPU has AVX-512F.
    #[inline(always)]
    pub(super) unsafe fn load_split_sums(high: *const i32, low: *const i32) -> Self {
        // SAFETY: the same contract.
        unsafe {
            let high = _mm512_slli_epi32::<8>(_mm512_loadu_si512(high.cast()));
            let sums = _mm512_add_epi32(high, _mm512_loadu_si512(low.cast()));
            Self(_mm512_cvtepi32_ps(sums))
        }
    }
}
