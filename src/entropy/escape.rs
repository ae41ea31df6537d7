//! The code for symbols beyond a table's reach (spec: "Escape code").
//!
//! After the escape interval come bypass bits, each with probability one half: a sign, then the excess
//! `e = |symbol| - reach` as an Exp-Golomb code of order 0 (`n` ones, a zero, and the `n` low bits of `e`,
//! where `n = floor(log2(e))`).

use crate::error::{Error, Result};
use crate::format::MAX_SYMBOL;

/// More ones than this in the unary part cannot come from a symbol within [`MAX_SYMBOL`].
const MAX_UNARY: u32 = 19;

/// Bypass bits of a symbol, the first one to be decoded highest.
pub(super) struct Code {
    /// The bits, right-aligned.
    pub bits: u64,
    /// How many there are, at most 40.
    pub len: u32,
}

/// The bypass bits of `symbol`, whose magnitude must be in `reach + 1 ..= MAX_SYMBOL`.
pub(super) fn code(symbol: i32, reach: u32) -> Code {
    let excess = symbol.unsigned_abs() - reach;
    let n = excess.ilog2();
    let sign = u64::from(symbol < 0);
    // `n` ones and a zero, then `excess` without its leading one.
    let unary = (1_u64 << (n + 1)) - 2;
    let low = u64::from(excess) & ((1 << n) - 1);
    Code {
        bits: (((sign << (n + 1)) | unary) << n) | low,
        len: 2 * n + 2,
    }
}

/// Number of bypass bits of a symbol of the given magnitude; 0 when it is within reach.
#[inline]
pub(super) fn bits(magnitude: u32, reach: u32) -> u32 {
    magnitude
        .saturating_sub(reach)
        .checked_ilog2()
        .map_or(0, |n| 2 * n + 2)
}

/// Reads a symbol from bypass bits, at most 40 of them.
///
/// # Errors
/// [`Error::Corrupt`] when the magnitude is over [`MAX_SYMBOL`].
pub(super) fn read(reach: u32, mut next_bit: impl FnMut() -> bool) -> Result<i32> {
    let too_large = || Error::Corrupt(format!("a symbol's magnitude is over {MAX_SYMBOL}"));
    let is_negative = next_bit();
    let mut n = 0;
    while next_bit() {
        n += 1;
        if n > MAX_UNARY {
            return Err(too_large());
        }
    }
    let excess = (0..n).fold(1_u32, |e, _| (e << 1) | u32::from(next_bit()));
    // Both terms are small: excess < 2^20, reach < 2^12.
    let magnitude = (excess + reach) as i32;
    if magnitude > MAX_SYMBOL {
        return Err(too_large());
    }
    Ok(if is_negative { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_code(code: &Code, reach: u32) -> Result<i32> {
        let mut left = code.len;
        let symbol = read(reach, || {
            left -= 1;
            (code.bits >> left) & 1 == 1
        });
        assert!(symbol.is_err() || left == 0, "bits left over");
        symbol
    }

    #[test]
    fn every_magnitude_class_survives() {
        for reach in [1, 2, 641, 4095] {
            for magnitude in (0..20)
                .flat_map(|n| [1 << n, (2 << n) - 1])
                .chain([MAX_SYMBOL as u32 - reach])
            {
                let symbol = ((magnitude + reach) as i32).min(MAX_SYMBOL);
                for symbol in [symbol, -symbol] {
                    let code = code(symbol, reach);
                    assert_eq!(code.len, bits(symbol.unsigned_abs(), reach));
                    assert_eq!(read_code(&code, reach).unwrap(), symbol);
                }
            }
        }
    }

    #[test]
    fn known_codes() {
        // Reach 2: symbol 3 has excess 1, symbol -7 has excess 5 = 0b101.
        let first = code(3, 2);
        assert_eq!((first.bits, first.len), (0b00, 2));
        let second = code(-7, 2);
        assert_eq!((second.bits, second.len), (0b11_1001, 6));
    }

    #[test]
    fn endless_ones_are_refused() {
        assert!(matches!(read(2, || true), Err(Error::Corrupt(_))));
        // Excess 2^20 - 1 with reach 2 is one over the limit.
        let over = Code {
            bits: (((1 << 20) - 2) << 19) | ((1 << 19) - 1),
            len: 40,
        };
        assert!(read_code(&over, 2).is_err());
    }
}
