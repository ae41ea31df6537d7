//! Exact inference (codec-spec.md, Arithmetic): the kernels of [`crate::kernels`]
//! as candle operations without gradient, on one picture `[1, h, w, c]`.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, bail};

use super::{dims4, values};
use crate::kernels::{PackedBlock, PackedPointwise, block, pointwise};

/// A 1x1 convolution, optionally followed by the activation.
pub struct ExactPointwise {
    /// Packed weights.
    pub weights: Arc<PackedPointwise>,
    /// Output channels.
    pub outputs: usize,
}

impl CustomOp1 for ExactPointwise {
    fn name(&self) -> &'static str {
        "exact-pointwise"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (b, h, w, _) = dims4(layout)?;
        let mut out = vec![0f32; b * h * w * self.outputs];
        pointwise(
            values(storage, layout)?,
            &self.weights,
            false,
            None,
            &mut out,
        );
        Ok((CpuStorage::F32(out), Shape::from((b, h, w, self.outputs))))
    }
}

/// A depth-conv block, fused and cache blocked.
pub struct ExactBlock(pub Arc<PackedBlock>);

impl CustomOp1 for ExactBlock {
    fn name(&self) -> &'static str {
        "exact-block"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (b, h, w, c) = dims4(layout)?;
        if b != 1 {
            bail!("exact inference takes one picture at a time, got {b}");
        }
        let mut out = vec![0f32; h * w * c];
        block(values(storage, layout)?, h, w, &self.0, &mut out);
        Ok((CpuStorage::F32(out), Shape::from((b, h, w, c))))
    }
}
