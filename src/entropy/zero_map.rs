//! Map of the channels that hold anything but zeros (spec: "Zero map").
//!
//! Bit `c` (bit `c % 8` of byte `c / 8`) is 1 when channel `c` is coded. Symbols of other channels are 0
//! and take no part in the stream.

use bitvec::prelude::{BitVec, Lsb0};

use crate::error::{Error, Result};

/// Which channels of a tile are coded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZeroMap {
    coded: BitVec<u8, Lsb0>,
}

impl ZeroMap {
    /// Builds the map from whether each channel has a symbol other than zero.
    pub fn new(has_nonzero: impl IntoIterator<Item = bool>) -> Self {
        Self {
            coded: has_nonzero.into_iter().collect(),
        }
    }

    /// Reads the map of `channels` channels.
    ///
    /// # Errors
    /// [`Error::Corrupt`] unless there are `ceil(channels / 8)` bytes and the unused high bits of the last are 0.
    pub fn from_bytes(bytes: &[u8], channels: usize) -> Result<Self> {
        let wanted = channels.div_ceil(8);
        if bytes.len() != wanted {
            return Err(Error::Corrupt(format!(
                "zero map has {} bytes, not {wanted}",
                bytes.len()
            )));
        }
        let mut coded = BitVec::<u8, Lsb0>::from_slice(bytes);
        if coded[channels..].any() {
            return Err(Error::Corrupt(
                "an unused bit of the zero map is set".into(),
            ));
        }
        coded.truncate(channels);
        Ok(Self { coded })
    }

    /// The map as `ceil(channels / 8)` bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bits = self.coded.clone();
        bits.set_uninitialized(false);
        bits.into_vec()
    }

    /// Whether channel `channel` is coded; channels beyond the map are not.
    #[inline]
    pub fn is_coded(&self, channel: usize) -> bool {
        self.coded.get(channel).is_some_and(|bit| *bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_lowest_first() {
        let map = ZeroMap::new([
            true, false, false, true, false, false, false, false, true, true,
        ]);
        assert_eq!(map.to_bytes(), [0b0000_1001, 0b0000_0011]);
        assert_eq!((0..10).filter(|&channel| map.is_coded(channel)).count(), 4);
        assert!(map.is_coded(8) && !map.is_coded(1) && !map.is_coded(10));
    }

    #[test]
    fn survives_bytes_for_every_length() {
        for channels in 0..70_usize {
            let map = ZeroMap::new((0..channels).map(|c| c % 3 != 1));
            let bytes = map.to_bytes();
            assert_eq!(bytes.len(), channels.div_ceil(8));
            assert_eq!(ZeroMap::from_bytes(&bytes, channels).unwrap(), map);
        }
    }

    #[test]
    fn wrong_length_and_unused_bits_are_refused() {
        assert!(ZeroMap::from_bytes(&[0, 0], 8).is_err());
        assert!(ZeroMap::from_bytes(&[], 1).is_err());
        assert!(ZeroMap::from_bytes(&[0b0000_0100], 2).is_err());
        assert!(ZeroMap::from_bytes(&[0b0000_0011], 2).is_ok());
    }
}
