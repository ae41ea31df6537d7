//! What the program says: errors, exit statuses, summaries, descriptions.

use predicates::prelude::*;
use predicates::str::contains;

use super::{Workspace, gradient};

#[test]
fn failures_say_one_line_and_leave_no_file() {
    let here = Workspace::with_encoded(&gradient(80, 60));
    let file = here.read("a.aec");
    here.write("cut.aec", &file[..file.len() / 2]);
    let mut flipped = file.clone();
    flipped[file.len() / 2] ^= 0x10;
    here.write("flipped.aec", &flipped);
    here.write("text.txt", b"hello");
    here.write("empty", b"");
    let before = here.names();
    let cases = [
        (["decode", "cut.aec", "x.png"], "cannot decode 'cut.aec': "),
        (
            ["decode", "flipped.aec", "x.png"],
            "cannot decode 'flipped.aec': ",
        ),
        (
            ["decode", "text.txt", "x.png"],
            "cannot decode 'text.txt': not an aec file",
        ),
        (["decode", "empty", "x.png"], "cannot decode 'empty': "),
        (["decode", "a.png", "x.png"], "hint: use 'aec encode'"),
        (["decode", "none.aec", "x.png"], "cannot read 'none.aec': "),
        (["decode", ".", "x.png"], "cannot read '.': it is a folder"),
        (["decode", "a.aec", "."], "cannot write '.': it is a folder"),
        (["decode", "a.aec", "no/x.png"], "there is no folder 'no'"),
        (
            ["encode", "text.txt", "x.aec"],
            "not a PNG, JPEG, WebP, PPM, TIFF",
        ),
        (["encode", "empty", "x.aec"], "cannot read 'empty': "),
        (["encode", "a.aec", "x.aec"], "hint: use 'aec decode'"),
        (["encode", "none.png", "x.aec"], "cannot read 'none.png': "),
    ];
    for (args, message) in cases {
        let output = if args[2] == "." && args[0] == "decode" {
            here.aec(&[&args[..], &["--format", "png"]].concat())
                .output()
                .unwrap()
        } else {
            here.aec(&args).output().unwrap()
        };
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
        assert!(
            stderr.starts_with("error: ") && stderr.contains(message),
            "{args:?}: {stderr}"
        );
        let lines = stderr
            .lines()
            .filter(|line| !line.starts_with("hint: ") && !line.is_empty());
        assert_eq!(lines.count(), 1, "{stderr}");
        assert!(output.stdout.is_empty());
        assert_eq!(here.names(), before, "{args:?}");
    }
}

#[test]
fn wrong_usage_is_status_2() {
    let here = Workspace::with_encoded(&gradient(8, 8));
    let cases: [&[&str]; 8] = [
        &[],
        &["encode", "a.png"],
        &["encode", "a.png", "x.aec", "-q", "101"],
        &["encode", "a.png", "x.aec", "-q", "nan"],
        &["encode", "a.png", "x.aec", "-j", "0"],
        &["encode", "a.png", "x.aec", "--kernels", "mmx"],
        &["decode", "a.aec", "x.jpg"],
        &["info"],
    ];
    for args in cases {
        here.aec(args).assert().code(2);
    }
    assert_eq!(here.names(), ["a.aec", "a.png"]);
}

#[test]
fn limits_devices_and_models_fail_clearly() {
    let here = Workspace::with_encoded(&gradient(40, 30));
    for args in [["encode", "a.png", "x.aec"], ["decode", "a.aec", "x.png"]] {
        here.aec(&args)
            .args(["--max-pixels", "1199"])
            .assert()
            .code(1)
            .stderr(contains("is more than the limit of 1199"))
            .stderr(contains("hint: raise it with --max-pixels"));
    }
    if !cfg!(feature = "cuda") {
        here.aec(&["decode", "a.aec", "x.png", "--device", "cuda"])
            .assert()
            .code(1)
            .stderr(contains("--device cuda"));
    }
    here.aec(&["encode", "a.png", "x.aec", "--model", "a.png"])
        .assert()
        .code(1)
        .stderr(contains("cannot load the model 'a.png': "));
    assert_eq!(here.names(), ["a.aec", "a.png"]);
}

#[test]
fn quiet_verbose_and_color() {
    let here = Workspace::with_encoded(&gradient(40, 30));
    here.aec(&["decode", "a.aec", "x.png", "--quiet"])
        .assert()
        .success()
        .stderr("");
    here.aec(&["decode", "a.aec", "x.png", "-v"])
        .assert()
        .success()
        .stderr(contains("decode: "));
    here.aec(&["decode", "--color", "always", "none", "x.png"])
        .assert()
        .code(1)
        .stderr(contains("\x1b[1;31merror:\x1b[0m "));
    here.aec(&["decode", "none", "x.png"])
        .assert()
        .code(1)
        .stderr(contains("\x1b").not());
}

#[test]
fn lossy_sources_are_warned_about() {
    let here = Workspace::new();
    let image = gradient(40, 30);
    let mut jpeg = Vec::new();
    image::codecs::jpeg::JpegEncoder::new(&mut jpeg)
        .encode(&image.rgb, 40, 30, image::ExtendedColorType::Rgb8)
        .unwrap();
    here.write("a.jpg", &jpeg);
    here.aec(&["encode", "a.jpg", "a.aec"])
        .assert()
        .success()
        .stderr(contains("warning: 'a.jpg' is already lossy"));
    here.aec(&["encode", "--quiet", "a.jpg", "a.aec"])
        .assert()
        .success()
        .stderr("");
}

#[test]
fn info_describes_files_and_the_model() {
    let here = Workspace::with_encoded(&gradient(40, 30));
    let size = here.read("a.aec").len();
    here.aec(&["info", "a.aec", "--sections", "--verify"])
        .assert()
        .success()
        .stdout(
            contains("a.aec: AEC 1, 40x30, RGB 8-bit, quality 60, ")
                .and(contains(format!(
                    "\n  {} bytes, ",
                    aec::cli::text::thousands(size as u64)
                )))
                .and(contains("verified: every checksum matches"))
                .and(contains("TILE"))
                .and(contains("END")),
        );
    let json = here
        .aec(&["info", "--json", "a.aec", "a.aec"])
        .output()
        .unwrap()
        .stdout;
    let lines: Vec<serde_json::Value> = String::from_utf8(json)
        .unwrap()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["width"], 40);
    assert_eq!(lines[0]["bytes"], size);
    here.aec(&["info", "--model"])
        .assert()
        .success()
        .stdout(contains("decoder kMAC/pixel").and(contains("parameters")));
    // A bad file among good ones: the others are shown, the status is 1.
    here.aec(&["info", "a.png", "a.aec"])
        .assert()
        .code(1)
        .stdout(contains("a.aec: AEC"))
        .stderr(contains("cannot read 'a.png': not an aec file"));
}

#[test]
fn help_version_completions_and_manual() {
    let here = Workspace::new();
    here.aec(&["--help"]).assert().success().stdout(
        contains("encode")
            .and(contains("decode"))
            .and(contains("Exit status")),
    );
    here.aec(&["-V"])
        .assert()
        .success()
        .stdout(contains("aec 0.").and(contains("format version 1")));
    here.aec(&["completions", "bash"])
        .assert()
        .success()
        .stdout(contains("_aec"));
    here.aec(&["man"])
        .assert()
        .success()
        .stdout(contains(".TH aec 1"));
    here.aec(&["man", "encode"])
        .assert()
        .success()
        .stdout(contains("quality"));
    assert!(here.names().is_empty());
}
