//! Where layers leave their parameters' gradients.
//!
//! candle adds every gradient to a fresh tensor of zeros; for ten million
//! parameters that is three passes over memory per step for nothing, so the
//! large layers write theirs here and the optimizer takes them out again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::TensorId;

/// Gradients by variable, shared between a network's layers and its optimizer.
#[derive(Debug, Clone, Default)]
pub struct GradientSink(Arc<Mutex<HashMap<TensorId, Vec<f32>>>>);

impl GradientSink {
    /// Adds a gradient of the variable `id`.
    pub fn add(&self, id: TensorId, gradient: Vec<f32>) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match map.get_mut(&id) {
            Some(sum) => sum.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g),
            None => {
                map.insert(id, gradient);
            }
        }
    }

    /// Takes out the gradient of the variable `id`, if a layer left one.
    #[must_use]
    pub fn take(&self, id: TensorId) -> Option<Vec<f32>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id)
    }
}
