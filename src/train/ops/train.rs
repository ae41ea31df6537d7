//! Trainable operations with gradients of their own (candle's stock operations
//! are one thread and one pass over memory each), recorded on the thread's [`tape`].

use candle_core::{Result, Tensor};

use super::call::Call;
use super::tape::{Made, record};
use super::{composed, elementwise, with_values};
use crate::train::cuda::Kernel;
use crate::train::kernels::{self, Engine, PointwiseLayer, Shape};

/// `y = W x + b` with the flat parameters `W [n, k] | b [n]`.
#[derive(Debug, Clone, Copy)]
pub struct TrainPointwise {
    /// Sizes, and the precision of the products.
    pub layer: PointwiseLayer,
    /// Whether the input needs a gradient (the picture does not).
    pub input_gradient: bool,
}

impl TrainPointwise {
    /// The layer's output.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn forward(self, x: &Tensor, params: &Tensor) -> Result<Tensor> {
        if x.device().is_cuda() {
            return composed::pointwise(x, params, self);
        }
        let (b, h, w, _) = x.dims4()?;
        let mut y = kernels::unwritten(b * h * w * self.layer.outputs);
        with_values([x, params], |[x, params]| {
            self.layer.forward(Engine::best(), x, params, &mut y);
        })?;
        let made = Made::on_cpu(y, (b, h, w, self.layer.outputs));
        let (input, weights) = (x.clone(), params.clone());
        record([x, params], made, move |grad| {
            self.backward(&input, &weights, &grad)
        })
    }

    /// Gradients of input and parameters.
    fn backward(self, x: &Tensor, params: &Tensor, grad: &Tensor) -> Result<[Option<Tensor>; 2]> {
        let wanted = usize::from(self.input_gradient);
        let mut gx = kernels::unwritten(wanted * x.elem_count());
        let mut gp = kernels::unwritten(params.elem_count());
        with_values([x, params, grad], |[x, p, grad]| {
            let gx = self.input_gradient.then_some(&mut gx[..]);
            let engine = Engine::best();
            self.layer.backward(engine, x, grad, p, gx, &mut gp);
        })?;
        let gx = self
            .input_gradient
            .then(|| Made::on_cpu(gx, x.shape()).plain());
        Ok([gx, Some(Made::on_cpu(gp, params.shape()).plain())])
    }
}

/// A depth-conv block with flat parameters (see [`kernels::BlockLayout`]).
///
/// # Errors
/// When an operation fails.
pub fn block(x: &Tensor, params: &Tensor) -> Result<Tensor> {
    if x.device().is_cuda() {
        return composed::block(x, params);
    }
    let (_, h, w, c) = x.dims4()?;
    let (engine, shape) = (Engine::best(), Shape { h, w, c });
    let mut y = kernels::unwritten(x.elem_count());
    with_values([x, params], |[x, params]| {
        kernels::block_forward(engine, x, shape, params, &mut y);
    })?;
    let (input, weights) = (x.clone(), params.clone());
    record([x, params], Made::on_cpu(y, x.shape()), move |grad| {
        let mut gx = kernels::unwritten(input.elem_count());
        let mut gp = kernels::unwritten(weights.elem_count());
        with_values([&input, &weights, &grad], |[x, params, grad]| {
            kernels::block_backward(engine, x, grad, shape, params, &mut gx, &mut gp);
        })?;
        Ok([
            Some(Made::on_cpu(gx, input.shape()).plain()),
            Some(Made::on_cpu(gp, weights.shape()).plain()),
        ])
    })
}

/// `a + b`.
///
/// # Errors
/// When an operation fails.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let made = Call::new(Kernel::Add, a.shape()).make([a, b])?;
    record([a, b], made, |grad| Ok([Some(grad.clone()), Some(grad)]))
}

/// `a - b`.
///
/// # Errors
/// When an operation fails.
pub fn subtract(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let made = Call::new(Kernel::Subtract, a.shape()).make([a, b])?;
    record([a, b], made, |grad| {
        let negative = elementwise::affine(&grad, -1)?;
        Ok([Some(grad), Some(negative)])
    })
}

/// `a` and then `b` in the last dimension.
///
/// # Errors
/// When an operation fails.
pub fn join_channels(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (n, m) = (a.dim(3)?, b.dim(3)?);
    let made = Made::copy_of(&Tensor::cat(&[a.detach(), b.detach()], 3)?)?;
    record([a, b], made, move |grad| {
        let part = |start, len| grad.narrow(3, start, len)?.contiguous();
        Ok([Some(part(0, n)?), Some(part(n, m)?)])
    })
}

/// `y[b, h, w, c] = x[b, h, w, c] * g[b, c]`.
///
/// # Errors
/// When an operation fails.
pub fn scale_channels(x: &Tensor, g: &Tensor) -> Result<Tensor> {
    let made = elementwise::scale_channels(x.shape())?.make([x, g])?;
    let (input, gains) = (x.clone(), g.clone());
    record([x, g], made, move |grad| {
        let gx = elementwise::scale_channels(input.shape())?.run([&grad, &gains])?;
        Ok([Some(gx), Some(elementwise::sum_products(&grad, &input)?)])
    })
}

/// Bits of each sample's symbols: `(residual y - mean [b, ...], scale index [b, ...]) -> [b]`,
/// under the discretized Gaussian of the entropy tables.
///
/// # Errors
/// When an operation fails.
pub fn rate(residual: &Tensor, scale: &Tensor) -> Result<Tensor> {
    let bits = Call::new(Kernel::Rate, residual.shape());
    let made = elementwise::sample_sums(bits, [residual, scale])?;
    let (v, s) = (residual.clone(), scale.clone());
    record([residual, scale], made, move |grad| {
        let (gv, gs) = elementwise::rate_gradients(&v, &s)?;
        let scaled = |gradient| elementwise::scale_samples(&gradient, &grad);
        Ok([Some(scaled(gv)?), Some(scaled(gs)?)])
    })
}

/// The symbols that an encoder chooses for residuals at scale indices, where an error of one step is worth `weight`
/// bits; all of one shape. Without gradient.
///
/// # Errors
/// When an operation fails.
pub fn chosen_symbols(residual: &Tensor, scale: &Tensor, weight: &Tensor) -> Result<Tensor> {
    Call::like(Kernel::RateChoices, [residual, scale, weight])
}

/// Sum of squared differences of each sample: `(x̂ [b, ...], x [b, ...]) -> [b]`;
/// the second argument has no gradient.
///
/// # Errors
/// When an operation fails.
pub fn squared_error(reconstruction: &Tensor, original: &Tensor) -> Result<Tensor> {
    let errors = Call::new(Kernel::SquaredError, reconstruction.shape());
    let made = elementwise::sample_sums(errors, [reconstruction, original])?;
    let (a, t) = (reconstruction.clone(), original.clone());
    record([reconstruction], made, move |grad| {
        let difference = Call::like(Kernel::Subtract, [&a, &t])?;
        let slopes = elementwise::affine(&grad, 2)?;
        Ok([Some(elementwise::scale_samples(&difference, &slopes)?)])
    })
}

/// Straight-through rounding: `round(x)` forward, the identity backward.
///
/// # Errors
/// When an operation fails.
pub fn round_straight_through(x: &Tensor) -> Result<Tensor> {
    let made = Call::new(Kernel::RoundEven, x.shape()).make([x])?;
    record([x], made, |grad| Ok([Some(grad)]))
}

/// `values` in the place of `x`, straight-through: the gradient goes to `x` as it is.
///
/// # Errors
/// When an operation fails.
pub fn straight_through(x: &Tensor, values: &Tensor) -> Result<Tensor> {
    record([x], Made::copy_of(values)?, |grad| Ok([Some(grad)]))
}
