//! Adaptive bits on the rANS coder (spec: "Adaptive bits").
//!
//! Each [`AdaptiveBit`] learns how likely its bit is 0 from the bits coded with it, in integers. The
//! encoder keeps every bit with the probability it had and pushes them in reverse when it finishes.

use constriction::UnwrapInfallible;
use constriction::stream::{Decode, Encode};

use super::rans::{Bit, Coder, check_end, from_stream, to_stream};
use crate::error::Result;

/// Probabilities are multiples of 1/32768.
const ONE: u16 = 1 << 15;
/// The fraction of the way, as a shift, by which a probability moves after its first bits; then the last.
const SHIFTS: [u8; 22] = [
    1, 2, 2, 2, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 5,
];

/// The probability that a bit is 0, which adapts to the bits that were coded with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AdaptiveBit {
    /// In units of 1/32768. The shifts keep it in 31..=32737.
    zero: u16,
    /// Number of bits seen, up to the last of [`SHIFTS`].
    seen: u8,
}

impl AdaptiveBit {
    /// A bit about which nothing is known.
    pub(super) const NEW: Self = Self {
        zero: ONE / 2,
        seen: 0,
    };

    #[inline]
    fn update(&mut self, bit: bool) {
        let shift = SHIFTS[usize::from(self.seen)];
        if bit {
            self.zero -= self.zero >> shift;
        } else {
            self.zero += (ONE - self.zero) >> shift;
        }
        if usize::from(self.seen) + 1 < SHIFTS.len() {
            self.seen += 1;
        }
    }
}

/// Where bits come from: the data when encoding, a stream when decoding.
pub(super) trait BitCoder {
    /// Codes one bit with an adaptive probability. `bit` is only asked when encoding.
    fn code(&mut self, model: &mut AdaptiveBit, bit: impl FnOnce() -> bool) -> bool;

    /// Codes one bit with probability one half.
    fn code_even(&mut self, bit: impl FnOnce() -> bool) -> bool {
        self.code(&mut AdaptiveBit::NEW.clone(), bit)
    }
}

/// Collects bits in coding order and codes them into one stream.
#[derive(Debug, Default)]
pub(super) struct BitEncoder {
    /// The probability of 0 in the upper 15 bits, the bit in the lowest.
    bits: Vec<u16>,
}

impl BitEncoder {
    /// Codes everything that was collected, and returns the stream.
    pub(super) fn finish(self) -> Vec<u8> {
        let mut coder = Coder::new();
        for packed in self.bits.into_iter().rev() {
            let model = Bit { zero: packed >> 1 };
            coder
                .encode_symbol(packed & 1 == 1, model)
                .expect("both bits have a nonzero frequency");
        }
        to_stream(coder)
    }
}

impl BitCoder for BitEncoder {
    #[inline]
    fn code(&mut self, model: &mut AdaptiveBit, bit: impl FnOnce() -> bool) -> bool {
        let bit = bit();
        self.bits.push((model.zero << 1) | u16::from(bit));
        model.update(bit);
        bit
    }
}

/// Decodes a stream bit by bit.
#[derive(Debug)]
pub(super) struct BitDecoder {
    coder: Coder,
}

impl BitDecoder {
    /// Starts decoding a stream.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) when the last byte is 0, which no encoder writes.
    pub(super) fn new(stream: &[u8]) -> Result<Self> {
        Ok(Self {
            coder: from_stream(stream)?,
        })
    }

    /// Checks that the stream ended exactly here.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) when it did not.
    pub(super) fn finish(self) -> Result<()> {
        check_end(&self.coder)
    }
}

impl BitCoder for BitDecoder {
    #[inline]
    fn code(&mut self, model: &mut AdaptiveBit, _: impl FnOnce() -> bool) -> bool {
        let now = Bit { zero: model.zero };
        let bit = self.coder.decode_symbol(now).unwrap_infallible();
        model.update(bit);
        bit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_stay_inside_their_range() {
        for bit in [false, true] {
            let mut model = AdaptiveBit::NEW;
            for _ in 0..10_000 {
                model.update(bit);
            }
            assert_eq!(model.zero, if bit { 31 } else { 32_737 });
        }
    }

    #[test]
    fn the_first_bits_move_a_probability_by_the_documented_shifts() {
        let mut model = AdaptiveBit::NEW;
        let steps = [false, false, true, false].map(|bit| {
            model.update(bit);
            model.zero
        });
        assert_eq!(steps, [24_576, 26_624, 19_968, 23_168]);
    }

    /// The example of the specification.
    #[test]
    fn known_stream() {
        let mut encoder = BitEncoder::default();
        let mut model = AdaptiveBit::NEW;
        for bit in [true, false, false, true] {
            encoder.code(&mut model, || bit);
        }
        assert_eq!(model.zero, 14_208);
        assert_eq!(encoder.finish(), [0x00, 0xa4, 0x08]);
    }

    #[test]
    fn bits_survive_and_unlikely_ones_cost_more() {
        let data: Vec<bool> = (0..5000_u32).map(|i| i % 97 == 3).collect();
        let mut encoder = BitEncoder::default();
        let mut model = AdaptiveBit::NEW;
        for &bit in &data {
            encoder.code(&mut model, || bit);
            encoder.code_even(|| bit);
        }
        let stream = encoder.finish();
        // 5000 even bits are 625 bytes; the others hold 0.083 bits each.
        assert!((640..720).contains(&stream.len()), "{}", stream.len());
        let mut decoder = BitDecoder::new(&stream).unwrap();
        let mut model = AdaptiveBit::NEW;
        for &bit in &data {
            assert_eq!(decoder.code(&mut model, || unreachable!()), bit);
            assert_eq!(decoder.code_even(|| unreachable!()), bit);
        }
        decoder.finish().unwrap();
    }
}
