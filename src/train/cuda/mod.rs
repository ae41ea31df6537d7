//! The kernels on NVIDIA GPUs.
//!
//! What runs on a GPU is training; pictures are coded on the CPU. The sources (`.cu`) are compiled to PTX when
//! the feature `cuda` is on. The tests compile the same sources as C++ and run them on the CPU, so that they are
//! checked on machines without a GPU too.
//!
//! These are the only kernels that know candle: its device, its stream and its memory.
#![allow(unsafe_code)]

mod kernel;
#[cfg(feature = "cuda")]
mod launch;
#[cfg(test)]
pub(crate) mod tests;
mod visual;

pub use kernel::{Kernel, Parts, Size, Step, Strips};
#[cfg(feature = "cuda")]
pub use launch::{cut_patches, launch, move_matrix, move_moments, open, uniform_noise, view};
pub use visual::Visual;

/// Threads of every block.
const THREADS: usize = 256;

/// Channels that a block of threads sums up, in the kernels that sum over pixels.
const SUM_COLUMNS: usize = 32;
