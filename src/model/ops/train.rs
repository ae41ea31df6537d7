//! Trainable operations with gradients of their own (candle's stock operations
//! are one thread and one pass over memory each).

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};

use super::sink::GradientSink;
use super::{dims4, values, with_values};
use super::{elementwise, rate};
use crate::kernels::train;

/// Precision of a trainable product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// bf16 operands, f32 sums.
    Bf16,
    /// f32 throughout: the linear path, whose errors reach the picture directly.
    F32,
}

/// `y = W x + b` with the flat parameters `W [n, k] | b [n]` as second argument.
#[derive(Debug, Clone)]
pub struct TrainPointwise {
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Precision of the products.
    pub precision: Precision,
    /// Whether the input needs a gradient (the picture does not).
    pub input_gradient: bool,
    /// Where the gradient of the parameters goes.
    pub sink: GradientSink,
}

impl CustomOp2 for TrainPointwise {
    fn name(&self) -> &'static str {
        "train-pointwise"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        p: &CpuStorage,
        lp: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (b, h, w, _) = dims4(lx)?;
        let pixels = b * h * w;
        let mut y = vec![0f32; pixels * self.outputs];
        let forward = match self.precision {
            Precision::Bf16 => train::pointwise_forward,
            Precision::F32 => train::pointwise_forward_f32,
        };
        forward(
            values(x, lx)?,
            pixels,
            self.inputs,
            self.outputs,
            values(p, lp)?,
            &mut y,
        );
        Ok((CpuStorage::F32(y), Shape::from((b, h, w, self.outputs))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        p: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let pixels = x.elem_count() / self.inputs;
        let mut gx = vec![
            0f32;
            if self.input_gradient {
                x.elem_count()
            } else {
                0
            }
        ];
        let mut gp = vec![0f32; p.elem_count()];
        let backward = match self.precision {
            Precision::Bf16 => train::pointwise_backward,
            Precision::F32 => train::pointwise_backward_f32,
        };
        with_values([x, p, grad], |[x, p, grad]| {
            let gx = self.input_gradient.then_some(&mut gx[..]);
            backward(x, grad, pixels, self.inputs, self.outputs, p, gx, &mut gp);
        })?;
        let gx = self
            .input_gradient
            .then(|| Tensor::from_vec(gx, x.shape(), x.device()))
            .transpose()?;
        self.sink.add(p.id(), gp);
        Ok((gx, None))
    }
}

/// Depth-conv blocks one after another. The inputs of the later blocks are kept
/// for the backward pass, so that candle sees (and sums gradients for) one operation.
pub struct TrainBlocks {
    /// Flat parameters of each block.
    pub params: Vec<Tensor>,
    /// Where the gradients of the parameters go.
    pub sink: GradientSink,
    /// Inputs of the second and later blocks, from the forward pass.
    pub inputs: Mutex<Vec<Vec<f32>>>,
}

impl CustomOp1 for TrainBlocks {
    fn name(&self) -> &'static str {
        "train-blocks"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout) -> Result<(CpuStorage, Shape)> {
        let (b, h, w, c) = dims4(lx)?;
        let mut inputs: Vec<Vec<f32>> = Vec::with_capacity(self.params.len());
        for params in &self.params {
            let mut y = vec![0f32; b * h * w * c];
            let x = inputs.last().map_or(values(x, lx)?, Vec::as_slice);
            with_values([params], |[params]| {
                train::block_forward(x, b, h, w, c, params, &mut y)
            })?;
            inputs.push(y);
        }
        let y = inputs.pop().unwrap_or(values(x, lx)?.to_vec());
        *self.inputs.lock().unwrap_or_else(PoisonError::into_inner) = inputs;
        Ok((CpuStorage::F32(y), lx.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (b, h, w, c) = x.dims4()?;
        let inputs =
            std::mem::take(&mut *self.inputs.lock().unwrap_or_else(PoisonError::into_inner));
        let mut gy = with_values([grad], |[grad]| grad.to_vec())?;
        let mut gx = vec![0f32; gy.len()];
        for (i, params) in self.params.iter().enumerate().rev() {
            let mut gp = vec![0f32; params.elem_count()];
            with_values([x, params], |[x, params]| {
                let x = if i == 0 { x } else { &inputs[i - 1] };
                train::block_backward(x, &gy, b, h, w, c, params, &mut gx, &mut gp);
            })?;
            self.sink.add(params.id(), gp);
            std::mem::swap(&mut gx, &mut gy);
        }
        Ok(Some(Tensor::from_vec(gy, x.shape(), x.device())?))
    }
}

/// `y[b, h, w, c] = x[b, h, w, c] * g[b, c]`.
#[derive(Debug, Clone, Copy)]
pub struct ScaleChannels;

impl CustomOp2 for ScaleChannels {
    fn name(&self) -> &'static str {
        "scale-channels"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        g: &CpuStorage,
        lg: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (b, _, _, c) = dims4(lx)?;
        let (x, g) = (values(x, lx)?, values(g, lg)?);
        let mut y = vec![0f32; x.len()];
        elementwise::scale_channels(x, g, b, c, &mut y);
        Ok((CpuStorage::F32(y), lx.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        g: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (b, _, _, c) = x.dims4()?;
        let mut gx = vec![0f32; x.elem_count()];
        let mut gg = vec![0f32; g.elem_count()];
        with_values([x, g, grad], |[x, g, grad]| {
            elementwise::scale_channels(grad, g, b, c, &mut gx);
            elementwise::sum_products(grad, x, b, c, &mut gg);
        })?;
        Ok((
            Some(Tensor::from_vec(gx, x.shape(), x.device())?),
            Some(Tensor::from_vec(gg, g.shape(), g.device())?),
        ))
    }
}

/// `y[b, h, w, c] = 8 * x[b, h, w, c] + o[b, c]`: a network's output as a scale index.
#[derive(Debug, Clone, Copy)]
pub struct ScaleIndex;

impl CustomOp2 for ScaleIndex {
    fn name(&self) -> &'static str {
        "scale-index"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        o: &CpuStorage,
        lo: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (b, _, _, c) = dims4(lx)?;
        let (x, o) = (values(x, lx)?, values(o, lo)?);
        let mut y = vec![0f32; x.len()];
        elementwise::scale_index(x, o, b, c, &mut y);
        Ok((CpuStorage::F32(y), lx.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        o: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (b, _, _, c) = x.dims4()?;
        let mut gx = vec![0f32; x.elem_count()];
        let mut go = vec![0f32; o.elem_count()];
        with_values([grad], |[grad]| {
            elementwise::scale(grad, 8.0, &mut gx);
            elementwise::sum_channels(grad, b, c, &mut go);
        })?;
        Ok((
            Some(Tensor::from_vec(gx, x.shape(), x.device())?),
            Some(Tensor::from_vec(go, o.shape(), o.device())?),
        ))
    }
}

/// Bits of each sample's symbols: `(residual y - mean [b, ...], scale index [b, ...]) -> [b]`,
/// under the discretized Gaussian of the entropy tables.
#[derive(Debug, Clone, Copy)]
pub struct Rate;

impl CustomOp2 for Rate {
    fn name(&self) -> &'static str {
        "rate"
    }

    fn cpu_fwd(
        &self,
        v: &CpuStorage,
        lv: &Layout,
        s: &CpuStorage,
        ls: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let b = lv.dims()[0];
        let mut bits = vec![0f32; b];
        rate::forward(values(v, lv)?, values(s, ls)?, b, &mut bits);
        Ok((CpuStorage::F32(bits), Shape::from(b)))
    }

    fn bwd(
        &self,
        v: &Tensor,
        s: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let mut gv = vec![0f32; v.elem_count()];
        let mut gs = vec![0f32; s.elem_count()];
        with_values([v, s, grad], |[v, s, grad]| {
            rate::backward(v, s, grad, &mut gv, &mut gs)
        })?;
        Ok((
            Some(Tensor::from_vec(gv, v.shape(), v.device())?),
            Some(Tensor::from_vec(gs, s.shape(), s.device())?),
        ))
    }
}

/// Sum of squared differences of each sample: `(x̂ [b, ...], x [b, ...]) -> [b]`;
/// the second argument has no gradient.
#[derive(Debug, Clone, Copy)]
pub struct SquaredError;

impl CustomOp2 for SquaredError {
    fn name(&self) -> &'static str {
        "squared-error"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        la: &Layout,
        t: &CpuStorage,
        lt: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let b = la.dims()[0];
        let mut sums = vec![0f32; b];
        elementwise::squared_error(values(a, la)?, values(t, lt)?, b, &mut sums);
        Ok((CpuStorage::F32(sums), Shape::from(b)))
    }

    fn bwd(
        &self,
        a: &Tensor,
        t: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let mut ga = vec![0f32; a.elem_count()];
        with_values([a, t, grad], |[a, t, grad]| {
            elementwise::squared_error_backward(a, t, grad, &mut ga)
        })?;
        Ok((Some(Tensor::from_vec(ga, a.shape(), a.device())?), None))
    }
}

/// Straight-through rounding: `round(x)` forward, the identity backward.
#[derive(Debug, Clone, Copy)]
pub struct RoundStraightThrough;

impl CustomOp1 for RoundStraightThrough {
    fn name(&self) -> &'static str {
        "round-straight-through"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout) -> Result<(CpuStorage, Shape)> {
        let rounded = values(x, lx)?.iter().map(|v| v.round_ties_even()).collect();
        Ok((CpuStorage::F32(rounded), lx.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(grad.clone()))
    }
}
