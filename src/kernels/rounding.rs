//! Gains between tensors of 16-bit integers (spec: Channel gain).
//!
//! A product is rounded once to binary32 and then half to even, and beyond the range of the
//! integers it is the nearest of them.

use rayon::prelude::*;

use super::dispatch::{self, Kernel};
use super::lanes::Lanes;

/// Values per parallel task.
const CHUNK: usize = 1 << 14;

/// `x = round(real(x) * factor[channel])` for every position. Parallel.
///
/// # Panics
/// When `x` is not whole positions.
pub fn scale_integers(x: &mut [i16], factor: &[f32]) {
    let channels = factor.len().max(1);
    assert!(x.len().is_multiple_of(channels), "rounding: lengths differ");
    let path = dispatch::active();
    let positions = (CHUNK / channels).max(1);
    x.par_chunks_mut(positions * channels)
        .for_each(|x| dispatch::run(path, Scale { x, factor }));
}

/// The integer nearest to a value, of two the even one; of NaN, which does not occur, any.
#[inline(always)]
fn nearest(value: f32) -> i16 {
    /// Added to a value below 2^22, leaves no bit for a fraction.
    const SHIFT: f32 = 12_582_912.0;
    let value = if value > -32_768.0 { value } else { -32_768.0 };
    let value = if value < 32_767.0 { value } else { 32_767.0 };
    let value = (value + SHIFT) - SHIFT;
    // SAFETY: an integer from -32768 to 32767 (NaN became -32768 above).
    unsafe { value.to_int_unchecked::<i32>() as i16 }
}

struct Scale<'a> {
    x: &'a mut [i16],
    factor: &'a [f32],
}

impl Kernel for Scale<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Lanes, const ROWS: usize, const VECTORS: usize>(self) {
        for x in self.x.chunks_exact_mut(self.factor.len()) {
            for (x, factor) in x.iter_mut().zip(self.factor) {
                *x = nearest(f32::from(*x) * factor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_even_and_the_ends_hold() {
        let values = [
            (0.5, 0),
            (1.5, 2),
            (-0.5, 0),
            (-1.5, -2),
            (2.499_999_8, 2),
            (32_766.5, 32_766),
            (32_767.5, 32_767),
            (1e30, 32_767),
            (-32_768.5, -32_768),
            (-1e30, -32_768),
            (f32::INFINITY, 32_767),
        ];
        for (value, integer) in values {
            assert_eq!(nearest(value), integer, "{value}");
        }
    }

    #[test]
    fn every_path_rounds_alike() {
        let x: Vec<i16> = (0..5000).map(|i| (i - 2500) * 13).collect();
        let rounded = |path| {
            let mut out = x.clone();
            let factor = [0.3, 1.7, 2.0, 0.01, 1.0];
            dispatch::run(
                path,
                Scale {
                    x: &mut out,
                    factor: &factor,
                },
            );
            out
        };
        let plain = rounded(dispatch::KernelPath::Portable);
        for path in dispatch::available() {
            assert!(rounded(path) == plain, "{path}");
        }
    }
}
