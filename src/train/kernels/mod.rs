//! Kernels for training: the depth-conv block and the pointwise layer, each with its gradient, the rate, and the
//! optimizer's passes, on plain slices and in parallel.
//!
//! Products take bf16 operands and sum in binary32; on processors with matrix tiles (AMX) they run at several times the
//! speed of binary32. Results are not exact in the sense of the codec: only inference has to be, and it uses the
//! kernels beside this module. This module knows nothing of tensors or graphs.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod amx;
mod block;
mod block_backward;
mod block_gradients;
mod depthwise;
mod engine;
mod epilogue;
mod gemm;
mod lanes;
mod orthogonal;
mod pack;
mod pointwise;
mod portable;
mod rate;
mod scratch;
mod update;
#[cfg(target_arch = "x86_64")]
mod zmm;

#[cfg(test)]
pub use block::block_param_len;
pub use block::{BlockLayout, Shape, block_forward};
pub use block_backward::block_backward;
pub use engine::Engine;
pub use orthogonal::orthogonalize;
#[cfg(any(feature = "cuda", test))]
pub use orthogonal::{POLYNOMIAL, STEPS};
pub use pack::Precision;
pub use pointwise::PointwiseLayer;
pub use rate::{chosen_symbols, rate_bits, rate_gradients};
pub use scratch::unwritten;
pub use update::{Descent, descend, momentum, square_sum};

#[cfg(test)]
mod tests;
