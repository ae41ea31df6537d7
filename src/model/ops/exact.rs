//! Exact inference (codec-spec.md, Arithmetic): the kernels of [`crate::kernels`]
//! as candle operations without gradient, on one picture `[1, h, w, c]`.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, bail};

use super::{dims4, values};
use crate::kernels::{PackedBlock, PackedPointwise, block, pointwise};

/// A 1x1 convolution.
#[derive(Clone)]
pub struct ExactPointwise(pub Arc<PackedPointwise>);

impl CustomOp1 for ExactPointwise {
    fn name(&self) -> &'static str {
        "exact-pointwise"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (b, h, w, _) = dims4(layout)?;
        let mut out = vec![0f32; b * h * w * self.0.outputs()];
        pointwise(values(storage, layout)?, &self.0, false, None, &mut out);
        Ok((
            CpuStorage::F32(out),
            Shape::from((b, h, w, self.0.outputs())),
        ))
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
        let (b, h, w, _) = dims4(lx)?;
        let residual = values(residual, lr)?;
        let mut out = vec![0f32; b * h * w * self.0.0.outputs()];
        if residual.len() != out.len() {
            bail!("cannot add {} values to {}", residual.len(), out.len());
        }
        pointwise(values(x, lx)?, &self.0.0, false, Some(residual), &mut out);
        Ok((
            CpuStorage::F32(out),
            Shape::from((b, h, w, self.0.0.outputs())),
        ))
    }
}

/// Depth-conv blocks one after another, each fused and cache blocked.
pub struct ExactBlocks(pub Vec<Arc<PackedBlock>>);

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
        let mut spare = vec![0f32; if self.0.len() > 1 { out.len() } else { 0 }];
        match self.0.split_first() {
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
}
