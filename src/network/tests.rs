//! A model and values for the tests of the networks.

use super::{Inference, IntegerWeights};

impl Inference {
    /// The tiny model of the golden vectors.
    pub(super) fn tiny() -> Self {
        let bytes = include_bytes!("../../tests/vectors/tiny.safetensors");
        let weights = IntegerWeights::from_bytes(bytes).expect("the committed model is valid");
        Self::new(weights, None).expect("the network can be built")
    }
}

/// Repeatable values in -0.5..0.5.
pub(super) fn random_values(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 16_777_216.0 - 0.5
    };
    (0..count).map(|_| next()).collect()
}
