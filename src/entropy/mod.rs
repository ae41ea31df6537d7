//! Entropy coding of integers (spec: "Entropy coding", "Alpha").
//!
//! For latents: frozen integer frequency tables, the rANS symbol coder with its
//! escape code, the map of all-zero channels and the checksum of decoded symbols.
//! For planes of samples that must come back exactly: adaptive bits on the same
//! rANS coder, and their contexts. This layer sees integers only: it knows
//! nothing of pictures, networks or files.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 16 and 21 bits

mod adaptive;
mod cdf;
mod checksum;
mod escape;
mod fit;
mod packed;
mod plane;
mod rans;
mod zero_map;

#[cfg(test)]
mod tests;

pub use cdf::ScaleTables;
pub use checksum::SymbolChecksum;
pub use fit::SymbolCounts;
pub use packed::{pack, unpack};
pub use plane::{decode_plane, encode_plane};
pub use rans::{SymbolDecoder, SymbolEncoder};
pub use zero_map::ZeroMap;
