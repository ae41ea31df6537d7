//! The quality-dependent vectors of exact inference: per-channel gains and scale offsets,
//! one row per quality step, linearly interpolated between rows (codec-spec.md, Quality).

use std::collections::BTreeMap;

use crate::format::QUALITY_MAX;

/// A position between two rows of the quality tables.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowPosition {
    /// The lower row.
    pub row: usize,
    /// Weight of the next row, 0.0..1.0, a multiple of 2^-12.
    pub fraction: f32,
}

impl RowPosition {
    /// The position of a stored quality (0..=50000) among `rows` rows, in integers
    /// to 12 fractional bits (codec-spec.md, Quality).
    pub fn new(stored: u16, rows: usize) -> Self {
        let last = rows as u64 - 1;
        let position = u64::from(stored.min(QUALITY_MAX)) * last * 4096 / u64::from(QUALITY_MAX);
        let row = (position >> 12).min(last.saturating_sub(1));
        let steps = u16::try_from(position - (row << 12)).unwrap_or(4096);
        Self {
            row: usize::try_from(row).unwrap_or(0),
            fraction: f32::from(steps) / 4096.0,
        }
    }
}

/// The gains inside the transforms at one quality, by channel.
pub struct Gains {
    /// After the analysis transform's first layer at 1/8.
    pub analysis8: Vec<f32>,
    /// After its first layer at 1/16.
    pub analysis16: Vec<f32>,
    /// On the hyperprior's features.
    pub context: Vec<f32>,
    /// After the synthesis transform's first layer at 1/16.
    pub synthesis16: Vec<f32>,
    /// After its first layer at 1/8.
    pub synthesis8: Vec<f32>,
    /// Before its last layer, where the model has that.
    pub synthesis_out: Option<Vec<f32>>,
}

/// The quality tables of a model, by path, `[rows, channels]` each.
pub struct QualityTables {
    rows: usize,
    tables: BTreeMap<String, Vec<f32>>,
}

impl QualityTables {
    /// Tables of so many rows.
    pub fn new(rows: usize, tables: BTreeMap<String, Vec<f32>>) -> Self {
        Self { rows, tables }
    }

    /// The gains at a position.
    pub fn gains(&self, position: RowPosition) -> Gains {
        let at = |path: &str| self.at(path, position);
        let out = "quality.synthesis_out";
        Gains {
            analysis8: at("quality.analysis8"),
            analysis16: at("quality.analysis16"),
            context: at("quality.context"),
            synthesis16: at("quality.synthesis16"),
            synthesis8: at("quality.synthesis8"),
            synthesis_out: self.tables.contains_key(out).then(|| at(out)),
        }
    }

    /// Two rows of a table: that at a position and the next.
    fn ends(&self, path: &str, position: RowPosition) -> (&[f32], &[f32]) {
        let table = self.tables.get(path).map_or(&[][..], Vec::as_slice);
        let columns = table.len() / self.rows;
        let row = |row: usize| &table[row * columns..(row + 1) * columns];
        (row(position.row), row(position.row + 1))
    }

    /// A table's vector at a position.
    pub fn at(&self, path: &str, position: RowPosition) -> Vec<f32> {
        let (low, high) = self.ends(path, position);
        let ends = low.iter().zip(high);
        ends.map(|(a, b)| between(position.fraction, *a, *b))
            .collect()
    }

    /// The gain that an encoder divides by the quantization step with: its product with the
    /// `inverse` table's value runs linearly between rows. The two tables by themselves do not
    /// fit together there, because a product of two lines is not one.
    pub fn encoder_gain(&self, gain: &str, inverse: &str, position: RowPosition) -> Vec<f32> {
        let (gain_low, gain_high) = self.ends(gain, position);
        let (inverse_low, inverse_high) = self.ends(inverse, position);
        let low = gain_low.iter().zip(inverse_low);
        let high = gain_high.iter().zip(inverse_high);
        let t = position.fraction;
        let gain = |((gain_a, step_a), (gain_b, step_b)): ((&f32, &f32), (&f32, &f32))| {
            let step = between(t, *step_a, *step_b);
            match t {
                0.0 => *gain_a,
                1.0 => *gain_b,
                _ if step > 0.0 => between(t, gain_a * step_a, gain_b * step_b) / step,
                _ => between(t, *gain_a, *gain_b),
            }
        };
        low.zip(high).map(gain).collect()
    }
}

/// `t (b - a) + a`, each operation rounded: the normative interpolation.
fn between(t: f32, a: f32, b: f32) -> f32 {
    t * (b - a) + a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_cover_the_rows() {
        assert_eq!(
            RowPosition::new(0, 16),
            RowPosition {
                row: 0,
                fraction: 0.0
            }
        );
        assert_eq!(
            RowPosition::new(50_000, 16),
            RowPosition {
                row: 14,
                fraction: 1.0
            }
        );
        assert_eq!(
            RowPosition::new(25_000, 16),
            RowPosition {
                row: 7,
                fraction: 0.5
            }
        );
        assert_eq!(
            RowPosition::new(u16::MAX, 2),
            RowPosition {
                row: 0,
                fraction: 1.0
            }
        );
    }
}
