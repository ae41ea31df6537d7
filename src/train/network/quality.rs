//! Quality-dependent vectors: per-channel gains and scale offsets, one row per
//! quality step, linearly interpolated between rows, with gradients.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor, bail};

use super::layers::Loader;
use crate::network::config::{LayerKind, LayerSpec, Unit};
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

/// All quality tables of a model, by path, with what their values mean.
pub struct QualityTables {
    rows: usize,
    tables: BTreeMap<String, (Unit, Tensor)>,
}

impl QualityTables {
    /// Takes the tables (paths `quality.*` of the configuration's layers).
    ///
    /// # Errors
    /// When a table is missing.
    pub fn new(from: &Loader<'_>) -> Result<Self> {
        let mut tables = BTreeMap::new();
        for LayerSpec { path, kind, .. } in from.config.layers() {
            if let LayerKind::Table { unit, .. } = kind {
                let table = from.parameters(&path)?;
                tables.insert(path, (unit, table));
            }
        }
        Ok(Self {
            rows: from.config.quality_rows,
            tables,
        })
    }

    /// The vectors at each sample's position.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn at(&self, positions: &[RowPosition], device: &Device) -> Result<Gains> {
        let weights = row_weights(positions, self.rows, device)?;
        let find = |name: &str| self.tables.get(&format!("quality.{name}"));
        let vector = |(unit, table): &(Unit, Tensor)| {
            through_candle([table], |[table]| {
                let table = table.reshape((self.rows, ()))?;
                weighted_rows(&weights, &from_trained(&table, *unit)?)
            })
        };
        let at = |name: &str| match find(name) {
            Some(table) => vector(table),
            None => bail!("no table {name}"),
        };
        Ok(Gains {
            analysis8: at("analysis8")?,
            analysis16: at("analysis16")?,
            latent_gain: at("latent_gain")?,
            latent_inverse_gain: at("latent_inverse_gain")?,
            latent_scale: at("latent_scale")?,
            hyper_gain: at("hyper_gain")?,
            hyper_inverse_gain: at("hyper_inverse_gain")?,
            hyper_scale: at("hyper_scale")?,
            context: at("context")?,
            synthesis16: at("synthesis16")?,
            synthesis8: at("synthesis8")?,
            synthesis_out: find("synthesis_out").map(vector).transpose()?,
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
    pub fn to_trained(self, stored: f32) -> f32 {
        match self {
            Self::Gain => stored,
            Self::PositiveGain => stored.max(f32::MIN_POSITIVE).ln(),
            Self::ScaleIndex => stored / 8.0,
        }
    }

    /// A trained value in the form that is stored.
    pub fn to_stored(self, trained: f32) -> f32 {
        match self {
            Self::Gain => trained,
            Self::PositiveGain => trained.exp(),
            Self::ScaleIndex => trained * 8.0,
        }
    }
}
