//! The optimizer's passes over flat parameters.

use super::engine::{Engine, on_engine};
use super::lanes::LANES;

/// Values that are summed in binary32 before they are added in binary64.
const RUN: usize = 32 * LANES;

/// Sum of squares, the same on every engine with sixteen lanes.
pub fn square_sum(engine: Engine, values: &[f32]) -> f64 {
    let mut total = 0.0;
    let sum = &mut total;
    on_engine!(engine, <'a> |lanes| {
        values: &'a [f32], sum: &'a mut f64
    } => {
        for run in values.chunks(RUN) {
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
            *sum += parts.iter().map(|part| f64::from(*part)).sum::<f64>();
        }
    });
    total
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
    let rest = (1.0 - beta) * scale;
    on_engine!(Engine::best(), <'a> |lanes| {
        first: &'a mut [f32], gradient: &'a [f32], beta: f32, rest: f32, direction: &'a mut [f32]
    } => {
        let (beta, rest) = (lanes.splat(beta), lanes.splat(rest));
        let state = first.chunks_mut(LANES).zip(direction.chunks_mut(LANES));
        for ((first, direction), gradient) in state.zip(gradient.chunks(LANES)) {
            let gradient = lanes.mul(rest, lanes.load(gradient));
            let mean = lanes.fma(beta, lanes.load(first), gradient);
            lanes.store(first, mean);
            lanes.store(direction, lanes.fma(beta, mean, gradient));
        }
    });
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
pub fn descend(parameters: &mut [f32], averages: &mut [f32], direction: &[f32], by: Descent) {
    assert!(
        parameters.len() == averages.len() && parameters.len() == direction.len(),
        "descend: lengths differ"
    );
    on_engine!(Engine::best(), <'a> |lanes| {
        parameters: &'a mut [f32], averages: &'a mut [f32], direction: &'a [f32], by: Descent
    } => {
        let (rate, keep) = (lanes.splat(-by.rate), lanes.splat(1.0 - by.decay));
        let (old, new) = (lanes.splat(by.average), lanes.splat(1.0 - by.average));
        let state = parameters.chunks_mut(LANES).zip(averages.chunks_mut(LANES));
        for ((parameters, average), direction) in state.zip(direction.chunks(LANES)) {
            let kept = lanes.mul(keep, lanes.load(parameters));
            let moved = lanes.fma(rate, lanes.load(direction), kept);
            lanes.store(parameters, moved);
            let average_now = lanes.mul(old, lanes.load(average));
            lanes.store(average, lanes.fma(new, moved, average_now));
        }
    });
}
