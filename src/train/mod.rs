//! Training: data, loss, optimizer, checkpoints and the loop that joins them.
//!
//! Everything random is drawn from a named generator by (seed, step), so a run
//! that was interrupted goes on with the numbers it would have had.

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
pub mod init;
// Not public: sizes are checked for its callers here, not for any. What only its tests call is allowed.
#[allow(dead_code, unused_imports)]
pub(crate) mod kernels;
pub mod loss;
pub(crate) mod network;
pub mod noise;
pub(crate) mod ops;
pub mod optimizer;
mod orthogonal;
pub mod parameters;
pub mod principal;
pub mod run;
pub mod tables;
pub mod visual;
mod window;

pub use config::TrainConfig;
pub use device::ComputeDevice;
pub use run::{Event, LOG, MODEL, RUN_FILES, Run, RunOptions, WEIGHTS};
pub use window::StepTimes;
