//! The vectors of aarch64, which every processor of it has.

use super::lanes::{IntegerLanes, MAX, Sums};
use super::rows::{DepthwiseSums, Rows};
use crate::kernels::lanes::Lanes;
use std::arch::aarch64::*;

/// One 128-bit register.
#[derive(Clone, Copy)]
pub(super) struct Real128(float32x4_t);

impl Lanes for Real128 {
    const COUNT: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: a base instruction.
        Self(unsafe { vdupq_n_f32(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: readable (contract).
        Self(unsafe { vld1q_f32(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: writable (contract).
        unsafe { vst1q_f32(to, self.0) }
    }

    #[inline(always)]
    fn fused(self, factor: Self, addend: Self) -> Self {
        // SAFETY: a base instruction.
        Self(unsafe { vfmaq_f32(addend.0, self.0, factor.0) })
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: a base instruction.
        Self(unsafe { vaddq_f32(self.0, other.0) })
    }
}

impl IntegerLanes for Real128 {
    #[inline(always)]
    unsafe fn load_sums(from: *const i32) -> Self {
        // SAFETY: readable (contract).
        Self(unsafe { vcvtq_f32_s32(vld1q_s32(from)) })
    }

    #[inline(always)]
    unsafe fn load_integers(from: *const i16) -> Self {
        // SAFETY: readable (contract).
        Self(unsafe { vcvtq_f32_s32(vmovl_s16(vld1_s16(from))) })
    }

    #[inline(always)]
    unsafe fn store_integers(low: Self, high: Self, to: *mut i16) {
        // SAFETY: writable (contract). The comparison takes the bound for NaN,
        // as elsewhere; conversion and narrowing saturate.
        unsafe {
            let most = vdupq_n_f32(MAX);
            let low = vbslq_f32(vcltq_f32(low.0, most), low.0, most);
            let high = vbslq_f32(vcltq_f32(high.0, most), high.0, most);
            let (low, high) = (vcvtnq_s32_f32(low), vcvtnq_s32_f32(high));
            vst1q_s16(to, vcombine_s16(vqmovn_s32(low), vqmovn_s32(high)));
        }
    }

    #[inline(always)]
    fn times(self, factor: Self) -> Self {
        // SAFETY: a base instruction.
        Self(unsafe { vmulq_f32(self.0, factor.0) })
    }

    #[inline(always)]
    fn exact_times_plus(self, factor: Self, addend: Self) -> Self {
        self.fused(factor, addend)
    }

    #[inline(always)]
    fn gated(self, ramp: Self) -> Self {
        // SAFETY: base instructions.
        unsafe {
            let gate = vminq_f32(vmaxq_f32(ramp.0, vdupq_n_f32(0.0)), vdupq_n_f32(1.0));
            Self(vmulq_f32(self.0, gate))
        }
    }
}

/// One 128-bit register.
#[derive(Clone, Copy)]
pub(super) struct Sums128(int32x4_t);

impl Sums for Sums128 {
    type Lanes = Real128;
    type Factors = int16x4_t;
    const COUNT: usize = 4;
    const GROUP: usize = 1;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: a base instruction.
        Self(unsafe { vdupq_n_s32(0) })
    }

    #[inline(always)]
    unsafe fn weights(from: *const i16) -> Self::Factors {
        // SAFETY: readable (contract).
        unsafe { vld1_s16(from) }
    }

    #[inline(always)]
    unsafe fn inputs(from: *const i16) -> Self::Factors {
        // SAFETY: readable (contract).
        unsafe { vld1_dup_s16(from) }
    }

    #[inline(always)]
    fn plus_products(self, weights: Self::Factors, inputs: Self::Factors) -> Self {
        // SAFETY: a base instruction.
        Self(unsafe { vmlal_s16(self.0, weights, inputs) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut i32) {
        // SAFETY: writable (contract).
        unsafe { vst1q_s32(to, self.0) }
    }
}

impl DepthwiseSums for Sums128 {
    #[inline(always)]
    unsafe fn depthwise(rows: Rows<'_>) {
        rows.compute_plainly(0);
    }
}
