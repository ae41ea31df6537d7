//! Training: data, loss, optimizer, checkpoints and the loop that joins them.
//!
//! Everything random is drawn from a named generator by (seed, step), so a run
//! that was interrupted goes on with the numbers it would have had.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // training rounds

pub mod batch;
pub mod checkpoint;
pub mod config;
pub mod crop;
pub mod cuda;
pub mod data;
mod device;
pub mod export;
#[cfg(feature = "cuda")]
mod gpu;
mod grow;
pub mod init;
// Not public: sizes are checked for its callers here, not for any.
pub(crate) mod kernels;
mod latent;
pub mod loss;
pub(crate) mod network;
pub mod noise;
pub(crate) mod ops;
pub mod optimizer;
pub mod parameters;
pub mod principal;
mod rule;
pub mod run;
mod search;
pub mod tables;
pub mod visual;
mod window;

use crate::format::{LN_SIGMA_RANGE, SCALE_LEVELS};
pub use config::TrainConfig;
pub use device::ComputeDevice;
pub use run::{Event, LOG, MODEL, RUN_FILES, Run, RunOptions, WEIGHTS};
pub use window::StepTimes;

/// Natural logarithm of the ratio of neighboring scales.
const LOG_STEP: f64 = LN_SIGMA_RANGE / (SCALE_LEVELS - 1) as f64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::ScaleTables;
    use crate::format::SIGMA_MIN;

    #[test]
    fn the_scales_of_training_are_those_of_the_tables() {
        for i in 0..SCALE_LEVELS {
            let trained = SIGMA_MIN * (LOG_STEP * i as f64).exp();
            let difference = trained / ScaleTables::sigma(i) - 1.0;
            assert!(difference.abs() < 1e-12, "table {i}");
        }
    }
}
