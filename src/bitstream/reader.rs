//! Bounds-checked little-endian reads that end in [`Error::Truncated`] (spec: "Conventions").

use crate::error::{Error, Result};

/// A position in a byte slice.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Offset of the next byte.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Number of bytes left.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// The bytes left.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.position..]
    }

    /// A reader `offset` bytes further on, or at the end.
    pub fn ahead(&self, offset: u64) -> Self {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        Self {
            bytes: self.bytes,
            position: self.position + offset.min(self.remaining()),
        }
    }

    /// Everything that was read since `start`, an earlier [`position`](Self::position).
    pub fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.position).unwrap_or_default()
    }

    /// Reads `count` bytes of the structure called `what`.
    ///
    /// # Errors
    /// [`Error::Truncated`] when fewer are left.
    pub fn bytes(&mut self, what: &'static str, count: usize) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.position..];
        let Some(read) = rest.get(..count) else {
            return Err(Error::Truncated {
                what,
                needed: count as u64,
                left: rest.len() as u64,
            });
        };
        self.position += count;
        Ok(read)
    }

    /// Reads `N` bytes into an array.
    ///
    /// # Errors
    /// [`Error::Truncated`] when fewer are left.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        let bytes = self.bytes(what, N)?;
        Ok(bytes
            .try_into()
            .expect("bytes() returns as many as asked for"))
    }

    /// Reads an unsigned byte.
    ///
    /// # Errors
    /// [`Error::Truncated`] at the end.
    pub fn u8(&mut self, what: &'static str) -> Result<u8> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    /// Reads an unsigned 16-bit integer.
    ///
    /// # Errors
    /// [`Error::Truncated`] when fewer than 2 bytes are left.
    pub fn u16(&mut self, what: &'static str) -> Result<u16> {
        self.array(what).map(u16::from_le_bytes)
    }

    /// Reads an unsigned 32-bit integer.
    ///
    /// # Errors
    /// [`Error::Truncated`] when fewer than 4 bytes are left.
    pub fn u32(&mut self, what: &'static str) -> Result<u32> {
        self.array(what).map(u32::from_le_bytes)
    }

    /// Reads a LEB128 integer of at most 32 bits: 7 bits per byte, lowest first, the high bit set in all bytes but
    /// the last.
    ///
    /// # Errors
    /// [`Error::Truncated`] when it does not end; [`Error::Corrupt`] when it is over 32 bits or longer than needed.
    pub fn varint(&mut self, what: &'static str) -> Result<u32> {
        let mut value = 0_u64;
        for shift in (0..35).step_by(7) {
            let byte = self.u8(what)?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(Error::Corrupt(format!("{what} is longer than needed")));
                }
                return u32::try_from(value)
                    .map_err(|_| Error::Corrupt(format!("{what} is over 32 bits")));
            }
        }
        Err(Error::Corrupt(format!("{what} is over 32 bits")))
    }
}

/// Appends `value` as LEB128 in its shortest form, 1 to 5 bytes.
#[allow(clippy::cast_possible_truncation)] // the lowest 7 bits
pub fn write_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn varint(bytes: &[u8]) -> Result<u32> {
        Reader::new(bytes).varint("number")
    }

    #[test]
    fn known_varints() {
        let known: [(u32, &[u8]); 5] = [
            (0, &[0]),
            (127, &[0x7F]),
            (128, &[0x80, 0x01]),
            (16_384, &[0x80, 0x80, 0x01]),
            (u32::MAX, &[0xFF, 0xFF, 0xFF, 0xFF, 0x0F]),
        ];
        for (value, bytes) in known {
            let mut written = Vec::new();
            write_varint(&mut written, value);
            assert_eq!(written, bytes);
            assert_eq!(varint(bytes).unwrap(), value);
        }
    }

    #[test]
    fn hostile_varints_are_refused() {
        let corrupt: [&[u8]; 5] = [
            &[0x80, 0x00],                               // 0 in two bytes
            &[0xFF, 0x80, 0x00],                         // 127 in three bytes
            &[0xFF, 0xFF, 0xFF, 0xFF, 0x10],             // bit 32 set
            &[0xFF, 0xFF, 0xFF, 0xFF, 0x8F, 0x00],       // six bytes
            &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01], // bits beyond 32
        ];
        for bytes in corrupt {
            assert!(
                matches!(varint(bytes), Err(Error::Corrupt(_))),
                "{bytes:02x?}"
            );
        }
        for bytes in [&[][..], &[0x80], &[0xFF, 0xFF, 0xFF, 0xFF]] {
            assert!(
                matches!(varint(bytes), Err(Error::Truncated { .. })),
                "{bytes:02x?}"
            );
        }
    }

    #[test]
    fn a_failed_read_consumes_nothing() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert!(reader.u32("word").is_err());
        assert_eq!((reader.position(), reader.remaining()), (0, 3));
        assert_eq!(reader.u16("half").unwrap(), 0x0201);
        assert_eq!(reader.since(0), [1, 2]);
        assert!(reader.bytes("rest", usize::MAX).is_err());
    }

    proptest! {
        #[test]
        fn varints_survive(value: u32, tail: [u8; 3]) {
            let mut bytes = Vec::new();
            write_varint(&mut bytes, value);
            let length = bytes.len();
            bytes.extend(tail);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.varint("number").unwrap(), value);
            prop_assert_eq!(reader.position(), length);
        }
    }
}
