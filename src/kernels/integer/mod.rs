//! The exact arithmetic of the networks on integers (spec: Arithmetic).
//!
//! Activations are int16, `[pixels, channels]`, with one power of two per
//! tensor: a value is `integer * scale`. Weights are int8 with one binary32
//! multiplier per output channel. Sums are int32 and exact in any order, so
//! every unit (matrix tiles, dot products, vectors) gives the same bits. What
//! follows a sum is binary32, every operation rounded once:
//!
//! ```text
//! v = real(sum) * multiplier[n] + bias[n]             two roundings
//! v = v * clamp(v * 0.25 + 0.5, 0, 1)                 with activation
//! v = v + real(residual) * its scale                  with a residual
//! v, or int16: v / scale, half to even, saturated     the output
//! ```
//!
//! A multiplication by a power of two is exact. The kernels use that: they
//! compute in units of the output's scale, and fuse such a product with the
//! sum that follows, which then has the same bits.

mod block;
mod convert;
mod depthwise;
mod gradient;
mod lanes;
mod layer;
mod matrix;
#[cfg(target_arch = "aarch64")]
mod neon;
mod peak;
mod plain;
mod pointwise;
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
mod registers;
mod rows;
mod scale;
mod session;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod tiles;
mod unit;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use block::{Block, Watch, block};
pub use convert::{quantize, scale_integers};
pub use depthwise::depthwise3x3;
pub use gradient::{BackwardLayers, BackwardScales, BlockGradient, multiply_by_slope};
pub use layer::{Depthwise, Output, Pointwise, Residual};
pub use matrix::{split_wide, sums_fit};
pub use peak::peak;
pub use pointwise::pointwise;
pub use rows::Window;
pub use scale::{Rescale, Scale};
