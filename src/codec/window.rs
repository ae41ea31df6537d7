//! Windows: the pieces in which the transforms are run, so that memory does not
//! grow with the picture.
//!
//! A transform's output at a position depends on inputs at most a halo away
//! (its 3 x 3 kernels). Each window is computed with that halo around it, which
//! is then cut off, so the result is the same as that of one piece.

use crate::model::Grid;

/// Most latents per window and direction; a whole picture below this is one piece.
const WINDOW: usize = 160;

/// A rectangle of latents to compute, and the larger one it is computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// First row and column of the result.
    pub start: (usize, usize),
    /// Rows and columns of the result.
    pub size: (usize, usize),
    /// First row and column of the input.
    pub input_start: (usize, usize),
    /// Rows and columns of the input.
    pub input_size: (usize, usize),
}

impl Window {
    /// Where the result lies in the input.
    pub fn offset(&self) -> (usize, usize) {
        (
            self.start.0 - self.input_start.0,
            self.start.1 - self.input_start.1,
        )
    }
}

/// Cuts `height` x `width` latents into windows with `halo` latents around them.
pub(super) fn windows(height: usize, width: usize, halo: usize) -> Vec<Window> {
    let mut list = Vec::new();
    for (y, rows) in pieces(height) {
        for (x, columns) in pieces(width) {
            let input_start = (y.saturating_sub(halo), x.saturating_sub(halo));
            let input_end = (
                (y + rows + halo).min(height),
                (x + columns + halo).min(width),
            );
            let input_size = (input_end.0 - input_start.0, input_end.1 - input_start.1);
            list.push(Window {
                start: (y, x),
                size: (rows, columns),
                input_start,
                input_size,
            });
        }
    }
    list
}

/// Cuts a length into nearly equal pieces of at most [`WINDOW`]: start and length of each.
fn pieces(length: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = length.div_ceil(WINDOW).max(1);
    (0..count).map(move |i| {
        let (start, end) = (i * length / count, (i + 1) * length / count);
        (start, end - start)
    })
}

/// Copies the part of a computed window that is not halo to its place in `whole`;
/// `scale` positions of the grids per latent.
pub(super) fn paste(whole: &mut Grid, part: &Grid, window: &Window, scale: usize) {
    let times = |(y, x): (usize, usize)| (y * scale, x * scale);
    whole.paste_from(
        part,
        times(window.offset()),
        times(window.start),
        times(window.size),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_everything_once() {
        for (height, width) in [(1, 1), (160, 161), (400, 37), (161, 500)] {
            let mut covered = vec![0u8; height * width];
            for window in windows(height, width, 6) {
                assert!(window.size.0 <= WINDOW && window.size.1 <= WINDOW);
                let (oy, ox) = window.offset();
                assert!(
                    oy + window.size.0 <= window.input_size.0
                        && ox + window.size.1 <= window.input_size.1
                );
                for y in 0..window.size.0 {
                    for x in 0..window.size.1 {
                        covered[(window.start.0 + y) * width + window.start.1 + x] += 1;
                    }
                }
            }
            assert!(covered.iter().all(|count| *count == 1));
        }
    }
}
