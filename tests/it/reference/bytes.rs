//! Reading bytes (§2.1).

use super::{Class, Result};

/// A position in bytes.
pub struct Reader<'a> {
    pub rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8]> {
        let (read, rest) = self.rest.split_at_checked(n).ok_or(Class::Truncated)?;
        self.rest = rest;
        Ok(read)
    }

    /// An unsigned integer of `n` bytes.
    fn integer(&mut self, n: usize) -> Result<u32> {
        Ok(self
            .bytes(n)?
            .iter()
            .rev()
            .fold(0, |value, byte| (value << 8) | u32::from(*byte)))
    }

    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.integer(1)? as u8)
    }

    pub fn u16(&mut self) -> Result<u16> {
        Ok(self.integer(2)? as u16)
    }

    pub fn u32(&mut self) -> Result<u32> {
        self.integer(4)
    }

    pub fn varint(&mut self) -> Result<u32> {
        let mut value = 0_u64;
        for i in 0..5 {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                let is_shortest = byte != 0 || i == 0;
                return if is_shortest {
                    u32::try_from(value).or(Err(Class::Corrupt))
                } else {
                    Err(Class::Corrupt)
                };
            }
        }
        Err(Class::Corrupt)
    }
}

/// CRC-32, bit by bit.
pub fn crc32<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xEDB8_8320
            } else {
                crc >> 1
            };
        }
    }
    !crc
}

#[test]
fn crc_has_the_check_value() {
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
}
