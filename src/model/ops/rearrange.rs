//! Space-to-depth and depth-to-space: pure data movement, each the other's gradient.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::call::{Call, OnCpu};
use super::{dims4, values};
use crate::kernels;

/// `[b, h, w, c]` to `[b, h/s, w/s, s*s*c]`, channels ordered (dy, dx, c).
#[derive(Debug, Clone, Copy)]
pub struct SpaceToDepth(pub usize);

/// `[b, h, w, s*s*c]` to `[b, h*s, w*s, c]`: the inverse of [`SpaceToDepth`].
#[derive(Debug, Clone, Copy)]
pub struct DepthToSpace(pub usize);

/// Rearranges by `s` (see [`SpaceToDepth`]).
///
/// # Errors
/// When the sides are no multiples of `s`.
pub fn space_to_depth(x: &Tensor, s: usize) -> Result<Tensor> {
    x.apply_op1(SpaceToDepth(s))
}

/// Rearranges back by `s` (see [`DepthToSpace`]).
///
/// # Errors
/// When the channels are no multiple of `s * s`.
pub fn depth_to_space(x: &Tensor, s: usize) -> Result<Tensor> {
    x.apply_op1(DepthToSpace(s))
}

impl CustomOp1 for SpaceToDepth {
    fn name(&self) -> &'static str {
        "space-to-depth"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (b, h, w, c) = dims4(layout)?;
        let s = self.0;
        if h % s != 0 || w % s != 0 {
            bail!("space-to-depth by {s} of {h}x{w}");
        }
        let x = values(storage, layout)?;
        let mut out = vec![0f32; x.len()];
        let picture = (h * w * c).max(1);
        for (x, out) in x.chunks(picture).zip(out.chunks_mut(picture)) {
            kernels::space_to_depth(x, h, w, c, s, out);
        }
        Ok((
            CpuStorage::F32(out),
            Shape::from((b, h / s, w / s, s * s * c)),
        ))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let (b, h, w, c) = dims4(layout)?;
        let s = self.0;
        if h % s != 0 || w % s != 0 {
            bail!("space-to-depth by {s} of {h}x{w}");
        }
        let shape = Shape::from((b, h / s, w / s, s * s * c));
        on_gpu("space_to_depth", [b * h * w * c, w, c, s, h], shape).cuda([(storage, layout)])
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(
            grad.contiguous()?.apply_op1_no_bwd(&DepthToSpace(self.0))?,
        ))
    }
}

impl CustomOp1 for DepthToSpace {
    fn name(&self) -> &'static str {
        "depth-to-space"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (b, h, w, channels) = dims4(layout)?;
        let s = self.0;
        if channels % (s * s) != 0 {
            bail!("depth-to-space by {s} of {channels} channels");
        }
        let c = channels / (s * s);
        let x = values(storage, layout)?;
        let mut out = vec![0f32; x.len()];
        let picture = (h * w * channels).max(1);
        for (x, out) in x.chunks(picture).zip(out.chunks_mut(picture)) {
            kernels::depth_to_space(x, h * s, w * s, c, s, out);
        }
        Ok((CpuStorage::F32(out), Shape::from((b, h * s, w * s, c))))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let (b, h, w, channels) = dims4(layout)?;
        let s = self.0;
        if channels % (s * s) != 0 {
            bail!("depth-to-space by {s} of {channels} channels");
        }
        let c = channels / (s * s);
        let shape = Shape::from((b, h * s, w * s, c));
        let sizes = [shape.elem_count(), w * s, c, s, h * s];
        on_gpu("depth_to_space", sizes, shape).cuda([(storage, layout)])
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(
            grad.contiguous()?.apply_op1_no_bwd(&SpaceToDepth(self.0))?,
        ))
    }
}

/// Every second row and column of one picture `[1, h, w, c]` (sides even), from row and
/// column `phase` on: `[1, h/2, w/2, c]`.
///
/// # Errors
/// When the operation fails.
pub fn gather_phase(x: &Tensor, (row, column): (usize, usize)) -> Result<Tensor> {
    let on_cpu: OnCpu = |inputs, [_, width, c, row, column], out| {
        let rows = inputs[0].chunks_exact(width * c).skip(row).step_by(2);
        let positions = rows.flat_map(|row| row.chunks_exact(c).skip(column).step_by(2));
        for (out, position) in out.chunks_exact_mut(c).zip(positions) {
            out.copy_from_slice(position);
        }
    };
    let (_, h, w, c) = x.dims4()?;
    let shape = Shape::from((1, h / 2, w / 2, c));
    let sizes = [shape.elem_count(), w, c, row, column];
    Call::new("gather_phase", on_cpu, sizes, &shape).run([x])
}

/// A kernel that runs on the GPU alone; `cpu_fwd` has its own.
#[cfg(feature = "cuda")]
fn on_gpu(kernel: &'static str, sizes: [usize; 5], shape: Shape) -> Call {
    Call::new(kernel, |_, _, _| {}, sizes, &shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn rearranges_in_the_documented_order_and_back() -> Result<()> {
        let x = Tensor::arange(0f32, 2. * 4. * 6. * 3., &Device::Cpu)?.reshape((2, 4, 6, 3))?;
        let y = space_to_depth(&x, 2)?;
        assert_eq!(y.dims(), [2, 2, 3, 12]);
        // Position (0, 1) of picture 0: pixels (0, 2), (0, 3), (1, 2), (1, 3).
        let first: Vec<f32> = y.get(0)?.get(0)?.get(1)?.to_vec1()?;
        assert_eq!(
            first,
            [6., 7., 8., 9., 10., 11., 24., 25., 26., 27., 28., 29.]
        );
        assert_eq!(
            depth_to_space(&y, 2)?.flatten_all()?.to_vec1::<f32>()?,
            x.flatten_all()?.to_vec1::<f32>()?
        );
        Ok(())
    }
}
