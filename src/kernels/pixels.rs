//! Bytes of a picture to values of the first layer, and back (spec: Arithmetic).

use super::dispatch::{self, Kernel, KernelPath};
use super::lanes::Lanes;
use super::product;
use crate::format::PATCH;
use rayon::prelude::*;

/// Values in one row of a patch.
const PATCH_ROW: usize = PATCH * 3;

/// Bytes to values in patches of 8 by 8 pixels.
///
/// `rgb` is `[height, width, 3]`, `out` is `[height / 8, width / 8, 192]` with
/// channels in the order (row in the patch, column in the patch, color); a
/// byte `v` becomes `v * (1 / 255) - 0.5`. Parallel over rows.
///
/// # Panics
/// When the height or the width is not a multiple of 8, or a length does not
/// agree.
pub fn pixels_to_patches(rgb: &[u8], height: usize, width: usize, out: &mut [f32]) {
    pixels_to_patches_on(dispatch::active(), rgb, height, width, out);
}

/// The inverse of [`pixels_to_patches`], for values of any size: `v` becomes
/// `floor(min(max(v * 255 + 127.5, 0), 255) + 0.5)`. Parallel over rows.
///
/// # Panics
/// As [`pixels_to_patches`].
pub fn patches_to_pixels(x: &[f32], height: usize, width: usize, rgb: &mut [u8]) {
    patches_to_pixels_on(dispatch::active(), x, height, width, rgb);
}

/// [`pixels_to_patches`] on a given path.
pub(super) fn pixels_to_patches_on(
    path: KernelPath,
    rgb: &[u8],
    height: usize,
    width: usize,
    out: &mut [f32],
) {
    let band = check(rgb.len(), out.len(), height, width);
    if band == 0 {
        return;
    }
    let bands = rgb
        .par_chunks_exact(band)
        .zip(out.par_chunks_exact_mut(band));
    bands.for_each(|(rgb, out)| dispatch::run(path, ToPatches { rgb, out }));
}

/// [`patches_to_pixels`] on a given path.
pub(super) fn patches_to_pixels_on(
    path: KernelPath,
    x: &[f32],
    height: usize,
    width: usize,
    rgb: &mut [u8],
) {
    let band = check(rgb.len(), x.len(), height, width);
    if band == 0 {
        return;
    }
    let bands = x.par_chunks_exact(band).zip(rgb.par_chunks_exact_mut(band));
    bands.for_each(|(x, rgb)| dispatch::run(path, ToPixels { x, rgb }));
}

/// Checks the arguments; returns the number of samples in a row of patches.
fn check(bytes: usize, values: usize, height: usize, width: usize) -> usize {
    let whole = height.is_multiple_of(PATCH) && width.is_multiple_of(PATCH);
    assert!(whole, "patches: size is not a multiple of 8");
    assert_eq!(
        bytes,
        product([height, width, 3]),
        "patches: number of bytes"
    );
    assert_eq!(values, bytes, "patches: number of values");
    if bytes == 0 {
        return 0;
    }
    PATCH * width * 3
}

/// One row of patches, from bytes.
struct ToPatches<'a> {
    rgb: &'a [u8],
    out: &'a mut [f32],
}

impl Kernel for ToPatches<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Lanes, const ROWS: usize, const VECTORS: usize>(self) {
        let patches = self.rgb.len() / (PATCH * PATCH_ROW);
        for (at, piece) in self.rgb.chunks_exact(PATCH_ROW).enumerate() {
            let to = (at % patches) * PATCH + at / patches;
            let to = &mut self.out[to * PATCH_ROW..][..PATCH_ROW];
            for (to, byte) in to.iter_mut().zip(piece) {
                *to = f32::from(*byte) * (1.0 / 255.0) - 0.5;
            }
        }
    }
}

/// One row of patches, to bytes.
struct ToPixels<'a> {
    x: &'a [f32],
    rgb: &'a mut [u8],
}

impl Kernel for ToPixels<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Lanes, const ROWS: usize, const VECTORS: usize>(self) {
        let patches = self.x.len() / (PATCH * PATCH_ROW);
        for (at, piece) in self.rgb.chunks_exact_mut(PATCH_ROW).enumerate() {
            let from = (at % patches) * PATCH + at / patches;
            let from = &self.x[from * PATCH_ROW..][..PATCH_ROW];
            for (byte, value) in piece.iter_mut().zip(from) {
                *byte = to_byte(*value);
            }
        }
    }
}

/// The byte of a value; the value's range is -0.5 to 0.5.
#[inline(always)]
fn to_byte(value: f32) -> u8 {
    let value = value * 255.0 + 127.5;
    let value = if value > 0.0 { value } else { 0.0 };
    let value = if value < 255.0 { value } else { 255.0 };
    // SAFETY: 0.5 <= value + 0.5 <= 255.5 (NaN became 0 above), so the
    // integer part, which for these is the floor, is a byte.
    unsafe { (value + 0.5).to_int_unchecked::<i32>() as u8 }
}
