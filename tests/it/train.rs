//! Training, as a person drives it and as a library: resuming is exact, a folder
//! of pictures becomes a model that encodes and decodes, bad folders are said clearly.

use std::path::Path;

use aec::unstable::network::ModelConfig;
use aec::unstable::train::data::Pictures;
use aec::unstable::train::{Event, Run, RunOptions, TrainConfig};
use aec::unstable::{DecodeOptions, EncodeOptions, Image, Model, NoProgress};
use assert_cmd::Command;
use predicates::prelude::*;

use crate::cli::AEC;
use crate::common::settings::usual_path;

/// Smooth waves of several frequencies: something to learn from.
fn picture(seed: u32, side: u32) -> Image {
    let wave = |x: u32, y: u32, channel: u32| {
        let phase = f64::from(seed + channel);
        let value = (f64::from(x) * 0.07 + phase).sin()
            + (f64::from(y) * 0.11 - phase).cos()
            + (f64::from(x * y) * 0.001).sin();
        (127.5 + 40.0 * value) as u8
    };
    let pixels =
        (0..side).flat_map(|y| (0..side).flat_map(move |x| (0..3).map(move |c| wave(x, y, c))));
    Image::new(side, side, pixels.collect()).expect("the sizes agree")
}

fn pictures() -> Pictures {
    Pictures::new((0..3).map(|seed| picture(seed, 96)).collect())
}

fn tiny_config(steps: u64) -> TrainConfig {
    TrainConfig {
        steps,
        batch: 2,
        crop: 64,
        warmup_steps: 2,
        log_every: 1,
        checkpoint_every: 3,
        model: ModelConfig::tiny(),
        ..TrainConfig::default()
    }
}

fn train(out: &Path, resume: bool, report: &mut dyn FnMut(Event) -> bool) -> Run {
    let options = RunOptions {
        device: aec::unstable::train::ComputeDevice::Cpu,
        out: out.to_path_buf(),
        resume,
        init: None,
        grow: false,
    };
    let mut run = Run::new(tiny_config(6), &pictures(), options).expect("the run starts");
    run.train(&pictures(), &pictures(), report)
        .expect("the run trains");
    run
}

#[test]
fn a_resumed_run_equals_an_uninterrupted_one() {
    let _path = usual_path();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole = folder.path().join("whole");
    train(&whole, false, &mut |_| true);
    // At a checkpoint, and between two of them.
    let at_checkpoint = |event: Event| !matches!(event, Event::Validation { .. });
    let between = |event: Event| !matches!(event, Event::Step { step: 4 });
    stops_and_goes_on(&whole, &folder.path().join("three"), 3, at_checkpoint);
    stops_and_goes_on(&whole, &folder.path().join("four"), 4, between);
}

/// A run that is stopped at step `at` and resumed, in the folder `parts`, ends like that in `whole`.
fn stops_and_goes_on(whole: &Path, parts: &Path, at: u64, mut goes_on: impl FnMut(Event) -> bool) {
    assert_eq!(train(parts, false, &mut goes_on).step(), at);
    assert_eq!(train(parts, true, &mut |_| true).step(), 6);
    for file in [
        "model.safetensors",
        "weights.safetensors",
        "checkpoint.safetensors",
    ] {
        let read = |run: &Path| std::fs::read(run.join(file)).expect("the run wrote it");
        // The order of the metadata in the file is free: compare the tensors.
        let (a, b) = (read(whole), read(parts));
        let tensors = |bytes: &[u8]| -> Vec<(String, Vec<u8>)> {
            let file = safetensors::SafeTensors::deserialize(bytes).expect("a safetensors file");
            let mut list: Vec<_> = file
                .tensors()
                .into_iter()
                .map(|(name, view)| (name, view.data().to_vec()))
                .collect();
            list.sort();
            list
        };
        assert!(tensors(&a) == tensors(&b), "{file} differs");
    }
}

#[test]
fn the_loss_falls() {
    let _path = usual_path();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = TrainConfig {
        checkpoint_every: 1000,
        ..tiny_config(60)
    };
    let options = RunOptions {
        device: aec::unstable::train::ComputeDevice::Cpu,
        out: folder.path().to_path_buf(),
        resume: false,
        init: None,
        grow: false,
    };
    let mut run = Run::new(config, &pictures(), options).expect("the run starts");
    let mut losses = Vec::new();
    let mut report = |event: Event| {
        if let Event::Progress { loss, .. } = event {
            losses.push(loss);
        }
        true
    };
    run.train(&pictures(), &pictures(), &mut report)
        .expect("the run trains");
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (early, late) = (mean(&losses[..15]), mean(&losses[45..]));
    assert!(late < 0.97 * early, "{early} {late}");
}

#[test]
fn one_command_makes_a_model_that_encodes_and_decodes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("photos");
    std::fs::create_dir(&data).expect("a folder");
    for seed in 0..2 {
        let file = std::fs::File::create(data.join(format!("{seed}.png"))).expect("a file");
        aec::unstable::picture::io::write(
            &picture(seed, 96),
            aec::unstable::picture::io::OutputFormat::Png,
            file,
        )
        .expect("a picture");
    }
    std::fs::write(data.join("broken.png"), b"not a picture").expect("a file");
    let config = folder.path().join("tiny.toml");
    std::fs::write(
        &config,
        toml::to_string(&tiny_config(3)).expect("a configuration is TOML"),
    )
    .expect("a file");
    let out = folder.path().join("run");
    Command::new(AEC)
        .args(["train", "--data"])
        .arg(&data)
        .arg("--out")
        .arg(&out)
        .arg("--config")
        .arg(&config)
        .assert()
        .success()
        .stderr(
            predicate::str::contains("broken.png")
                .and(predicate::str::contains("model.safetensors")),
        );
    let model = Model::load(&out.join("model.safetensors")).expect("the trained model loads");
    let image = picture(7, 70);
    let file = aec::unstable::encode(&image, &model, &EncodeOptions::default(), &NoProgress)
        .expect("it encodes");
    let decoded = aec::unstable::decode(&file, &model, &DecodeOptions::default(), &NoProgress)
        .expect("it decodes");
    assert_eq!((decoded.width, decoded.height), (70, 70));
    let log = std::fs::read_to_string(out.join("log.tsv")).expect("the run wrote a log");
    assert!(log.lines().count() > 3 && log.starts_with("kind\tstep\tloss"));

    // What a person looks at: the loss curve, and originals above reconstructions.
    let read = |name: &str| std::fs::read(out.join(name)).expect("the run drew it");
    assert!(String::from_utf8_lossy(&read("loss.svg")).contains("validation crops"));
    let grid = aec::unstable::picture::io::read(
        &read("reconstructions.png"),
        &aec::unstable::Limits::default(),
    );
    let grid = grid.expect("a picture");
    assert_eq!((grid.width, grid.height), (64 + 8, 5 * (64 + 4) + 4));
    let row = |i: usize| {
        let start = 3 * ((4 + 68 * i) * 72 + 4);
        &grid.rgb[start..start + 3 * 64]
    };
    let originals = [0, 1].map(|seed| picture(seed, 96));
    let top = |image: &Image| image.rgb[3 * (16 * 96 + 16)..][..3 * 64].to_vec();
    assert!(originals.iter().any(|image| top(image) == row(0)));
    assert!(row(0) != row(1));
}

#[test]
fn a_folder_without_pictures_is_a_clear_error() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    Command::new(AEC)
        .args(["train", "--data"])
        .arg(folder.path())
        .arg("--out")
        .arg(folder.path().join("run"))
        .assert()
        .code(1)
        .stderr(predicate::str::contains("no picture of at least"));
}
