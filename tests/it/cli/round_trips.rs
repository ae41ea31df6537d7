//! Pictures through the codec and back.

use std::fs;

use aec::Orientation;
use aec::unstable::picture::Image;
use predicates::prelude::*;
use predicates::str::contains;

use super::{Workspace, gradient, png, psnr, sample};

#[test]
fn the_sample_goes_through_and_back() {
    let here = Workspace::new();
    fs::copy(sample(), here.path("scene.png")).unwrap();
    here.aec(&["encode", "scene.png", "scene.aec"])
        .assert()
        .success()
        .stdout("")
        .stderr(contains("scene.png → scene.aec: 768x512, ").and(contains(" bpp, model ")));
    here.aec(&["decode", "scene.aec", "back.png"])
        .assert()
        .success()
        .stdout("")
        .stderr(contains("scene.aec → back.png: 768x512, "));
    assert!(here.read("scene.aec").len() * 4 < here.read("scene.png").len());
    let quality = psnr(&here.image("scene.png"), &here.image("back.png"));
    assert!(quality > 25.0, "{quality} dB");
    assert_eq!(here.names(), ["back.png", "scene.aec", "scene.png"]);
}

#[test]
fn pipes_give_the_same_bytes_as_files() {
    let here = Workspace::with_encoded(&gradient(70, 50));
    let encoded = here
        .aec(&["encode", "-", "-"])
        .write_stdin(here.read("a.png"))
        .output()
        .unwrap();
    assert!(encoded.status.success());
    assert_eq!(encoded.stdout, here.read("a.aec"));
    here.aec(&["decode", "a.aec", "a.ppm"]).assert().success();
    let decoded = here
        .aec(&["decode", "--format", "ppm", "-", "-"])
        .write_stdin(encoded.stdout.clone())
        .output()
        .unwrap();
    assert_eq!(decoded.stdout, here.read("a.ppm"));
    let decoded = here
        .aec(&["decode", "-", "-"])
        .write_stdin(encoded.stdout)
        .output()
        .unwrap();
    assert!(decoded.stdout.starts_with(b"\x89PNG"));
}

#[test]
fn quality_changes_the_size() {
    let here = Workspace::new();
    here.write("a.png", &png(&gradient(200, 130)));
    let mut sizes = Vec::new();
    for quality in ["0", "37.5", "100"] {
        here.aec(&["encode", "a.png", "a.aec", "-q", quality])
            .assert()
            .success();
        sizes.push(here.read("a.aec").len());
        here.aec(&["info", "a.aec"])
            .assert()
            .success()
            .stdout(contains(format!("quality {quality},")));
    }
    assert!(sizes.is_sorted() && sizes[0] < sizes[2], "{sizes:?}");
}

#[test]
fn small_and_odd_sizes_round_trip() {
    for (width, height) in [(1, 1), (1, 70), (17, 23), (65, 64)] {
        let here = Workspace::with_encoded(&gradient(width, height));
        here.aec(&["decode", "a.aec", "b.png"]).assert().success();
        let back = here.image("b.png");
        assert_eq!((back.width, back.height), (width, height));
    }
}

#[test]
fn threads_and_kernels_do_not_change_the_result() {
    let here = Workspace::with_encoded(&gradient(150, 90));
    here.aec(&["decode", "a.aec", "a.ppm"]).assert().success();
    let options = ["-j", "1", "--kernels", "portable"];
    here.aec(&["encode", "a.png", "b.aec"])
        .args(options)
        .assert()
        .success();
    assert_eq!(here.read("a.aec"), here.read("b.aec"));
    here.aec(&["decode", "b.aec", "b.ppm"])
        .args(options)
        .assert()
        .success();
    assert_eq!(here.read("a.ppm"), here.read("b.ppm"));
}

#[test]
fn gray_stays_gray() {
    let gray: Vec<u8> = (0..60 * 40).map(|i| (i % 60 * 4) as u8).collect();
    let here = Workspace::with_encoded(&Image::from_gray(60, 40, &gray).unwrap());
    here.aec(&["info", "a.aec"])
        .assert()
        .success()
        .stdout(contains("60x40, gray 8-bit"));
    here.aec(&["decode", "a.aec", "b.png"]).assert().success();
    assert!(here.image("b.png").is_gray);
    here.aec(&["decode", "a.aec", "b.pgm"]).assert().success();
    assert!(here.read("b.pgm").starts_with(b"P5\n60 40\n255\n"));
}

/// An Exif block that says "turn by 90 degrees clockwise".
const EXIF_TURN: &[u8] = b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";

/// `image` as a PNG with Exif whose orientation is not applied yet, and an ICC profile.
fn png_with_metadata(image: &Image) -> Vec<u8> {
    let mut upright = image.clone();
    upright.metadata.icc = Some(b"profile".to_vec());
    upright.metadata.exif = Some(EXIF_TURN.to_vec());
    let mut bytes = png(&upright);
    // Writing reset the tag: set it to 6 again, and mend the checksum of the chunk.
    let at = bytes.windows(4).position(|w| w == b"eXIf").unwrap();
    let end = at + 4 + EXIF_TURN.len();
    bytes[at + 4..end].copy_from_slice(EXIF_TURN);
    let crc = crc32fast::hash(&bytes[at..end]).to_be_bytes();
    bytes[end..end + 4].copy_from_slice(&crc);
    bytes
}

#[test]
fn orientation_is_applied_once_and_metadata_is_kept() {
    let here = Workspace::new();
    here.write("a.png", &png_with_metadata(&gradient(60, 40)));
    here.aec(&["encode", "a.png", "a.aec"]).assert().success();
    here.aec(&["info", "a.aec"])
        .assert()
        .success()
        .stdout(contains("60x40").and(contains("orientation 6")));
    here.aec(&["decode", "a.aec", "b.png"]).assert().success();
    let back = here.image("b.png");
    assert_eq!(
        (back.width, back.height, back.metadata.orientation),
        (40, 60, Orientation::NoTransforms)
    );
    assert_eq!(back.metadata.icc.as_deref(), Some(&b"profile"[..]));
    assert_eq!(
        back.metadata.exif.map(|exif| exif.len()),
        Some(EXIF_TURN.len())
    );
    for (encode, decode) in [("--strip", "--quiet"), ("--quiet", "--strip")] {
        here.aec(&["encode", encode, "a.png", "a.aec"])
            .assert()
            .success();
        here.aec(&["decode", decode, "a.aec", "b.png"])
            .assert()
            .success();
        let back = here.image("b.png");
        assert_eq!((back.width, back.height), (40, 60));
        assert_eq!(back.metadata.exif, None);
        assert!(back.metadata.icc.is_some());
    }
}
