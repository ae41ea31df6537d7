//! The rate term: bits of a symbol under a zero-mean Gaussian integrated over
//! one quantization step, the continuous form of the integer tables.
//!
//! A scale index s stands for the table floor(s), whose scale is
//! `SIGMA_MIN * exp(LOG_STEP * floor(s))`; in training the scale follows s
//! smoothly, half an index lower so that both agree on average.

use candle_core::{Result, Shape, Tensor};
use rayon::prelude::*;

use super::super::scales::{LOG_STEP, SCALE_LEVELS, SIGMA_MIN};
use super::call::{Call, OnCpu};

/// Values per parallel task.
const TASK: usize = 1 << 12;
/// Probabilities are bounded below, as an escape bounds the cost of an outlier.
const MIN_PROBABILITY: f32 = 1e-7;
const MAX_INDEX: f32 = SCALE_LEVELS as f32 - 0.001;
const INV_SQRT2: f32 = std::f32::consts::FRAC_1_SQRT_2;

/// Complementary error function, relative error below 1.2e-7
/// (Chebyshev fit; Press et al., Numerical Recipes, section 6.2).
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
    let poly = C.iter().rev().fold(0.0, |sum, c| sum * t + c);
    let tail = t * (poly - z * z).exp();
    if x >= 0.0 { tail } else { 2.0 - tail }
}

/// Bits of residual `v` at scale index `s`.
fn bits(v: f32, s: f32) -> f32 {
    let inv_sigma = inverse_sigma(s);
    -probability(v.abs(), inv_sigma).max(MIN_PROBABILITY).log2()
}

fn inverse_sigma(s: f32) -> f32 {
    let index = s.clamp(0.0, MAX_INDEX) - 0.5;
    (-LOG_STEP as f32 * index).exp() * (1.0 / SIGMA_MIN) as f32
}

fn probability(v: f32, inv_sigma: f32) -> f32 {
    let low = (v - 0.5) * inv_sigma * INV_SQRT2;
    let high = (v + 0.5) * inv_sigma * INV_SQRT2;
    0.5 * (erfc(low) - erfc(high))
}

/// Derivatives of [`bits`] with respect to the residual and the scale index.
fn bits_gradient(v: f32, s: f32) -> (f32, f32) {
    let inv_sigma = inverse_sigma(s);
    let a = v.abs();
    let p = probability(a, inv_sigma);
    let (low, high) = ((a - 0.5) * inv_sigma, (a + 0.5) * inv_sigma);
    if p <= MIN_PROBABILITY {
        // Beyond the bound: pull towards a wider scale and the mean, as a Gaussian tail would.
        let outward = inv_sigma * low.clamp(1.0, 8.0) * std::f32::consts::LOG2_E;
        return (outward.copysign(v), index_gradient(s, -low * low.min(8.0)));
    }
    let normal = |x: f32| (-0.5 * x * x).exp() * 0.398_942_3;
    let (pdf_low, pdf_high) = (normal(low), normal(high));
    let scale = std::f32::consts::LOG2_E / p;
    // d bits / d v = -log2(e) / p * dp/dv; d p / d ln(sigma) = low*pdf(low) - high*pdf(high).
    let dv = (pdf_low - pdf_high) * inv_sigma * scale;
    let d_log_sigma = -(low * pdf_low - high * pdf_high) * scale;
    (dv.copysign(v), index_gradient(s, d_log_sigma))
}

/// Chain rule from ln(sigma) to the index. At the ends of the index range only
/// gradients that lead back inside pass (a plain clamp would have none at all).
fn index_gradient(s: f32, d_log_sigma: f32) -> f32 {
    let gradient = d_log_sigma * LOG_STEP as f32;
    let leaves = (s < 0.0 && gradient > 0.0) || (s > MAX_INDEX && gradient < 0.0);
    if leaves { 0.0 } else { gradient }
}

/// Bits of each residual, of tensors of the given shape: `(residuals, scale indices)`.
pub(super) fn bits_call(residuals: &Shape) -> Call {
    let on_cpu: OnCpu = |inputs, _, out| {
        let values = inputs[0].par_chunks(TASK).zip(inputs[1].par_chunks(TASK));
        let pieces = out.par_chunks_mut(TASK).zip(values);
        pieces.for_each(|(out, (v, s))| {
            for ((out, v), s) in out.iter_mut().zip(v).zip(s) {
                *out = bits(*v, *s);
            }
        });
    };
    let sizes = [residuals.elem_count(), 0, 0, 0, 0];
    Call::new("rate", on_cpu, sizes, residuals)
}

/// Gradients of the bits with respect to residuals and scale indices.
pub(super) fn bits_gradients(v: &Tensor, s: &Tensor) -> Result<(Tensor, Tensor)> {
    let on_cpu: OnCpu = |inputs, [n, ..], out| {
        let (gv, gs) = out.split_at_mut(n);
        let values = inputs[0].par_chunks(TASK).zip(inputs[1].par_chunks(TASK));
        let gradients = gv.par_chunks_mut(TASK).zip(gs.par_chunks_mut(TASK));
        gradients.zip(values).for_each(|((gv, gs), (v, s))| {
            for (((gv, gs), v), s) in gv.iter_mut().zip(gs).zip(v).zip(s) {
                (*gv, *gs) = bits_gradient(*v, *s);
            }
        });
    };
    let n = v.elem_count();
    let call = Call::new(
        "rate_gradients",
        on_cpu,
        [n, 0, 0, 0, 0],
        &Shape::from((2, n)),
    );
    let both = call.run([v, s])?;
    Ok((
        both.get(0)?.reshape(v.shape())?,
        both.get(1)?.reshape(s.shape())?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

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
                .map(|k| probability((k as f32).abs(), inverse_sigma(s)))
                .sum();
            assert!((sum - 1.0).abs() < 1e-4, "{s}: {sum}");
        }
    }

    #[test]
    fn gradients_match_finite_differences() {
        for v in [-3.3f32, -0.7, -0.2, 0.1, 0.45, 0.9, 2.6, 7.0] {
            for s in [8.3f32, 20.5, 33.0, 50.7] {
                if bits(v, s) > 20.0 {
                    continue;
                }
                let (dv, ds) = bits_gradient(v, s);
                let h = 0.01;
                let nv = (bits(v + h, s) - bits(v - h, s)) / (2.0 * h);
                let ns = (bits(v, s + h) - bits(v, s - h)) / (2.0 * h);
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
    fn outliers_are_pulled_back() {
        let (dv, ds) = bits_gradient(-40.0, 5.0);
        assert!(dv < 0.0 && ds < 0.0);
        // Outside the index range only the way back has a gradient.
        assert_eq!(bits_gradient(0.0, -1.0).1, 0.0);
        assert!(bits_gradient(3.0, -1.0).1 < 0.0);
    }
}
