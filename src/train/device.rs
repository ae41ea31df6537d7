//! Where networks are trained.

use candle_core::Device;

use crate::error::{Error, Result};

/// Where networks are trained: on all cores of the CPU, or on the first GPU, which needs a build with the feature
/// `cuda`. Pictures are coded on the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum ComputeDevice {
    /// The processor
    #[default]
    Cpu,
    /// An NVIDIA GPU
    Cuda,
}

impl ComputeDevice {
    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the build or the machine has no such device.
    pub(crate) fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            #[cfg(feature = "cuda")]
            Self::Cuda => crate::train::cuda::open().map_err(|error| {
                Error::Unsupported(format!("no usable GPU: {}", one_line(&error)))
            }),
            #[cfg(not(feature = "cuda"))]
            Self::Cuda => Err(Error::Unsupported(
                "this build has no CUDA support (cargo feature 'cuda')".into(),
            )),
        }
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Compute(one_line(&error))
    }
}

/// candle's errors may span lines (backtraces); the first says what happened.
fn one_line(error: &candle_core::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or("unknown error").to_string()
}
