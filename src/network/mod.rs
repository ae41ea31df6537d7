//! The network: its configuration and weights, and exact inference.
//!
//! [`QualityModel`] runs the network of integers on plain grids of numbers, so that `codec` reads
//! like the specification. [`IntegerWeights::rounded`] makes it of weights that were trained.
//!
//! The layers are written down once for each arithmetic that runs them, and tests hold them
//! together: in integers, which decides symbols and pixels, and back through the same layers with
//! gradients of the input alone (`synthesis_gradient`, `context_gradient` over `backward`), which
//! the encoder's search follows; and on tensors with gradients of the weights, in `train`.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // kept in range

mod analysis;
mod backward;
pub mod config;
pub mod context;
mod context_gradient;
pub(crate) mod embedded;
pub mod file;
pub mod gains;
pub mod grid;
mod hyperprior;
pub mod infer;
pub mod integer;
mod layers;
pub mod ranges;
pub mod rounding;
pub mod signals;
mod stored;
mod stream;
mod stream_gradient;
mod synthesis;
mod synthesis_gradient;
#[cfg(test)]
mod tests;
pub mod weights;
pub(crate) mod worth;

pub use config::{ModelConfig, Side};
pub use context::{ContextState, EntropyParams, Features};
pub use grid::Grid;
pub use infer::{Inference, QualityModel};
pub use integer::IntegerWeights;
pub use stream::{Sink, Source};
pub use synthesis_gradient::{GradientScales, PatchGradient, Steepest};
pub use weights::Weights;
