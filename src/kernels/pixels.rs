//! Bytes of a picture to values of the first layer, and back (spec: Arithmetic).

use super::check_length;
use super::dispatch::{self, on_path};
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
    let (path, band) = (
        dispatch::active(),
        check(rgb.len(), out.len(), height, width),
    );
    let bands = rgb
        .par_chunks_exact(band)
        .zip(out.par_chunks_exact_mut(band));
    bands.for_each(|(rgb, out)| {
        on_path!(path, <'a> { rgb: &'a [u8], out: &'a mut [f32] } => {
            let patches = rgb.len() / (PATCH * PATCH_ROW);
            for (at, piece) in rgb.chunks_exact(PATCH_ROW).enumerate() {
                let to = &mut out[place(at, patches)..][..PATCH_ROW];
                for (to, byte) in to.iter_mut().zip(piece) {
                    *to = f32::from(*byte) * (1.0 / 255.0) - 0.5;
                }
            }
        });
    });
}

/// The inverse of [`pixels_to_patches`], for values of any size: `v` becomes
/// `floor(min(max(v * 255 + 127.5, 0), 255) + 0.5)`. Parallel over rows.
///
/// # Panics
/// As [`pixels_to_patches`].
pub fn patches_to_pixels(x: &[f32], height: usize, width: usize, rgb: &mut [u8]) {
    let (path, band) = (dispatch::active(), check(rgb.len(), x.len(), height, width));
    let bands = x.par_chunks_exact(band).zip(rgb.par_chunks_exact_mut(band));
    bands.for_each(|(x, rgb)| {
        on_path!(path, <'a> { x: &'a [f32], rgb: &'a mut [u8] } => {
            let patches = x.len() / (PATCH * PATCH_ROW);
            for (at, piece) in rgb.chunks_exact_mut(PATCH_ROW).enumerate() {
                let from = &x[place(at, patches)..][..PATCH_ROW];
                for (byte, value) in piece.iter_mut().zip(from) {
                    *byte = to_byte(*value);
                }
            }
        });
    });
}

/// Checks the arguments; returns the number of samples in a row of patches, or 1 where there are none.
fn check(bytes: usize, values: usize, height: usize, width: usize) -> usize {
    let whole = height.is_multiple_of(PATCH) && width.is_multiple_of(PATCH);
    assert!(whole, "patches: size is not a multiple of 8");
    check_length(bytes, [height, width, 3], "patches: number of bytes");
    assert_eq!(values, bytes, "patches: number of values");
    match bytes {
        0 => 1,
        _ => PATCH * width * 3,
    }
}

/// Where piece `at` of a row of patches, one row of one of them in the order of pixels, is among patches.
#[inline(always)]
fn place(at: usize, patches: usize) -> usize {
    ((at % patches) * PATCH + at / patches) * PATCH_ROW
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
