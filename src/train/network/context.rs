//! The context model's layers: entropy parameters from hyper features and the latents coded
//! so far, in four steps (Li et al., "Neural Video Compression with Diverse Contexts",
//! section 3.3).

use candle_core::{Result, Tensor};

use super::layers::{Blocks, Loader, Pointwise};
use crate::format::CONTEXT_STEPS;
use crate::train::ops::train::join_channels;

/// One step's network.
pub struct ContextStep {
    step: usize,
    conv_in: Pointwise,
    /// What the trunk adds of the step before, where the model has that.
    state: Option<Pointwise>,
    block: Blocks,
    mean: Pointwise,
    scale: Pointwise,
}

/// The trunk's output of a context step, `[b, h, w, F]`: what the next step starts from.
pub struct ContextState(Tensor);

impl ContextStep {
    /// Makes the step's layers.
    ///
    /// # Errors
    /// When weights are missing.
    fn new(from: &Loader<'_>, step: usize) -> Result<Self> {
        let path = |layer: &str| format!("context.{step}.{layer}");
        let pointwise = |layer| Pointwise::new(from, &path(layer));
        let state = from.config.has_state(step).then(|| pointwise("state"));
        Ok(Self {
            step,
            conv_in: pointwise("conv_in")?,
            state: state.transpose()?,
            block: Blocks::single(from, &path("block"))?,
            mean: pointwise("mean")?,
            scale: pointwise("scale")?,
        })
    }

    /// Features `[b, h, w, F]` and the normalized latents so far `[b, h, w, M]`
    /// (zero where not yet decoded) to normalized means and raw scales of what the step codes,
    /// each `[b, h, w, M / 4]`.
    /// `state` is what the step before left, and becomes what this one leaves.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn forward(
        &self,
        features: &Tensor,
        latent: &Tensor,
        state: &mut Option<ContextState>,
    ) -> Result<(Tensor, Tensor)> {
        let x = self.conv_in.forward(&join_channels(features, latent)?)?;
        let x = match (&self.state, state.take()) {
            (Some(layer), Some(ContextState(state))) => layer.forward_add(&state, &x)?,
            _ => x,
        };
        let x = self.block.forward(&x)?;
        let params = (
            self.mean.forward_coded(self.step, &x)?,
            self.scale.forward_coded(self.step, &x)?,
        );
        *state = Some(ContextState(x));
        Ok(params)
    }
}

/// Makes all four steps.
///
/// # Errors
/// When weights are missing.
pub fn context_steps(from: &Loader<'_>) -> Result<Vec<ContextStep>> {
    (0..CONTEXT_STEPS)
        .map(|step| ContextStep::new(from, step))
        .collect()
}
