//! Which adaptive probability codes which bit (spec: "Alpha").

use super::super::adaptive::AdaptiveBit;
use super::neighbors::Neighbors;

/// Patterns of the ten neighbors.
const PATTERNS: usize = 1 << 10;
/// Classes of four gradients.
const GRADIENTS: usize = 7 * 7 * 7 * 7;
/// Values of [`Neighbors::activity`].
const ACTIVITIES: usize = 19;
/// Most bits of a magnitude after its highest one.
const MAGNITUDE_BITS: usize = 15;
/// Values of [`Neighbors::count`].
const COUNTS: usize = 5;
/// Bits of a magnitude, behind its highest one, that have probabilities of their own: values below
/// this when they are read.
const HIGH_VALUES: u16 = 4;

/// Every adaptive probability of a plane.
pub(super) struct Contexts {
    flat: [AdaptiveBit; 8],
    /// By prediction (0 or `max`) and pattern.
    miss_of_extreme: Vec<AdaptiveBit>,
    /// By gradients.
    miss: Vec<AdaptiveBit>,
    /// By prediction (0, `max`, other), neighbors at 0, neighbors at `max`.
    between: [AdaptiveBit; 3 * COUNTS * COUNTS],
    /// By neighbors at 0, neighbors at `max`.
    top: [AdaptiveBit; COUNTS * COUNTS],
    /// By gradients.
    below: Vec<AdaptiveBit>,
    /// By activity and length so far.
    longer: [AdaptiveBit; ACTIVITIES * MAGNITUDE_BITS],
    /// By length and value so far.
    high_bit: [AdaptiveBit; (MAGNITUDE_BITS + 1) * HIGH_VALUES as usize],
}

impl Contexts {
    pub(super) fn new() -> Self {
        const NEW: AdaptiveBit = AdaptiveBit::NEW;
        Self {
            flat: [NEW; 8],
            miss_of_extreme: vec![NEW; 2 * PATTERNS],
            miss: vec![NEW; GRADIENTS],
            between: [NEW; 3 * COUNTS * COUNTS],
            top: [NEW; COUNTS * COUNTS],
            below: vec![NEW; GRADIENTS],
            longer: [NEW; ACTIVITIES * MAGNITUDE_BITS],
            high_bit: [NEW; (MAGNITUDE_BITS + 1) * HIGH_VALUES as usize],
        }
    }

    /// Whether a block is not flat, by whether the blocks to its left, above, and above right are flat.
    pub(super) fn flat(&mut self, left: bool, above: bool, above_right: bool) -> &mut AdaptiveBit {
        let bit = usize::from;
        &mut self.flat[4 * bit(!left) + 2 * bit(!above) + bit(!above_right)]
    }

    /// Whether a sample is not its prediction.
    #[inline]
    pub(super) fn miss(
        &mut self,
        neighbors: &Neighbors,
        prediction: u16,
        max: u16,
    ) -> &mut AdaptiveBit {
        match class(prediction, max) {
            2 => &mut self.miss[neighbors.gradients()],
            class => &mut self.miss_of_extreme[class * PATTERNS + neighbors.pattern(prediction)],
        }
    }

    /// Whether a sample that is not its prediction is not 0 or `max` either.
    pub(super) fn between(
        &mut self,
        neighbors: &Neighbors,
        prediction: u16,
        max: u16,
    ) -> &mut AdaptiveBit {
        let index = class(prediction, max) * COUNTS + neighbors.count(0);
        &mut self.between[index * COUNTS + neighbors.count(max)]
    }

    /// Whether a sample that is 0 or `max` is `max`.
    pub(super) fn top(&mut self, neighbors: &Neighbors, max: u16) -> &mut AdaptiveBit {
        &mut self.top[neighbors.count(0) * COUNTS + neighbors.count(max)]
    }

    /// Whether a sample is less than its prediction.
    pub(super) fn below(&mut self, neighbors: &Neighbors) -> &mut AdaptiveBit {
        &mut self.below[neighbors.gradients()]
    }

    /// Whether a magnitude has more than `length < 15` bits after its highest one.
    pub(super) fn longer(&mut self, neighbors: &Neighbors, length: u32) -> &mut AdaptiveBit {
        &mut self.longer[neighbors.activity() * MAGNITUDE_BITS + length as usize]
    }

    /// The next bit of a magnitude of `length` bits after the highest, of which `value` are the bits
    /// so far, the highest included; none for low bits, which are even.
    pub(super) fn high_bit(&mut self, length: u32, value: u16) -> Option<&mut AdaptiveBit> {
        let index = length as usize * usize::from(HIGH_VALUES) + usize::from(value);
        (value < HIGH_VALUES).then(|| &mut self.high_bit[index])
    }
}

/// 0 for 0, 1 for `max`, 2 for what is between.
#[inline]
fn class(value: u16, max: u16) -> usize {
    if value == 0 {
        0
    } else if value == max {
        1
    } else {
        2
    }
}
