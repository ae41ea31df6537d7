//! The few real functions the tables are made with, in plain binary64.
//!
//! Platform math libraries differ in the last bit. These use only the exactly
//! specified `+ - * /` in a fixed order, so every machine builds the same tables and
//! the same rate estimates. Nothing here runs when a file is decoded.

use crate::math::exp;

/// 1 / sqrt(2 pi), the standard normal density at 0.
const DENSITY_AT_ZERO: f64 = 0.398_942_280_401_432_7;
/// Beyond this many standard deviations the upper tail is below 2^-53 and taken as 0.
const TAIL_END: f64 = 8.5;

/// Upper tail `P(X > x)` of the standard normal distribution for `x >= 0`.
///
/// Absolute error about 2e-16, by `1/2 - density(x) * (x + x^3/3 + x^5/(3*5) + ...)`, whose
/// terms are all positive.
pub(super) fn normal_tail(x: f64) -> f64 {
    if x >= TAIL_END {
        return 0.0;
    }
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term > sum * 1e-18 {
        odd += 2.0;
        term *= x * x / odd;
        sum += term;
    }
    0.5 - DENSITY_AT_ZERO * exp(-0.5 * x * x) * sum
}

/// `log2(n)` for `n >= 1`, to about 2^-30: one bit of the fraction per squaring.
pub(super) fn log2(n: u32) -> f64 {
    let whole = n.ilog2();
    let mut x = f64::from(n) / f64::from(1_u32 << whole);
    let (mut fraction, mut bit) = (0.0, 0.5);
    for _ in 0..30 {
        x *= x;
        if x >= 2.0 {
            x *= 0.5;
            fraction += bit;
        }
        bit *= 0.5;
    }
    f64::from(whole) + fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_tail_matches_known_values() {
        // Abramowitz and Stegun, table 26.1, and mpmath for the last digits.
        let known = [
            (0.0, 0.5),
            (0.5, 0.308_537_538_725_986_9),
            (1.0, 0.158_655_253_931_457_05),
            (2.0, 0.022_750_131_948_179_21),
            (4.0, 3.167_124_183_311_992_4e-5),
        ];
        for (x, tail) in known {
            assert!((normal_tail(x) - tail).abs() < 5e-16, "tail({x})");
        }
        assert!(normal_tail(8.4).abs() < 5e-16);
        assert_eq!(normal_tail(20.0), 0.0);
    }

    #[test]
    fn log2_agrees_with_the_standard_library() {
        for n in (1..70_000).step_by(7) {
            assert!((log2(n) - f64::from(n).log2()).abs() < 2e-9, "log2({n})");
        }
    }
}
