//! A grid of values, channels last.

use std::ops::Range;

/// `[height, width, channels]` values.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Values per position.
    pub channels: usize,
    /// `height * width * channels` values, channels fastest.
    pub values: Vec<f32>,
}

impl Grid {
    /// A grid of zeros.
    pub fn zeros(height: usize, width: usize, channels: usize) -> Self {
        Self {
            height,
            width,
            channels,
            values: vec![0.0; height * width * channels],
        }
    }

    /// The channels at row `y`, column `x`.
    pub fn at(&self, y: usize, x: usize) -> &[f32] {
        let start = (y * self.width + x) * self.channels;
        &self.values[start..start + self.channels]
    }

    /// Whole rows, `[rows, width, channels]`.
    ///
    /// # Panics
    /// When there are no such rows.
    pub fn rows(&self, rows: Range<usize>) -> &[f32] {
        let stride = self.width * self.channels;
        &self.values[rows.start * stride..rows.end * stride]
    }

    /// Whole rows, to write.
    ///
    /// # Panics
    /// When there are no such rows.
    pub fn rows_mut(&mut self, rows: Range<usize>) -> &mut [f32] {
        let stride = self.width * self.channels;
        &mut self.values[rows.start * stride..rows.end * stride]
    }

    /// A copy of `height` rows and `width` columns from row `y`, column `x`.
    pub fn crop(&self, y: usize, x: usize, height: usize, width: usize) -> Self {
        let mut out = Self::zeros(height, width, self.channels);
        out.paste_from(self, (y, x), (0, 0), (height, width));
        out
    }

    /// Copies a rectangle of `size` from `(y, x)` of `source` to `(y, x)` here.
    pub fn paste_from(
        &mut self,
        source: &Self,
        from: (usize, usize),
        to: (usize, usize),
        size: (usize, usize),
    ) {
        let c = self.channels;
        for row in 0..size.0 {
            let read = ((from.0 + row) * source.width + from.1) * c;
            let write = ((to.0 + row) * self.width + to.1) * c;
            self.values[write..write + size.1 * c]
                .copy_from_slice(&source.values[read..read + size.1 * c]);
        }
    }
}
