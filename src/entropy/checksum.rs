//! Checksum of decoded symbols (spec: "Integrity").
//!
//! No checksum of the file can see arithmetic that went wrong after the bytes were read; this one can.

/// CRC-32 (IEEE) over symbols as little-endian 32-bit integers.
#[derive(Debug, Clone, Default)]
pub struct SymbolChecksum {
    crc: crc32fast::Hasher,
}

impl SymbolChecksum {
    /// The checksum of no symbols.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends symbols. Cutting a sequence into several calls does not change the result.
    pub fn update(&mut self, symbols: &[i32]) {
        let mut bytes = [0_u8; 4096];
        for chunk in symbols.chunks(bytes.len() / 4) {
            for (four, symbol) in bytes.chunks_exact_mut(4).zip(chunk) {
                four.copy_from_slice(&symbol.to_le_bytes());
            }
            self.crc.update(&bytes[..4 * chunk.len()]);
        }
    }

    /// The CRC-32 of all symbols so far.
    pub fn finish(self) -> u32 {
        self.crc.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_crc_of_little_endian_bytes_however_it_is_cut() {
        let symbols: Vec<i32> = (0..5000).map(|i| (i * 7919) % 1000 - 500).collect();
        let bytes: Vec<u8> = symbols.iter().flat_map(|s| s.to_le_bytes()).collect();
        for cut in [0, 1, 1023, 1024, 1025, 5000] {
            let mut checksum = SymbolChecksum::new();
            checksum.update(&symbols[..cut]);
            checksum.update(&symbols[cut..]);
            assert_eq!(checksum.finish(), crc32fast::hash(&bytes));
        }
    }

    #[test]
    fn known_values() {
        assert_eq!(SymbolChecksum::new().finish(), 0);
        let mut checksum = SymbolChecksum::new();
        // The check value of CRC-32, over the bytes "12345678".
        checksum.update(&[i32::from_le_bytes(*b"1234"), i32::from_le_bytes(*b"5678")]);
        assert_eq!(checksum.finish(), 0x9AE0_DAAF);
    }
}
