//! Training: data, loss, optimizer, checkpoints and the loop that joins them.
//!
//! Everything random is drawn from a named generator by (seed, step), so a run
//! that was interrupted goes on with the numbers it would have had.

pub mod batch;
pub mod checkpoint;
pub mod config;
pub mod crop;
pub mod data;
#[cfg(feature = "cuda")]
mod gpu;
pub mod init;
pub mod loss;
pub mod noise;
pub mod optimizer;
mod orthogonal;
pub mod parameters;
pub mod principal;
pub mod run;
pub mod tables;
pub mod visual;
mod window;

pub use config::TrainConfig;
pub use run::{Event, LOG, MODEL, RUN_FILES, Run, RunOptions};
pub use window::StepTimes;
