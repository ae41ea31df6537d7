//! The numbers of the steps since the last log line, and where their time went.

use std::ops::{AddAssign, Div};
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

impl AddAssign for StepTimes {
    fn add_assign(&mut self, other: Self) {
        self.data += other.data;
        self.forward += other.forward;
        self.backward += other.backward;
        self.gradients += other.gradients;
        self.optimizer += other.optimizer;
    }
}

impl Div<f64> for StepTimes {
    type Output = Self;

    fn div(self, steps: f64) -> Self {
        Self {
            data: self.data / steps,
            forward: self.forward / steps,
            backward: self.backward / steps,
            gradients: self.gradients / steps,
            optimizer: self.optimizer / steps,
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
    pub fn add(
        &mut self,
        means: Tensor,
        times: StepTimes,
        outcome: StepOutcome,
    ) -> candle_core::Result<()> {
        self.times += times;
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
