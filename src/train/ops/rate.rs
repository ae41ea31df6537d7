//! The rate term: bits of a symbol under a zero-mean Gaussian integrated over
//! one quantization step, the continuous form of the integer tables.
//!
//! A scale index s stands for the table floor(s), whose scale is
//! `SIGMA_MIN * exp(LOG_STEP * floor(s))`; in training the scale follows s
//! smoothly, half an index lower so that both agree on average.

use candle_core::{Result, Shape, Tensor};

use super::call::{Call, OnCpu};
use crate::network::scales::{LOG_STEP, SCALE_LEVELS, SIGMA_MIN};
use crate::train::kernels::{Scales, chosen_symbols, rate_bits, rate_gradients};

const SCALES: Scales = Scales {
    log_step: LOG_STEP as f32,
    inverse_least: (1.0 / SIGMA_MIN) as f32,
    last: SCALE_LEVELS as f32 - 0.001,
};

/// Bits of each residual, of tensors of the given shape: `(residuals, scale indices)`.
pub(super) fn bits_call(residuals: &Shape) -> Call {
    let on_cpu: OnCpu = |inputs, _, out| rate_bits(SCALES, inputs[0], inputs[1], out);
    let sizes = [residuals.elem_count(), 0, 0, 0, 0];
    Call::new("rate", on_cpu, sizes, residuals)
}

/// The symbols that an encoder chooses: `(residuals, scale indices, bits that an error of one step is worth)`.
pub(super) fn choices_call(residuals: &Shape) -> Call {
    let on_cpu: OnCpu =
        |inputs, _, out| chosen_symbols(SCALES, inputs[0], inputs[1], inputs[2], out);
    let sizes = [residuals.elem_count(), 0, 0, 0, 0];
    Call::new("rate_choices", on_cpu, sizes, residuals)
}

/// Gradients of the bits with respect to residuals and scale indices.
pub(super) fn bits_gradients(v: &Tensor, s: &Tensor) -> Result<(Tensor, Tensor)> {
    let on_cpu: OnCpu = |inputs, [n, ..], out| {
        let (gv, gs) = out.split_at_mut(n);
        rate_gradients(SCALES, inputs[0], inputs[1], gv, gs);
    };
    let n = v.elem_count();
    let call = Call::new(
        "rate_gradients",
        on_cpu,
        [n, 0, 0, 0, 0],
        &Shape::from((2, n)),
    );
    let both = call.run([v, s])?;
    Ok((
        both.get(0)?.reshape(v.shape())?,
        both.get(1)?.reshape(s.shape())?,
    ))
}
