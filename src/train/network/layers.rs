//! The layers that the transforms are made of, with gradients.

use candle_core::{Result, Tensor};
use candle_nn::{Module, VarBuilder};

use super::flat::FLAT;
use crate::network::config::LayerKind;
use crate::train::kernels::Precision;
use crate::train::ops::context::coded_layer;
use crate::train::ops::train::{self, TrainPointwise};

/// Reads a layer's parameters as one flat vector (see [`LayerKind::parts`] for its order).
fn flat(vb: &VarBuilder, kind: LayerKind) -> Result<Tensor> {
    vb.get(kind.len(), FLAT)
}

/// A 1x1 convolution with bias.
pub struct Pointwise {
    params: Tensor,
    op: TrainPointwise,
}

impl Pointwise {
    /// Reads `inputs` to `outputs` channels from `vb`.
    ///
    /// # Errors
    /// When the weights are missing or of another size.
    pub fn new(vb: &VarBuilder, inputs: usize, outputs: usize) -> Result<Self> {
        Self::with_precision(vb, inputs, outputs, Precision::Bf16)
    }

    /// As [`Pointwise::new`], trained in the given precision.
    ///
    /// # Errors
    /// When the weights are missing or of another size.
    pub fn with_precision(
        vb: &VarBuilder,
        inputs: usize,
        outputs: usize,
        precision: Precision,
    ) -> Result<Self> {
        let params = flat(vb, LayerKind::Pointwise { inputs, outputs })?;
        let op = TrainPointwise {
            inputs,
            outputs,
            precision,
            input_gradient: true,
        };
        Ok(Self { params, op })
    }

    /// The convolution of `x` plus `residual`.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn forward_add(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        train::add(&self.forward(x)?, residual)
    }

    /// The convolution of `x` in the output channels that a context step codes (see
    /// [`coded_layer`]).
    ///
    /// # Errors
    /// When an operation fails.
    pub fn forward_coded(&self, step: usize, x: &Tensor) -> Result<Tensor> {
        coded_layer(step, self.op, x, &self.params)
    }

    /// Skips the gradient of the layer's input: for layers that read the picture.
    #[must_use]
    pub fn without_input_gradient(mut self) -> Self {
        self.op.input_gradient = false;
        self
    }
}

impl Module for Pointwise {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.op.forward(x, &self.params)
    }
}

/// Depth-conv blocks one after another. A block is `x += W2 · dw3x3(act(W1 · x))`,
/// then `x += W4 · act(W3 · x)` (Jia et al., "Towards Practical Real-Time Neural
/// Video Compression", without normalization).
pub struct Blocks(Vec<Tensor>);

impl Blocks {
    /// Reads `count` blocks of `channels` channels named `0`, `1`, … under `vb`.
    ///
    /// # Errors
    /// When the weights are missing or of another size.
    pub fn new(vb: &VarBuilder, count: usize, channels: usize) -> Result<Self> {
        let kind = LayerKind::Block { channels };
        let params = (0..count).map(|i| flat(&vb.pp(i), kind));
        Ok(Self(params.collect::<Result<_>>()?))
    }

    /// Reads the one block at `vb`.
    ///
    /// # Errors
    /// When the weights are missing or of another size.
    pub fn single(vb: &VarBuilder, channels: usize) -> Result<Self> {
        Ok(Self(vec![flat(vb, LayerKind::Block { channels })?]))
    }
}

impl Module for Blocks {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let block = |x: Tensor, params| train::block(&x, params);
        self.0.iter().try_fold(x.clone(), block)
    }
}
