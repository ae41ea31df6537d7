//! The layers of the crate, for its own program, tests, benches and fuzz targets.
//!
//! No part of the library's interface: anything here may change or go in any release.

pub use crate::codec::{
    Damage, DecodeOptions, Effort, EncodeOptions, Encoded, Goal, Model, NoProgress, Progress,
    Region, Round, Target, Tune, decode, decode_damaged, encode, encode_to_target, model_id,
};
pub use crate::{
    Alpha, Depth, Error, Image, Limits, Metadata, Orientation, Quality, Resolution, Result,
};

/// The bytes of a file.
pub mod bitstream {
    pub use crate::bitstream::*;
}
/// The command line.
#[cfg(feature = "cli")]
pub mod cli {
    pub use crate::cli::*;
}
/// Pictures to files and back.
pub mod codec {
    pub use crate::codec::*;
}
/// Symbols to bits and back.
pub mod entropy {
    pub use crate::entropy::*;
}
/// The numbers of the specification.
pub mod format {
    pub use crate::format::*;
}
/// Pictures in memory, and their formats.
pub mod picture {
    pub use crate::picture::*;
}
/// Arithmetic.
pub mod kernels {
    pub use crate::kernels::*;
}
/// Measures of distortion.
pub mod metrics {
    pub use crate::metrics::*;
}
/// The network.
pub mod network {
    pub use crate::network::*;
}
/// Training.
#[cfg(feature = "train")]
pub mod train {
    pub use crate::train::*;
}
