//! How parameters move at a step: what the optimizers of the CPU and of a GPU share.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::Tensor;

use super::config::TrainConfig;
use crate::network::config::LayerSpec;

/// Flat gradients by layer path, on the device that trains.
pub type Gradients = BTreeMap<String, Tensor>;

/// Decay of the mean of gradients, but for matrices.
pub(super) const BETA1: f32 = 0.9;
/// Decay of the mean of their squares.
pub(super) const BETA2: f32 = 0.999;
/// Root mean square of a matrix' step per learning rate, about that of AdamW's steps.
const MATRIX_RMS: f32 = 0.2;

/// Moments and running average of one layer's parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// Running mean of the gradient.
    pub first: Vec<f32>,
    /// Running mean of its square; zero for matrices, which need none.
    pub second: Vec<f32>,
    /// Running average of the parameters.
    pub average: Vec<f32>,
}

/// What the steps since the last report did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Report {
    /// Sum of the gradients' norms before clipping.
    pub norms: f64,
    /// Steps whose gradient was not finite.
    pub skipped: u64,
}

/// A range of a layer's flat parameters that moves by one rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub range: Range<usize>,
    /// Rows and columns of a matrix; `None` for anything else.
    pub matrix: Option<(usize, usize)>,
}

/// The parts of a layer. Depthwise taps are no matrix, and the linear path's
/// whitened coordinates have the pace that they need already.
pub fn parts(layer: &LayerSpec) -> Vec<Part> {
    let mut start = 0;
    let part = |(name, shape): (&str, Vec<usize>)| {
        let range = start..start + shape.iter().product::<usize>();
        start = range.end;
        let is_matrix = name.ends_with("weight") && name != "depthwise.weight";
        let matrix = match shape[..] {
            [rows, columns] if is_matrix && !layer.path.ends_with(".linear") => {
                Some((rows, columns))
            }
            _ => None,
        };
        Part { range, matrix }
    };
    layer.kind.parts().into_iter().map(part).collect()
}

/// One layer's scalars at one step.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Learning rate.
    pub rate: f32,
    /// Length of a matrix' step per learning rate, for a matrix of one row or column.
    pub matrix_scale: f32,
    /// Learning rate times weight decay.
    pub decay: f32,
    /// Gradients are scaled down to this norm.
    pub clip_norm: f32,
    /// Corrections of the young first and second moments.
    pub corrections: [f32; 2],
    /// Decay of the running average.
    pub average: f32,
}

impl Rule {
    /// The rule of a layer whose learning rate is `rate`, at the update of this number.
    pub fn new(config: &TrainConfig, rate: f64, updates: u64) -> Self {
        let t = updates.min(1 << 30) as i32;
        // Early averages forget the initial weights quickly.
        let average = config
            .ema_decay
            .min((1.0 + updates as f64) / (10.0 + updates as f64));
        Self {
            rate: rate as f32,
            matrix_scale: MATRIX_RMS * config.matrix_rate as f32,
            decay: (rate * config.weight_decay) as f32,
            clip_norm: config.clip_norm as f32,
            corrections: [BETA1, BETA2].map(|beta| 1.0 / (1.0 - beta.powi(t))),
            average: average as f32,
        }
    }

    /// Learning rate of a matrix: orthogonal directions are as long as its larger side.
    pub fn matrix_rate(&self, rows: usize, columns: usize) -> f32 {
        self.rate * self.matrix_scale * (rows.max(columns) as f32).sqrt()
    }

    /// Factor that clips gradients of the norm `norm`.
    pub fn gradient_scale(&self, norm: f64) -> f32 {
        let clip = f64::from(self.clip_norm);
        (clip / norm.max(clip)) as f32
    }
}
