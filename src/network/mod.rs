//! The network: its configuration and weights, and exact inference.
//!
//! [`QualityModel`] runs the network of integers on plain grids of numbers, so that `codec` reads
//! like the specification. [`IntegerWeights::rounded`] makes it of weights that were trained.
// Without the trainer its operations are unused.
#![cfg_attr(not(feature = "cli"), allow(dead_code, unused_imports))]

mod analysis;
pub mod config;
pub mod context;
mod context_gradient;
pub(crate) mod embedded;
pub mod gains;
pub mod grid;
mod hyperprior;
pub mod infer;
pub mod integer;
mod layers;
pub mod ranges;
mod real_layers;
pub mod rounding;
pub mod scales;
pub mod signals;
mod stream;
mod stream_gradient;
mod synthesis;
mod synthesis_gradient;
pub mod weights;
pub(crate) mod worth;

pub use config::{ModelConfig, Side};
pub use context::{ContextState, EntropyParams, Features};
pub use grid::Grid;
pub use infer::{Inference, QualityModel};
pub use integer::IntegerWeights;
pub use stream::{Sink, Source};
pub use synthesis_gradient::PatchGradient;
pub use weights::Weights;
