//! Alpha, regions and damage on the command line.

use predicates::prelude::*;
use predicates::str::contains;

use aec::unstable::{Alpha, Depth, Image};

use super::{TINY, Workspace, gradient, png};

/// A picture of 150 x 100 with a transparent left side.
fn transparent() -> Image {
    let alpha = (0..150 * 100)
        .map(|i| {
            if i % 150 < 70 {
                0
            } else {
                255 - (i % 150) as u16
            }
        })
        .collect();
    gradient(150, 100)
        .with_alpha(Alpha::new(Depth::Eight, alpha).unwrap())
        .unwrap()
}

/// `a.aec`, in tiles of 64.
pub(super) fn with_tiles(image: &Image) -> Workspace {
    let here = Workspace::new();
    here.write("a.png", &png(image));
    here.aec(&[
        "encode",
        "a.png",
        "a.aec",
        "--tile-size",
        "64",
        "--model",
        TINY,
    ])
    .assert()
    .success();
    here
}

#[test]
fn alpha_is_described_and_compared() {
    let here = with_tiles(&transparent());
    here.aec(&["info", "a.aec"])
        .assert()
        .success()
        .stdout(contains("RGB 8-bit with 8-bit alpha, quality").and(contains(", alpha ")));
    let json = here
        .aec(&["info", "--json", "a.aec"])
        .output()
        .unwrap()
        .stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["alpha_bits"], 8);
    let compare = |other: &str| {
        let args = [
            "compare", "a.png", other, "--metric", "psnr", "--model", TINY,
        ];
        here.aec(&args).assert().success()
    };
    compare("a.aec").stdout(contains(
        "alpha        equal; measured blended over gray 128",
    ));
    here.write("opaque.png", &png(&gradient(150, 100)));
    compare("opaque.png").stdout(contains("alpha        different; measured"));
    here.aec(&["compare", "opaque.png", "opaque.png", "--metric", "psnr"])
        .assert()
        .success()
        .stdout(contains("alpha").not());
}

#[test]
fn ppm_refuses_alpha_before_anything_is_decoded() {
    let here = with_tiles(&transparent());
    here.aec(&["decode", "a.aec", "b.ppm"])
        .assert()
        .code(1)
        .stderr(contains("PPM cannot hold the alpha channel").and(contains("hint: write a .png")));
    assert_eq!(here.names(), ["a.aec", "a.png"]);
}

#[test]
fn regions_are_decoded_alone() {
    let here = with_tiles(&transparent());
    let decode = |output: &str, more: &[&str]| {
        let args = ["decode", "a.aec", output, "--model", TINY];
        here.aec(&[&args[..], more].concat()).assert()
    };
    decode("whole.png", &[]).success();
    decode("part.png", &["--region", "60,30,50,41"])
        .success()
        .stderr(contains("a.aec → part.png: 50x41, "));
    let (whole, part) = (here.image("whole.png"), here.image("part.png"));
    assert_eq!((part.width, part.height), (50, 41));
    let (whole_alpha, part_alpha) = (whole.alpha.unwrap(), part.alpha.unwrap());
    for (i, pixel) in part.rgb.chunks(3).enumerate() {
        let at = (30 + i / 50) * 150 + 60 + i % 50;
        assert_eq!(pixel, &whole.rgb[3 * at..3 * at + 3]);
        assert_eq!(part_alpha.samples()[i], whole_alpha.samples()[at]);
    }
    decode("x.png", &["--region", "101,0,50,10"])
        .code(1)
        .stderr(contains(
            "region 101,0,50,10 does not lie within the picture of 150x100",
        ));
    for wrong in ["1,2,3", "0,0,0,1", "a,b,c,d", "-1,0,1,1"] {
        decode("x.png", &["--region", wrong]).code(2);
    }
    assert!(!here.path("x.png").exists());
}

#[test]
fn damaged_files_give_what_is_left_on_request() {
    let here = with_tiles(&transparent());
    let mut file = here.read("a.aec");
    // Six tiles, each behind its tag; the second's payload.
    let tags = file
        .windows(4)
        .enumerate()
        .filter(|(_, tag)| tag == b"TILE");
    let second = tags.map(|(at, _)| at).nth(1).unwrap();
    file[second + 20] ^= 1;
    here.write("a.aec", &file);
    let decode = || here.aec(&["decode", "a.aec", "b.png", "--model", TINY]);
    decode()
        .assert()
        .code(1)
        .stderr(contains("checksum of section TILE"));
    assert!(!here.path("b.png").exists());
    decode()
        .args(["--keep-going", "--quiet"])
        .assert()
        .code(1)
        .stderr(
            contains("error: tile at 64,0 (64x64 pixels): file is corrupt: ").and(contains(
                "error: 'a.aec' is damaged; what is left of the picture was written",
            )),
        );
    let image = here.image("b.png");
    assert_eq!((image.width, image.height), (150, 100));
    assert_eq!(image.alpha, transparent().alpha);
    here.write("cut.aec", &file[..20]);
    here.aec(&[
        "decode",
        "cut.aec",
        "c.png",
        "--model",
        TINY,
        "--keep-going",
    ])
    .assert()
    .code(1)
    .stderr(contains("cannot decode 'cut.aec': file is truncated"));
    assert!(!here.path("c.png").exists());
}
