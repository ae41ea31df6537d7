//! `aec`: a learned image codec that decodes to the same pixels on every machine.
//!
//! ```no_run
//! use aec::{Image, Quality};
//!
//! let picture = Image::try_from(image::open("photo.png")?)?;
//! let file = aec::encode(&picture, Quality::from_percent(75.0)?)?;
//! let back = aec::decode(&file)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The `image` crate's pictures have no metadata: ICC profile, Exif and orientation of a file go into
//! [`Image::metadata`].
//!
//! [`Encoder`] and [`Decoder`] take options: effort, targets and metadata; limits, a region of the
//! picture, a closure that is told the progress. Both are also an encoder and a decoder of the
//! `image` crate, and [`register_image_hooks`] makes `image::open` read `.aec` files.
//!
//! # As a dependency
//!
//! ```toml
//! [dependencies]
//! aec = { version = "0.1", default-features = false }
//!
//! [profile.dev.package."*"]
//! opt-level = 3
//! ```
//!
//! Without the last two lines, debug builds take a minute for what takes a second. The types of the `image` crate in
//! this interface are those of its version 0.25.
//!
//! # Threads
//!
//! Work is spread over the threads of the current `rayon` pool: `rayon::ThreadPool::install` bounds it. Progress
//! closures are called from any of these threads, and must not wait for other work of the same pool.
//!
//! # The path of a picture
//!
//! A picture's path reads like the papers it comes from: the analysis transform
//! maps pixels to latents, which are quantized; a hyperprior and a four-step
//! context model give every latent a mean and a scale; rANS packs the symbols
//! into a specified bitstream ([codec-spec.md]). Decoding runs the same path back.
//!
//! # Features
//!
//! Without default features, the crate is a decoder and an encoder for the CPU.
//!
//! - `cli` (default) is what the `aec` program needs, `mimalloc` (default) its allocator.
//! - `train` brings training, and the float network and `candle` with it; `cuda` lets it use a GPU.
//! - `formats` reads and writes pictures of other formats for them.
//! - `unstable` opens the layers inside, to tests and benches: nothing in them is promised to stay.
//!
//! [codec-spec.md]: https://docs.rs/crate/aec/latest/source/codec-spec.md
#![cfg_attr(test, allow(clippy::cast_possible_truncation, clippy::cast_sign_loss))]
#![deny(missing_docs)]
// Much of the layers serves the program, training, tests and benches alone.
#![cfg_attr(not(feature = "unstable"), allow(dead_code, unused_imports))]

mod api;
#[cfg(feature = "train")]
mod atomic;
mod bitstream;
#[cfg(feature = "cli")]
mod cli;
mod codec;
mod depth;
mod entropy;
mod error;
mod format;
mod kernels;
mod limits;
mod math;
mod metadata;
mod metrics;
mod network;
mod orientation;
mod picture;
mod resolution;
mod sync;
#[cfg(feature = "train")]
mod train;
#[cfg(feature = "unstable")]
#[doc(hidden)]
pub mod unstable;

pub use api::{Decoder, Encoder, Info, Model, decode, encode, register_image_hooks};
pub use bitstream::Quality;
pub use codec::{Damage, Effort, Region, Tune};
pub use depth::Depth;
pub use error::{Error, Result};
pub use limits::Limits;
pub use metadata::Metadata;
pub use orientation::Orientation;
pub use picture::{Alpha, Image};
pub use resolution::Resolution;

/// The examples of the README, so that they are compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
