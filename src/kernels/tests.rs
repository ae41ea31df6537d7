//! Every path against plain scalar loops, bit for bit.

use super::block::{activate, block_first_layer, block_other_layers};
use super::depthwise::{RowsOf, depthwise_rows};
use super::dispatch::{self, KernelPath};
use super::*;
use crate::sync::lock;
use std::sync::Mutex;

/// Xorshift64: repeatable values without a dependency.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    /// Values between -`scale` and `scale`, some of them zero of either sign.
    pub(super) fn values(&mut self, count: usize, scale: f32) -> Vec<f32> {
        let mut value = || match self.below(16) {
            0 => 0.0,
            1 => -0.0,
            _ => ((self.next() >> 40) as f32 / 8_388_608.0 - 1.0) * scale,
        };
        (0..count).map(|_| value()).collect()
    }
}

pub(super) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The layers as the specification writes them.
struct Layer {
    inputs: usize,
    outputs: usize,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Layer {
    fn random(random: &mut Random, inputs: usize, outputs: usize) -> Self {
        let weight = random.values(inputs * outputs, 1.5 / (inputs as f32).sqrt());
        Self {
            inputs,
            outputs,
            weight,
            bias: random.values(outputs, 0.5),
        }
    }

    fn packed(&self) -> PackedPointwise {
        PackedPointwise::new(self.inputs, self.outputs, &self.weight, &self.bias)
    }

    fn apply(&self, x: &[f32], residual: Option<&[f32]>) -> Vec<f32> {
        let mut out = Vec::new();
        for x in x.chunks_exact(self.inputs) {
            for (weight, bias) in self.weight.chunks_exact(self.inputs).zip(&self.bias) {
                let sum = x
                    .iter()
                    .zip(weight)
                    .fold(*bias, |sum, (x, w)| w.mul_add(*x, sum));
                out.push(residual.map_or(sum, |residual| sum + residual[out.len()]));
            }
        }
        out
    }
}

fn plain_depthwise(x: &[f32], height: usize, width: usize, taps: &[f32], bias: &[f32]) -> Vec<f32> {
    let channels = bias.len();
    let mut out = Vec::new();
    for at in 0..x.len() {
        let (row, column, channel) = (at / channels / width, at / channels % width, at % channels);
        let mut sum = bias[channel];
        for (tap, weights) in taps.chunks_exact(channels).enumerate() {
            let y = (row + tap / 3).checked_sub(1).filter(|y| *y < height);
            let x_at = (column + tap % 3).checked_sub(1).filter(|x| *x < width);
            let value = y.zip(x_at).map_or(0.0, |(y, column)| {
                x[(y * width + column) * channels + channel]
            });
            sum = weights[channel].mul_add(value, sum);
        }
        out.push(sum);
    }
    out
}

/// Runs `test` with every path in use, with one and with several threads. Others that run meanwhile get the same bits.
pub(super) fn everywhere(test: impl Fn(KernelPath) + Sync) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = lock(&ONE_AT_A_TIME);
    let usual = dispatch::active();
    for threads in [1, 5] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        for path in dispatch::available() {
            dispatch::force(path).expect("it is available");
            pool.install(|| test(path));
        }
    }
    dispatch::force(usual).expect("it was in use");
}

/// Whether `make` makes the same on every path, with one and with several threads.
pub(super) fn same_everywhere<T: PartialEq + Send>(make: impl Fn() -> T + Sync) {
    let first = Mutex::new(None);
    everywhere(|path| {
        let made = make();
        let mut first = lock(&first);
        match &*first {
            None => *first = Some(made),
            Some(first) => assert!(made == *first, "{path}"),
        }
    });
}

#[test]
fn paths_are_named_and_the_best_is_used() {
    let paths = dispatch::available();
    assert_eq!(paths.last(), Some(&KernelPath::Portable));
    for path in paths {
        assert_eq!(path.to_string().parse::<KernelPath>().unwrap(), path);
    }
    assert!("AVX2".parse::<KernelPath>().is_err());
    let neon = dispatch::force(KernelPath::Neon);
    assert_eq!(neon.is_ok(), cfg!(target_arch = "aarch64"));
    assert!(dispatch::active().is_available());
}

#[test]
fn activation_has_the_specified_values() {
    let values = [
        (-3.0, -0.0),
        (-2.0, -0.0),
        (-1.0, -0.25),
        (0.0, 0.0),
        (1.0, 0.75),
        (2.0, 2.0),
        (9.0, 9.0),
    ];
    for (x, y) in values {
        assert_eq!(activate(x).to_bits(), f32::to_bits(y), "activation of {x}");
    }
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
        (12, 40, 31),
    ];
    shapes.extend((0..20).map(|_| {
        (
            1 + random.below(150),
            1 + random.below(70),
            1 + random.below(100),
        )
    }));
    for (pixels, inputs, outputs) in shapes {
        let layer = Layer::random(&mut random, inputs, outputs);
        let x = random.values(pixels * inputs, 2.0);
        let residual = random.values(pixels * outputs, 1.0);
        let packed = layer.packed();
        for residual in [None, Some(&residual[..])] {
            let plain = layer.apply(&x, residual);
            everywhere(|path| {
                let mut out = vec![f32::NAN; pixels * outputs];
                pointwise(&x, &packed, residual, &mut out);
                assert_eq!(
                    bits(&out),
                    bits(&plain),
                    "{path} {pixels} x {inputs} -> {outputs}"
                );
            });
        }
    }
}

#[test]
fn depthwise_equals_plain_loop() {
    let mut random = Random(12);
    let mut shapes = vec![(1, 1, 1), (1, 9, 17), (9, 1, 16), (2, 2, 48), (0, 4, 3)];
    shapes.extend((0..20).map(|_| {
        (
            1 + random.below(9),
            1 + random.below(14),
            1 + random.below(70),
        )
    }));
    for (height, width, channels) in shapes {
        let x = random.values(height * width * channels, 2.0);
        let (taps, bias) = (
            random.values(9 * channels, 1.0),
            random.values(channels, 1.0),
        );
        let plain = plain_depthwise(&x, height, width, &taps, &bias);
        let packed = PackedDepthwise::new(channels, &taps, &bias);
        everywhere(|path| {
            let mut out = vec![f32::NAN; x.len()];
            let rows = RowsOf {
                top: 0,
                width,
                values: &x,
            };
            depthwise_rows(path, rows, &packed, 0..height, 0..width, &mut out);
            assert_eq!(
                bits(&out),
                bits(&plain),
                "{path} {height} x {width} x {channels}"
            );
        });
    }
}

/// The five layers one after another, in plain loops.
fn plain_block(
    x: &[f32],
    height: usize,
    width: usize,
    layers: &[Layer; 4],
    taps: &[f32],
    bias: &[f32],
) -> Vec<f32> {
    let active = |values: Vec<f32>| -> Vec<f32> { values.into_iter().map(activate).collect() };
    let first = active(layers[0].apply(x, None));
    let depthwise = plain_depthwise(&first, height, width, taps, bias);
    let middle = layers[1].apply(&depthwise, Some(x));
    let hidden = active(layers[2].apply(&middle, None));
    layers[3].apply(&hidden, Some(&middle))
}

#[test]
fn block_equals_its_layers() {
    let mut random = Random(13);
    let mut shapes = vec![(1, 1, 1), (1, 130, 4), (150, 1, 3), (17, 49, 17)];
    shapes.extend((0..8).map(|_| {
        (
            1 + random.below(40),
            1 + random.below(60),
            1 + random.below(36),
        )
    }));
    for (height, width, channels) in shapes {
        let sizes = [
            (channels, channels),
            (channels, channels),
            (channels, 2 * channels),
            (2 * channels, channels),
        ];
        let layers = sizes.map(|(inputs, outputs)| Layer::random(&mut random, inputs, outputs));
        let (taps, bias) = (
            random.values(9 * channels, 0.6),
            random.values(channels, 0.5),
        );
        let [w1, w2, w3, w4] = layers.each_ref().map(Layer::packed);
        let packed = PackedBlock {
            w1,
            dw: PackedDepthwise::new(channels, &taps, &bias),
            w2,
            w3,
            w4,
        };
        let x = random.values(height * width * channels, 2.0);
        let plain = plain_block(&x, height, width, &layers, &taps, &bias);
        let (mut before, mut after) = (x.clone(), x.clone());
        block_first_layer(&x, &packed, &mut before, &mut after);
        // Any rows, from a part of the picture with a row more on both sides.
        for (top, end) in [(0, height), (height / 3, height - height / 4)] {
            let part = top.saturating_sub(1)..(end + 1).min(height);
            let row = width * channels;
            let first = RowsOf {
                top: part.start,
                width,
                values: &after[part.start * row..part.end * row],
            };
            let mut hidden = vec![f32::NAN; 2 * (end - top) * row];
            let mut out = vec![f32::NAN; (end - top) * row];
            let x = &x[top * row..end * row];
            block_other_layers(first, x, &packed, top..end, &mut hidden, &mut out);
            assert_eq!(bits(&out), bits(&plain[top * row..end * row]));
        }
    }
}

#[test]
fn rearrangements_follow_the_formula_and_invert() {
    let mut random = Random(14);
    for (cells_down, cells_across, channels, s) in [
        (1, 1, 1, 1),
        (3, 5, 4, 2),
        (2, 3, 3, 8),
        (4, 1, 5, 3),
        (0, 2, 3, 2),
    ] {
        let (height, width) = (cells_down * s, cells_across * s);
        let x = random.values(height * width * channels, 1.0);
        let (mut depth, mut back) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
        space_to_depth(&x, height, width, channels, s, &mut depth);
        for (at, value) in x.iter().enumerate() {
            let (y, column, channel) =
                (at / channels / width, at / channels % width, at % channels);
            let cell = y / s * cells_across + column / s;
            let to = (cell * s * s + y % s * s + column % s) * channels + channel;
            assert_eq!(depth[to].to_bits(), value.to_bits());
        }
        depth_to_space(&depth, height, width, channels, s, &mut back);
        assert_eq!(bits(&back), bits(&x));
    }
}

#[test]
fn every_byte_survives_patches() {
    let (height, width) = (16, 40);
    let rgb: Vec<u8> = (0..height * width * 3)
        .map(|at| (at * 7 + at / 256) as u8)
        .collect();
    let values: Vec<f32> = rgb
        .iter()
        .map(|v| f32::from(*v) * (1.0 / 255.0) - 0.5)
        .collect();
    let mut plain = vec![0.0; values.len()];
    space_to_depth(&values, height, width, 3, 8, &mut plain);
    everywhere(|path| {
        let (mut patches, mut back) = (vec![f32::NAN; rgb.len()], vec![0; rgb.len()]);
        pixels_to_patches(&rgb, height, width, &mut patches);
        assert_eq!(bits(&patches), bits(&plain), "{path}");
        patches_to_pixels(&patches, height, width, &mut back);
        assert_eq!(back, rgb, "{path}");
    });
}

#[test]
fn bytes_are_rounded_half_up_and_clamped() {
    let mut values = vec![0.0; 192];
    values[..9].copy_from_slice(&[
        -0.5,
        0.5,
        -9.0,
        9.0,
        0.0,
        f32::MAX,
        f32::MIN,
        -127.0 / 255.0,
        f32::NAN,
    ]);
    everywhere(|path| {
        let mut rgb = vec![1; 192];
        patches_to_pixels(&values, 8, 8, &mut rgb);
        assert_eq!(rgb[..9], [0, 255, 0, 255, 128, 255, 0, 1, 0], "{path}");
    });
}

/// Sizes whose product wraps around to the length of a slice (regression: reads behind the slice).
#[test]
fn sizes_that_wrap_are_refused() {
    fn panics(what: &str, call: impl FnOnce() + std::panic::UnwindSafe) {
        assert!(std::panic::catch_unwind(call).is_err(), "{what}");
    }
    const HALF: usize = 1 << (usize::BITS - 1);
    let two = vec![0.0_f32; 2];
    panics("packed depthwise", || {
        drop(PackedDepthwise::new(HALF, &[], &[]))
    });
    panics("packed pointwise", || {
        drop(PackedPointwise::new(HALF, 2, &[], &two))
    });
    panics("patches", || pixels_to_patches(&[], HALF / 4, 16, &mut []));
    panics("pixels", || patches_to_pixels(&[], 16, HALF / 4, &mut []));
    panics("space to depth", || {
        space_to_depth::<f32>(&[], HALF, 2, 1, 2, &mut [])
    });
    panics("depth to space", || {
        depth_to_space::<f32>(&[], 2, 2, HALF, 2, &mut [])
    });
}
