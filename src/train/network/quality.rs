//! Quality-dependent vectors: per-channel gains and scale offsets, one row per
//! quality step, linearly interpolated between rows, with gradients.

use candle_core::{Device, Result, Tensor};
use candle_nn::VarBuilder;

use super::flat::FLAT;
use crate::network::config::{LayerKind, LayerSpec, ModelConfig, Unit};
use crate::network::gains::RowPosition;
use crate::train::ops::tape::through_candle;

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

/// All quality tables of a model.
pub struct QualityTables {
    rows: usize,
    tables: Vec<(String, Unit, Tensor)>,
}

impl QualityTables {
    /// Reads the tables (paths `quality.*` of the configuration's layers).
    ///
    /// # Errors
    /// When a table is missing or of another size.
    pub fn new(config: &ModelConfig, vb: &VarBuilder) -> Result<Self> {
        let mut tables = Vec::new();
        for LayerSpec { path, kind, .. } in config.layers() {
            if let LayerKind::Table { unit, .. } = kind {
                let table = vb.pp(&path).get(kind.len(), FLAT)?;
                tables.push((path, unit, table));
            }
        }
        Ok(Self {
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
        let weights = row_weights(positions, self.rows, device)?;
        self.gather(|path| {
            let (_, unit, table) = self.find(path)?;
            through_candle([table], |[table]| {
                let table = table.reshape((self.rows, ()))?;
                weighted_rows(&weights, &from_trained(&table, *unit)?)
            })
        })
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
