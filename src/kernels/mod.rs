//! The arithmetic of the codec on the CPU.
//!
//! What decides symbols and pixels is [`integer`] (spec: Arithmetic), and the gradients that the
//! encoder's search follows are the same arithmetic. Its measures are IEEE-754 binary32 operations
//! in one fixed order. Both have the same bits on every machine, for every number of threads and every instruction set. Data is plain
//! slices in `[height, width, channels]` order. Training has kernels of its own, which need not be
//! exact.
//!
//! Inputs are finite: with NaN or infinity the order is still fixed, but the
//! bits of a NaN are not.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // cut to a lane
#![allow(unsafe_code)]

pub(crate) mod aligned;
#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
pub mod dispatch;
pub mod integer;
mod lanes;
#[cfg(feature = "mimalloc")]
pub mod memory;
pub(crate) mod opponent;
pub mod pixels;
pub mod rearrange;
pub(crate) mod rounding;
pub(crate) mod search;
pub(crate) mod similarity;
#[cfg(test)]
mod tests;

pub use dispatch::KernelPath;
pub use pixels::{patches_to_pixels, pixels_to_patches};
pub use rearrange::{depth_to_space, space_to_depth};

/// The product of sizes of a slice.
///
/// # Panics
/// When it does not fit: a product that wrapped could agree with a slice that is too short.
fn product<const N: usize>(sizes: [usize; N]) -> usize {
    sizes
        .iter()
        .try_fold(1, |product: usize, &size| product.checked_mul(size))
        .expect("the number of values fits in memory")
}

/// Panics with `what` unless a slice is as long as its sizes say.
#[track_caller]
fn check_length<const N: usize>(length: usize, sizes: [usize; N], what: &str) {
    assert_eq!(length, product(sizes), "{what}");
}
