//! Run folders of `aec train`: nothing is mixed up, nothing is resumed that cannot be.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use assert_cmd::assert::Assert;
use predicates::prelude::*;
use predicates::str::contains;

use super::{AEC, TINY, Workspace, gradient, png};

/// Pictures, a configuration of the tests' model and a run of three steps that started from it.
fn trained() -> Workspace {
    let here = Workspace::new();
    fs::create_dir(here.path("pics")).unwrap();
    for i in 0..3 {
        here.write(&format!("pics/{i}.png"), &png(&gradient(70 + i, 66)));
    }
    let flags = "context_state = true\nsynthesis_out_gain = true\n";
    let sizes = "[model]\nname = \"tiny\"\nlatent_channels = 16\nhyper_channels = 8\nstage8_channels = 8\n\
                 stage8_blocks = 1\nstage16_channels = 16\nstage16_blocks = 1\nhyper_stage_channels = 8\n\
                 context_channels = 8\nquality_rows = 4\n";
    let text =
        "steps = 3\nbatch = 2\ncrop = 64\nlog_every = 1\ncheckpoint_every = 2\nwarmup_steps = 2\n";
    here.write("tiny.toml", format!("{text}{sizes}{flags}").as_bytes());
    here
}

fn train(here: &Workspace, more: &[&str]) -> Assert {
    let args = ["train", "--data", "pics", "--out", "run"];
    here.aec(&[&args[..], more].concat()).assert()
}

fn start(here: &Workspace, more: &[&str]) -> Assert {
    train(
        here,
        &[&["--config", "tiny.toml", "--init", TINY], more].concat(),
    )
}

#[test]
fn runs_are_kept_resumed_and_refused() {
    let here = trained();
    start(&here, &[]).success();
    let model = here.read("run/model.safetensors");
    start(&here, &[])
        .code(1)
        .stderr(contains("holds a run already").and(contains("--overwrite")));
    train(&here, &["--resume", "--config", "tiny.toml"])
        .code(2)
        .stderr(contains("cannot be used with"));
    assert!(here.read("run/model.safetensors") == model);

    // What a killed run left goes, and the run goes on.
    here.write("run/.aec-abc.tmp", b"left");
    train(&here, &["--resume", "--steps", "4"]).success();
    let left: Vec<_> = fs::read_dir(here.path("run"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".tmp"))
        .collect();
    assert!(left.is_empty(), "{left:?}");

    // Other sizes than those that were trained.
    let config = String::from_utf8(here.read("run/config.toml")).unwrap();
    let other = config.replace("latent_channels = 16", "latent_channels = 32");
    assert!(other != config);
    here.write("run/config.toml", other.as_bytes());
    train(&here, &["--resume"])
        .code(1)
        .stderr(contains("config.toml are not those of").and(contains("weights.safetensors")));
    here.write("run/config.toml", b"steps = 3\nstepz = 4\nbatch = -1\n");
    train(&here, &["--resume"])
        .code(1)
        .stderr(contains("stepz: unknown field").and(contains("batch: ")));
    here.write("run/config.toml", config.as_bytes());

    // A flipped bit anywhere in the checkpoint.
    let checkpoint = here.read("run/checkpoint.safetensors");
    for i in 1..6 {
        let mut flipped = checkpoint.clone();
        flipped[i * checkpoint.len() / 6] ^= 4;
        here.write("run/checkpoint.safetensors", &flipped);
        train(&here, &["--resume", "--steps", "5"])
            .code(1)
            .stderr(contains("checkpoint.safetensors: "));
    }
    // A run that ended before its first checkpoint.
    for name in ["checkpoint.safetensors", "weights.safetensors"] {
        fs::remove_file(here.path(&format!("run/{name}"))).unwrap();
        train(&here, &["--resume"])
            .code(1)
            .stderr(contains(format!("there is no run/{name}")).and(contains("start anew")));
    }
    start(&here, &["--overwrite"]).success();
    assert!(here.read("run/model.safetensors") == model);
}

/// A run's weights, the model made of them, and the same with other tables.
#[test]
fn weights_become_models() {
    let here = trained();
    start(&here, &["--steps", "1"]).success();
    let export = [
        "export",
        "run/weights.safetensors",
        "--data",
        "pics",
        "--out",
    ];
    let into = |name| [&export[..], &[name]].concat();
    here.aec(&into("a.safetensors")).assert().success();
    here.aec(&into("a.safetensors"))
        .assert()
        .code(1)
        .stderr(contains("a.safetensors"));
    here.aec(&["fit-tables", "--data", "pics", "--model", "a.safetensors"])
        .args(["--out", "b.safetensors", "--rounds", "1"])
        .assert()
        .success();
    for model in ["a", "b", "run/model"] {
        let model = format!("{model}.safetensors");
        here.aec(&[
            "encode",
            "pics/0.png",
            "x.aec",
            "--overwrite",
            "--model",
            &model,
        ])
        .assert()
        .success();
    }
    // What is trained does not code, and says what to do.
    here.aec(&[
        "encode",
        "pics/0.png",
        "y.aec",
        "--model",
        "run/weights.safetensors",
    ])
    .assert()
    .code(1)
    .stderr(contains("weights of a training run").and(contains("aec export")));
    // Training goes on from either.
    for init in ["run/weights.safetensors", "b.safetensors"] {
        let args = [
            "train",
            "--data",
            "pics",
            "--out",
            "next",
            "--config",
            "tiny.toml",
        ];
        here.aec(&args)
            .args(["--steps", "1", "--overwrite", "--init", init])
            .assert()
            .success();
    }
}

#[cfg(unix)]
#[test]
fn files_follow_the_umask() {
    use std::os::unix::fs::PermissionsExt;
    let here = trained();
    let train = format!("train --data pics --out run --config tiny.toml --init {TINY} --steps 1");
    let output = here.bash(&format!("umask 027; exec $aec {train}"));
    assert!(output.status.success());
    for entry in fs::read_dir(here.path("run")).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o640, "{:?}", entry.path());
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_ends_with_130() {
    let here = trained();
    let mut child = std::process::Command::new(AEC)
        .current_dir(here.folder.path())
        .args([
            "train",
            "--data",
            "pics",
            "--out",
            "run",
            "--config",
            "tiny.toml",
            "--init",
            TINY,
        ])
        .args(["--steps", "1000000"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The first checkpoint comes after the handler is in place.
    let checkpoint = here.path("run/checkpoint.safetensors");
    while !checkpoint.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let pid = child.id().to_string();
    let killed = std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status();
    assert!(killed.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    train(&here, &["--resume", "--steps", "1"]).success();
}

#[test]
fn pictures_have_a_budget_and_something_to_learn() {
    let here = trained();
    let pixels = (70 + 71) * 66;
    let budget = pixels.to_string();
    start(&here, &["--max-pixels", &budget])
        .success()
        .stderr(contains(
            "left out 'pics/2.png': with it there would be more than 9306 pixels",
        ))
        .stderr(contains("left out 'pics/1.png'").not());
    train(
        &here,
        &[
            "--overwrite",
            "--config",
            "tiny.toml",
            "--max-pixels",
            "100",
        ],
    )
    .code(1)
    .stderr(contains(
        "there is no picture of at least 64x64 pixels that can be used",
    ));
    for i in 0..3 {
        let flat = aec::unstable::Image::new(70, 70, [10 * i, 20, 30].repeat(70 * 70)).unwrap();
        here.write(&format!("pics/{i}.png"), &png(&flat));
    }
    train(&here, &["--overwrite", "--config", "tiny.toml"])
        .code(1)
        .stderr(contains("every training picture is of one color"));
    // Nothing of the earlier run is lost by one that could not start.
    assert!(Path::new(&here.path("run/model.safetensors")).exists());
}
