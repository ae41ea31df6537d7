//! The blocks of a GIF file, for what must be known before its decoder asks for memory.

/// Flag of a color table, and what its size is stored in.
const HAS_TABLE: u8 = 0x80;
const TABLE_SIZE: u8 = 7;

/// Width and height of every picture in a file, as far as the file goes. They need not be those of the whole.
pub(super) fn frame_sizes(bytes: &[u8]) -> Vec<(u32, u32)> {
    let mut sizes = Vec::new();
    let mut reader = Blocks { rest: bytes };
    // What cannot be followed any more is the decoder's to complain about.
    let _ = reader.read(&mut sizes);
    sizes
}

struct Blocks<'a> {
    rest: &'a [u8],
}

impl Blocks<'_> {
    fn read(&mut self, sizes: &mut Vec<(u32, u32)>) -> Option<()> {
        let [.., flags, _, _] = self.take::<13>()?;
        self.skip_table(flags)?;
        loop {
            match self.take()? {
                // An extension: its kind, then its parts.
                [0x21] => drop(self.take::<1>()?),
                [0x2c] => {
                    let [_, _, _, _, w0, w1, h0, h1, flags] = self.take()?;
                    let side = |low, high| u16::from_le_bytes([low, high]).into();
                    sizes.push((side(w0, w1), side(h0, h1)));
                    self.skip_table(flags)?;
                    // Bits of the first code.
                    let _: [u8; 1] = self.take()?;
                }
                _ => return None,
            }
            self.skip_parts()?;
        }
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.rest = self.rest.get(count..)?;
        Some(())
    }

    fn skip_table(&mut self, flags: u8) -> Option<()> {
        let entries = if flags & HAS_TABLE == 0 {
            0
        } else {
            2 << (flags & TABLE_SIZE)
        };
        self.skip(3 * entries)
    }

    /// Skips parts, each behind its length, up to an empty one.
    fn skip_parts(&mut self) -> Option<()> {
        loop {
            match self.take()? {
                [0] => return Some(()),
                [length] => self.skip(length.into())?,
            }
        }
    }
}
