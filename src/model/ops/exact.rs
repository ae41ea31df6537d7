//! Exact inference (codec-spec.md, Arithmetic): the kernels of [`crate::kernels`]
//! as candle operations without gradient, on one picture `[1, h, w, c]`.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, bail};

#[cfg(feature = "cuda")]
use super::exact_gpu::{GpuBlock, GpuPointwise, Kept};
use super::{dims4, values};
use crate::kernels::{PackedBlock, PackedPointwise, block, pointwise};

/// A 1x1 convolution.
#[derive(Clone)]
pub struct ExactPointwise {
    weights: Arc<PackedPointwise>,
    #[cfg(feature = "cuda")]
    on_gpu: Kept<GpuPointwise>,
}

impl ExactPointwise {
    /// The convolution with `weights`.
    pub fn new(weights: PackedPointwise) -> Self {
        Self {
            weights: Arc::new(weights),
            #[cfg(feature = "cuda")]
            on_gpu: Kept::default(),
        }
    }

    /// The weights.
    pub fn weights(&self) -> &PackedPointwise {
        &self.weights
    }

    fn cpu(
        &self,
        (x, lx): (&CpuStorage, &Layout),
        residual: Option<&[f32]>,
    ) -> Result<(CpuStorage, Shape)> {
        let (b, h, w, _) = dims4(lx)?;
        let outputs = self.weights.outputs();
        let mut out = vec![0f32; b * h * w * outputs];
        if residual.is_some_and(|residual| residual.len() != out.len()) {
            bail!("cannot add values to {} others", out.len());
        }
        pointwise(values(x, lx)?, &self.weights, false, residual, &mut out);
        Ok((CpuStorage::F32(out), Shape::from((b, h, w, outputs))))
    }

    #[cfg(feature = "cuda")]
    fn gpu(
        &self,
        x: (&candle_core::CudaStorage, &Layout),
        residual: Option<(&candle_core::CudaStorage, &Layout)>,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let (b, h, w, _) = dims4(x.1)?;
        let device = candle_core::backend::BackendStorage::device(x.0);
        let upload = || GpuPointwise::new(device, &self.weights);
        let out = self.on_gpu.get(upload)?.forward(x, residual)?;
        Ok((out, Shape::from((b, h, w, self.weights.outputs()))))
    }
}

impl CustomOp1 for ExactPointwise {
    fn name(&self) -> &'static str {
        "exact-pointwise"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout) -> Result<(CpuStorage, Shape)> {
        self.cpu((x, lx), None)
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        lx: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        self.gpu((x, lx), None)
    }
}

/// A 1x1 convolution added to the second argument, in one pass.
pub struct ExactPointwiseAdd(pub ExactPointwise);

impl CustomOp2 for ExactPointwiseAdd {
    fn name(&self) -> &'static str {
        "exact-pointwise-add"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        residual: &CpuStorage,
        lr: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.0.cpu((x, lx), Some(values(residual, lr)?))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        lx: &Layout,
        residual: &candle_core::CudaStorage,
        lr: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        self.0.gpu((x, lx), Some((residual, lr)))
    }
}

/// Depth-conv blocks one after another, each fused and cache blocked.
pub struct ExactBlocks {
    blocks: Vec<Arc<PackedBlock>>,
    #[cfg(feature = "cuda")]
    on_gpu: Kept<Vec<GpuBlock>>,
}

impl ExactBlocks {
    /// The blocks with these weights.
    pub fn new(blocks: Vec<Arc<PackedBlock>>) -> Self {
        Self {
            blocks,
            #[cfg(feature = "cuda")]
            on_gpu: Kept::default(),
        }
    }

    /// The weights.
    pub fn weights(&self) -> &[Arc<PackedBlock>] {
        &self.blocks
    }
}

impl CustomOp1 for ExactBlocks {
    fn name(&self) -> &'static str {
        "exact-blocks"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (b, h, w, c) = dims4(layout)?;
        if b != 1 {
            bail!("exact inference takes one picture at a time, got {b}");
        }
        let input = values(storage, layout)?;
        let mut out = vec![0f32; h * w * c];
        // Two buffers take turns: a fresh one per block would cost as much as its arithmetic.
        let mut spare = vec![0f32; if self.blocks.len() > 1 { out.len() } else { 0 }];
        match self.blocks.split_first() {
            Some((first, rest)) => {
                block(input, h, w, first, &mut out);
                for weights in rest {
                    std::mem::swap(&mut out, &mut spare);
                    block(&spare, h, w, weights, &mut out);
                }
            }
            None => out.copy_from_slice(input),
        }
        Ok((CpuStorage::F32(out), Shape::from((b, h, w, c))))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let (b, h, w, _) = dims4(layout)?;
        if b != 1 {
            bail!("exact inference takes one picture at a time, got {b}");
        }
        let device = candle_core::backend::BackendStorage::device(x);
        let upload = |weights: &Arc<PackedBlock>| GpuBlock::new(device, weights);
        let blocks = self
            .on_gpu
            .get(|| self.blocks.iter().map(upload).collect())?;
        let mut out = candle_core::backend::BackendStorage::try_clone(x, layout)?;
        let dense = Layout::contiguous(layout.shape());
        let mut layout = layout;
        for block in blocks.iter() {
            out = block.forward((&out, layout), h, w)?;
            layout = &dense;
        }
        Ok((out, layout.shape().clone()))
    }
}
