//! Values to integers, and gains between integers (spec: Arithmetic).

use super::lanes::{IntegerLanes, to_integer};
use super::scale::Scale;
use super::session::Session;
use super::unit::{Kernel, Unit};
use crate::kernels::dispatch::{self, on_path};
use crate::kernels::lanes::Lanes;
use rayon::prelude::*;

/// Values per parallel task.
const CHUNK: usize = 1 << 15;

/// Writes every value of `x` to `out` in steps of `scale`: rounded half to
/// even and saturated. Parallel.
///
/// # Panics
/// When the lengths differ.
pub fn quantize(x: &[f32], scale: Scale, out: &mut [i16]) {
    assert_eq!(x.len(), out.len(), "quantize: lengths differ");
    let (path, inverse) = (dispatch::active(), scale.inverse());
    let chunk = |(x, out)| Session::begin(path).run(Quantize { x, inverse, out });
    if x.len() <= CHUNK {
        return chunk((x, out));
    }
    x.par_chunks(CHUNK)
        .zip(out.par_chunks_mut(CHUNK))
        .for_each(chunk);
}

/// `x = round(real(x) * factor[channel])` for every position (spec: Channel gain): a product
/// is rounded once to binary32, then half to even, and saturated. Parallel.
///
/// # Panics
/// When `x` is not whole positions.
pub fn scale_integers(x: &mut [i16], factor: &[f32]) {
    let channels = factor.len().max(1);
    assert!(x.len().is_multiple_of(channels), "gain: lengths differ");
    let path = dispatch::active();
    let positions = (CHUNK / channels).max(1);
    x.par_chunks_mut(positions * channels).for_each(|x| {
        on_path!(path, <'a> { x: &'a mut [i16], factor: &'a [f32] } => {
            for x in x.chunks_exact_mut(factor.len()) {
                for (x, factor) in x.iter_mut().zip(factor) {
                    *x = to_integer(f32::from(*x) * factor);
                }
            }
        });
    });
}

/// The integers of one chunk.
struct Quantize<'a> {
    x: &'a [f32],
    inverse: f32,
    out: &'a mut [i16],
}

impl Kernel for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<U: Unit>(self) {
        let step = 2 * U::Lanes::COUNT;
        let whole = self.x.len() / step * step;
        for start in (0..whole).step_by(step) {
            // SAFETY: `start + step <= whole`, which both slices hold; the
            // CPU has the instruction set of `U` (contract).
            unsafe {
                let inverse = U::Lanes::splat(self.inverse);
                let from = self.x.as_ptr().add(start);
                let low = U::Lanes::load(from).times(inverse);
                let high = U::Lanes::load(from.add(U::Lanes::COUNT)).times(inverse);
                U::Lanes::store_integers(low, high, self.out.as_mut_ptr().add(start));
            }
        }
        for (x, out) in self.x[whole..].iter().zip(&mut self.out[whole..]) {
            *out = to_integer(x * self.inverse);
        }
    }
}
