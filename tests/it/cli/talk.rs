//! What the program says: errors, exit statuses, summaries, descriptions.

use aec::Orientation;
use predicates::prelude::*;
use predicates::str::contains;

use super::{Workspace, gradient, jpeg};

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
    here.aec(&["decode", "a.aec", "x.png", "--device", "cuda"])
        .assert()
        .code(1)
        .stderr(contains(
            "cannot use --device cuda: this version encodes and decodes on the CPU",
        ));
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
    let jpeg = jpeg(&image);
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
                    aec::unstable::cli::text::thousands(size as u64)
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
    let model = here.aec(&["info", "--model=base-ssim", "--json"]).output();
    let model: serde_json::Value = serde_json::from_slice(&model.unwrap().stdout).unwrap();
    assert_eq!(model["model"], "base-ssim");
    assert!(model["parameters"].as_u64() > Some(10_000_000));
    assert!(model["decoder_kmac_pixel"].as_f64() > Some(10.0));
    here.aec(&["info", "--model", "base"])
        .assert()
        .code(2)
        .stderr(contains("hint: name a model as --model=NAME"));
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
        .stdout(contains("aec 0.").and(contains("format version 1")))
        .stdout(contains("built-in model base-ssim (").and(contains("built-in model base (")));
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
    here.aec(&["man", "latent", "export"])
        .assert()
        .success()
        .stdout(contains(".npy"));
    here.aec(&["man", "latent", "import"]).assert().code(2);
    assert!(here.names().is_empty());
}

#[test]
fn messages_say_what_is_wrong_and_what_to_do() {
    let here = Workspace::with_encoded(&gradient(40, 30));
    let mut broken = here.read("a.png");
    // A bit of the width: the checksum of IHDR is wrong.
    broken[19] ^= 1;
    here.write("broken.png", &broken);
    here.write("empty.png", b"");
    here.write("short.png", b"\x8a");
    let cases: [(&[&str], i32, &str, &str); 7] = [
        (&["encode", "a.png", "x.aec", "-q", "-1"], 2, "-1", "tip:"),
        (
            &["encode", "a.png", "x.aec", "--target-psnr", "-3"],
            2,
            "-3",
            "tip:",
        ),
        (
            &["decode", "a.aec", "x.jpg"],
            2,
            "JPEG is not written",
            "cannot tell",
        ),
        (
            &["decode", "a.aec", "x.avif"],
            2,
            "AVIF is not written",
            "cannot tell",
        ),
        (
            &["encode", "empty.png", "x.aec"],
            1,
            "the file is empty",
            "already",
        ),
        (
            &["encode", "short.png", "x.aec"],
            1,
            "cannot read 'short.png'",
            "already",
        ),
        (&["encode", "broken.png", "x.aec"], 1, "IHDR", "{"),
    ];
    for (args, code, wanted, unwanted) in cases {
        let output = here.aec(args).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(
            stderr.contains(wanted) && !stderr.contains(unwanted),
            "{args:?}: {stderr}"
        );
    }
    let help = here.aec(&["--help"]).output().unwrap().stdout;
    let help = String::from_utf8(help).unwrap();
    for command in ["help", "completions", "man"] {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
    }
    here.aec(&["help", "encode"])
        .assert()
        .success()
        .stdout(contains("--overwrite"));
}

#[test]
fn equal_pictures_have_no_difference() {
    let here = Workspace::new();
    here.write("a.png", &super::png(&gradient(200, 180)));
    here.aec(&["compare", "a.png", "a.png"])
        .assert()
        .success()
        .stdout(
            contains("no difference")
                .and(contains("NaN").not())
                .and(contains("inf").not()),
        );
    let output = here
        .aec(&["compare", "--json", "a.png", "a.png"])
        .output()
        .unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["identical"], true);
    for metric in ["psnr_db", "ms_ssim"] {
        assert!(json[metric].is_null() || json[metric].is_number(), "{json}");
    }
}

#[test]
fn turned_pictures_have_the_size_that_is_seen() {
    let here = Workspace::new();
    let mut image = gradient(40, 30);
    image.metadata.orientation = Orientation::Rotate90;
    // The orientation travels in Exif; TIFF header, one entry.
    let mut exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0".to_vec();
    exif.extend([0; 4]);
    let mut jpeg = Vec::new();
    let mut encoder = image::codecs::jpeg::JpegEncoder::new(&mut jpeg);
    image::ImageEncoder::set_exif_metadata(&mut encoder, exif).unwrap();
    encoder
        .encode(&image.rgb, 40, 30, image::ExtendedColorType::Rgb8)
        .unwrap();
    here.write("a.jpg", &jpeg);
    here.aec(&["encode", "a.jpg", "a.aec"])
        .assert()
        .success()
        .stderr(contains("a.jpg → a.aec: 30x40, "));
    here.aec(&["info", "a.aec"])
        .assert()
        .success()
        .stdout(contains("AEC 1, 30x40, ").and(contains("stored as 40x30 with orientation 6")));
    here.aec(&["decode", "a.aec", "b.png"])
        .assert()
        .success()
        .stderr(contains("30x40"));
}
