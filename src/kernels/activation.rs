//! The activation in binary32: `x * clamp(x * 0.25 + 0.5, 0, 1)`.

use super::dispatch::{self, Kernel, KernelPath};
use super::lanes::Lanes;
use rayon::prelude::*;

/// Values per parallel task.
const CHUNK: usize = 1 << 15;

/// The activation of one value: `x * min(max(fma(x, 0.25, 0.5), 0), 1)`.
///
/// Comparisons are written out so that every instruction set gives the same
/// bits: `max(v, 0)` is `v` if `v > 0`, else `+0`; `min(v, 1)` is `v` if
/// `v < 1`, else `1`.
#[inline(always)]
pub fn activate(x: f32) -> f32 {
    let ramp = x.mul_add(0.25, 0.5);
    let floor = if ramp > 0.0 { ramp } else { 0.0 };
    let gate = if floor < 1.0 { floor } else { 1.0 };
    x * gate
}

/// Writes the activation of every value of `x` to `out`. Parallel.
///
/// # Panics
/// When the lengths differ.
pub fn activation(x: &[f32], out: &mut [f32]) {
    activation_on(dispatch::active(), x, out);
}

/// [`activation`] on a given path.
pub(super) fn activation_on(path: KernelPath, x: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "activation: lengths differ");
    let chunks = x.par_chunks(CHUNK).zip(out.par_chunks_mut(CHUNK));
    chunks.for_each(|(x, out)| dispatch::run(path, Activation { x, out }));
}

/// The activation of one chunk.
struct Activation<'a> {
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Activation<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Lanes, const ROWS: usize, const VECTORS: usize>(self) {
        let whole = self.x.len() / V::COUNT * V::COUNT;
        for start in (0..whole).step_by(V::COUNT) {
            // SAFETY: `start + COUNT <= whole`, which both slices hold; the
            // CPU has the instruction set of `V` (contract).
            unsafe {
                let value = V::load(self.x.as_ptr().add(start));
                value.activated().store(self.out.as_mut_ptr().add(start));
            }
        }
        for (x, out) in self.x[whole..].iter().zip(&mut self.out[whole..]) {
            *out = activate(*x);
        }
    }
}
