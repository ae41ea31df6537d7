//! Vector registers as types: what integers need beyond the operations of [`Lanes`], and
//! sums of products.
//!
//! As there, a value that exists proves that the CPU has the instructions.

use crate::kernels::lanes::{Lanes, Plain4};
use crate::kernels::rounding::WHOLE;

/// The largest int16.
pub(super) const MAX: f32 = 32_767.0;

/// The smallest int16.
const MIN: f32 = -32_768.0;

/// Binary32 values of integers, and back.
pub(super) trait IntegerLanes: Lanes {
    /// Reads `COUNT` int32 and rounds them half to even.
    ///
    /// # Safety
    /// As [`Lanes::load`].
    unsafe fn load_sums(from: *const i32) -> Self;

    /// Reads `COUNT` int16 (no alignment needed).
    ///
    /// # Safety
    /// As [`Lanes::load`].
    unsafe fn load_integers(from: *const i16) -> Self;

    /// Writes `low`, then `high`, as int16: rounded half to even and saturated.
    ///
    /// # Safety
    /// `to` must be writable for `2 * COUNT` values.
    unsafe fn store_integers(low: Self, high: Self, to: *mut i16);

    /// [`IntegerLanes::store_integers`] for values in the order of
    /// [`PairSums::interleaved`]: four of `low`, four of `high`, and so on.
    ///
    /// # Safety
    /// As [`IntegerLanes::store_integers`].
    #[inline(always)]
    unsafe fn store_interleaved(low: Self, high: Self, to: *mut i16) {
        // SAFETY: the same contract; registers of four lanes are in order already.
        unsafe { Self::store_integers(low, high, to) }
    }

    /// `self * factor`.
    fn times(self, factor: Self) -> Self;

    /// `self * factor + addend` where the product is exact, as with a power of
    /// two: whether it is fused does not show.
    fn exact_times_plus(self, factor: Self, addend: Self) -> Self;

    /// `self * min(max(ramp, 0), 1)`.
    fn gated(self, ramp: Self) -> Self;
}

/// The int16 of a value in steps: rounded half to even and saturated.
#[inline(always)]
pub(super) fn to_integer(value: f32) -> i16 {
    let value = if value < MAX { value } else { MAX };
    let value = if value > MIN { value } else { MIN };
    // The low bits of the sum are the integer.
    ((value + WHOLE).to_bits() as i32 - WHOLE.to_bits() as i32) as i16
}

/// `COUNT` int32 sums of products of int16.
pub(super) trait Sums: Copy {
    /// The values that sums become.
    type Lanes: IntegerLanes;

    /// Weights, or the same inputs in every lane.
    type Factors: Copy;

    /// Number of lanes.
    const COUNT: usize;

    /// Products per lane and step: inputs side by side in packed weights.
    const GROUP: usize;

    /// All lanes zero.
    ///
    /// # Safety
    /// The CPU must have the instruction set of `Self`.
    unsafe fn zero() -> Self;

    /// Reads `COUNT * GROUP` weights (no alignment needed).
    ///
    /// # Safety
    /// As [`Sums::zero`], and they must be readable.
    unsafe fn weights(from: *const i16) -> Self::Factors;

    /// Reads `GROUP` inputs for every lane.
    ///
    /// # Safety
    /// As [`Sums::weights`].
    unsafe fn inputs(from: *const i16) -> Self::Factors;

    /// Reads one input for every lane, zeros in place of the rest of the group.
    ///
    /// # Safety
    /// As [`Sums::weights`].
    #[inline(always)]
    unsafe fn last_input(from: *const i16) -> Self::Factors {
        // SAFETY: the same contract, for groups of one.
        unsafe { Self::inputs(from) }
    }

    /// Adds the products of every lane.
    fn plus_products(self, weights: Self::Factors, inputs: Self::Factors) -> Self;

    /// Writes `COUNT` sums (no alignment needed).
    ///
    /// # Safety
    /// `to` must be writable for `COUNT` sums.
    unsafe fn store(self, to: *mut i32);
}

/// Sums of pairs of products.
pub(super) trait PairSums: Sums {
    /// The sums, rounded half to even.
    fn values(self) -> Self::Lanes;

    /// Zeros.
    ///
    /// # Safety
    /// As [`Sums::zero`].
    unsafe fn no_factors() -> Self::Factors;

    /// The numbers of two vectors side by side: in every eight, the first four
    /// of both in the first result, the others in the second.
    ///
    /// # Safety
    /// As [`Sums::zero`].
    unsafe fn interleaved(first: Self::Factors, second: Self::Factors) -> [Self::Factors; 2];
}

impl IntegerLanes for Plain4 {
    #[inline(always)]
    unsafe fn load_sums(from: *const i32) -> Self {
        // SAFETY: readable (contract); arrays have the alignment of a value.
        Self(unsafe { from.cast::<[i32; 4]>().read() }.map(|sum| sum as f32))
    }

    #[inline(always)]
    unsafe fn load_integers(from: *const i16) -> Self {
        // SAFETY: as in `load_sums`.
        Self(unsafe { from.cast::<[i16; 4]>().read() }.map(f32::from))
    }

    #[inline(always)]
    unsafe fn store_integers(low: Self, high: Self, to: *mut i16) {
        let integers = [low.0.map(to_integer), high.0.map(to_integer)];
        // SAFETY: writable (contract).
        unsafe { to.cast::<[[i16; 4]; 2]>().write(integers) }
    }

    #[inline(always)]
    fn times(self, factor: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] * factor.0[lane]))
    }

    #[inline(always)]
    fn exact_times_plus(self, factor: Self, addend: Self) -> Self {
        self.times(factor).plus(addend)
    }

    #[inline(always)]
    fn gated(self, ramp: Self) -> Self {
        Self(std::array::from_fn(|lane| {
            let ramp = ramp.0[lane];
            let floor = if ramp > 0.0 { ramp } else { 0.0 };
            self.0[lane] * if floor < 1.0 { floor } else { 1.0 }
        }))
    }
}
