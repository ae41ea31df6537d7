//! Rectangles, in pixels or in latents.

use crate::bitstream::TileRect;
use crate::format::LATENT_STRIDE;

/// A rectangle of at least one position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    /// First column.
    pub x: usize,
    /// First row.
    pub y: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Area {
    /// The rectangle of `width` columns and `height` rows from column `x`, row `y` on.
    pub fn new(x: usize, y: usize, width: usize, height: usize) -> Self {
        Self {
            x,
            y,
            width,
            height,
        }
    }

    /// Everything of `width` columns and `height` rows.
    pub fn whole(width: usize, height: usize) -> Self {
        Self::new(0, 0, width, height)
    }

    /// Number of positions.
    pub fn pixels(&self) -> usize {
        self.width * self.height
    }

    /// The latents that cover an area of pixels.
    pub fn in_latents(&self) -> Self {
        let cover = |start: usize, size: usize| {
            let end = (start + size).div_ceil(LATENT_STRIDE);
            (start / LATENT_STRIDE, end - start / LATENT_STRIDE)
        };
        let ((x, width), (y, height)) = (cover(self.x, self.width), cover(self.y, self.height));
        Self::new(x, y, width, height)
    }

    /// The pixels that an area of latents covers.
    pub fn in_pixels(&self) -> Self {
        let sides = [self.x, self.y, self.width, self.height];
        let [x, y, width, height] = sides.map(|side| side * LATENT_STRIDE);
        Self::new(x, y, width, height)
    }

    /// The area and `margin` positions around it, as far as they lie in `bounds`.
    pub fn grown(&self, margin: usize, bounds: &Self) -> Self {
        let x = self.x.saturating_sub(margin).max(bounds.x);
        let y = self.y.saturating_sub(margin).max(bounds.y);
        let right = (self.x + self.width + margin).min(bounds.x + bounds.width);
        let bottom = (self.y + self.height + margin).min(bounds.y + bounds.height);
        Self::new(x, y, right - x, bottom - y)
    }

    /// What both areas have in common.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let (x, y) = (self.x.max(other.x), self.y.max(other.y));
        let right = (self.x + self.width).min(other.x + other.width);
        let bottom = (self.y + self.height).min(other.y + other.height);
        (x < right && y < bottom).then(|| Self::new(x, y, right - x, bottom - y))
    }

    /// Copies the rectangle `part`, which both areas must contain, between rows of `channels` values
    /// per position: from those of `other` to those of this area.
    pub fn copy_from<T: Copy>(
        &self,
        values: &mut [T],
        other: &Self,
        source: &[T],
        part: &Self,
        channels: usize,
    ) {
        let at = |area: &Self, row: usize| {
            ((part.y + row - area.y) * area.width + part.x - area.x) * channels
        };
        let length = part.width * channels;
        for row in 0..part.height {
            let (to, from) = (at(self, row), at(other, row));
            values[to..to + length].copy_from_slice(&source[from..from + length]);
        }
    }
}

impl From<TileRect> for Area {
    /// A tile's place in the padded picture, in pixels.
    fn from(rect: TileRect) -> Self {
        let sides = [rect.x, rect.y, rect.width, rect.height];
        let [x, y, width, height] = sides.map(|side| side as usize);
        Self::new(x, y, width, height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latents_cover_pixels() {
        assert_eq!(Area::new(0, 16, 1, 16).in_latents(), Area::new(0, 1, 1, 1));
        assert_eq!(Area::new(15, 17, 2, 48).in_latents(), Area::new(0, 1, 2, 4));
        assert_eq!(Area::new(0, 1, 2, 4).in_pixels(), Area::new(0, 16, 32, 64));
    }

    #[test]
    fn areas_grow_within_bounds_and_intersect() {
        let bounds = Area::whole(10, 20);
        assert_eq!(
            Area::new(2, 3, 1, 1).grown(4, &bounds),
            Area::new(0, 0, 7, 8)
        );
        assert_eq!(
            Area::new(8, 18, 2, 2).grown(4, &bounds),
            Area::new(4, 14, 6, 6)
        );
        let (a, b) = (Area::new(0, 0, 5, 5), Area::new(3, 4, 9, 9));
        assert_eq!(a.intersection(&b), Some(Area::new(3, 4, 2, 1)));
        assert_eq!(a.intersection(&Area::new(5, 0, 1, 1)), None);
    }

    #[test]
    fn parts_are_copied_to_their_place() {
        let (to, from) = (Area::new(1, 0, 2, 2), Area::new(2, 1, 2, 1));
        let mut values = [0; 8];
        let part = to.intersection(&from).unwrap();
        to.copy_from(&mut values, &from, &[1, 2, 3, 4], &part, 2);
        assert_eq!(values, [0, 0, 0, 0, 0, 0, 1, 2]);
    }
}
