//! The activation `x * clamp(x / 4 + 1 / 2, 0, 1)` and its gradient, over whole tensors.

use rayon::prelude::*;

use super::engine::{Engine, Task};
use super::lanes::{LANES, Lanes};

/// Numbers in one piece of work.
const PIECE: usize = 1 << 14;

struct Forward<'a> {
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Task for Forward<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        for (x, y) in self.x.chunks(LANES).zip(self.y.chunks_mut(LANES)) {
            lanes.store(y, lanes.activate(lanes.load(x)));
        }
    }
}

struct Backward<'a> {
    x: &'a [f32],
    gy: &'a [f32],
    gx: &'a mut [f32],
}

impl Task for Backward<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let inputs = self.x.chunks(LANES).zip(self.gy.chunks(LANES));
        for ((x, gy), gx) in inputs.zip(self.gx.chunks_mut(LANES)) {
            let slope = lanes.slope(lanes.load(x));
            lanes.store(gx, lanes.mul(slope, lanes.load(gy)));
        }
    }
}

/// Writes the activation of `x` to `y`.
///
/// # Panics
/// If the lengths differ.
pub fn activation_forward(x: &[f32], y: &mut [f32]) {
    activation_forward_on(Engine::best(), x, y);
}

/// [`activation_forward`] on a chosen engine.
pub fn activation_forward_on(engine: Engine, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "activation: lengths differ");
    let pieces = x.par_chunks(PIECE).zip(y.par_chunks_mut(PIECE));
    pieces.for_each(|(x, y)| engine.run(Forward { x, y }));
}

/// Writes the gradient of the input to `gx`: `gy` times the derivative at `x`, which is 0 below -2, 1 above 2 and
/// `x / 2 + 1 / 2` between.
///
/// # Panics
/// If the lengths differ.
pub fn activation_backward(x: &[f32], gy: &[f32], gx: &mut [f32]) {
    activation_backward_on(Engine::best(), x, gy, gx);
}

/// [`activation_backward`] on a chosen engine.
pub fn activation_backward_on(engine: Engine, x: &[f32], gy: &[f32], gx: &mut [f32]) {
    assert!(
        x.len() == gx.len() && gy.len() == gx.len(),
        "activation: lengths differ"
    );
    let pieces = x
        .par_chunks(PIECE)
        .zip(gy.par_chunks(PIECE))
        .zip(gx.par_chunks_mut(PIECE));
    pieces.for_each(|((x, gy), gx)| engine.run(Backward { x, gy, gx }));
}
