//! The layers that the transforms are made of. The same definition trains and
//! infers: [`Mode`] chooses between operations with gradients and exact kernels.

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};
use candle_nn::{Module, VarBuilder};

use super::config::LayerKind;
use super::ops::context::coded_layer;
use super::ops::exact::{ExactBlocks, ExactPointwise, ExactPointwiseAdd};
use super::ops::train::{self, Precision, TrainPointwise};
use super::ops::with_values;
use crate::kernels::{PackedBlock, PackedDepthwise, PackedPointwise};

/// How the network is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Exact kernels, no gradients (encoding and decoding).
    Exact,
    /// Fast approximate products, with gradients.
    Train,
}

/// Path component under which a layer's flat parameters are looked up.
pub(super) const FLAT: &str = "flat";

/// Reads a layer's parameters as one flat vector (see [`LayerKind::parts`] for its order).
pub(super) fn flat(vb: &VarBuilder, kind: LayerKind) -> Result<Tensor> {
    vb.get(kind.len(), FLAT)
}

/// A 1x1 convolution with bias.
pub struct Pointwise(PointwiseExec);

enum PointwiseExec {
    Exact(ExactPointwise),
    Train { params: Tensor, op: TrainPointwise },
}

impl Pointwise {
    /// Reads `inputs` to `outputs` channels from `vb`.
    ///
    /// # Errors
    /// When the weights are missing or of another size.
    pub fn new(vb: &VarBuilder, inputs: usize, outputs: usize, mode: &Mode) -> Result<Self> {
        Self::with_precision(vb, inputs, outputs, mode, Precision::Bf16)
    }

    /// As [`Pointwise::new`], trained in the given precision.
    ///
    /// # Errors
    /// When the weights are missing or of another size.
    pub fn with_precision(
        vb: &VarBuilder,
        inputs: usize,
        outputs: usize,
        mode: &Mode,
        precision: Precision,
    ) -> Result<Self> {
        let params = flat(vb, LayerKind::Pointwise { inputs, outputs })?;
        if *mode == Mode::Train {
            let op = TrainPointwise {
                inputs,
                outputs,
                precision,
                input_gradient: true,
            };
            return Ok(Self(PointwiseExec::Train { params, op }));
        }
        let weights = with_values([&params], |[values]| {
            let (weight, bias) = values.split_at(inputs * outputs);
            PackedPointwise::new(inputs, outputs, weight, bias)
        })?;
        Ok(Self(PointwiseExec::Exact(ExactPointwise::new(weights))))
    }

    /// The weights for the exact kernel.
    ///
    /// # Errors
    /// When the layer was made for training.
    pub(super) fn exact(&self) -> Result<&PackedPointwise> {
        match &self.0 {
            PointwiseExec::Exact(op) => Ok(op.weights()),
            PointwiseExec::Train { .. } => bail!("exact inference with layers for training"),
        }
    }

    /// The convolution of `x` plus `residual`.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn forward_add(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        match &self.0 {
            PointwiseExec::Exact(op) => {
                x.apply_op2_no_bwd(residual, &ExactPointwiseAdd(op.clone()))
            }
            PointwiseExec::Train { .. } => train::add(&self.forward(x)?, residual),
        }
    }

    /// The convolution of `x` in the output channels that a context step codes (see
    /// [`coded_layer`]), for training.
    ///
    /// # Errors
    /// When an operation fails, and when the layer was made for exact inference.
    pub(super) fn forward_coded(&self, step: usize, x: &Tensor) -> Result<Tensor> {
        match &self.0 {
            PointwiseExec::Exact(_) => bail!("training with layers for exact inference"),
            PointwiseExec::Train { params, op } => coded_layer(step, *op, x, params),
        }
    }

    /// Skips the gradient of the layer's input: for layers that read the picture.
    #[must_use]
    pub fn without_input_gradient(mut self) -> Self {
        if let PointwiseExec::Train { op, .. } = &mut self.0 {
            op.input_gradient = false;
        }
        self
    }
}

impl Module for Pointwise {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match &self.0 {
            PointwiseExec::Exact(op) => x.apply_op1_no_bwd(op),
            PointwiseExec::Train { params, op } => op.forward(x, params),
        }
    }
}

/// Depth-conv blocks one after another. A block is `x += W2 · dw3x3(act(W1 · x))`,
/// then `x += W4 · act(W3 · x)` (Jia et al., "Towards Practical Real-Time Neural
/// Video Compression", without normalization).
pub struct Blocks(BlocksExec);

enum BlocksExec {
    Exact(ExactBlocks),
    Train(Vec<Tensor>),
}

impl Blocks {
    /// Reads `count` blocks of `channels` channels named `0`, `1`, … under `vb`.
    ///
    /// # Errors
    /// When the weights are missing or of another size.
    pub fn new(vb: &VarBuilder, count: usize, channels: usize, mode: &Mode) -> Result<Self> {
        Self::read((0..count).map(|i| vb.pp(i)), channels, mode)
    }

    /// Reads the one block at `vb`.
    ///
    /// # Errors
    /// When the weights are missing or of another size.
    pub fn single(vb: VarBuilder, channels: usize, mode: &Mode) -> Result<Self> {
        Self::read([vb].into_iter(), channels, mode)
    }

    /// The weights for the exact kernel.
    ///
    /// # Errors
    /// When the layer was made for training.
    pub(super) fn exact(&self) -> Result<&[Arc<PackedBlock>]> {
        match &self.0 {
            BlocksExec::Exact(blocks) => Ok(blocks.weights()),
            BlocksExec::Train(_) => bail!("exact inference with layers for training"),
        }
    }

    fn read<'a>(
        builders: impl Iterator<Item = VarBuilder<'a>>,
        channels: usize,
        mode: &Mode,
    ) -> Result<Self> {
        let kind = LayerKind::Block { channels };
        let params = builders.map(|vb| flat(&vb, kind));
        if *mode == Mode::Train {
            return Ok(Self(BlocksExec::Train(params.collect::<Result<_>>()?)));
        }
        let pack = |params: Result<Tensor>| {
            let pack = |[values]: [&[f32]; 1]| Arc::new(pack_block(channels, kind, values));
            with_values([&params?], pack)
        };
        let blocks = params.map(pack).collect::<Result<_>>()?;
        Ok(Self(BlocksExec::Exact(ExactBlocks::new(blocks))))
    }
}

/// The exact kernel's form of a block's flat parameters.
pub(super) fn pack_block(c: usize, kind: LayerKind, values: &[f32]) -> PackedBlock {
    let mut rest = values;
    let mut parts = kind.parts().into_iter().map(|(_, shape)| {
        let (part, tail) = rest.split_at(shape.iter().product());
        rest = tail;
        part
    });
    let mut next = || parts.next().unwrap_or(&[]);
    PackedBlock {
        w1: PackedPointwise::new(c, c, next(), next()),
        dw: PackedDepthwise::new(c, next(), next()),
        w2: PackedPointwise::new(c, c, next(), next()),
        w3: PackedPointwise::new(c, 2 * c, next(), next()),
        w4: PackedPointwise::new(2 * c, c, next(), next()),
    }
}

impl Module for Blocks {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match &self.0 {
            BlocksExec::Exact(blocks) => x.apply_op1_no_bwd(blocks),
            BlocksExec::Train(params) => {
                let block = |x: Tensor, params| train::block(&x, params);
                params.iter().try_fold(x.clone(), block)
            }
        }
    }
}
