//! `aec`: a learned image codec that decodes to the same pixels on every machine.
//!
//! A picture's path reads like the papers it comes from: the analysis transform
//! maps pixels to latents, which are quantized; a hyperprior and a four-step
//! context model give every latent a mean and a scale; rANS packs the symbols
//! into a specified bitstream ([codec-spec.md]). Decoding runs the same path back.
//!
//! ```no_run
//! use aec::{DecodeOptions, EncodeOptions, Model, NoProgress, picture::io};
//!
//! # fn main() -> aec::Result<()> {
//! let model = Model::embedded()?;
//! let picture = io::read(&std::fs::read("photo.png")?, &aec::Limits::default())?;
//! let file = aec::encode(&picture, &model, &EncodeOptions::default(), &NoProgress)?;
//! let decoded = aec::decode(&file, &model, &DecodeOptions::default(), &NoProgress)?;
//! assert_eq!((decoded.width, decoded.height), (picture.width, picture.height));
//! # Ok(())
//! # }
//! ```
//!
//! [codec-spec.md]: https://docs.rs/crate/aec/latest/source/codec-spec.md
#![deny(missing_docs)]
#![deny(unsafe_code)]

#[cfg(feature = "cli")]
mod atomic;
pub mod bitstream;
#[cfg(feature = "cli")]
pub mod cli;
pub mod codec;
pub mod depth;
pub mod entropy;
pub mod error;
pub mod kernels;
pub mod limits;
mod math;
pub mod metrics;
pub mod network;
pub mod picture;
pub mod resolution;
mod sync;
#[cfg(feature = "cli")]
pub mod train;

pub use bitstream::{ModelId, Quality};
pub use codec::{
    Damage, DecodeOptions, Effort, EncodeOptions, Encoded, Goal, Model, NoProgress, Progress,
    Region, Round, Target, Tune, decode, decode_damaged, encode, encode_to_target, model_id,
    register_image_hooks,
};
pub use depth::Depth;
pub use error::{Error, Result};
pub use limits::Limits;
pub use picture::{Alpha, Image};
pub use resolution::Resolution;
