//! Exponential, logarithms and the normal distribution in plain binary64.
//!
//! Platform math libraries differ in the last bit. These use only the exactly specified
//! `+ - * /` in a fixed order, so whatever a file's bytes depend on, tables and rate estimates
//! among it, is the same on every machine.
//! Nothing here runs when a file is decoded.

/// High part of ln 2, exact in 33 bits so that `k * LN2_HIGH` is exact.
const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
/// ln 2 minus [`LN2_HIGH`].
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// Bits of a binary64's fraction, and the bias of its exponent.
const FRACTION_BITS: u32 = 52;
const BIAS: i64 = 1023;

/// 1 / sqrt(2 pi), the standard normal density at 0.
const DENSITY_AT_ZERO: f64 = 0.398_942_280_401_432_7;
/// Beyond this many standard deviations the upper tail is below 2^-53 and taken as 0.
const TAIL_END: f64 = 8.5;

/// `e^x` for `-700 <= x <= 700`, to about one unit in the last place.
///
/// `x = k ln 2 + r` with `|r| <= ln 2 / 2`, then the Taylor series of `e^r`.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // an exponent of binary64
pub(crate) fn exp(x: f64) -> f64 {
    let k = (x * std::f64::consts::LOG2_E).round();
    let r = (x - k * LN2_HIGH) - k * LN2_LOW;
    // Horner's rule; the first omitted term, r^19 / 19!, is below 2^-85.
    let series = (1..=18)
        .rev()
        .fold(1.0, |sum, n| 1.0 + sum * r / f64::from(n));
    series * f64::from_bits(((BIAS + k as i64) as u64) << FRACTION_BITS)
}

/// The natural logarithm of a positive normal number, to about one unit in the last place (near
/// 1: of the distance from it).
///
/// `x = 2^k m` with `m` from `sqrt(1/2)` to `sqrt(2)`, then the series of `2 atanh(s)` with
/// `s = (m - 1) / (m + 1)`.
pub(crate) fn ln(x: f64) -> f64 {
    debug_assert!(x.is_normal() && x > 0.0, "ln({x})");
    let bits = x.to_bits();
    let mut k = (bits >> FRACTION_BITS) as i64 - BIAS;
    let fraction = bits & ((1 << FRACTION_BITS) - 1);
    let mut m = f64::from_bits(fraction | (BIAS as u64) << FRACTION_BITS);
    if m > std::f64::consts::SQRT_2 {
        m *= 0.5;
        k += 1;
    }
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    // |s| is at most 0.172; the first omitted term, s^24 / 25, is below 2^-65.
    let series = (1..12)
        .rev()
        .fold(0.0, |sum, n| (sum + 1.0 / f64::from(2 * n + 1)) * square);
    let k = k as f64;
    k * LN2_HIGH + (k * LN2_LOW + 2.0 * s * series + 2.0 * s)
}

/// `x^y` for a positive normal `x` where `y ln x` lies within -700 to 700; its relative error is
/// about `|y ln x|` units in the last place.
pub(crate) fn pow(x: f64, y: f64) -> f64 {
    exp(y * ln(x))
}

/// Upper tail `P(X > x)` of the standard normal distribution for `x >= 0`.
///
/// Absolute error about 2e-16, by `1/2 - density(x) * (x + x^3/3 + x^5/(3*5) + ...)`, whose
/// terms are all positive.
pub(crate) fn normal_tail(x: f64) -> f64 {
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
pub(crate) fn log2(n: u32) -> f64 {
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
    fn exp_agrees_with_the_standard_library() {
        for i in -4000..=4000 {
            let x = f64::from(i) * 0.01;
            assert!((exp(x) / x.exp() - 1.0).abs() < 5e-16, "exp({x})");
        }
    }

    #[test]
    fn ln_agrees_with_the_standard_library() {
        for i in 1..=8000 {
            let x = f64::from(i) * 0.001;
            for x in [x, x * 1e-9, x * 1e12, f64::MIN_POSITIVE * (1.0 + x)] {
                let error = (ln(x) - x.ln()).abs();
                assert!(error <= 4e-16 * x.ln().abs(), "ln({x}): {error}");
            }
        }
        assert_eq!(ln(1.0), 0.0);
    }

    #[test]
    fn pow_agrees_with_the_standard_library() {
        for i in 0..=1000 {
            let y = f64::from(i) * 0.001;
            for x in [1200.0, 3.0, 1e-3] {
                assert!((pow(x, y) / x.powf(y) - 1.0).abs() < 2e-15, "{x}^{y}");
            }
        }
        assert_eq!(pow(1200.0, 0.0), 1.0);
    }

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
