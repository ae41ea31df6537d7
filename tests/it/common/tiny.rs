//! The tiny model of the tests. Its linear path is a block transform of sixteen Walsh
//! functions and its networks are random, so that pictures stay recognizable while
//! every part of the arithmetic matters.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use aec::unstable::Model;
use aec::unstable::entropy::ScaleTables;
use aec::unstable::format::PATCH16;
use aec::unstable::network::config::{LayerKind, LayerSpec};
use aec::unstable::network::{ModelConfig, Weights};

use super::random::Random;

/// The committed model file. What counts is the file: vectors stay valid whatever
/// [`weights`] does.
pub fn path() -> PathBuf {
    super::vectors::folder().join("tiny.safetensors")
}

/// The bytes of the committed model file.
pub fn bytes() -> &'static [u8] {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
        if super::vectors::is_asked_to_write() && !path().exists() {
            std::fs::write(path(), made()).unwrap();
        }
        std::fs::read(path()).unwrap()
    });
    &BYTES
}

/// The committed model.
pub fn model() -> &'static Model {
    static MODEL: LazyLock<Model> = LazyLock::new(|| Model::from_bytes(bytes()).unwrap());
    &MODEL
}

/// A model file of [`weights`], of the sizes that values have on a few pictures.
fn made() -> Vec<u8> {
    let pictures = [
        super::pictures::scene(200, 150),
        super::pictures::noise(64, 64),
        super::pictures::flat(64, 64, [255; 3]),
    ];
    let model = aec::unstable::train::export::export(&weights(), &pictures).unwrap();
    model.to_bytes().unwrap()
}

/// The weights from which the model file was made.
pub fn weights() -> Weights {
    let config = ModelConfig::tiny();
    let mut random = Random::new(1);
    let layers: BTreeMap<String, Vec<f32>> = config
        .layers()
        .into_iter()
        .map(|layer| (layer.path.clone(), parameters(&layer, &mut random)))
        .collect();
    Weights {
        config,
        layers,
        tables: ScaleTables::gaussian().to_words(),
    }
}

fn parameters(layer: &LayerSpec, random: &mut Random) -> Vec<f32> {
    match layer.kind {
        LayerKind::Table { rows, columns, .. } => (0..rows * columns)
            .map(|i| table_value(&layer.path, i / columns, i % columns, random))
            .collect(),
        _ if layer.path.ends_with(".linear") => linear(layer, random),
        _ => network(layer, random),
    }
}

/// Uniform weights of about the size that keeps values near 1, and small biases.
fn network(layer: &LayerSpec, random: &mut Random) -> Vec<f32> {
    let mut flat = Vec::new();
    for (part, shape) in layer.kind.parts() {
        let inputs = if part == "depthwise.weight" {
            9
        } else {
            *shape.last().unwrap()
        };
        let bound = if part.ends_with("bias") {
            0.05
        } else {
            gain(&layer.path, part) * (3.0 / inputs as f32).sqrt()
        };
        let count: usize = shape.iter().product();
        flat.extend((0..count).map(|_| random.within(bound)));
    }
    flat
}

/// How much a layer amplifies. What adds to something else is small beside it.
fn gain(path: &str, part: &str) -> f32 {
    match (path.rsplit('.').next(), part) {
        (Some("conv_out"), _) => 0.2,
        (Some("state"), _) => 0.5,
        (_, "conv2.weight" | "conv4.weight") => 0.5,
        _ => 1.2,
    }
}

/// The transform's rows (analysis) or columns (synthesis), then the bias.
fn linear(layer: &LayerSpec, random: &mut Random) -> Vec<f32> {
    let LayerKind::Pointwise { inputs, outputs } = layer.kind else {
        unreachable!("linear is pointwise")
    };
    let is_analysis = inputs == PATCH16;
    let weight = |output: usize, input: usize| {
        if is_analysis {
            walsh_pattern(output, input) / 192.0
        } else {
            walsh_pattern(input, output) / if input < 12 { 4.0 } else { 8.0 }
        }
    };
    let mut flat: Vec<f32> = (0..outputs * inputs)
        .map(|i| weight(i / inputs, i % inputs))
        .collect();
    flat.extend((0..outputs).map(|_| random.within(0.02)));
    flat
}

/// Latent channel `channel`'s pattern at value `k` of a 16 x 16 patch: eight Walsh
/// functions of luminance, four of each of two color differences.
fn walsh_pattern(channel: usize, k: usize) -> f32 {
    let (square, rest) = (k / 192, k % 192);
    let (y, x) = (square / 2 * 8 + rest / 24, square % 2 * 8 + rest / 3 % 8);
    let color = rest % 3;
    let (horizontal, vertical, weights) = match channel {
        0..8 => (channel % 4, channel / 4, [1.0, 1.0, 1.0]),
        8..12 => (channel % 2, channel / 2 % 2, [1.0, 0.0, -1.0]),
        _ => (channel % 2, channel / 2 % 2, [1.0, -2.0, 1.0]),
    };
    walsh(horizontal, x) * walsh(vertical, y) * weights[color]
}

/// Walsh function `k` (0..=3) at `t` (0..=15).
fn walsh(k: usize, t: usize) -> f32 {
    let sign = [0, t >> 3, (t >> 3) ^ (t >> 2), t >> 2][k] & 1;
    1.0 - 2.0 * sign as f32
}

/// Quantization steps that shrink by 2.5 per row. Channel 14 has too small a scale for
/// its size (escapes), channel 15 too small a one to be coded at low quality.
fn table_value(path: &str, row: usize, column: usize, random: &mut Random) -> f32 {
    let latent_gain = [0.4, 1.0, 2.5, 6.25][row] * if column == 14 && row > 0 { 8.0 } else { 1.0 };
    let hyper_gain = [0.25, 0.75, 1.5, 3.0][row];
    let step = row as f32;
    match path {
        "quality.latent_gain" => latent_gain,
        "quality.latent_inverse_gain" => 1.0 / latent_gain,
        "quality.hyper_gain" => hyper_gain,
        "quality.hyper_inverse_gain" => 1.0 / hyper_gain,
        "quality.latent_scale" => match column {
            14 => 3.0 + 6.0 * step,
            15 => -14.0 + 9.0 * step,
            _ => 8.0 + 8.0 * step + random.within(3.0),
        },
        "quality.hyper_scale" => match column {
            6 => 70.0,
            7 => -3.0,
            _ => 12.0 + 6.0 * step + random.within(3.0),
        },
        _ => 1.0 + random.within(0.3),
    }
}
