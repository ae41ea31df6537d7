//! The model: networks, their configuration and weights, and exact inference.
//!
//! Two forms of one network: that of integers, which [`QualityModel`] runs on plain grids of
//! numbers so that `codec` reads like the specification; and [`Network`], in binary32 on tensors,
//! which is trained. [`IntegerWeights::rounded`] leads from one to the other.
// Without the trainer its operations are unused.
#![cfg_attr(not(feature = "cli"), allow(dead_code, unused_imports))]

mod analysis;
pub mod config;
pub mod context;
mod context_gradient;
mod device;
pub(crate) mod embedded;
pub mod gains;
pub mod grid;
mod hyperprior;
pub mod infer;
pub mod integer;
mod layers;
pub(crate) mod network;
mod ops;
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
pub use device::ComputeDevice;
pub use grid::Grid;
pub use infer::{Inference, QualityModel};
pub use integer::IntegerWeights;
pub(crate) use network::Network;
#[cfg(feature = "cuda")]
pub(crate) use ops::call::{from_gpu, view};
#[cfg(any(feature = "cuda", test))]
pub(crate) use ops::composed;
pub(crate) use ops::context as context_ops;
#[cfg(feature = "cuda")]
pub(crate) use ops::elementwise::square_sums;
pub(crate) use ops::rearrange::space_to_depth;
pub(crate) use ops::tape;
pub(crate) use ops::train as train_ops;
pub(crate) use ops::with_values;
pub use stream::{Sink, Source};
pub use synthesis_gradient::PatchGradient;
pub use weights::Weights;

impl From<candle_core::Error> for crate::Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Compute(device::one_line(&error))
    }
}
