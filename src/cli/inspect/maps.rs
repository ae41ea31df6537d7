//! Maps as pictures: bits over the picture, and the error.

use image::imageops::thumbnail;

use super::exhibit::{Comparison, Exhibit};
use crate::error::Result;
use crate::format::LATENT_STRIDE;
use crate::picture::{CHANNELS, Image};

/// Colors from nothing to most, dark to bright.
pub(super) const COLORS: [[u8; 3]; 8] = [
    [0, 0, 4],
    [40, 11, 84],
    [101, 21, 110],
    [159, 42, 99],
    [212, 72, 66],
    [245, 125, 21],
    [250, 193, 39],
    [252, 255, 164],
];

/// Share of the picture that shines through the bits.
const PICTURE: f64 = 0.35;

/// The error, a mean over a pixel's samples, that has the brightest color.
pub(super) const MOST_ERROR: f64 = 16.0;

/// The bits of a block that have the brightest color: all but one of a hundred blocks have fewer.
pub(super) fn most_bits(exhibits: &[Exhibit]) -> f64 {
    let mut bits = Vec::new();
    for exhibit in exhibits {
        let (columns, rows) = exhibit.visible();
        let lines = exhibit.usage.blocks.chunks(exhibit.usage.columns);
        bits.extend(lines.take(rows).flat_map(|line| &line[..columns]));
    }
    bits.sort_by(f64::total_cmp);
    let most = bits.get(bits.len() * 99 / 100).copied().unwrap_or_default();
    most.max(1.0)
}

/// The color of a value from 0 to 1.
fn color(value: f64) -> [f64; 3] {
    let place = value.clamp(0.0, 1.0) * (COLORS.len() - 1) as f64;
    let below = (place as usize).min(COLORS.len() - 2);
    let part = place - below as f64;
    std::array::from_fn(|c| {
        let (low, high) = (f64::from(COLORS[below][c]), f64::from(COLORS[below + 1][c]));
        low + part * (high - low)
    })
}

/// The bits of every block, `most` in the brightest color, over the picture in gray.
pub(super) fn bits(exhibit: &Exhibit, most: f64) -> Result<Image> {
    let (width, usage) = (exhibit.decoded.width as usize, &exhibit.usage);
    let shade = |(i, gray): (usize, u8)| {
        let block = i / width / LATENT_STRIDE * usage.columns + i % width / LATENT_STRIDE;
        color(usage.blocks[block] / most)
            .map(|c| (PICTURE * f64::from(gray) + (1.0 - PICTURE) * c) as u8)
    };
    let gray = exhibit.decoded.to_gray();
    let rgb = gray.into_iter().enumerate().flat_map(shade).collect();
    upright(exhibit, rgb)
}

/// The mean error of every pixel, [`MOST_ERROR`] in the brightest color.
pub(super) fn error(exhibit: &Exhibit, comparison: &Comparison) -> Result<Image> {
    let pixels = comparison.original.rgb.chunks_exact(CHANNELS);
    let shade = |(a, b): (&[u8], &[u8])| {
        let errors = a.iter().zip(b).map(|(&a, &b)| u32::from(a.abs_diff(b)));
        color(f64::from(errors.sum::<u32>()) / CHANNELS as f64 / MOST_ERROR).map(|c| c as u8)
    };
    let pairs = pixels.zip(exhibit.decoded.rgb.chunks_exact(CHANNELS));
    upright(exhibit, pairs.flat_map(shade).collect())
}

/// What the file decodes to.
pub(super) fn picture(exhibit: &Exhibit) -> Result<Image> {
    upright(exhibit, exhibit.decoded.rgb.clone())
}

/// Samples of the stored picture, turned as it is to be seen.
fn upright(exhibit: &Exhibit, rgb: Vec<u8>) -> Result<Image> {
    let mut image = Image::new(exhibit.decoded.width, exhibit.decoded.height, rgb)?;
    image.metadata.orientation = exhibit.usage.header.orientation;
    image.into_upright()
}

/// The picture with no side longer than `side`: means of its pixels.
pub(super) fn fitted(image: Image, side: u32) -> Result<Image> {
    let longest = image.width.max(image.height);
    if longest <= side {
        return Ok(image);
    }
    let scaled = |length: u32| {
        let length = u64::from(length) * u64::from(side) / u64::from(longest);
        // Not more than `side`.
        (length as u32).max(1)
    };
    let (width, height) = (scaled(image.width), scaled(image.height));
    let small = thumbnail(&image.colors()?, width, height);
    Image::new(width, height, small.into_raw())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sheet::sheet;

    #[test]
    fn colors_run_from_dark_to_bright() {
        let bytes = |value| color(value).map(|c| c as u8);
        assert_eq!(bytes(-1.0), COLORS[0]);
        assert_eq!(bytes(1.0 / 7.0 + 1e-9), COLORS[1]);
        assert_eq!(bytes(1.0), COLORS[7]);
        assert_eq!(bytes(f64::INFINITY), COLORS[7]);
    }

    #[test]
    fn large_pictures_are_made_smaller() {
        let wide = Image::new(40, 4, vec![7; 480]).unwrap();
        let small = fitted(wide.clone(), 10).unwrap();
        assert_eq!((small.width, small.height, small.rgb[0]), (10, 1, 7));
        assert_eq!(fitted(wide.clone(), 40).unwrap(), wide);
        let both = sheet(&[vec![small.clone(), small]], 6, 0).unwrap();
        assert_eq!((both.width, both.height), (26, 1));
        assert_eq!((both.rgb[0], both.rgb[33], both.rgb[48]), (7, 255, 7));
    }
}
