//! Files that were once lost, came out wrong or took too much, as the program is given them: patterns that the model
//! cannot code, wide pictures, small files that stand for large ones, a closed stdout.

use std::time::{Duration, Instant};

use aec::Orientation;
use aec::unstable::picture::io::{OutputFormat, write};
use aec::unstable::{Image, Limits};
use predicates::str::contains;

use super::inputs::with_input;
use super::{TINY, Workspace, gradient, png, psnr};
use crate::common::layout::Layout;

/// A file of tests/inputs that names the tests' model instead of one that is gone.
fn with_file(name: &str) -> Workspace {
    let here = Workspace::new();
    here.write("a.png", &png(&gradient(16, 16)));
    here.aec(&["encode", "a.png", "a.aec", "--model", TINY])
        .assert()
        .success();
    let tiny = Layout::of(&here.read("a.aec")).header;
    let file = with_input(name).read(name);
    let mut changed = file.clone();
    let id = tiny.len() - 8..tiny.len();
    let at = header_end(&file) - 8;
    changed[at..at + 8].copy_from_slice(&tiny[id]);
    let crc = crc32fast::hash(&changed[..at + 8]).to_le_bytes();
    changed[at + 8..at + 12].copy_from_slice(&crc);
    here.write(name, &changed);
    here
}

/// Where the checksum of a file's header stands.
fn header_end(file: &[u8]) -> usize {
    (20..40)
        .find(|&end| file[end..].starts_with(&crc32fast::hash(&file[..end]).to_le_bytes()))
        .unwrap()
}

/// A picture of blocks of `size` pixels, black or white by `is_white` of their column and row.
fn pattern(side: u32, size: u32, is_white: impl Fn(u32, u32) -> bool) -> Image {
    let pixel = |i: u32| {
        let (x, y) = (i % side / size, i / side / size);
        [if is_white(x, y) { 255 } else { 0 }; 3]
    };
    Image::new(side, side, (0..side * side).flat_map(pixel).collect()).unwrap()
}

#[test]
fn patterns_beyond_the_model_cost_little_or_come_out_better_than_gray_and_are_warned_of() {
    let read = |name: &str| {
        aec::unstable::picture::io::read(&with_input(name).read(name), &Limits::default()).unwrap()
    };
    let pictures = [
        ("check1.png", read("check1.png")),
        ("bw1.png", read("bw1.png")),
        ("2x2.png", pattern(96, 2, |x, y| (x + y) % 2 == 0)),
        ("lines.png", pattern(96, 1, |x, _| x % 2 == 0)),
        (
            "noise.png",
            pattern(96, 1, |x, y| {
                (x * x * 7 + y * y * 13 + x * y * 31) / 8 % 2 == 0
            }),
        ),
    ];
    for (name, image) in pictures {
        let here = Workspace::new();
        here.write(name, &png(&image));
        for quality in ["20", "100"] {
            let args = ["encode", name, "x.aec", "-q", quality];
            let output = here.aec(&args).output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            here.aec(&["decode", "x.aec", "x.png"]).assert().success();
            let (bytes, source) = (here.read("x.aec").len(), here.read(name).len());
            let mean =
                image.rgb.iter().map(|&v| u64::from(v)).sum::<u64>() / image.rgb.len() as u64;
            let flat = [mean as u8].repeat(image.rgb.len());
            let flat = Image::new(image.width, image.height, flat).unwrap();
            let (found, of_flat) = (psnr(&image, &here.image("x.png")), psnr(&image, &flat));
            assert!(
                bytes < 400 || found > of_flat + 1.0,
                "{name} at {quality}: {bytes} bytes, {found:.1} dB, flat {of_flat:.1} dB"
            );
            let is_warned =
                stderr.contains("comes out unlike") || stderr.contains("is larger than");
            assert_eq!(
                is_warned,
                found < 15.0 || bytes > source,
                "{name}: {stderr}"
            );
        }
    }
}

#[test]
fn wide_pictures_are_refused_at_once() {
    let files = [
        ("w300k.png", "width 300000"),
        ("wide-1048560x1.png", "width 1048560"),
        ("w262k.aec", "width 262144"),
        ("wide_1048560x1.aec", "width 1048560"),
    ];
    for (name, what) in files {
        let here = with_input(name);
        let started = Instant::now();
        let is_file = name.ends_with("aec");
        let args = match is_file {
            true => ["decode", name, "x.png"],
            false => ["encode", name, "x.aec"],
        };
        for more in [&[][..], &["--keep-going"], &["--region", "0,0,1,1"]] {
            if is_file || more.is_empty() {
                here.aec(&[&args[..], more].concat())
                    .assert()
                    .code(1)
                    .stderr(contains(format!("{what} is more than the limit of 65535")));
            }
        }
        let took = started.elapsed();
        assert!(took < Duration::from_secs(10), "{name}: {took:?}");
        assert_eq!(here.names(), [name]);
    }
}

#[test]
fn what_a_small_file_asks_for_is_bounded() {
    let here = with_file("keep16384_64.aec");
    let started = Instant::now();
    let args = [
        "decode",
        "--keep-going",
        "--model",
        TINY,
        "keep16384_64.aec",
        "x.png",
    ];
    let output = here.aec(&args).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.lines().count() < 10, "{stderr}");
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    assert!(!here.path("x.png").exists());

    // 268 megapixels with an alpha of 16 bits, of whose tiles none is what it was for another model.
    let here = with_file("z16384_a16_o6.aec");
    here.aec(&["info", "z16384_a16_o6.aec"])
        .assert()
        .success()
        .stdout(contains("16384x16384"));
    here.aec(&[
        "decode",
        "--max-pixels",
        "200000000",
        "--model",
        TINY,
        "z16384_a16_o6.aec",
        "x.png",
    ])
    .assert()
    .code(1)
    .stderr(contains(
        "number of pixels 268435456 is more than the limit",
    ));
}

/// A turned picture with an alpha of 16 bits is held once and turned once.
#[cfg(target_os = "linux")]
#[test]
fn turning_takes_no_third_copy() {
    use aec::unstable::{Alpha, Depth};
    let (width, height) = (3000, 2000);
    let alpha = (0..width * height).map(|i| (i / 90) as u16).collect();
    let mut image = gradient(width, height)
        .with_alpha(Alpha::new(Depth::Sixteen, alpha).unwrap())
        .unwrap();
    let here = Workspace::new();
    let peak = |name: &str, orientation: Orientation, image: &mut Image| {
        image.metadata.orientation = orientation;
        let model = aec::unstable::Model::load(TINY.as_ref()).unwrap();
        let file = aec::unstable::encode(
            image,
            &model,
            &aec::unstable::EncodeOptions::default(),
            &aec::unstable::NoProgress,
        );
        here.write(name, &file.unwrap());
        here.peak_memory(&[
            "decode",
            "--quiet",
            name,
            &format!("{name}.png"),
            "--model",
            TINY,
        ])
    };
    let (stored, turned) = (
        peak("a", Orientation::NoTransforms, &mut image),
        peak("b", Orientation::Rotate90, &mut image),
    );
    let mut expected = Vec::new();
    write(&image, OutputFormat::Png, &mut expected).unwrap();
    let found = here.image("b.png");
    assert_eq!((found.width, found.height), (height, width));
    let pixels = u64::from(width * height);
    // 3 bytes of colors and half of 2 of alpha, less what the networks gave back.
    assert!(
        turned < stored + 5 * pixels,
        "{turned} after {stored} bytes"
    );
}

#[cfg(unix)]
#[test]
fn a_closed_stdout_is_an_error_where_it_is_written_to() {
    let here = Workspace::with_encoded(&gradient(40, 30));
    for command in [
        "info a.aec",
        "info --json a.aec",
        "info --model",
        "decode a.aec -",
        "decode a.aec - --format ppm",
        "encode a.png -",
        "compare a.png a.aec",
        "inspect a.aec",
        "man",
        "completions bash",
        "help encode",
        "--version",
        "--help",
        "bench a.png -q 50 --no-timing",
    ] {
        let output = here.bash(&format!("exec $aec {command} >&-"));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}: {stderr}");
        assert!(stderr.contains("stdout is closed"), "{command}: {stderr}");
        // Nor is a full device success.
        if std::path::Path::new("/dev/full").exists() {
            let output = here.bash(&format!("exec $aec {command} >/dev/full"));
            assert_eq!(output.status.code(), Some(1), "{command}");
            assert!(!output.stderr.is_empty(), "{command}");
        }
    }
    // What writes a file does without.
    for command in ["encode a.png b.aec", "decode a.aec b.png"] {
        let output = here.bash(&format!("exec $aec {command} >&- <&-"));
        assert!(output.status.success(), "{command}");
    }
    assert!(here.read("b.aec") == here.read("a.aec"));
}
