//! Repeatable values for the tests of the operations.

use candle_core::{Device, Result, Shape, Tensor};

/// Values in -2.5..2.55.
pub(super) fn values(count: usize, seed: usize) -> Vec<f32> {
    let value = |i: usize| ((i * 7919 + seed * 104_729) % 1009) as f32 / 200.0 - 2.5;
    (0..count).map(value).collect()
}

/// A tensor of such values.
pub(super) fn tensor(shape: impl Into<Shape>, seed: usize) -> Result<Tensor> {
    let shape = shape.into();
    let values = values(shape.elem_count(), seed);
    Tensor::from_vec(values, shape, &Device::Cpu)
}
