//! Every path against plain scalar loops, bit for bit.

use super::*;
use crate::kernels::tests::{Random, bits, everywhere, same_everywhere};
use std::sync::atomic::{AtomicU16, Ordering};

impl Random {
    /// Any int16, the extremes often.
    fn integers(&mut self, count: usize) -> Vec<i16> {
        let mut integer = || match self.below(8) {
            0 => i16::MIN,
            1 => i16::MAX,
            2 => 0,
            _ => self.next() as i16,
        };
        (0..count).map(|_| integer()).collect()
    }

    /// Weights of any size, the extremes often, `[outputs, inputs]`.
    fn weights(&mut self, inputs: usize, outputs: usize) -> Vec<i8> {
        let mut weight = || match self.below(8) {
            0 => i8::MIN,
            1 => i8::MAX,
            _ => self.next() as i8,
        };
        (0..inputs * outputs).map(|_| weight()).collect()
    }

    fn scale(&mut self, from: i32, count: usize) -> Scale {
        Scale::from_exponent(from + self.below(count) as i32).unwrap()
    }

    /// Multipliers for sums of `inputs` products to become values of a few units.
    fn rescale(&mut self, inputs: usize, outputs: usize) -> Rescale {
        let multiplier = 4e-6 / (inputs as f32).sqrt();
        Rescale::new(
            &self.values(outputs, multiplier),
            &self.values(outputs, 1.0),
        )
        .unwrap()
    }

    fn layer(&mut self, inputs: usize, outputs: usize, wide: bool) -> Layer {
        let weights = self.weights(inputs, outputs);
        let weights: Vec<i16> = match wide {
            false => weights.into_iter().map(i16::from).collect(),
            true => self.integers(inputs * outputs),
        };
        let weights = weights.into_iter().map(|w| w.min(32_639)).collect();
        let rescale = self.rescale(inputs, outputs);
        Layer {
            inputs,
            wide,
            weights,
            rescale,
        }
    }
}

/// `v` in steps: the definition.
fn integer(value: f32, scale: Scale) -> i16 {
    let steps = (value / scale.value()).round_ties_even();
    steps.clamp(-32_768.0, 32_767.0) as i16
}

fn real(integer: i16, scale: Scale) -> f32 {
    f32::from(integer) * scale.value()
}

/// A pointwise layer as the specification writes it.
struct Layer {
    inputs: usize,
    wide: bool,
    weights: Vec<i16>,
    rescale: Rescale,
}

impl Layer {
    fn packed(&self) -> Pointwise {
        let rescale = self.rescale.clone();
        let layer = if self.wide {
            Pointwise::wide(self.inputs, &self.weights, rescale)
        } else {
            let narrow: Vec<i8> = self.weights.iter().map(|w| *w as i8).collect();
            Pointwise::new(self.inputs, narrow, rescale)
        };
        layer.unwrap()
    }

    fn apply(&self, x: &[i16], act: bool, residual: Option<Residual<'_>>) -> Vec<f32> {
        let mut out = Vec::new();
        for x in x.chunks_exact(self.inputs) {
            for (n, weights) in self.weights.chunks_exact(self.inputs).enumerate() {
                let (m, b) = (self.rescale.multiplier()[n], self.rescale.bias()[n]);
                let sum = |part: &dyn Fn(i16) -> i32| -> f32 {
                    let products = x.iter().zip(weights).map(|(x, w)| i32::from(*x) * part(*w));
                    products.sum::<i32>() as f32
                };
                let mut value = if self.wide {
                    let low = |w: i16| i32::from(w as i8);
                    let high = |w: i16| (i32::from(w) - i32::from(w as i8)) / 256;
                    sum(&high) * (256.0 * m) + (sum(&low) * m + b)
                } else {
                    sum(&|w| i32::from(w)) * m + b
                };
                if act {
                    value *= (value * 0.25 + 0.5).clamp(0.0, 1.0);
                }
                if let Some(residual) = residual {
                    value += real(residual.values[out.len()], residual.scale);
                }
                out.push(value);
            }
        }
        out
    }

    fn apply_in(
        &self,
        x: &[i16],
        act: bool,
        residual: Option<Residual<'_>>,
        to: Scale,
    ) -> Vec<i16> {
        let values = self.apply(x, act, residual);
        values.into_iter().map(|value| integer(value, to)).collect()
    }
}

fn plain_depthwise(
    x: &[i16],
    height: usize,
    width: usize,
    taps: &[i8],
    rescale: &Rescale,
    to: Scale,
) -> Vec<i16> {
    let channels = rescale.outputs();
    let mut out = Vec::new();
    for at in 0..x.len() {
        let (row, column, channel) = (at / channels / width, at / channels % width, at % channels);
        let mut sum = 0;
        for (tap, taps) in taps.chunks_exact(channels).enumerate() {
            let y = (row + tap / 3).checked_sub(1).filter(|y| *y < height);
            let x_at = (column + tap % 3).checked_sub(1).filter(|x| *x < width);
            if let (Some(y), Some(column)) = (y, x_at) {
                let value = x[(y * width + column) * channels + channel];
                sum += i32::from(value) * i32::from(taps[channel]);
            }
        }
        let value = sum as f32 * rescale.multiplier()[channel] + rescale.bias()[channel];
        out.push(integer(value, to));
    }
    out
}

#[test]
fn a_scale_is_found_for_every_value() {
    let cases = [
        (1.0, 0),
        (1.000_001, 1),
        (0.75, 0),
        (3e-5, -15),
        (0.0, -32),
        (-1.0, -32),
        (f32::NAN, -32),
        (1e30, 32),
        (f32::INFINITY, 32),
    ];
    for (value, exponent) in cases {
        let scale = Scale::from_exponent(exponent).unwrap();
        assert_eq!(Scale::at_least(value), scale, "{value}");
    }
}

#[test]
fn scales_are_powers_of_two() {
    for exponent in -32..=32 {
        let scale = Scale::from_exponent(exponent).unwrap();
        assert_eq!(scale.value(), 2.0_f32.powi(exponent));
        assert_eq!(scale.inverse(), 2.0_f32.powi(-exponent));
        assert_eq!(Scale::new(scale.value()), Some(scale));
    }
    let others = [0.0, -1.0, 3.0, 1.0e-30, 1.0e30, f32::NAN, f32::INFINITY];
    assert!(others.iter().all(|other| Scale::new(*other).is_none()));
    assert!(Scale::from_exponent(-33).is_none() && Scale::from_exponent(i32::MAX).is_none());
}

#[test]
fn layers_that_could_overflow_or_do_not_agree_are_refused() {
    let ones = |outputs: usize| Rescale::new(&vec![1.0; outputs], &vec![0.0; outputs]);
    let narrow = |inputs, outputs, weights: &[i8]| {
        ones(outputs).and_then(|rescale| Pointwise::new(inputs, weights, rescale))
    };
    let wide = |inputs, outputs, weights: &[i16]| {
        ones(outputs).and_then(|rescale| Pointwise::wide(inputs, weights, rescale))
    };
    assert!(narrow(0, 1, &[]).is_none());
    assert!(narrow(1, 0, &[]).is_none());
    assert!(narrow(2, 2, &[0; 3]).is_none());
    assert!(narrow(1 << 63, 2, &[]).is_none());
    let mut weights = vec![-127; 517];
    weights[516] = 3;
    assert!(narrow(517, 1, &weights).is_some());
    weights[516] = -4;
    assert!(narrow(517, 1, &weights).is_none());
    assert!(wide(1, 2, &[32_639, i16::MIN]).is_some());
    assert!(wide(1, 1, &[32_640]).is_none());
    assert!(wide(517, 1, &[-127 * 256; 517]).is_none());
    assert!(ones(2).is_some_and(|two| Depthwise::new(&[0; 17], two).is_none()));
    assert!(ones(2).is_some_and(|two| Depthwise::new(&[0; 9], two).is_none()));
    assert!(Rescale::new(&[1.0], &[]).is_none() && Rescale::new(&[], &[]).is_none());
    assert!(Rescale::new(&[f32::NAN], &[0.0]).is_none());
    assert!(Rescale::new(&[0.0], &[f32::INFINITY]).is_none());
    let rescale = Rescale::new(&[1.0, 2.0], &[3.0, 4.0]).unwrap();
    let gained = rescale.with_gain(&[0.5, 2.0]).unwrap();
    assert_eq!(
        (gained.multiplier(), gained.bias()),
        (&[0.5, 4.0][..], &[1.5, 8.0][..])
    );
    assert!(rescale.with_gain(&[1.0]).is_none());
    assert!(rescale.with_gain(&[1.0, f32::INFINITY]).is_none());
    assert!(Pointwise::new(2, [1, 2], rescale).is_none());
}

#[test]
fn pointwise_equals_plain_loop() {
    let mut random = Random(11);
    let mut shapes = vec![
        (0, 3, 3),
        (1, 1, 1),
        (1, 192, 64),
        (131, 7, 33),
        (96, 16, 32),
        (12, 65, 31),
        (16, 128, 48),
        (49, 320, 32),
    ];
    shapes.extend((0..16).map(|_| {
        let sizes = [150, 70, 100].map(|most| 1 + random.below(most));
        (sizes[0], sizes[1], sizes[2])
    }));
    for (pixels, inputs, outputs) in shapes {
        let layer = random.layer(inputs, outputs, random.0.is_multiple_of(4));
        let x = random.integers(pixels * inputs);
        let values = random.integers(pixels * outputs);
        let residual = Residual {
            values: &values,
            scale: random.scale(-16, 5),
        };
        let packed = layer.packed();
        for (act, residual) in [
            (false, None),
            (true, None),
            (false, Some(residual)),
            (true, Some(residual)),
        ] {
            let scale = random.scale(-16, 6);
            let plain = layer.apply(&x, act, residual);
            let integers = layer.apply_in(&x, act, residual, scale);
            everywhere(|path| {
                let name = format!("{path} {pixels} x {inputs} -> {outputs}");
                let mut out = vec![f32::NAN; pixels * outputs];
                pointwise(&x, &packed, act, residual, Output::Real(&mut out));
                assert_eq!(bits(&out), bits(&plain), "{name}");
                let mut out = vec![1; pixels * outputs];
                let to = Output::Integer(&mut out, scale);
                pointwise(&x, &packed, act, residual, to);
                assert_eq!(out, integers, "{name}");
            });
        }
    }
}

/// The largest sum there is, which is `2^31` less one product, and the smallest.
#[test]
fn extreme_sums_are_exact() {
    let mut weights = vec![127; 517];
    weights[516] = 3;
    let negative = weights.iter().map(|w| -w).collect::<Vec<i8>>();
    let both = [weights, negative].concat();
    let rescale = Rescale::new(&[1.0; 2], &[0.0; 2]).unwrap();
    let layer = Pointwise::new(517, both, rescale).unwrap();
    let x = [[i16::MIN; 517], [i16::MAX; 517]].concat();
    let plain = [i16::MIN, i16::MAX].map(|x| 65_535.0 * f32::from(x));
    everywhere(|path| {
        let mut out = [0.0; 4];
        pointwise(&x, &layer, false, None, Output::Real(&mut out));
        assert_eq!(out, [plain[0], -plain[0], plain[1], -plain[1]], "{path}");
    });
}

#[test]
fn values_are_rounded_half_to_even_and_saturated() {
    let scale = Scale::from_exponent(-1).unwrap();
    let mut x = vec![
        0.25,
        0.75,
        -0.25,
        -0.75,
        1.25,
        0.2500001,
        -0.0,
        16383.25,
        16383.5,
        1e30,
        2.1e9,
        f32::INFINITY,
        -16384.25,
        -16384.0,
        -1e30,
        -2.2e9,
        f32::NEG_INFINITY,
        16383.2,
        8191.75,
        -8191.75,
    ];
    let mut integers = vec![
        0, 2, 0, -2, 2, 1, 0, 32766, 32767, 32767, 32767, 32767, -32768, -32768, -32768, -32768,
        -32768, 32766, 16384, -16384,
    ];
    let values = Random(5).values(70_001, 40_000.0);
    integers.extend(values.iter().map(|value| integer(*value, scale)));
    x.extend(values);
    everywhere(|path| {
        for skip in [0, 1, 16] {
            let mut out = vec![1; x.len() - skip];
            quantize(&x[skip..], scale, &mut out);
            assert_eq!(out, integers[skip..], "{path}");
        }
    });
}

#[test]
fn gains_round_half_to_even_and_saturate() {
    let factor = [0.5, 0.25, 3.0, 0.3];
    let x = [1, 2, 20_000, 5, 3, 6, -20_000, 5, -1, -2, 1, -5];
    let scaled = |x: &[i16]| {
        let mut x = x.to_vec();
        scale_integers(&mut x, &factor);
        x
    };
    let want = [0, 0, 32_767, 2, 2, 2, -32_768, 2, 0, 0, 3, -2];
    assert_eq!(scaled(&x), want);
    let all: Vec<i16> = (0..70_000).map(|i| (i * 13) as i16).collect();
    same_everywhere(|| scaled(&all));
}

/// Inputs that are zero are left out where a layer is told so, and no other is.
#[test]
fn a_layer_that_reads_some_inputs_equals_the_whole() {
    let mut random = Random(16);
    for (inputs, outputs, pixels) in [(5, 3, 7), (129, 40, 33), (640, 64, 50), (321, 33, 97)] {
        for is_wide in [false, true] {
            let mut cuts = [(); 4].map(|()| random.below(inputs + 1));
            cuts.sort_unstable();
            let ranges = [cuts[0]..cuts[1], cuts[2]..cuts[3]];
            let mut x = random.integers(pixels * inputs);
            for x in x.chunks_exact_mut(inputs) {
                for (index, x) in x.iter_mut().enumerate() {
                    if !ranges.iter().any(|range| range.contains(&index)) {
                        *x = 0;
                    }
                }
            }
            let layer = random.layer(inputs, outputs, is_wide);
            let scale = random.scale(-14, 3);
            let plain = layer.apply_in(&x, true, None, scale);
            let packed = layer.packed().reading(&ranges);
            everywhere(|path| {
                let mut out = vec![1; pixels * outputs];
                let to = Output::Integer(&mut out, scale);
                pointwise(&x, &packed, true, None, to);
                assert_eq!(out, plain, "{path} {ranges:?} of {inputs}");
            });
            // What is not used is not read, whatever is there.
            let apart = layer.packed().reading(std::slice::from_ref(&(0..1)));
            let of = |x: &[i16]| {
                let mut out = vec![0; pixels * outputs];
                let to = Output::Integer(&mut out, scale);
                pointwise(x, &apart, false, None, to);
                out
            };
            let used = inputs.min(64);
            let mut cut = x.clone();
            for x in cut.chunks_exact_mut(inputs) {
                x[used..].fill(0);
            }
            assert_eq!(of(&x), of(&cut));
        }
    }
}

/// A block of four pointwise layers and a depthwise one, with the scales of its tensors in their order.
fn block_of([w1, w2, w3, w4]: [Pointwise; 4], dw: Depthwise, scale: [Scale; 6]) -> Block {
    let [input, first, depthwise, middle, hidden, output] = scale;
    Block {
        w1,
        dw,
        w2,
        w3,
        w4,
        input,
        first,
        depthwise,
        middle,
        hidden,
        output,
    }
}

/// Every value of every tensor.
#[test]
fn who_watches_a_block_sees_its_tensors() {
    let mut random = Random(15);
    let (height, width, channels) = (70, 50, 4);
    let layers = [(1, 1), (1, 1), (1, 2), (2, 1)];
    let layers = layers.map(|(inputs, outputs)| {
        let layer = random.layer(inputs * channels, outputs * channels, false);
        layer.packed()
    });
    let taps = random.weights(9, channels);
    let scale = [(); 6].map(|()| random.scale(-14, 3));
    let dw = Depthwise::new(&taps, random.rescale(9, channels)).unwrap();
    let size = (height, width);
    let x = random.integers(height * width * channels);
    let weights = block_of(layers, dw, scale);
    let largest = |values: &[i16]| values.iter().map(|v| v.unsigned_abs()).max().unwrap_or(0);
    let seen = [(); 5].map(|()| AtomicU16::new(0));
    let watch = |tensor: usize, values: &[i16]| {
        seen[tensor].fetch_max(largest(values), Ordering::Relaxed);
    };
    let mut y = vec![0; x.len()];
    block(&x, size, &weights, Some(&watch), &mut y);

    let [mut first, mut spatial, mut middle] = [(); 3].map(|()| vec![0; x.len()]);
    let mut hidden = vec![0; 2 * x.len()];
    let to = Output::Integer(&mut first, scale[1]);
    pointwise(&x, &weights.w1, true, None, to);
    depthwise3x3(&first, size, &weights.dw, &mut spatial, scale[2]);
    let residual = Residual {
        values: &x,
        scale: scale[0],
    };
    let to = Output::Integer(&mut middle, scale[3]);
    pointwise(&spatial, &weights.w2, false, Some(residual), to);
    let to = Output::Integer(&mut hidden, scale[4]);
    pointwise(&middle, &weights.w3, true, None, to);
    let want = [&first, &spatial, &middle, &hidden, &y].map(|values| largest(values));
    assert_eq!(seen.map(AtomicU16::into_inner), want);
}

#[test]
fn depthwise_equals_plain_loop() {
    let mut random = Random(12);
    let mut shapes = vec![
        (1, 1, 1),
        (1, 9, 17),
        (9, 1, 16),
        (2, 2, 64),
        (0, 4, 3),
        (3, 5, 160),
    ];
    shapes.extend((0..20).map(|_| {
        let sizes = [9, 14, 100].map(|most| 1 + random.below(most));
        (sizes[0], sizes[1], sizes[2])
    }));
    for (height, width, channels) in shapes {
        let x = random.integers(height * width * channels);
        let taps = random.weights(9, channels);
        let rescale = random.rescale(9, channels);
        let scale = random.scale(-16, 6);
        let plain = plain_depthwise(&x, height, width, &taps, &rescale, scale);
        let layer = Depthwise::new(&taps, rescale).unwrap();
        everywhere(|path| {
            let mut out = vec![1; x.len()];
            depthwise3x3(&x, (height, width), &layer, &mut out, scale);
            assert_eq!(out, plain, "{path} {height} x {width} x {channels}");
        });
    }
}

#[test]
fn fused_block_equals_its_layers() {
    let mut random = Random(13);
    let mut shapes = vec![
        (1, 1, 1),
        (1, 130, 4),
        (150, 1, 3),
        (67, 99, 2),
        (17, 49, 17),
        (0, 5, 2),
        (7, 53, 64),
    ];
    shapes.extend((0..6).map(|_| {
        let sizes = [40, 60, 36].map(|most| 1 + random.below(most));
        (sizes[0], sizes[1], sizes[2])
    }));
    for (height, width, channels) in shapes {
        let (double, row) = (2 * channels, width * channels);
        let [w1, w2] = [(); 2].map(|()| random.layer(channels, channels, false));
        let w3 = random.layer(channels, double, false);
        let w4 = random.layer(double, channels, false);
        let taps = random.weights(9, channels);
        let rescale = random.rescale(9, channels);
        let scale = [(); 6].map(|()| random.scale(-14, 3));
        let x = random.integers(height * row);

        let first = w1.apply_in(&x, true, None, scale[1]);
        let depthwise = plain_depthwise(&first, height, width, &taps, &rescale, scale[2]);
        let residual = |values, scale| Some(Residual { values, scale });
        let middle = w2.apply_in(&depthwise, false, residual(&x, scale[0]), scale[3]);
        let hidden = w3.apply_in(&middle, true, None, scale[4]);
        let plain = w4.apply_in(&hidden, false, residual(&middle, scale[3]), scale[5]);

        let dw = Depthwise::new(&taps, rescale).unwrap();
        let weights = block_of([w1, w2, w3, w4].map(|layer| layer.packed()), dw, scale);
        everywhere(|path| {
            let mut out = vec![1; x.len()];
            block(&x, (height, width), &weights, None, &mut out);
            assert_eq!(out, plain, "{path} {height} x {width} x {channels}");
            // Any rows, from the first layer of these and a row more on both sides.
            let (top, end) = (height / 3, height - height / 4);
            let (x, mut out) = (&x[top * row..end * row], vec![1; (end - top) * row]);
            let part = top.saturating_sub(1)..(end + 1).min(height);
            let window = Window {
                data: &first[part.start * row..part.end * row],
                top: part.start,
                left: 0,
                height: part.len(),
                width,
            };
            weights.other_layers(window, x, top..end, None, &mut out);
            assert_eq!(out, plain[top * row..end * row]);
        });
    }
}

/// The activation's value and slope at an integer: the definitions.
fn activated(x: i16, from: Scale, to: Scale) -> i16 {
    let value = real(x, from);
    integer(value * (value * 0.25 + 0.5).clamp(0.0, 1.0), to)
}

fn sloped(gradient: i16, x: i16, from: Scale) -> i16 {
    let value = real(x, from);
    let slope = match value {
        ..=-2.0 => 0.0,
        2.0.. => 1.0,
        _ => value * 0.5 + 0.5,
    };
    let product = f32::from(gradient) * slope;
    product.round_ties_even().clamp(-32_768.0, 32_767.0) as i16
}

#[test]
fn gradient_of_a_block_equals_its_layers() {
    let mut random = Random(14);
    let shapes = [(1, 1, 1), (1, 130, 4), (9, 1, 3), (7, 99, 17), (5, 12, 64)];
    for (height, width, channels) in shapes {
        let (double, row) = (2 * channels, width * channels);
        let square = |random: &mut Random| random.layer(channels, channels, false);
        let [w1, w2, back1, back2] = [(); 4].map(|()| square(&mut random));
        let [w3, back4] = [(); 2].map(|()| random.layer(channels, double, false));
        let [w4, back3] = [(); 2].map(|()| random.layer(double, channels, false));
        let [taps, turned] = [(); 2].map(|()| random.weights(9, channels));
        let [rescale, rescale_back] = [(); 2].map(|()| random.rescale(9, channels));
        // Fine ones too, which what is kept is not.
        let scale = [-14, -15, -14, -14, -16, -14].map(|from| random.scale(from, 2));
        let back = [(); 6].map(|()| random.scale(-15, 3));
        let x = random.integers(height * row);
        let gy = random.integers(height * row);

        let coarse = |scale: Scale| match scale.value() {
            value if value < 1.0 / 16_384.0 => Scale::from_exponent(-14).unwrap(),
            _ => scale,
        };
        let [of_first, of_hidden] = [coarse(scale[1]), coarse(scale[4])];
        let residual = |values, scale| Some(Residual { values, scale });
        let kept = w1.apply_in(&x, false, None, of_first);
        let first = kept.iter().map(|x| activated(*x, of_first, scale[1]));
        let first: Vec<i16> = first.collect();
        let u = plain_depthwise(&first, height, width, &taps, &rescale, scale[2]);
        let middle = w2.apply_in(&u, false, residual(&x, scale[0]), scale[3]);
        let hidden = w3.apply_in(&middle, false, None, of_hidden);
        let active = hidden.iter().map(|x| activated(*x, of_hidden, scale[4]));
        let active: Vec<i16> = active.collect();
        let y = w4.apply_in(&active, false, residual(&middle, scale[3]), scale[5]);

        let at_slopes = |gradient: Vec<i16>, kept: &[i16], scale: Scale| -> Vec<i16> {
            let pairs = gradient.into_iter().zip(kept);
            pairs
                .map(|(gradient, x)| sloped(gradient, *x, scale))
                .collect()
        };
        let gradient = back4.apply_in(&gy, false, None, back[1]);
        let gradient = at_slopes(gradient, &hidden, of_hidden);
        let back_middle = back3.apply_in(&gradient, false, residual(&gy, back[0]), back[2]);
        let inner = back2.apply_in(&back_middle, false, None, back[3]);
        let size = (height, width);
        let gradient = plain_depthwise(&inner, size.0, size.1, &turned, &rescale_back, back[4]);
        let gradient = at_slopes(gradient, &kept, of_first);
        let gx = back1.apply_in(&gradient, false, residual(&back_middle, back[2]), back[5]);

        let dw = Depthwise::new(&taps, rescale).unwrap();
        let of_block = BlockGradient {
            block: block_of([&w1, &w2, &w3, &w4].map(Layer::packed), dw, scale),
            back: BackwardLayers {
                w4: back4.packed(),
                w3: back3.packed(),
                w2: back2.packed(),
                dw: Depthwise::new(&turned, rescale_back).unwrap(),
                w1: back1.packed(),
                scales: BackwardScales {
                    output: back[0],
                    hidden: back[1],
                    middle: back[2],
                    inner: back[3],
                    first: back[4],
                    input: back[5],
                },
            },
        };
        // Any rows, from a part of the picture with a row more on both sides.
        let (top, end) = (height / 3, height - height / 4);
        let inside = top * row..end * row;
        let part = top.saturating_sub(1)..(end + 1).min(height);
        let (data, rows) = (part.start * row..part.end * row, part.len());
        let window = |data| Window {
            data,
            top: part.start,
            left: 0,
            height: rows,
            width,
        };
        everywhere(|path| {
            let (mut before, mut after) = (vec![1; x.len()], vec![1; x.len()]);
            of_block.block.keep_first_layer(&x, &mut before, &mut after);
            assert!(before == kept && after == first, "{path} {width}");
            let wide = 2 * inside.start..2 * inside.end;
            let (mut wide_out, mut out) = (vec![1; wide.len()], vec![1; inside.len()]);
            let x = &x[inside.clone()];
            (of_block.block).keep_other_layers(
                window(&first[data.clone()]),
                x,
                top..end,
                &mut wide_out,
                &mut out,
            );
            assert!(wide_out == hidden[wide] && out == y[inside.clone()]);

            let (mut to_middle, mut to_inner) = (vec![1; gy.len()], vec![1; gy.len()]);
            of_block.pointwise_half(&gy, &hidden, &mut to_middle, &mut to_inner);
            assert!(to_middle == back_middle && to_inner == inner, "{path}");
            let rows = window(&inner[data.clone()]);
            let (kept, middle) = (&kept[inside.clone()], &back_middle[inside.clone()]);
            of_block.spatial_half(rows, kept, middle, top..end, &mut out);
            assert!(out == gx[inside.clone()], "{path} {height} x {width}");
        });
    }
}
