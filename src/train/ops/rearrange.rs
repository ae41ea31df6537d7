//! Space-to-depth and depth-to-space: pure data movement, each the other's gradient.

use candle_core::{Result, Shape, Tensor, bail};

use super::call::Call;
use super::tape::record;
use crate::train::cuda::{Kernel, Size};

/// `[b, h, w, c]` to `[b, h/s, w/s, s*s*c]`, channels ordered (dy, dx, c).
///
/// # Errors
/// When the sides are no multiples of `s`.
pub fn space_to_depth(x: &Tensor, s: usize) -> Result<Tensor> {
    record([x], to_depth(x.shape(), s)?.make([x])?, move |grad| {
        Ok([Some(to_space(grad.shape(), s)?.run([&grad])?)])
    })
}

/// `[b, h, w, s*s*c]` to `[b, h*s, w*s, c]`: the inverse of [`space_to_depth`].
///
/// # Errors
/// When the channels are no multiple of `s * s`.
pub fn depth_to_space(x: &Tensor, s: usize) -> Result<Tensor> {
    record([x], to_space(x.shape(), s)?.make([x])?, move |grad| {
        Ok([Some(to_depth(grad.shape(), s)?.run([&grad])?)])
    })
}

fn to_depth(x: &Shape, s: usize) -> Result<Call> {
    let (b, h, w, c) = x.dims4()?;
    if h % s != 0 || w % s != 0 {
        bail!("space-to-depth by {s} of {h}x{w}");
    }
    let (size, shape) = (Size::new(h, w, c), (b, h / s, w / s, s * s * c));
    Ok(Call::new(Kernel::SpaceToDepth { size, cell: s }, shape))
}

fn to_space(x: &Shape, s: usize) -> Result<Call> {
    let (b, h, w, channels) = x.dims4()?;
    if channels % (s * s) != 0 {
        bail!("depth-to-space by {s} of {channels} channels");
    }
    let size = Size::new(h * s, w * s, channels / (s * s));
    let shape = (b, size.height, size.width, size.channels);
    Ok(Call::new(Kernel::DepthToSpace { size, cell: s }, shape))
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
