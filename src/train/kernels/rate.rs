//! Bits of residuals under a zero-mean Gaussian integrated over one quantization step, the continuous form of the
//! integer tables, and their derivatives.
//!
//! A scale index s stands for the table floor(s), whose scale is `SIGMA_MIN * exp(LOG_STEP * floor(s))`; in training
//! the scale follows s smoothly, half an index lower so that both agree on average.
//!
//! Plain Rust without branches or calls, so that the compiler turns the loops into vectors of each instruction set.

use rayon::prelude::*;

use super::engine::{Engine, on_engine};
use crate::format::{SCALE_LEVELS, SIGMA_MIN};
use crate::train;

/// Values per parallel task.
const TASK: usize = 1 << 12;
/// Probabilities are bounded below, as an escape bounds the cost of an outlier.
const MIN_PROBABILITY: f32 = 1e-7;

/// Natural logarithm of the ratio of neighboring scales.
const LOG_STEP: f32 = train::LOG_STEP as f32;
/// One over the scale of index 1/2.
const INVERSE_LEAST: f32 = (1.0 / SIGMA_MIN) as f32;
/// Largest index.
const LAST: f32 = SCALE_LEVELS as f32 - 0.001;

/// Writes the bits of each residual `v` at scale index `s`. Parallel.
///
/// # Panics
/// If the lengths differ.
pub fn rate_bits(v: &[f32], s: &[f32], bits: &mut [f32]) {
    assert!(
        v.len() == s.len() && v.len() == bits.len(),
        "rate: lengths differ"
    );
    let values = v.par_chunks(TASK).zip(s.par_chunks(TASK));
    let tasks = values.zip(bits.par_chunks_mut(TASK));
    tasks.for_each(|((v, s), bits)| {
        on_engine!(Engine::best(), <'a> |_lanes| {
            v: &'a [f32], s: &'a [f32], bits: &'a mut [f32]
        } => {
            for ((bits, v), s) in bits.iter_mut().zip(v).zip(s) {
                *bits = bits_of(*v, *s);
            }
        });
    });
}

/// Writes the derivatives of the bits with respect to residuals and scale indices. Parallel.
///
/// # Panics
/// If the lengths differ.
pub fn rate_gradients(v: &[f32], s: &[f32], gv: &mut [f32], gs: &mut [f32]) {
    assert!(
        v.len() == s.len() && v.len() == gv.len() && v.len() == gs.len(),
        "rate: lengths differ"
    );
    let values = v.par_chunks(TASK).zip(s.par_chunks(TASK));
    let gradients = gv.par_chunks_mut(TASK).zip(gs.par_chunks_mut(TASK));
    values.zip(gradients).for_each(|((v, s), (gv, gs))| {
        on_engine!(Engine::best(), <'a> |_lanes| {
            v: &'a [f32], s: &'a [f32], gv: &'a mut [f32], gs: &'a mut [f32]
        } => {
            for ((gv, gs), (v, s)) in gv.iter_mut().zip(gs).zip(v.iter().zip(s)) {
                [*gv, *gs] = bits_gradient(*v, *s);
            }
        });
    });
}

/// Writes the symbol that an encoder chooses for each residual `v` at scale index `s`, where an error of one step is
/// worth `w` bits: the rounded residual, or its neighbor towards zero where that costs less in bits and error
/// together. Parallel.
///
/// # Panics
/// If the lengths differ.
pub fn chosen_symbols(v: &[f32], s: &[f32], w: &[f32], symbols: &mut [f32]) {
    assert!(
        v.len() == s.len() && v.len() == w.len() && v.len() == symbols.len(),
        "rate: lengths differ"
    );
    let values = v.par_chunks(TASK).zip(s.par_chunks(TASK));
    let weighted = values.zip(w.par_chunks(TASK));
    let tasks = weighted.zip(symbols.par_chunks_mut(TASK));
    tasks.for_each(|(((v, s), w), symbols)| {
        on_engine!(Engine::best(), <'a> |_lanes| {
            v: &'a [f32], s: &'a [f32], w: &'a [f32], symbols: &'a mut [f32]
        } => {
            for (symbol, ((v, s), w)) in symbols.iter_mut().zip(v.iter().zip(s).zip(w)) {
                *symbol = choice(*v, *s, *w);
            }
        });
    });
}

/// One over the scale of an index.
#[inline(always)]
fn inverse(s: f32) -> f32 {
    let index = limit(s, 0.0, LAST) - 0.5;
    exp(-LOG_STEP * index) * INVERSE_LEAST
}

/// Bits of a residual at a scale index.
#[inline(always)]
fn bits_of(v: f32, s: f32) -> f32 {
    let p = probability(v.abs(), inverse(s));
    -log2(if p > MIN_PROBABILITY {
        p
    } else {
        MIN_PROBABILITY
    })
}

/// The symbol that costs less, of the rounded residual and its neighbor towards zero.
#[inline(always)]
fn choice(v: f32, s: f32, w: f32) -> f32 {
    let nearest = v.round_ties_even();
    let sign = f32::from(nearest > 0.0) - f32::from(nearest < 0.0);
    let smaller = nearest - sign;
    if cost(smaller, v, s, w) < cost(nearest, v, s, w) {
        smaller
    } else {
        nearest
    }
}

/// What coding a residual as a symbol costs, in bits.
#[inline(always)]
fn cost(symbol: f32, v: f32, s: f32, w: f32) -> f32 {
    bits_of(symbol, s) + w * (v - symbol) * (v - symbol)
}

/// Derivatives with respect to the residual and the scale index.
#[inline(always)]
fn bits_gradient(v: f32, s: f32) -> [f32; 2] {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    let inverse = inverse(s);
    let a = v.abs();
    let p = probability(a, inverse);
    let (low, high) = ((a - 0.5) * inverse, (a + 0.5) * inverse);
    let (pdf_low, pdf_high) = (normal(low), normal(high));
    let is_bounded = p <= MIN_PROBABILITY;
    // d bits / d v = -log2(e) / p * dp/dv; d p / d ln(sigma) = low*pdf(low) - high*pdf(high).
    let scale = LOG2_E / if is_bounded { 1.0 } else { p };
    let inside = [
        (pdf_low - pdf_high) * inverse * scale,
        -(low * pdf_low - high * pdf_high) * scale,
    ];
    // Beyond the bound: pull towards a wider scale and the mean, as a Gaussian tail would.
    let outside = [
        inverse * limit(low, 1.0, 8.0) * LOG2_E,
        -low * limit(low, f32::MIN, 8.0),
    ];
    let [dv, d_log_sigma] = if is_bounded { outside } else { inside };
    [dv.copysign(v), index_gradient(s, d_log_sigma)]
}

/// Chain rule from ln(sigma) to the index. At the ends of the index range only
/// gradients that lead back inside pass (a plain clamp would have none at all).
#[inline(always)]
fn index_gradient(s: f32, d_log_sigma: f32) -> f32 {
    let gradient = d_log_sigma * LOG_STEP;
    let leaves = (s < 0.0) & (gradient > 0.0) | (s > LAST) & (gradient < 0.0);
    if leaves { 0.0 } else { gradient }
}

/// Probability of the step around `v >= 0`.
#[inline(always)]
fn probability(v: f32, inverse_sigma: f32) -> f32 {
    let factor = inverse_sigma * std::f32::consts::FRAC_1_SQRT_2;
    0.5 * (erfc((v - 0.5) * factor) - erfc((v + 0.5) * factor))
}

/// Density of the normal distribution.
#[inline(always)]
fn normal(x: f32) -> f32 {
    exp(-0.5 * x * x) * 0.398_942_3
}

#[inline(always)]
fn limit(x: f32, low: f32, high: f32) -> f32 {
    let x = if x > low { x } else { low };
    if x < high { x } else { high }
}

/// Complementary error function, relative error below about 1e-6
/// (Chebyshev fit; Press et al., Numerical Recipes, section 6.2).
#[inline(always)]
fn erfc(x: f32) -> f32 {
    const C: [f32; 10] = [
        -1.265_512_2,
        1.000_023_7,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_204,
        1.488_515_9,
        -0.822_152_2,
        0.170_872_77,
    ];
    let z = x.abs();
    let t = 1.0 / (1.0 + 0.5 * z);
    let mut poly = C[9];
    for i in (0..9).rev() {
        poly = poly * t + C[i];
    }
    let tail = t * exp(poly - z * z);
    if x >= 0.0 { tail } else { 2.0 - tail }
}

/// e to the power of `x`; below -87 about 1e-38, and NaN stays NaN.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding it rounds to an integer, which is then in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let mut poly = 1.987_569_2e-4;
    for c in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ] {
        poly = poly * r + c;
    }
    let power = poly * r * r + r + 1.0;
    f32::from_bits(power.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// Logarithm to base 2 of a positive, normal number.
#[inline(always)]
fn log2(x: f32) -> f32 {
    const SQRT_HALF: u32 = 0x3f35_04f3;
    let exponent = x.to_bits().wrapping_sub(SQRT_HALF).cast_signed() >> 23;
    let mantissa = f32::from_bits(x.to_bits().wrapping_sub(exponent.cast_unsigned() << 23));
    let f = mantissa - 1.0;
    let mut poly = 7.037_683_6e-2;
    for c in [
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        poly = poly * f + c;
    }
    let ln = poly * f * f * f - 0.5 * f * f + f;
    ln * std::f32::consts::LOG2_E + exponent as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_and_log2_match_the_standard_library() {
        for i in -8000..=8000 {
            let x = i as f32 * 0.01;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-6, "exp {x}");
            let y = x.exp();
            assert!(
                (log2(y) - y.log2()).abs() < 1e-6 * y.log2().abs().max(1.0),
                "log2 {y}"
            );
        }
        assert!(exp(-1e9) < 1e-37 && exp(f32::NAN).is_nan());
    }

    #[test]
    fn erfc_matches_tabulated_values() {
        for (x, want) in [
            (0.0, 1.0),
            (0.5, 0.479_500_12),
            (1.0, 0.157_299_2),
            (3.0, 2.209_05e-5),
            (-1.0, 1.842_700_8),
        ] {
            assert!((erfc(x) / want - 1.0).abs() < 1e-5, "{x}: {}", erfc(x));
        }
    }

    #[test]
    fn probabilities_of_all_symbols_sum_to_one() {
        for s in [3.5, 20.0, 45.0] {
            let sum: f32 = (-2000..=2000)
                .map(|k| probability((k as f32).abs(), inverse(s)))
                .sum();
            assert!((sum - 1.0).abs() < 1e-4, "{s}: {sum}");
        }
    }

    #[test]
    fn gradients_match_finite_differences() {
        for v in [-3.3f32, -0.7, -0.2, 0.1, 0.45, 0.9, 2.6, 7.0] {
            for s in [8.3f32, 20.5, 33.0, 50.7] {
                if bits_of(v, s) > 20.0 {
                    continue;
                }
                let [dv, ds] = bits_gradient(v, s);
                let h = 0.01;
                let nv = (bits_of(v + h, s) - bits_of(v - h, s)) / (2.0 * h);
                let ns = (bits_of(v, s + h) - bits_of(v, s - h)) / (2.0 * h);
                assert!(
                    (dv - nv).abs() < 0.02 * (1.0 + nv.abs()),
                    "dv at {v} {s}: {dv} {nv}"
                );
                assert!(
                    (ds - ns).abs() < 0.02 * (0.1 + ns.abs()),
                    "ds at {v} {s}: {ds} {ns}"
                );
            }
        }
    }

    #[test]
    fn choices_weigh_bits_against_errors() {
        // At a small scale a one costs many bits: only a heavy error buys it.
        assert_eq!(choice(0.8, 10.0, 1.0), 0.0);
        assert_eq!(choice(-0.8, 10.0, 100.0), -1.0);
        assert_eq!(choice(0.4, 10.0, 100.0), 0.0);
        // At a large one neighbors cost nearly the same.
        assert_eq!(choice(-7.6, 60.0, 1.0), -8.0);
        for v in [-5.4f32, -1.6, 0.7, 2.5] {
            let cost = |k: f32| bits_of(k, 25.0) + 3.0 * (v - k) * (v - k);
            let (nearest, found) = (v.round_ties_even(), choice(v, 25.0, 3.0));
            let smaller = nearest - nearest.signum();
            assert!(
                cost(found) <= cost(nearest).min(cost(smaller)),
                "{v}: {found}"
            );
        }
    }

    #[test]
    fn outliers_are_pulled_back() {
        let [dv, ds] = bits_gradient(-40.0, 5.0);
        assert!(dv < 0.0 && ds < 0.0);
        // Outside the index range only the way back has a gradient.
        assert_eq!(bits_gradient(0.0, -1.0)[1], 0.0);
        assert!(bits_gradient(3.0, -1.0)[1] < 0.0);
    }
}
