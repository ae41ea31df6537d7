//! Entropy coding of integer symbols (spec: "Entropy coding").
//!
//! Frozen integer frequency tables, the rANS symbol coder with its escape code,
//! the map of all-zero channels and the checksum of decoded symbols. This layer
//! sees integers only: it knows nothing of pictures, networks or files.

mod cdf;
mod checksum;
mod escape;
mod math;
mod rans;
mod zero_map;

#[cfg(test)]
mod tests;

pub use cdf::{SCALE_LEVELS, SIGMA_MAX, SIGMA_MIN, ScaleTables};
pub use checksum::SymbolChecksum;
pub use escape::MAX_SYMBOL;
pub use rans::{SymbolDecoder, SymbolEncoder};
pub use zero_map::ZeroMap;
