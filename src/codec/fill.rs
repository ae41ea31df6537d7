//! Colors for pixels that cannot be seen (codec-spec.md, Encoder guidance).
//!
//! What a picture holds under fully transparent pixels is often noise or a hard edge to black, which
//! would cost bits and bleed into visible pixels. It is replaced by a smooth continuation of the visible
//! colors: averaged down to where every gap is closed, and interpolated up again ("pull-push").

use rayon::prelude::*;

use crate::picture::{Alpha, CHANNELS};

/// The sample of a picture without any visible pixel.
const MIDDLE: u8 = 128;

/// A copy of `rgb`, `width` pixels wide, with other colors where alpha is 0; none if it is 0 nowhere.
pub(super) fn fill_transparent(rgb: &[u8], width: usize, alpha: &Alpha) -> Option<Vec<u8>> {
    let is_visible: Vec<bool> = alpha.samples().iter().map(|&sample| sample > 0).collect();
    if !is_visible.contains(&false) {
        return None;
    }
    if !is_visible.contains(&true) {
        return Some(vec![MIDDLE; rgb.len()]);
    }
    let mut levels = vec![Level {
        width,
        pixels: rgb.as_chunks().0.to_vec(),
        is_known: is_visible,
    }];
    // Ends at the latest with a single pixel, which knows what any pixel knew.
    while levels[levels.len() - 1].is_known.contains(&false) {
        levels.push(levels[levels.len() - 1].halved());
    }
    while let Some(coarse) = levels.pop() {
        match levels.last_mut() {
            Some(fine) => fine.fill_from(&coarse),
            None => return Some(coarse.pixels.into_flattened()),
        }
    }
    None
}

/// A picture at some power of half its size.
struct Level {
    width: usize,
    pixels: Vec<[u8; CHANNELS]>,
    is_known: Vec<bool>,
}

impl Level {
    fn height(&self) -> usize {
        self.pixels.len() / self.width
    }

    /// Half the size, rounded up: means of the known ones of 2 x 2 pixels.
    fn halved(&self) -> Self {
        let (width, height) = (self.width.div_ceil(2), self.height().div_ceil(2));
        let mut half = Self {
            width,
            pixels: vec![[0; CHANNELS]; width * height],
            is_known: vec![false; width * height],
        };
        half.pixels
            .par_chunks_mut(width)
            .zip(half.is_known.par_chunks_mut(width))
            .enumerate()
            .for_each(|(y, (pixels, is_known))| {
                for x in 0..width {
                    if let Some(mean) = self.mean(2 * x, 2 * y) {
                        pixels[x] = mean;
                        is_known[x] = true;
                    }
                }
            });
        half
    }

    /// The mean of the known pixels among the four from `(x, y)`, rounded.
    fn mean(&self, x: usize, y: usize) -> Option<[u8; CHANNELS]> {
        let (mut sums, mut count) = ([0_u16; CHANNELS], 0);
        for y in y..(y + 2).min(self.height()) {
            for x in x..(x + 2).min(self.width) {
                let at = y * self.width + x;
                if self.is_known[at] {
                    count += 1;
                    for (sum, sample) in sums.iter_mut().zip(self.pixels[at]) {
                        *sum += u16::from(sample);
                    }
                }
            }
        }
        // At most (4 * 255 + 2) / 4 = 255.
        (count > 0).then(|| sums.map(|sum| ((sum + count / 2) / count) as u8))
    }

    /// Interpolates the unknown pixels from a picture of half the size.
    fn fill_from(&mut self, half: &Self) {
        let width = self.width;
        self.pixels
            .par_chunks_mut(width)
            .zip(self.is_known.par_chunks(width))
            .enumerate()
            .for_each(|(y, (pixels, is_known))| {
                for x in (0..width).filter(|&x| !is_known[x]) {
                    pixels[x] = half.interpolated(x, y);
                }
            });
    }

    /// The color at `(x, y)` of a picture of twice the size: a quarter of the way from the pixel that
    /// covers it to the nearest one, in both directions.
    fn interpolated(&self, x: usize, y: usize) -> [u8; CHANNELS] {
        let near = |at: usize, size: usize| {
            let other = if at.is_multiple_of(2) {
                (at / 2).saturating_sub(1)
            } else {
                (at / 2 + 1).min(size - 1)
            };
            (at / 2, other)
        };
        let ((x0, x1), (y0, y1)) = (near(x, self.width), near(y, self.height()));
        let at = |x: usize, y: usize| self.pixels[y * self.width + x].map(u16::from);
        let corners = [at(x0, y0), at(x1, y0), at(x0, y1), at(x1, y1)];
        std::array::from_fn(|c| {
            let sum = 9 * corners[0][c] + 3 * (corners[1][c] + corners[2][c]) + corners[3][c];
            // At most (16 * 255 + 8) / 16 = 255.
            ((sum + 8) / 16) as u8
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::depth::Depth;

    fn fill(rgb: &[u8], width: usize, alpha: &[u16]) -> Option<Vec<u8>> {
        let alpha = Alpha::new(Depth::Sixteen, alpha.to_vec()).unwrap();
        fill_transparent(rgb, width, &alpha)
    }

    #[test]
    fn visible_pixels_stay_and_hidden_ones_take_their_colors() {
        let (width, height) = (37, 21);
        let rgb: Vec<u8> = (0..width * height)
            .flat_map(|i| {
                if i % width < 10 {
                    [200, 100, 50]
                } else {
                    [0, 255, (i % 251) as u8]
                }
            })
            .collect();
        let alpha: Vec<u16> = (0..width * height)
            .map(|i| {
                if i % width < 10 {
                    1 + (i % 9) as u16
                } else {
                    0
                }
            })
            .collect();
        let filled = fill(&rgb, width, &alpha).unwrap();
        assert_eq!(filled, [200, 100, 50].repeat(width * height));
    }

    #[test]
    fn a_gap_between_two_colors_becomes_a_slope() {
        let (width, height) = (64, 16);
        let alpha: Vec<u16> = (0..width * height)
            .map(|i| u16::from(!(8..56).contains(&(i % width))))
            .collect();
        let rgb: Vec<u8> = (0..width * height)
            .flat_map(|i| [if i % width < 32 { 0 } else { 240 }; 3])
            .collect();
        let filled = fill(&rgb, width, &alpha).unwrap();
        for row in filled.chunks(3 * width) {
            let steps = row.chunks(3).map(|pixel| pixel[0]);
            let largest = steps
                .clone()
                .zip(steps.skip(1))
                .map(|(a, b)| a.abs_diff(b))
                .max();
            assert!(largest < Some(40), "{largest:?}");
        }
    }

    #[test]
    fn pictures_that_are_all_visible_or_all_hidden() {
        assert_eq!(fill(&[1, 2, 3, 4, 5, 6], 2, &[1, 65_535]), None);
        assert_eq!(fill(&[1, 2, 3, 4, 5, 6], 1, &[0, 0]), Some(vec![128; 6]));
        assert_eq!(
            fill(&[1, 2, 3, 4, 5, 6], 2, &[0, 9]),
            Some(vec![4, 5, 6, 4, 5, 6])
        );
    }
}
