//! Training samples cut out of pictures: where a crop lies, how it is turned and scaled down.

use rand::Rng;

use crate::picture::Image;

/// Part of the crops that are scaled down; the others are cut out as they are.
const SCALED: f64 = 0.5;

/// Where a crop lies, and how its pixels become those of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crop {
    /// Number of the picture.
    pub picture: usize,
    /// First column.
    pub x: usize,
    /// First row.
    pub y: usize,
    /// Side of the square that is cut out: the sample's, or more where it is scaled down.
    pub source: usize,
    /// One of the eight ways to turn a square: bits [`MIRROR_X`], [`MIRROR_Y`], [`TRANSPOSE`].
    pub turn: u8,
}

/// Left and right change places.
pub const MIRROR_X: u8 = 1;
/// Top and bottom change places.
pub const MIRROR_Y: u8 = 2;
/// Rows become columns, before any mirroring.
pub const TRANSPOSE: u8 = 4;

impl Crop {
    /// Draws a crop of a picture of `width` x `height` pixels, for a sample of `side` x `side`
    /// (at most the picture's smaller side). Half of the crops are scaled down, by a factor
    /// between 1 and `min_scale`, as far as the picture is large enough.
    pub fn draw(
        picture: usize,
        (width, height): (usize, usize),
        side: usize,
        min_scale: f64,
        rng: &mut impl Rng,
    ) -> Self {
        let scale = if rng.random_bool(SCALED) {
            rng.random_range(min_scale..=1.0)
        } else {
            1.0
        };
        let largest = width.min(height);
        let source = ((side as f64 / scale).round() as usize).clamp(side, largest.max(side));
        Self {
            picture,
            x: rng.random_range(0..=width - source),
            y: rng.random_range(0..=height - source),
            source,
            turn: rng.random_range(0..8),
        }
    }

    /// The sample's `side` x `side` pixels: interleaved RGB.
    pub fn pixels(&self, picture: &Image, side: usize) -> Vec<u8> {
        let mut pixels = Vec::with_capacity(3 * side * side);
        for row in 0..side {
            for column in 0..side {
                let at = turned(self.turn, side, (row, column));
                pixels.extend(self.average(picture, side, at));
            }
        }
        pixels
    }

    /// The mean of the area that becomes the sample's pixel at (row, column), before it is
    /// turned. In units of 1 / side of a picture's pixel, so that all is exact in integers.
    fn average(&self, picture: &Image, side: usize, (row, column): (usize, usize)) -> [u8; 3] {
        let source = self.source;
        let mut sums = [0u64; 3];
        for (y, height) in covered(row * source, source, side) {
            let line = (self.y + y) * picture.width as usize;
            for (x, width) in covered(column * source, source, side) {
                let first = 3 * (line + self.x + x);
                let pixel = &picture.rgb[first..first + 3];
                for (sum, value) in sums.iter_mut().zip(pixel) {
                    *sum += (height * width) as u64 * u64::from(*value);
                }
            }
        }
        let area = (source * source) as u64;
        sums.map(|sum| ((sum + area / 2) / area) as u8)
    }
}

/// The pixels that `start..start + length` covers and how much of each, where a pixel is
/// `unit` long.
fn covered(start: usize, length: usize, unit: usize) -> impl Iterator<Item = (usize, usize)> {
    let end = start + length;
    (start / unit..end.div_ceil(unit)).map(move |pixel| {
        let part = (end.min((pixel + 1) * unit)) - start.max(pixel * unit);
        (pixel, part)
    })
}

/// The place before turning of what comes to (row, column).
fn turned(turn: u8, side: usize, (row, column): (usize, usize)) -> (usize, usize) {
    let (mut row, mut column) = (row, column);
    if turn & MIRROR_Y != 0 {
        row = side - 1 - row;
    }
    if turn & MIRROR_X != 0 {
        column = side - 1 - column;
    }
    if turn & TRANSPOSE != 0 {
        (row, column) = (column, row);
    }
    (row, column)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// A picture whose first channel is the column, the second the row.
    fn places(width: u32, height: u32) -> Image {
        let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, 7]));
        Image::new(width, height, pixels.collect()).expect("the sizes agree")
    }

    fn crop(source: usize, turn: u8) -> Crop {
        Crop {
            picture: 0,
            x: 10,
            y: 20,
            source,
            turn,
        }
    }

    #[test]
    fn the_eight_turns_are_those_of_a_square() {
        let picture = places(40, 50);
        let corners = |turn| {
            let pixels = crop(4, turn).pixels(&picture, 4);
            [0, 3, 12].map(|i| (pixels[3 * i], pixels[3 * i + 1]))
        };
        // Top left, top right and bottom left as (column, row).
        assert_eq!(corners(0), [(10, 20), (13, 20), (10, 23)]);
        assert_eq!(corners(MIRROR_X), [(13, 20), (10, 20), (13, 23)]);
        assert_eq!(corners(MIRROR_Y), [(10, 23), (13, 23), (10, 20)]);
        assert_eq!(corners(TRANSPOSE), [(10, 20), (10, 23), (13, 20)]);
        let all: std::collections::BTreeSet<_> = (0..8).map(corners).collect();
        assert_eq!(all.len(), 8);
    }

    #[test]
    fn scaling_averages_areas() {
        let picture = places(40, 50);
        // Two by two pixels become one: columns 10 and 11 average to 10.5, rounded up.
        let halved = crop(8, 0).pixels(&picture, 4);
        assert_eq!(halved[..6], [11, 21, 7, 13, 21, 7]);
        // Three become two: 10 + half of 11, and half of 11 + 12.
        let two_thirds = crop(6, 0).pixels(&picture, 4);
        assert_eq!(two_thirds[..6], [10, 20, 7, 12, 20, 7]);
    }

    #[test]
    fn crops_lie_in_their_picture_at_every_scale() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut sources = Vec::new();
        for _ in 0..400 {
            let crop = Crop::draw(3, (100, 90), 64, 0.5, &mut rng);
            assert!(crop.x + crop.source <= 100 && crop.y + crop.source <= 90);
            sources.push(crop.source);
        }
        assert!(sources.iter().filter(|source| **source == 64).count() > 150);
        assert!(sources.contains(&90) && sources.iter().any(|s| (65..90).contains(s)));
    }
}
