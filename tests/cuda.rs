//! What a GPU must give: the CPU's files and pixels bit for bit, and training steps close
//! to the CPU's. Where there is no GPU, or no support for it, the tests say so and pass.
#![cfg(feature = "cli")]

mod common;

use aec::model::{ComputeDevice, ModelConfig};
use aec::train::data::Pictures;
use aec::train::{Event, Run, RunOptions, TrainConfig};
use aec::{DecodeOptions, EncodeOptions, Error, Image, Model, NoProgress, Quality};
use common::{pictures, tiny};

/// `model` on the GPU; none, with the reason printed, where that cannot be.
fn on_gpu(model: Model) -> Option<Model> {
    match model.on(ComputeDevice::Cuda) {
        Ok(model) => Some(model),
        Err(Error::Unsupported(reason)) => {
            println!("skipped: {reason}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn assert_same(picture: &Image, percent: f64, cpu: &Model, gpu: &Model) {
    let what = format!("{}x{} at {percent}", picture.width, picture.height);
    let options = EncodeOptions {
        quality: Quality::from_percent(percent).unwrap(),
        ..EncodeOptions::default()
    };
    let encode = |model| aec::encode(picture, model, &options, &NoProgress).unwrap();
    let decode = |file: &[u8], model| {
        aec::decode(file, model, &DecodeOptions::default(), &NoProgress).unwrap()
    };
    let file = encode(cpu);
    assert!(encode(gpu) == file, "{what}: files differ");
    assert!(
        decode(&file, gpu).rgb == decode(&file, cpu).rgb,
        "{what}: pixels differ"
    );
}

#[test]
fn files_and_pixels_are_those_of_the_cpu() {
    let tiny = || Model::from_bytes(tiny::bytes()).unwrap();
    let embedded = || Model::embedded().unwrap();
    let models: [&dyn Fn() -> Model; 2] = [&tiny, &embedded];
    for make in models {
        let Some(gpu) = on_gpu(make()) else { return };
        let cpu = make();
        for (width, height) in [(1, 1), (64, 64), (200, 133), (517, 300)] {
            for percent in [0.0, 37.5, 95.0] {
                assert_same(&pictures::scene(width, height), percent, &cpu, &gpu);
                assert_same(&pictures::noise(width, height), percent, &cpu, &gpu);
            }
        }
    }
}

/// Losses of a few training steps.
fn losses(device: ComputeDevice) -> aec::Result<Vec<f64>> {
    let folder = tempfile::tempdir()?;
    let config = TrainConfig {
        steps: 8,
        batch: 4,
        crop: 64,
        warmup_steps: 2,
        log_every: 1,
        model: ModelConfig::tiny(),
        ..TrainConfig::default()
    };
    let options = RunOptions {
        out: folder.path().to_path_buf(),
        resume: false,
        init: None,
        grow: false,
        device,
    };
    let pictures = Pictures::new(vec![pictures::scene(160, 120), pictures::scene(96, 128)]);
    let mut run = Run::new(config, &pictures, options)?;
    let mut losses = Vec::new();
    run.train(&pictures, &pictures, &mut |event| {
        if let Event::Progress { loss, .. } | Event::Validation { loss, .. } = event {
            losses.push(loss);
        }
        true
    })?;
    Ok(losses)
}

#[test]
fn training_steps_are_close_to_those_of_the_cpu() {
    let gpu = match losses(ComputeDevice::Cuda) {
        Ok(losses) => losses,
        Err(Error::Unsupported(reason)) => return println!("skipped: {reason}"),
        Err(error) => panic!("{error}"),
    };
    let cpu = losses(ComputeDevice::Cpu).unwrap();
    assert_eq!(gpu.len(), cpu.len());
    println!("losses of the GPU {gpu:.4?}, of the CPU {cpu:.4?}");
    // TF32 against bf16: orthogonalized steps carry the difference on.
    for (step, (gpu, cpu)) in gpu.iter().zip(&cpu).enumerate() {
        let tolerance = if step == 0 { 0.01 } else { 0.05 };
        assert!((gpu / cpu - 1.0).abs() < tolerance, "{gpu} {cpu}");
    }
}
