//! Pictures side by side in one.

use crate::error::Result;
use crate::picture::{CHANNELS, Image};

/// Pictures in rows and columns, on white, with `gap` pixels between them and `margin` around them. Each has the place
/// of the largest.
pub(super) fn sheet(rows: &[Vec<Image>], gap: usize, margin: usize) -> Result<Image> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let sizes = rows
        .iter()
        .flatten()
        .map(|image| (image.width as usize, image.height as usize));
    let (wide, high) = sizes.fold((0, 0), |(w, h), size| (size.0.max(w), size.1.max(h)));
    let length =
        |count: usize, each: usize| (count * (each + gap)).saturating_sub(gap) + 2 * margin;
    let (width, height) = (length(columns, wide), length(rows.len(), high));
    let mut rgb = vec![255; width * height * CHANNELS];
    for (i, row) in rows.iter().enumerate() {
        for (j, image) in row.iter().enumerate() {
            let lines = image.rgb.chunks_exact(image.width as usize * CHANNELS);
            for (y, line) in lines.enumerate() {
                let top = margin + i * (high + gap) + y;
                let start = top * width + margin + j * (wide + gap);
                rgb[start * CHANNELS..][..line.len()].copy_from_slice(line);
            }
        }
    }
    // A few pictures of bounded sides.
    Image::new(width as u32, height as u32, rgb)
}
