//! The fastest fused multiply-adds this CPU can do: the yardstick of the
//! kernel benchmark.

use super::dispatch::{self, Kernel};
use super::lanes::Lanes;

/// Runs `rounds` rounds of independent fused multiply-adds on registers alone,
/// on the active path and this thread.
///
/// Returns the number of floating-point operations done (two per fused
/// multiply-add) and a value that depends on all of them.
pub fn fma_peak(rounds: u32) -> (u64, f32) {
    dispatch::run(dispatch::active(), Peak { rounds })
}

/// The loop of [`fma_peak`].
struct Peak {
    rounds: u32,
}

impl Kernel for Peak {
    type Output = (u64, f32);

    #[inline(always)]
    unsafe fn run<V: Lanes, const ROWS: usize, const VECTORS: usize>(self) -> Self::Output {
        let mut value = [0.0f32; 32];
        // SAFETY: the CPU has the instruction set of `V` (contract); `value`
        // is longer than any vector.
        unsafe {
            let (factor, addend) = (V::splat(0.5), V::splat(1.0));
            let mut sums = [[addend; VECTORS]; ROWS];
            for _ in 0..self.rounds {
                for sum in sums.as_flattened_mut() {
                    *sum = sum.fused(factor, addend);
                }
            }
            let mut total = addend;
            for sum in sums.as_flattened() {
                total = total.plus(*sum);
            }
            total.store(value.as_mut_ptr());
        }
        let operations = 2 * ROWS * VECTORS * V::COUNT;
        (u64::from(self.rounds) * operations as u64, value[0])
    }
}
