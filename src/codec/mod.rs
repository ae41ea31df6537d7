//! The codec: pictures to files and back.
//!
//! [`encode()`] and [`decode()`] join the layers below as the specification does:
//! analysis transform, quantization and entropy coding tile by tile, container;
//! and back. Both sides run [`tile::code_tile`] for everything that decides a
//! probability. [`encode_to_target()`] searches the quality for a file size or a PSNR.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // kept in range

mod alpha;
mod area;
mod count;
mod curvature;
mod damage;
mod decode;
mod distortion;
mod effort;
mod encode;
mod encoder;
mod fill;
mod model;
mod observe;
mod price;
mod rate_control;
mod rate_gradient;
mod refine;
mod region;
mod search;
mod tile;
mod usage;
mod visual;

pub use count::count_symbols;
pub use damage::Damage;
pub use decode::{
    decode, decode_damaged, decode_into, decode_latents, is_plain, quantized_latent, verify,
};
pub use effort::{Effort, Round, Tune};
pub use encode::encode;
pub use model::{Model, model_id};
pub use rate_control::{Encoded, Goal, Target, encode_to_target};
pub use region::Region;
pub use usage::{BitUsage, StepUsage, TileUsage, bit_usage};

use std::sync::atomic::{AtomicU64, Ordering};

use crate::bitstream::Quality;
use crate::error::{Error, Result};
use crate::limits::Limits;

/// How to encode a picture.
#[derive(Debug, Clone, Copy)]
pub struct EncodeOptions {
    /// Quality, 0 (smallest) to 100 (best).
    pub quality: Quality,
    /// Side of a tile in pixels: a multiple of 64, 64..=4096.
    pub tile_size: u32,
    /// How much time to take for a smaller file.
    pub effort: Effort,
    /// What the search makes small besides bits.
    pub tune: Tune,
    /// Drop Exif and XMP; the ICC profile is kept.
    pub strip: bool,
    /// Bounds on the picture.
    pub limits: Limits,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self {
            quality: Quality::default(),
            tile_size: 1024,
            effort: Effort::DEFAULT,
            tune: Tune::Psnr,
            strip: false,
            limits: Limits::default(),
        }
    }
}

/// How to decode a file.
#[derive(Debug, Clone, Copy, Default)]
pub struct DecodeOptions {
    /// Bounds on the picture.
    pub limits: Limits,
    /// Do not return Exif and XMP.
    pub strip: bool,
    /// Decode this part of the upright picture only; its pixels are those of the whole one.
    pub region: Option<Region>,
}

/// Told how far a long operation is; may be called from several threads.
pub trait Progress: Sync {
    /// `done` of `total` units of work are finished; returning false cancels.
    fn report(&self, done: u64, total: u64) -> bool;

    /// A round of the encoder's search has ended. Nothing needs to be done.
    fn round(&self, _round: &Round) {}
}

/// Reports to nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn report(&self, _: u64, _: u64) -> bool {
        true
    }
}

/// Counts finished units of work for a [`Progress`].
struct Steps<'a> {
    progress: &'a dyn Progress,
    done: AtomicU64,
    total: u64,
}

impl<'a> Steps<'a> {
    fn new(progress: &'a dyn Progress, total: usize) -> Self {
        Self {
            progress,
            done: AtomicU64::new(0),
            total: total as u64,
        }
    }

    /// Reports the end of the work, which may come before all units are done.
    fn finish(&self) -> Result<()> {
        self.report(self.total)
    }

    /// Reports `count` more units.
    fn advance(&self, count: usize) -> Result<()> {
        let done = self.done.fetch_add(count as u64, Ordering::Relaxed) + count as u64;
        // What a picture needs beyond the plan, such as another analysis, is not counted.
        self.report(done.min(self.total))
    }

    fn report(&self, done: u64) -> Result<()> {
        if self.progress.report(done, self.total) {
            Ok(())
        } else {
            Err(Error::Cancelled)
        }
    }
}
