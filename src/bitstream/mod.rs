//! The bytes of an `.aec` file (spec: "File structure").
//!
//! Signature, header, sections and the outside of tile and alpha payloads, written and read side by side. This layer
//! sees bytes only: it knows nothing of symbols, networks or pixels.

mod alpha;
mod container;
mod header;
mod metadata;
mod model_id;
mod parts;
mod quality;
mod reader;
mod section;
mod tile;

#[cfg(test)]
mod tests;

pub use alpha::AlphaPayload;
pub use container::Container;
pub use header::{Header, check_tile_size};
pub use model_id::ModelId;
pub use parts::{DamagedPart, Parts};
pub use quality::Quality;
pub use reader::{Reader, write_varint};
pub use section::{Section, write_section};
pub use tile::{TileGrid, TilePayload, TileRect};
