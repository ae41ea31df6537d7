//! The fastest products this CPU can add up: the yardstick of the kernel benchmark.

use super::session::Session;
use super::unit::{Kernel, Unit};
use crate::kernels::dispatch;

/// Runs `rounds` rounds of independent sums of products on registers alone, on
/// the active path and this thread.
///
/// Returns the number of operations done, two per product of an int16 with an
/// int8, and a value that depends on all of them.
pub fn peak(rounds: u32) -> (u64, i32) {
    Session::begin(dispatch::active()).run(Peak { rounds })
}

/// The loop of [`peak`].
struct Peak {
    rounds: u32,
}

impl Kernel for Peak {
    type Output = (u64, i32);

    #[inline(always)]
    unsafe fn run<U: Unit>(self) -> Self::Output {
        // SAFETY: the contract of this function.
        unsafe { U::peak(self.rounds) }
    }
}
