//! Models that files name: the folder `AEC_MODEL_DIR`.

use std::fs;

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;

use super::{TINY, Workspace, gradient, png};
use crate::common::layout::Layout;
use crate::common::model_file;

/// A picture, a file made from it with the tiny model, and an empty folder for models.
fn with_tiny_file() -> Workspace {
    let here = Workspace::new();
    here.write("a.png", &png(&gradient(90, 70)));
    let encode = ["encode", "a.png", "a.aec", "--model", TINY];
    here.aec(&encode).assert().success();
    fs::create_dir(here.path("models")).unwrap();
    here
}

/// `aec` that looks for models in the folder.
fn aec(here: &Workspace, args: &[&str]) -> Command {
    let mut command = here.aec(args);
    command.env("AEC_MODEL_DIR", "models");
    command
}

#[test]
fn a_file_is_decoded_with_the_model_that_it_names() {
    let here = with_tiny_file();
    let decode = ["decode", "a.aec", "b.png"];
    let missing = || {
        contains("error: cannot decode 'a.aec': model ")
            .and(contains(" is not installed\n"))
            .and(contains(
                "hint: put the weights file in AEC_MODEL_DIR or pass --model PATH",
            ))
    };
    here.aec(&decode).assert().code(1).stderr(missing());
    aec(&here, &decode).assert().code(1).stderr(missing());
    // Its name in the folder does not matter.
    fs::copy(TINY, here.path("models/any.safetensors")).unwrap();
    aec(&here, &decode).assert().success();
    here.aec(&["decode", "a.aec", "c.png", "--model", TINY])
        .assert()
        .success();
    assert_eq!(here.read("b.png"), here.read("c.png"));
    aec(&here, &["info", "--verify", "a.aec"])
        .assert()
        .success()
        .stdout(contains("model tiny (").and(contains("every checksum matches")));
    aec(&here, &["compare", "c.png", "a.aec"])
        .assert()
        .success()
        .stdout(contains("PSNR         no difference"));
    // A model that was asked for is used and no other.
    let least = model_file::least();
    here.write("least.safetensors", &least);
    aec(&here, &decode)
        .args(["--model", "least.safetensors"])
        .assert()
        .code(1)
        .stderr(
            contains("error: cannot decode 'a.aec': the file was made with model ")
                .and(contains(", not with "))
                .and(contains("hint: leave out --model")),
        );
}

#[test]
fn files_of_several_models_are_decoded_in_one_run() {
    let here = with_tiny_file();
    fs::copy(TINY, here.path("models/tiny.safetensors")).unwrap();
    fs::create_dir(here.path("in")).unwrap();
    here.aec(&["encode", "a.png", "in/built-in.aec"])
        .assert()
        .success();
    for i in 0..4 {
        fs::copy(here.path("a.aec"), here.path(&format!("in/{i}.aec"))).unwrap();
    }
    aec(&here, &["decode", "in", "--out-dir", "out"])
        .assert()
        .success();
    assert_eq!(fs::read_dir(here.path("out")).unwrap().count(), 5);
}

#[test]
fn what_is_no_model_is_skipped() {
    let here = with_tiny_file();
    let tiny = fs::read(TINY).unwrap();
    here.write("models/1.safetensors", b"no model");
    here.write("models/2.safetensors", &tiny[..tiny.len() / 2]);
    let mut hostile = model_file::ModelFile::of(&model_file::least());
    hostile.tensor("entropy.tables").data[2] ^= 1;
    here.write("models/3.safetensors", &hostile.bytes());
    fs::create_dir(here.path("models/4.safetensors")).unwrap();
    // 300 MB that take no room.
    let huge = fs::File::create(here.path("models/5.safetensors")).unwrap();
    huge.set_len(300_000_000).unwrap();
    fs::create_dir(here.path("models/sub")).unwrap();
    for name in ["sub/tiny.safetensors", "tiny.bin"] {
        fs::copy(TINY, here.path("models").join(name)).unwrap();
    }
    let decode = ["decode", "a.aec", "b.png"];
    aec(&here, &decode).assert().code(1).stderr(
        contains("warning: skipping the model 'models/1.safetensors': invalid weights: ")
            .and(contains("skipping the model 'models/2.safetensors': "))
            .and(contains(
                "skipping the model 'models/5.safetensors': model size 300000000 is more",
            ))
            .and(contains("is not installed")),
    );
    fs::write(here.path("models/9.safetensors"), &tiny).unwrap();
    aec(&here, &decode).assert().success();
    here.aec(&decode)
        .env("AEC_MODEL_DIR", "nowhere")
        .assert()
        .code(1)
        .stderr(contains("cannot look into AEC_MODEL_DIR 'nowhere': "));
}

/// A model with the id that a file names can still be broken.
#[test]
fn a_named_model_that_is_broken_is_skipped() {
    let here = with_tiny_file();
    let mut hostile = model_file::ModelFile::of(&fs::read(TINY).unwrap());
    hostile.tensor("entropy.tables").data[2] ^= 1;
    let hostile = hostile.bytes();
    here.write("models/broken.safetensors", &hostile);
    let id = aec::unstable::network::integer::digest(&hostile).unwrap();
    let mut layout = Layout::of(&here.read("a.aec"));
    let end = layout.header.len() - 8;
    layout.header[end..].copy_from_slice(&id[..8]);
    here.write("a.aec", &layout.bytes());
    aec(&here, &["decode", "a.aec", "b.png"])
        .assert()
        .code(1)
        .stderr(
            contains(
                "skipping the model 'models/broken.safetensors': invalid weights: scale tables: ",
            )
            .and(contains("is not installed")),
        );
}

#[test]
fn a_model_of_the_folder_can_be_named() {
    let here = with_tiny_file();
    fs::copy(TINY, here.path("models/small.safetensors")).unwrap();
    aec(&here, &["encode", "a.png", "b.aec", "--model", "small"])
        .assert()
        .success();
    assert_eq!(here.read("a.aec"), here.read("b.aec"));
    aec(&here, &["info", "--model=small"])
        .assert()
        .success()
        .stdout(contains("tiny"));
    for name in ["none", "sub/small", "../models/small"] {
        aec(&here, &["encode", "a.png", "c.aec", "--model", name])
            .assert()
            .code(1)
            .stderr(contains(format!("cannot load the model '{name}': ")));
    }
    // A file of that name comes first.
    here.write("small", b"no model");
    aec(&here, &["encode", "a.png", "c.aec", "--model", "small"])
        .assert()
        .code(1)
        .stderr(contains("cannot load the model 'small': invalid weights"));
}

#[test]
fn a_folder_does_not_hide_a_built_in_model() {
    let here = Workspace::with_encoded(&gradient(40, 30));
    std::fs::create_dir(here.path("base")).unwrap();
    here.aec(&["encode", "-e", "1", "--model", "base", "a.png", "b.aec"])
        .assert()
        .success();
}

#[test]
fn a_built_in_model_is_used_with_its_own_search() {
    let here = Workspace::new();
    here.write("a.png", &png(&gradient(80, 60)));
    let encode = |name: &str, options: &[&str]| {
        let run = here.aec(&["encode", "a.png", name]).args(options).assert();
        run.success();
        here.read(name)
    };
    let by_tune = encode("tune.aec", &["--tune", "psnr"]);
    assert!(by_tune == encode("model.aec", &["--model", "base"]));
    assert!(by_tune != encode("both.aec", &["--model", "base", "--tune", "ssim"]));
    // Files say which model they need, and the library knows its own by name.
    here.aec(&["info", "tune.aec", "both.aec"])
        .assert()
        .success()
        .stdout(contains("model base (").count(2));
}
