//! TEMPORARY: plain loops until the fast kernels are merged.
use rayon::prelude::*;
use std::ops::Range;

#[derive(Clone)]
pub struct PackedPointwise {
    pub inputs: usize,
    pub outputs: usize,
    pub high: Vec<i8>,
    pub low: Option<Vec<i8>>,
}

pub struct Epilogue<'a> {
    pub multiplier: &'a [f32],
    pub bias: &'a [f32],
    pub activate: bool,
    pub residual: Option<(&'a [i16], f32)>,
}

fn act(v: f32) -> f32 {
    let r = v * 0.25 + 0.5;
    let r = if r > 0.0 { r } else { 0.0 };
    let r = if r < 1.0 { r } else { 1.0 };
    v * r
}

fn dot(x: &[i16], w: &[i8]) -> i32 {
    x.iter().zip(w).map(|(x, w)| i32::from(*x) * i32::from(*w)).sum()
}

pub fn pointwise<T: Send>(
    x: &[i16],
    w: &PackedPointwise,
    e: &Epilogue,
    out: &mut [T],
    store: impl Fn(f32) -> T + Sync,
) {
    let pixels = out.len() / w.outputs;
    assert_eq!(out.len(), pixels * w.outputs);
    assert_eq!(x.len(), pixels * w.inputs);
    out.par_chunks_mut(w.outputs).enumerate().for_each(|(p, out)| {
        let x = &x[p * w.inputs..(p + 1) * w.inputs];
        for (n, out) in out.iter_mut().enumerate() {
            let range = n * w.inputs..(n + 1) * w.inputs;
            let acc = dot(x, &w.high[range.clone()]);
            let mut v = match &w.low {
                None => acc as f32 * e.multiplier[n] + e.bias[n],
                Some(low) => {
                    let lo = dot(x, &low[range]);
                    acc as f32 * (256.0 * e.multiplier[n])
                        + (lo as f32 * e.multiplier[n] + e.bias[n])
                }
            };
            if e.activate {
                v = act(v);
            }
            if let Some((residual, r)) = e.residual {
                v += f32::from(residual[p * w.outputs + n]) * r;
            }
            *out = store(v);
        }
    });
}

#[derive(Clone)]
pub struct PackedDepthwise {
    pub channels: usize,
    pub taps: Vec<i8>,
    pub multiplier: Vec<f32>,
    pub bias: Vec<f32>,
}

/// x: `[height, width, C]`, rows of the result.
pub fn depthwise(
    x: &[i16],
    height: usize,
    width: usize,
    rows: Range<usize>,
    w: &PackedDepthwise,
    inv: f32,
    out: &mut [i16],
) {
    let c = w.channels;
    out.par_chunks_mut(width * c).zip(rows).for_each(|(out, y)| {
        for x_at in 0..width {
            for ch in 0..c {
                let mut acc = 0i32;
                for i in 0..9 {
                    let (yy, xx) = ((y + i / 3).wrapping_sub(1), (x_at + i % 3).wrapping_sub(1));
                    if yy < height && xx < width {
                        acc += i32::from(w.taps[i * c + ch]) * i32::from(x[(yy * width + xx) * c + ch]);
                    }
                }
                out[x_at * c + ch] =
                    super::rounding::nearest((acc as f32 * w.multiplier[ch] + w.bias[ch]) * inv);
            }
        }
    });
}
