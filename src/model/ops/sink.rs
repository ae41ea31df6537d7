//! Where layers leave their parameters' gradients.
//!
//! candle adds every gradient to a fresh tensor of zeros; for ten million
//! parameters that is three passes over memory per step for nothing, so the
//! large layers write theirs here and the optimizer takes them out again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Result, Tensor, TensorId};

/// Gradients by variable, shared between a network's layers and its optimizer.
#[derive(Debug, Clone, Default)]
pub struct GradientSink(Arc<Mutex<HashMap<TensorId, Tensor>>>);

impl GradientSink {
    /// Adds a gradient of the variable `id`.
    ///
    /// # Errors
    /// When it differs in shape from one that was added before.
    pub fn add(&self, id: TensorId, gradient: Tensor) -> Result<()> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = match map.remove(&id) {
            Some(sum) => (sum + gradient)?,
            None => gradient,
        };
        map.insert(id, sum);
        Ok(())
    }

    /// Takes out the gradient of the variable `id`, if a layer left one.
    #[must_use]
    pub fn take(&self, id: TensorId) -> Option<Tensor> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id)
    }
}
