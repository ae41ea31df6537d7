//! The trainable layers as matrix products and elementwise operations, forward and
//! backward, and the optimizer's iterations: how they run on a GPU, where the CPU has one
//! fused kernel for each.
//!
//! Everything is written with tensors, so the tests hold it against those kernels on the CPU.

use candle_core::{Result, Shape, Tensor};

use super::call::Call;
use super::elementwise::{depthwise_parameter_gradient, size, sum_rows};
use super::tape::{Made, record};
use super::train::TrainPointwise;
use crate::train::cuda::{Kernel, Size};
use crate::train::kernels::{BlockLayout, PointwiseLayer, Precision};
#[cfg(any(feature = "cuda", test))]
use crate::train::kernels::{POLYNOMIAL, STEPS};

/// `a b` in a precision: on a GPU TF32 operands, or binary32 throughout.
pub fn product(precision: Precision, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    candle_core::cuda::set_gemm_reduced_precision_f32(precision == Precision::Bf16);
    let _ = precision;
    a.matmul(b)
}

/// Parts of a layer's flat parameters, without gradient.
struct Parts<'a>(&'a Tensor);

impl Parts<'_> {
    fn vector(&self, range: std::ops::Range<usize>) -> Result<Tensor> {
        self.0.detach().narrow(0, range.start, range.len())
    }

    /// `[range.len() / columns, columns]`
    fn matrix(&self, range: std::ops::Range<usize>, columns: usize) -> Result<Tensor> {
        self.vector(range)?.reshape(((), columns))
    }
}

/// The pixels of `[b, h, w, c]` as rows, without gradient.
fn pixels(x: &Tensor) -> Result<Tensor> {
    let channels = x.dim(3)?;
    x.detach().contiguous()?.reshape(((), channels))
}

/// `y = W x + b` (see [`TrainPointwise`]).
///
/// # Errors
/// When an operation fails.
pub fn pointwise(x: &Tensor, params: &Tensor, op: TrainPointwise) -> Result<Tensor> {
    let (b, h, w, inputs) = x.dims4()?;
    let PointwiseLayer {
        outputs, precision, ..
    } = op.layer;
    let rows = pixels(x)?;
    let weight = Parts(params).matrix(0..outputs * inputs, inputs)?;
    let bias = Parts(params).vector(outputs * inputs..params.elem_count())?;
    let output = product(precision, &rows, &weight.t()?)?;
    let output = Call::like(Kernel::AddBias(outputs), [&output, &bias])?;
    let output = Made::copy_of(&output.reshape((b, h, w, outputs))?)?;
    record([x, params], output, move |grad| {
        let grad = pixels(&grad)?;
        let gw = product(precision, &grad.t()?, &rows)?.flatten_all()?;
        let gp = Tensor::cat(&[gw, sum_rows(&grad)?], 0)?;
        if !op.input_gradient {
            return Ok([None, Some(gp)]);
        }
        let gx = product(precision, &grad, &weight)?;
        Ok([Some(gx.reshape((b, h, w, inputs))?), Some(gp)])
    })
}

/// A depth-conv block's weights and what its forward pass leaves for the backward pass.
struct Block {
    w1: Tensor,
    b1: Tensor,
    depthwise: Tensor,
    w2: Tensor,
    b2: Tensor,
    w3: Tensor,
    b3: Tensor,
    w4: Tensor,
    b4: Tensor,
    /// `[b, h, w, c]`
    shape: Shape,
    /// `[h, w, c]`
    size: Size,
}

/// Inner tensors of a block, rows of pixels.
struct Inner {
    /// The input.
    x: Tensor,
    /// `W1 x`
    expanded: Tensor,
    /// `act(W1 x + b1)`, `[b, h, w, c]`
    hidden: Tensor,
    /// The depthwise convolution's output.
    spatial: Tensor,
    /// `x + W2 spatial + b2`
    middle: Tensor,
    /// `W3 middle`
    widened: Tensor,
    /// `act(W3 middle + b3)`
    wide: Tensor,
}

const FAST: Precision = Precision::Bf16;

impl Block {
    fn new(params: &Tensor, shape: &Shape) -> Result<Self> {
        let c = shape.dims4()?.3;
        let (parts, layout) = (Parts(params), BlockLayout::new(c));
        Ok(Self {
            w1: parts.matrix(layout.w1, c)?,
            b1: parts.vector(layout.b1)?,
            depthwise: parts.vector(layout.dw.start..layout.bd.end)?,
            w2: parts.matrix(layout.w2, c)?,
            b2: parts.vector(layout.b2)?,
            w3: parts.matrix(layout.w3, c)?,
            b3: parts.vector(layout.b3)?,
            w4: parts.matrix(layout.w4, 2 * c)?,
            b4: parts.vector(layout.b4)?,
            shape: shape.clone(),
            size: size(shape)?,
        })
    }

    fn forward(&self, x: Tensor) -> Result<(Tensor, Inner)> {
        let expanded = product(FAST, &x, &self.w1.t()?)?;
        let (c, size) = (self.size.channels, self.size);
        let hidden = Call::like(Kernel::BiasActivate(c), [&expanded, &self.b1])?;
        let hidden = hidden.reshape(&self.shape)?;
        let spatial = Call::like(Kernel::Depthwise(size), [&hidden, &self.depthwise])?;
        let spatial = pixels(&spatial)?;
        let add = Kernel::AddBiasAndResidual(c);
        let middle = product(FAST, &spatial, &self.w2.t()?)?;
        let middle = Call::like(add, [&middle, &self.b2, &x])?;
        let widened = product(FAST, &middle, &self.w3.t()?)?;
        let wide = Call::like(Kernel::BiasActivate(2 * c), [&widened, &self.b3])?;
        let y = product(FAST, &wide, &self.w4.t()?)?;
        let y = Call::like(add, [&y, &self.b4, &middle])?;
        let inner = Inner {
            x,
            expanded,
            hidden,
            spatial,
            middle,
            widened,
            wide,
        };
        Ok((y, inner))
    }

    /// Gradients of the input and of the flat parameters from that of the output.
    fn backward(&self, inner: &Inner, gy: &Tensor) -> Result<(Tensor, Tensor)> {
        let of_weights =
            |grad: &Tensor, input: &Tensor| product(FAST, &grad.t()?, input)?.flatten_all();
        let (c, size) = (self.size.channels, self.size);
        let (gw4, gb4) = (of_weights(gy, &inner.wide)?, sum_rows(gy)?);
        let grad = product(FAST, gy, &self.w4)?;
        let activation = Kernel::BiasActivateGradient(2 * c);
        let grad = Call::like(activation, [&inner.widened, &self.b3, &grad])?;
        let (gw3, gb3) = (of_weights(&grad, &inner.middle)?, sum_rows(&grad)?);
        let middle = (gy + product(FAST, &grad, &self.w3)?)?;
        let (gw2, gb2) = (of_weights(&middle, &inner.spatial)?, sum_rows(&middle)?);
        let spatial = product(FAST, &middle, &self.w2)?.reshape(&self.shape)?;
        let of_depthwise = depthwise_parameter_gradient(&inner.hidden, &spatial)?;
        let turned = Kernel::DepthwiseTurned(size);
        let grad = pixels(&Call::like(turned, [&spatial, &self.depthwise])?)?;
        let activation = Kernel::BiasActivateGradient(c);
        let grad = Call::like(activation, [&inner.expanded, &self.b1, &grad])?;
        let (gw1, gb1) = (of_weights(&grad, &inner.x)?, sum_rows(&grad)?);
        let gx = (middle + product(FAST, &grad, &self.w1)?)?;
        // In the order of the block's layout; the depthwise bias follows its taps.
        let parts = [gw1, gb1, of_depthwise, gw2, gb2, gw3, gb3, gw4, gb4];
        Ok((gx, Tensor::cat(&parts, 0)?))
    }
}

/// A depth-conv block with flat parameters (see [`BlockLayout`]).
///
/// # Errors
/// When an operation fails.
pub fn block(x: &Tensor, params: &Tensor) -> Result<Tensor> {
    let block = Block::new(params, x.shape())?;
    let (output, inner) = block.forward(pixels(x)?)?;
    let output = Made::copy_of(&output.reshape(x.shape())?)?;
    record([x, params], output, move |grad| {
        let (gx, gp) = block.backward(&inner, &pixels(&grad)?)?;
        Ok([Some(gx.reshape(&block.shape)?), Some(gp)])
    })
}

/// [`orthogonalize`](crate::train::kernels::orthogonalize) of a stack of matrices
/// `[count, rows, columns]`, `rows <= columns`: many small products are better done at once.
///
/// # Errors
/// When an operation fails.
#[cfg(any(feature = "cuda", test))]
pub fn orthogonalize_stack(x: &Tensor) -> Result<Tensor> {
    let [a, b, c] = POLYNOMIAL.map(f64::from);
    let squares = x.sqr()?.sum_keepdim((1, 2))?;
    let mut x = x.broadcast_div(&(squares.sqrt()? + 1e-30)?)?;
    for _ in 0..STEPS {
        let gram = product(FAST, &x, &x.t()?)?;
        let polynomial = ((product(FAST, &gram, &gram)? * c)? + (gram * b)?)?;
        x = ((&x * a)? + product(FAST, &polynomial, &x)?)?;
    }
    Ok(x)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::super::tape::recorded;
    use super::super::train;
    use super::*;
    use crate::train::kernels::{Engine, orthogonalize};

    /// Numbers in -1..1.
    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761) | 1;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    fn tensor(shape: (usize, usize, usize, usize), seed: u32) -> Result<Tensor> {
        let (b, h, w, c) = shape;
        Tensor::from_vec(numbers(b * h * w * c, seed), shape, &Device::Cpu)
    }

    /// Relative distance of two tensors.
    fn distance(a: &Tensor, b: &Tensor) -> Result<f32> {
        let norm = |x: &Tensor| x.sqr()?.sum_all()?.sqrt()?.to_scalar::<f32>();
        Ok(norm(&(a - b)?)? / norm(b)?.max(1e-20))
    }

    /// Output and gradients of input and parameters, of the distance to a random tensor.
    fn run(
        x: &Tensor,
        params: &Tensor,
        layer: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<[Tensor; 3]> {
        let (x, params) = (Var::from_tensor(x)?, Var::from_tensor(params)?);
        let (y, tape) = recorded(|| {
            let y = layer(x.as_tensor(), params.as_tensor())?;
            train::squared_error(&y, &tensor(y.dims4()?, 99)?).map(|loss| [y, loss])
        })?;
        let [y, loss] = y;
        let mut gradients = tape.backward(&loss, 1.0)?;
        let [gx, gp] = [x.id(), params.id()].map(|id| gradients.take(id));
        let depends = "the loss depends on it";
        Ok([y.detach(), gx.expect(depends), gp.expect(depends)])
    }

    fn assert_same(composed: [Tensor; 3], fused: [Tensor; 3]) -> Result<()> {
        for (name, (a, b)) in ["output", "input", "parameters"]
            .iter()
            .zip(composed.iter().zip(&fused))
        {
            // The fused kernels round operands to bf16.
            let found = distance(&a.flatten_all()?, &b.flatten_all()?)?;
            assert!(found < 2e-2, "{name}: {found}");
        }
        Ok(())
    }

    #[test]
    fn pointwise_agrees_with_the_fused_kernel() -> Result<()> {
        let (k, n) = (24, 40);
        let x = tensor((2, 5, 7, k), 1)?;
        let params = Tensor::new(numbers(n * k + n, 2), &Device::Cpu)?;
        let op = TrainPointwise {
            layer: PointwiseLayer {
                inputs: k,
                outputs: n,
                precision: Precision::Bf16,
            },
            input_gradient: true,
        };
        assert_same(
            run(&x, &params, |x, p| pointwise(x, p, op))?,
            run(&x, &params, |x, p| op.forward(x, p))?,
        )
    }

    #[test]
    fn block_agrees_with_the_fused_kernel() -> Result<()> {
        let c = 24;
        let x = tensor((3, 6, 5, c), 3)?;
        let params = numbers(crate::train::kernels::block_param_len(c), 4);
        let params = (Tensor::new(params, &Device::Cpu)? * 0.3)?;
        assert_same(run(&x, &params, block)?, run(&x, &params, train::block)?)
    }
    #[test]
    fn a_stack_comes_out_like_its_matrices() -> Result<()> {
        let (count, rows, columns) = (3, 24, 40);
        let values = numbers(count * rows * columns, 5);
        let stack = Tensor::from_slice(&values, (count, rows, columns), &Device::Cpu)?;
        let stack = orthogonalize_stack(&stack)?
            .flatten_all()?
            .to_vec1::<f32>()?;
        let one = rows * columns;
        for (mut want, found) in values.chunks(one).map(<[_]>::to_vec).zip(stack.chunks(one)) {
            orthogonalize(Engine::best(), &mut want, rows, columns);
            for (want, found) in want.iter().zip(found) {
                // The other rounds operands to bf16.
                assert!((want - found).abs() < 0.02, "{want} {found}");
            }
        }
        Ok(())
    }
}
