//! The optimizer's passes over flat parameters.

use super::engine::{Engine, Task};
use super::lanes::{LANES, Lanes};

/// Values that are summed in binary32 before they are added in binary64.
const RUN: usize = 32 * LANES;

/// Sum of squares, the same on every engine with sixteen lanes.
pub fn square_sum(engine: Engine, values: &[f32]) -> f64 {
    let mut sum = 0.0;
    engine.run(SquareSum {
        values,
        sum: &mut sum,
    });
    sum
}

struct SquareSum<'a> {
    values: &'a [f32],
    sum: &'a mut f64,
}

impl Task for SquareSum<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        for run in self.values.chunks(RUN) {
            let mut sums = [lanes.splat(0.0); 4];
            for values in run.chunks(4 * LANES) {
                for (sum, values) in sums.iter_mut().zip(values.chunks(LANES)) {
                    let value = lanes.load(values);
                    *sum = lanes.fma(value, value, *sum);
                }
            }
            let [a, b, c, d] = sums;
            let mut parts = [0.0; LANES];
            lanes.store(&mut parts, lanes.add(lanes.add(a, b), lanes.add(c, d)));
            *self.sum += parts.iter().map(|part| f64::from(*part)).sum::<f64>();
        }
    }
}

/// Nesterov's momentum: `first = beta first + (1 - beta) scale gradient`, and the direction
/// `beta first + (1 - beta) scale gradient` from it.
///
/// # Panics
/// If the lengths differ.
pub fn momentum(first: &mut [f32], gradient: &[f32], scale: f32, beta: f32, direction: &mut [f32]) {
    assert!(
        first.len() == gradient.len() && first.len() == direction.len(),
        "momentum: lengths differ"
    );
    Engine::best().run(Momentum {
        first,
        gradient,
        scale,
        beta,
        direction,
    });
}

struct Momentum<'a> {
    first: &'a mut [f32],
    gradient: &'a [f32],
    scale: f32,
    beta: f32,
    direction: &'a mut [f32],
}

impl Task for Momentum<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let (beta, rest) = (
            lanes.splat(self.beta),
            lanes.splat((1.0 - self.beta) * self.scale),
        );
        let state = self
            .first
            .chunks_mut(LANES)
            .zip(self.direction.chunks_mut(LANES));
        for ((first, direction), gradient) in state.zip(self.gradient.chunks(LANES)) {
            let gradient = lanes.mul(rest, lanes.load(gradient));
            let mean = lanes.fma(beta, lanes.load(first), gradient);
            lanes.store(first, mean);
            lanes.store(direction, lanes.fma(beta, mean, gradient));
        }
    }
}

/// How [`descend`] moves parameters.
#[derive(Clone, Copy, Debug)]
pub struct Descent {
    /// Factor of the direction.
    pub rate: f32,
    /// Fraction of the parameter that is taken away.
    pub decay: f32,
    /// Decay of the running average.
    pub average: f32,
}

/// `parameters -= rate direction + decay parameters`, and the running average after it.
///
/// # Panics
/// If the lengths differ.
pub fn descend(parameters: &mut [f32], average: &mut [f32], direction: &[f32], by: Descent) {
    assert!(
        parameters.len() == average.len() && parameters.len() == direction.len(),
        "descend: lengths differ"
    );
    Engine::best().run(Descend {
        parameters,
        average,
        direction,
        by,
    });
}

struct Descend<'a> {
    parameters: &'a mut [f32],
    average: &'a mut [f32],
    direction: &'a [f32],
    by: Descent,
}

impl Task for Descend<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Descent {
            rate,
            decay,
            average,
        } = self.by;
        let (rate, keep) = (lanes.splat(-rate), lanes.splat(1.0 - decay));
        let (old, new) = (lanes.splat(average), lanes.splat(1.0 - average));
        let state = self
            .parameters
            .chunks_mut(LANES)
            .zip(self.average.chunks_mut(LANES));
        for ((parameters, average), direction) in state.zip(self.direction.chunks(LANES)) {
            let kept = lanes.mul(keep, lanes.load(parameters));
            let moved = lanes.fma(rate, lanes.load(direction), kept);
            lanes.store(parameters, moved);
            let average_now = lanes.mul(old, lanes.load(average));
            lanes.store(average, lanes.fma(new, moved, average_now));
        }
    }
}
