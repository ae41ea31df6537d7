//! The layers that the transforms are made of, with gradients.

use std::collections::BTreeMap;

use candle_core::{DType, Result, Tensor, Var, bail};

use crate::network::config::{LayerKind, ModelConfig};
use crate::train::kernels::{PointwiseLayer, Precision};
use crate::train::ops::context::coded_layer;
use crate::train::ops::train::{self, TrainPointwise};

/// What layers are made from.
#[derive(Clone, Copy)]
pub struct Loader<'a> {
    /// Which layers there are, and their sizes.
    pub config: &'a ModelConfig,
    /// Each layer's parameters as one flat vector (see [`LayerKind::parts`] for its order), by path.
    pub variables: &'a BTreeMap<String, Var>,
}

impl Loader<'_> {
    /// The flat parameters of the layer at `path`.
    ///
    /// # Errors
    /// When there is none.
    pub fn parameters(&self, path: &str) -> Result<Tensor> {
        match self.variables.get(path) {
            Some(var) => Ok(var.as_tensor().clone()),
            None => bail!("no layer {path}"),
        }
    }
}

/// A 1x1 convolution with bias.
pub struct Pointwise {
    params: Tensor,
    op: TrainPointwise,
}

impl Pointwise {
    /// The layer at `path`.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(from: &Loader<'_>, path: &str) -> Result<Self> {
        let spec = from.config.layer(path);
        let Some((LayerKind::Pointwise { inputs, outputs }, is_wide)) =
            spec.map(|spec| (spec.kind, spec.is_wide()))
        else {
            bail!("no pointwise layer {path}");
        };
        let layer = PointwiseLayer {
            inputs,
            outputs,
            precision: match is_wide {
                true => Precision::F32,
                false => Precision::Bf16,
            },
        };
        let op = TrainPointwise {
            layer,
            input_gradient: true,
        };
        let params = from.parameters(path)?;
        Ok(Self { params, op })
    }

    /// The convolution of `x`.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.op.forward(x, &self.params)
    }

    /// The convolution of `x` plus `residual`.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn forward_add(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        train::add(&self.forward(x)?, residual)
    }

    /// The layer with transposed weights and no bias, whose output is this one's gradient of the input where its input
    /// is that of the output. Itself without gradient.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn transposed(&self) -> Result<Self> {
        let PointwiseLayer {
            inputs, outputs, ..
        } = self.op.layer;
        let weights = self.params.detach().narrow(0, 0, inputs * outputs)?;
        let weights = weights.reshape((outputs, inputs))?.t()?.flatten_all()?;
        let biases = Tensor::zeros(inputs, DType::F32, weights.device())?;
        let layer = PointwiseLayer {
            inputs: outputs,
            outputs: inputs,
            precision: Precision::Bf16,
        };
        Ok(Self {
            params: Tensor::cat(&[weights, biases], 0)?,
            op: TrainPointwise { layer, ..self.op },
        })
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
    pub fn without_input_gradient(mut self) -> Self {
        self.op.input_gradient = false;
        self
    }
}

/// Depth-conv blocks one after another. A block is `x += W2 · dw3x3(act(W1 · x))`,
/// then `x += W4 · act(W3 · x)` (Jia et al., "Towards Practical Real-Time Neural
/// Video Compression", without normalization).
pub struct Blocks(Vec<Tensor>);

impl Blocks {
    /// The `count` blocks named `0`, `1`, … under `path`.
    ///
    /// # Errors
    /// When one is missing.
    pub fn new(from: &Loader<'_>, path: &str, count: usize) -> Result<Self> {
        let params = (0..count).map(|i| from.parameters(&format!("{path}.{i}")));
        Ok(Self(params.collect::<Result<_>>()?))
    }

    /// The one block at `path`.
    ///
    /// # Errors
    /// When there is none.
    pub fn single(from: &Loader<'_>, path: &str) -> Result<Self> {
        Ok(Self(vec![from.parameters(path)?]))
    }

    /// The blocks of `x`.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let block = |x: Tensor, params| train::block(&x, params);
        self.0.iter().try_fold(x.clone(), block)
    }
}
