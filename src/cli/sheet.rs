//! Pictures side by side in one.

use image::imageops::replace;
use image::{Rgb, RgbImage};

use crate::error::Result;
use crate::picture::Image;

/// Pictures in rows and columns, on white, with `gap` pixels between them and `margin` around them. Each has the place
/// of the largest.
pub(super) fn sheet(rows: &[Vec<Image>], gap: u32, margin: u32) -> Result<Image> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let sizes = rows
        .iter()
        .flatten()
        .map(|image| (image.width, image.height));
    let (wide, high) = sizes.fold((0, 0), |(w, h), size| (size.0.max(w), size.1.max(h)));
    // A few pictures of bounded sides.
    let length =
        |count: usize, each: u32| (count as u32 * (each + gap)).saturating_sub(gap) + 2 * margin;
    let (width, height) = (length(columns, wide), length(rows.len(), high));
    let mut sheet = RgbImage::from_pixel(width, height, Rgb([255; 3]));
    let place = |number: usize, each: u32| i64::from(margin + number as u32 * (each + gap));
    for (i, row) in rows.iter().enumerate() {
        for (j, image) in row.iter().enumerate() {
            replace(&mut sheet, &image.colors()?, place(j, wide), place(i, high));
        }
    }
    Image::new(width, height, sheet.into_raw())
}
