//! The numbers of the steps since the last log line, and where their time went.

use std::time::Instant;

use candle_core::Tensor;

use super::optimizer::StepOutcome;

/// Seconds of a step by what they went into; on a GPU, until the work was launched.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StepTimes {
    /// Cutting crops.
    pub data: f64,
    /// Forward pass.
    pub forward: f64,
    /// Backward pass.
    pub backward: f64,
    /// Adding up the workers' gradients.
    pub gradients: f64,
    /// The optimizer.
    pub optimizer: f64,
}

impl StepTimes {
    /// Combines two by `f`, number by number.
    pub(super) fn with(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            data: f(self.data, other.data),
            forward: f(self.forward, other.forward),
            backward: f(self.backward, other.backward),
            gradients: f(self.gradients, other.gradients),
            optimizer: f(self.optimizer, other.optimizer),
        }
    }
}

/// Seconds between laps.
pub(super) struct Clock(Instant);

impl Clock {
    /// Starts the first lap.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since the last lap ended.
    pub fn lap(&mut self) -> f64 {
        let now = Instant::now();
        let seconds = (now - self.0).as_secs_f64();
        self.0 = now;
        seconds
    }
}

/// Sums since the last log line.
pub(super) struct Window {
    /// Of loss, bits per pixel and PSNR, `[3]`, where training happens.
    pub sums: Option<Tensor>,
    /// Sum of the gradients' norms, as far as they are known already.
    pub norms: f64,
    /// Steps that were counted.
    pub steps: u64,
    /// Sums of the steps' times.
    pub times: StepTimes,
    /// When the window began.
    pub since: Instant,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            sums: None,
            norms: 0.0,
            steps: 0,
            times: StepTimes::default(),
            since: Instant::now(),
        }
    }
}

impl Window {
    /// Counts a step that moved something, or may have.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn add(&mut self, means: Tensor, outcome: StepOutcome) -> candle_core::Result<()> {
        self.steps += 1;
        let means = match outcome {
            StepOutcome::Updated(norm) => {
                self.norms += norm;
                means
            }
            // It may have been skipped: numbers that are not finite count as 0.
            // Times 0 they are NaN, which equals nothing.
            _ => {
                let zeros = means.zeros_like()?;
                (&means * 0.0)?.eq(&zeros)?.where_cond(&means, &zeros)?
            }
        };
        self.sums = Some(match self.sums.take() {
            Some(sums) => (sums + means)?,
            None => means,
        });
        Ok(())
    }
}
