//! Moving values between space and channels: no arithmetic (spec: Arithmetic).

use super::check_length;
use rayon::prelude::*;

/// `[height, width, channels]` to `[height / s, width / s, s * s * channels]`,
/// new channels in the order (row in the cell, column in the cell, channel).
/// Parallel over rows.
///
/// # Panics
/// When `s` is zero or does not divide the height and the width, or a length
/// does not agree.
pub fn space_to_depth<T: Copy + Send + Sync>(
    x: &[T],
    height: usize,
    width: usize,
    channels: usize,
    s: usize,
    out: &mut [T],
) {
    let (cell_row, band) = check(x.len(), out.len(), height, width, channels, s);
    let bands = x.par_chunks_exact(band).zip(out.par_chunks_exact_mut(band));
    bands.for_each(|(x, out)| {
        for (at, piece) in x.chunks_exact(cell_row).enumerate() {
            out[moved(at, width / s, s) * cell_row..][..cell_row].copy_from_slice(piece);
        }
    });
}

/// The inverse of [`space_to_depth`]: `[height / s, width / s, s * s * channels]`
/// to `[height, width, channels]`; `height`, `width` and `channels` are those
/// of the result. Parallel over rows.
///
/// # Panics
/// As [`space_to_depth`].
pub fn depth_to_space<T: Copy + Send + Sync>(
    x: &[T],
    height: usize,
    width: usize,
    channels: usize,
    s: usize,
    out: &mut [T],
) {
    let (cell_row, band) = check(x.len(), out.len(), height, width, channels, s);
    let bands = x.par_chunks_exact(band).zip(out.par_chunks_exact_mut(band));
    bands.for_each(|(x, out)| {
        for (at, piece) in out.chunks_exact_mut(cell_row).enumerate() {
            piece.copy_from_slice(&x[moved(at, width / s, s) * cell_row..][..cell_row]);
        }
    });
}

/// Checks the arguments; returns the number of values in one row of a cell of
/// `s` by `s` pixels, and in a row of cells, or ones where there are none.
fn check(
    x: usize,
    out: usize,
    height: usize,
    width: usize,
    channels: usize,
    s: usize,
) -> (usize, usize) {
    assert!(
        s > 0 && height.is_multiple_of(s) && width.is_multiple_of(s),
        "rearrange: size is not a multiple"
    );
    check_length(x, [height, width, channels], "rearrange: input length");
    assert_eq!(out, x, "rearrange: output length");
    match x {
        0 => (1, 1),
        _ => (s * channels, s * width * channels),
    }
}

/// A row of cells is rows of pixels, each one piece (a cell's row) per cell:
/// piece `at` of it moves to the place returned, where a cell's rows are
/// together.
fn moved(at: usize, cells: usize, s: usize) -> usize {
    (at % cells) * s + at / cells
}
