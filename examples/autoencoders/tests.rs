//! Every experiment on a few hundred drawn digits: each must learn what it is there to show.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::digits::{Digits, PIXELS, SIDE};
use super::{Args, Figures, run};

/// The strokes of each digit: points, across and down, in a square from 0 to 9.
const STROKES: [&str; 10] = [
    "41 23 26 48 66 63 41",
    "41 48",
    "23 41 63 28 68",
    "21 61 44 66 48 27",
    "58 51 16 76",
    "61 21 24 54 66 48 28",
    "51 25 38 67 55 26",
    "21 61 38",
    "44 23 41 63 26 48 66 44",
    "64 24 31 62 58",
];

/// A digit as a hand would never draw it twice: turned, stretched and moved a little.
fn draw(digit: usize, random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut around = |center: f32, spread: f32| center + random.random_range(-spread..spread);
    let (slant, turn) = (around(0.1, 0.2), around(0.0, 0.15));
    let (wide, high) = (around(2.2, 0.35), around(2.4, 0.3));
    let (left, top) = (around(14.0, 1.5), around(14.0, 1.5));
    let pen = around(1.3, 0.3);
    let place = |point: &str| {
        let at = |i: usize| f32::from(point.as_bytes()[i] - b'0');
        let (x, y) = ((at(0) - 4.0) * wide, (at(1) - 4.5) * high);
        (left + x - y * slant - y * turn, top + y + x * turn)
    };
    let points: Vec<(f32, f32)> = STROKES[digit].split(' ').map(place).collect();
    let ink = |i: usize| {
        let at = ((i % SIDE) as f32 + 0.5, (i / SIDE) as f32 + 0.5);
        let lines = points.windows(2).map(|line| distance(at, line[0], line[1]));
        let nearest = lines.fold(f32::INFINITY, f32::min);
        ((pen + 0.5 - nearest).clamp(0.0, 1.0) * 255.0) as u8
    };
    (0..PIXELS).map(ink).collect()
}

/// From a point to a line between two others.
fn distance(at: (f32, f32), from: (f32, f32), to: (f32, f32)) -> f32 {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let along = ((at.0 - from.0) * dx + (at.1 - from.1) * dy) / (dx * dx + dy * dy);
    let along = along.clamp(0.0, 1.0);
    (at.0 - from.0 - along * dx).hypot(at.1 - from.1 - along * dy)
}

/// Writes a set of digits as two idx files.
fn write_set(folder: &Path, name: &str, count: usize, seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let labels: Vec<u8> = (0..count).map(|i| (i % 10) as u8).collect();
    let pixels: Vec<u8> = labels
        .iter()
        .flat_map(|&digit| draw(digit.into(), &mut random))
        .collect();
    let idx = |sizes: &[usize], values: &[u8]| {
        let mut bytes = vec![0, 0, 8, sizes.len() as u8];
        bytes.extend(sizes.iter().flat_map(|&size| (size as u32).to_be_bytes()));
        bytes.extend(values);
        bytes
    };
    let images = idx(&[count, SIDE, SIDE], &pixels);
    fs::write(folder.join(format!("{name}-images-idx3-ubyte")), images).unwrap();
    let labels = idx(&[count], &labels);
    fs::write(folder.join(format!("{name}-labels-idx1-ubyte")), labels).unwrap();
}

/// Whose turn it is: candle's threads spin while they wait, so that trainings beside each other
/// are slower than one after the other.
static TURN: Mutex<()> = Mutex::new(());

/// Runs an experiment for so many epochs on 300 digits, and checks its files.
fn experiment(kind: &str, epochs: usize, files: &[&str]) -> Figures {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    write_set(folder.path(), "train", 300, 1);
    write_set(folder.path(), "t10k", 150, 2);
    let out = folder.path().join("out");
    let figures = run(args(kind, folder.path(), &out, epochs)).unwrap();
    for file in ["loss.svg", "reconstructions.png"].iter().chain(files) {
        assert!(out.join(file).metadata().unwrap().len() > 500, "{file}");
    }
    image::open(out.join("reconstructions.png")).unwrap();
    println!("{figures:?}");
    figures
}

fn args(kind: &str, data: &Path, out: &Path, epochs: usize) -> Args {
    Args {
        kind: kind.into(),
        data: data.into(),
        out: PathBuf::from(out),
        epochs: Some(epochs),
        batch: Some(16),
        seed: 1,
    }
}

/// The cross-entropy of the mean picture, which is the best that says nothing of any one.
fn loss_of_the_mean_picture() -> f64 {
    let folder = tempfile::tempdir().unwrap();
    write_set(folder.path(), "t10k", 150, 2);
    let digits = Digits::read(folder.path(), "t10k").unwrap();
    let mean = digits.pixels.mean(0).unwrap().to_vec1::<f32>().unwrap();
    let entropy = |p: f32| {
        let p = f64::from(p.clamp(1e-6, 1.0 - 1e-6));
        -p * p.ln() - (1.0 - p) * (1.0 - p).ln()
    };
    mean.into_iter().map(entropy).sum()
}

#[test]
fn dense_rebuilds_digits() {
    let figures = experiment("dense", 10, &[]);
    let mean = loss_of_the_mean_picture();
    assert!(figures[0].1 < 0.75 * mean, "{figures:?} {mean}");
}

#[test]
fn small_rebuilds_digits() {
    let figures = experiment("small", 20, &[]);
    let mean = loss_of_the_mean_picture() / PIXELS as f64;
    assert!(figures[0].1 < 0.85 * mean, "{figures:?} {mean}");
}

#[test]
fn convolutional_rebuilds_digits() {
    let figures = experiment("convolutional", 24, &[]);
    let mean = loss_of_the_mean_picture();
    assert!(figures[0].1 < 0.95 * mean, "{figures:?} {mean}");
}

#[test]
fn denoising_removes_noise() {
    let figures = experiment("denoising", 10, &[]);
    assert!(figures[1].1 > figures[0].1 + 4.0, "{figures:?}");
}

#[test]
fn sparse_codes_have_few_active_units() {
    let figures = experiment("sparse", 10, &[]);
    let mean = loss_of_the_mean_picture();
    assert!(figures[0].1 < 0.9 * mean, "{figures:?} {mean}");
    assert!((1.0..56.0).contains(&figures[1].1), "{figures:?}");
}

#[test]
fn variational_codes_cost_a_few_bits() {
    let figures = experiment("variational", 10, &["samples.png", "walks.png"]);
    let mean = loss_of_the_mean_picture();
    assert!(figures[0].1 < 0.95 * mean, "{figures:?} {mean}");
    assert!((0.5..100.0).contains(&figures[2].1), "{figures:?}");
}

#[test]
fn anomalies_are_found() {
    let figures = experiment("anomaly", 3, &[]);
    assert_eq!(figures.len(), 11);
    assert!(figures[10].1 > 0.65, "{figures:?}");
}

#[test]
fn features_tell_digits_apart() {
    let figures = experiment("features", 30, &["codes.svg", "components.svg"]);
    for (name, accuracy) in figures {
        assert!(accuracy > 0.6, "{name} {accuracy}");
    }
}

#[test]
fn the_same_seed_gives_the_same_figures() {
    let once = || experiment("variational", 1, &[]);
    assert_eq!(once(), once());
}

#[test]
fn broken_data_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let refused = || run(args("dense", data, &data.join("out"), 1)).unwrap_err();
    assert!(refused().to_string().contains("no 'train-images"));
    write_set(data, "train", 20, 1);
    write_set(data, "t10k", 20, 1);
    let images = data.join("train-images-idx3-ubyte");
    let whole = fs::read(&images).unwrap();
    for broken in [&whole[..whole.len() - 1], &whole[..10], &[1; 500]] {
        fs::write(&images, broken).unwrap();
        assert!(refused().to_string().contains("train-images-idx3-ubyte"));
    }
    fs::write(&images, &whole).unwrap();
    fs::write(
        data.join("train-labels-idx1-ubyte"),
        [0, 0, 8, 1, 0, 0, 0, 1, 5],
    )
    .unwrap();
    assert!(refused().to_string().contains("not as many labels"));
}
