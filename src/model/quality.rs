//! Quality-dependent vectors: per-channel gains and scale offsets, one row per
//! quality step, linearly interpolated between rows.

use candle_core::{Device, Result, Tensor};
use candle_nn::VarBuilder;

use super::config::{LayerKind, LayerSpec, ModelConfig, Unit};
use super::layers::{FLAT, Mode};
use super::ops::tape::through_candle;

/// A position between two rows of the quality tables.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowPosition {
    /// The lower row.
    pub row: usize,
    /// Weight of the next row, 0.0..1.0, a multiple of 2^-12.
    pub fraction: f32,
}

/// Largest stored quality (quality 100).
pub const QUALITY_MAX: u16 = 50_000;

impl RowPosition {
    /// The position of a stored quality (0..=50000) among `rows` rows, in integers
    /// to 12 fractional bits (codec-spec.md, Quality).
    #[must_use]
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

/// The tables at one quality per sample, each `[batch, channels]`.
pub struct Gains {
    /// After the analysis transform's first layer at 1/8.
    pub analysis8: Tensor,
    /// After its first layer at 1/16.
    pub analysis16: Tensor,
    /// Normalized latent to quantization steps: the inverse quantization step.
    pub latent_gain: Tensor,
    /// Quantization steps to normalized latent: the quantization step.
    pub latent_inverse_gain: Tensor,
    /// Added to the context model's scale index.
    pub latent_scale: Tensor,
    /// Normalized hyper-latent to quantization steps.
    pub hyper_gain: Tensor,
    /// Quantization steps to normalized hyper-latent.
    pub hyper_inverse_gain: Tensor,
    /// Scale index of each hyper-latent channel.
    pub hyper_scale: Tensor,
    /// On the hyperprior's features.
    pub context: Tensor,
    /// After the synthesis transform's first layer at 1/16.
    pub synthesis16: Tensor,
    /// After its first layer at 1/8.
    pub synthesis8: Tensor,
    /// Before its last layer, where the model has that.
    pub synthesis_out: Option<Tensor>,
}

impl Gains {
    /// The same on another device.
    ///
    /// # Errors
    /// When they cannot be copied.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        Ok(Self {
            analysis8: self.analysis8.to_device(device)?,
            analysis16: self.analysis16.to_device(device)?,
            latent_gain: self.latent_gain.to_device(device)?,
            latent_inverse_gain: self.latent_inverse_gain.to_device(device)?,
            latent_scale: self.latent_scale.to_device(device)?,
            hyper_gain: self.hyper_gain.to_device(device)?,
            hyper_inverse_gain: self.hyper_inverse_gain.to_device(device)?,
            hyper_scale: self.hyper_scale.to_device(device)?,
            context: self.context.to_device(device)?,
            synthesis16: self.synthesis16.to_device(device)?,
            synthesis8: self.synthesis8.to_device(device)?,
            synthesis_out: (self.synthesis_out.as_ref())
                .map(|gain| gain.to_device(device))
                .transpose()?,
        })
    }
}

/// All quality tables of a model.
pub struct QualityTables {
    exact: bool,
    rows: usize,
    tables: Vec<(String, Unit, Tensor)>,
}

impl QualityTables {
    /// Reads the tables (paths `quality.*` of the configuration's layers).
    ///
    /// # Errors
    /// When a table is missing or of another size.
    pub fn new(config: &ModelConfig, vb: &VarBuilder, mode: &Mode) -> Result<Self> {
        let mut tables = Vec::new();
        for LayerSpec { path, kind, .. } in config.layers() {
            if let LayerKind::Table { unit, .. } = kind {
                let table = vb.pp(&path).get(kind.len(), FLAT)?;
                tables.push((path, unit, table));
            }
        }
        Ok(Self {
            exact: matches!(mode, Mode::Exact),
            rows: config.quality_rows,
            tables,
        })
    }

    fn gather(&self, table: impl Fn(&str) -> Result<Tensor>) -> Result<Gains> {
        Ok(Gains {
            analysis8: table("quality.analysis8")?,
            analysis16: table("quality.analysis16")?,
            latent_gain: table("quality.latent_gain")?,
            latent_inverse_gain: table("quality.latent_inverse_gain")?,
            latent_scale: table("quality.latent_scale")?,
            hyper_gain: table("quality.hyper_gain")?,
            hyper_inverse_gain: table("quality.hyper_inverse_gain")?,
            hyper_scale: table("quality.hyper_scale")?,
            context: table("quality.context")?,
            synthesis16: table("quality.synthesis16")?,
            synthesis8: table("quality.synthesis8")?,
            synthesis_out: (self.find("quality.synthesis_out").is_ok())
                .then(|| table("quality.synthesis_out"))
                .transpose()?,
        })
    }

    fn find(&self, path: &str) -> Result<&(String, Unit, Tensor)> {
        let found = self.tables.iter().find(|(name, ..)| name == path);
        found.ok_or_else(|| candle_core::Error::Msg(format!("no table {path}")))
    }

    /// The vectors at each sample's position.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn at(&self, positions: &[RowPosition], device: &Device) -> Result<Gains> {
        if self.exact {
            return self.gather(|path| self.interpolate_exactly(path, positions, device));
        }
        let weights = row_weights(positions, self.rows, device)?;
        self.gather(|path| {
            let (_, unit, table) = self.find(path)?;
            through_candle([table], |[table]| {
                let table = table.reshape((self.rows, ()))?;
                weighted_rows(&weights, &from_trained(&table, *unit)?)
            })
        })
    }

    /// The gain that an encoder divides by the quantization step with: its product with the
    /// `inverse` table's value runs linearly between rows. The two tables by themselves do not
    /// fit together there, because a product of two lines is not one.
    ///
    /// # Errors
    /// When a table is missing.
    pub fn encoder_gain(
        &self,
        gain: &str,
        inverse: &str,
        position: RowPosition,
    ) -> Result<Vec<f32>> {
        let row = |path: &str, row: usize| {
            let table = self.find(path)?.2.reshape((self.rows, ()))?;
            table.get(row)?.to_vec1::<f32>()
        };
        let ends = [position.row, position.row + 1];
        let [gain_low, gain_high] = ends.map(|end| row(gain, end));
        let [inverse_low, inverse_high] = ends.map(|end| row(inverse, end));
        let low = gain_low?.into_iter().zip(inverse_low?);
        let high = gain_high?.into_iter().zip(inverse_high?);
        let between = |a: f32, b: f32| position.fraction.mul_add(b - a, a);
        let gain = |((gain_a, step_a), (gain_b, step_b)): ((f32, f32), (f32, f32))| {
            let step = between(step_a, step_b);
            match position.fraction {
                0.0 => gain_a,
                1.0 => gain_b,
                _ if step > 0.0 => between(gain_a * step_a, gain_b * step_b) / step,
                _ => between(gain_a, gain_b),
            }
        };
        Ok(low.zip(high).map(gain).collect())
    }

    /// `a + t (b - a)` as one fused multiply-add: the normative interpolation.
    fn interpolate_exactly(
        &self,
        path: &str,
        positions: &[RowPosition],
        device: &Device,
    ) -> Result<Tensor> {
        let table = self.find(path)?.2.reshape((self.rows, ()))?;
        let columns = table.dim(1)?;
        let mut out = Vec::with_capacity(positions.len() * columns);
        for position in positions {
            let low = table.get(position.row)?.to_vec1::<f32>()?;
            let high = table.get(position.row + 1)?.to_vec1::<f32>()?;
            out.extend(
                low.iter()
                    .zip(&high)
                    .map(|(a, b)| position.fraction.mul_add(b - a, *a)),
            );
        }
        Tensor::from_vec(out, (positions.len(), columns), device)
    }
}

/// `weights` `[batch, rows]` times `table` `[rows, columns]`, in binary32 on every device: a
/// GPU's matrix product would take whatever precision the one before it asked for.
fn weighted_rows(weights: &Tensor, table: &Tensor) -> Result<Tensor> {
    let products = weights.unsqueeze(2)?.broadcast_mul(&table.unsqueeze(0)?)?;
    products.sum(1)
}

/// `[batch, rows]` interpolation weights.
fn row_weights(positions: &[RowPosition], rows: usize, device: &Device) -> Result<Tensor> {
    let mut weights = vec![0f32; positions.len() * rows];
    for (weights, position) in weights.chunks_exact_mut(rows).zip(positions) {
        weights[position.row] = 1.0 - position.fraction;
        weights[position.row + 1] = position.fraction;
    }
    Tensor::from_vec(weights, (positions.len(), rows), device)
}

/// A table as the network uses it, from the form that is trained.
fn from_trained(table: &Tensor, unit: Unit) -> Result<Tensor> {
    match unit {
        Unit::Gain => Ok(table.clone()),
        Unit::PositiveGain => table.exp(),
        Unit::ScaleIndex => table.affine(8.0, 0.0),
    }
}

impl Unit {
    /// A stored value in the form that is trained.
    #[must_use]
    pub fn to_trained(self, stored: f32) -> f32 {
        match self {
            Self::Gain => stored,
            Self::PositiveGain => stored.max(f32::MIN_POSITIVE).ln(),
            Self::ScaleIndex => stored / 8.0,
        }
    }

    /// A trained value in the form that is stored.
    #[must_use]
    pub fn to_stored(self, trained: f32) -> f32 {
        match self {
            Self::Gain => trained,
            Self::PositiveGain => trained.exp(),
            Self::ScaleIndex => trained * 8.0,
        }
    }
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
