//! `aec inspect` and `aec latent`: the bits that they show are those of the file.

use std::fs;

use aec::Orientation;
use aec::unstable::codec::quantized_latent;
use aec::unstable::{DecodeOptions, EncodeOptions, Image, Model, NoProgress, Quality};
use serde_json::Value;

use super::{TINY, Workspace};

/// A flat picture with a block of noise at (96, 64).
fn picture_with_noise(width: u32, height: u32) -> Image {
    let mut state = 1_u32;
    let mut rgb = vec![120; (width * height * 3) as usize];
    for y in 64..80 {
        for sample in &mut rgb[((y * width + 96) * 3) as usize..][..48] {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *sample = (state >> 24) as u8;
        }
    }
    Image::new(width, height, rgb).unwrap()
}

fn sum(values: &Value) -> f64 {
    values
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .sum()
}

/// Checks that all sums agree with each other and with the streams in the file.
fn check_sums(report: &Value) {
    let number = |name: &str| report[name].as_f64().unwrap();
    let tiles = report["tiles"].as_array().unwrap();
    let mut overhead = 40.0 * 8.0;
    for tile in tiles {
        let symbols = tile["symbol_bits"].as_f64().unwrap();
        let stream = 8.0 * tile["stream_bytes"].as_f64().unwrap();
        assert!(
            (stream - 8.01..=stream + 0.01).contains(&symbols),
            "{symbols} {stream}"
        );
        overhead += 8.0 + 8.0 * (20.0 + tile["zero_map_bytes"].as_f64().unwrap());
    }
    let blocks = sum(&report["block_bits"]);
    let (latent, side) = (number("latent_bits"), number("side_information_bits"));
    let steps = report["steps"].as_array().unwrap();
    let steps: f64 = steps
        .iter()
        .map(|step| step["bits"].as_f64().unwrap())
        .sum();
    let close = |a: f64, b: f64| assert!((a - b).abs() < 0.01, "{a} {b}");
    close(blocks, latent + side);
    close(latent, steps);
    close(latent, sum(&report["channel_bits"]));
    close(side, sum(&report["side_information_channel_bits"]));
    let file = 8.0 * number("size_bytes");
    assert!(
        blocks <= file && file - blocks <= overhead,
        "{blocks} {file} {overhead}"
    );
    let (columns, rows) = (number("block_columns"), number("block_rows"));
    let count = report["block_bits"].as_array().unwrap().len();
    assert_eq!(count as f64, columns * rows);
}

#[test]
fn the_bits_of_the_map_are_those_of_the_file() {
    let work = Workspace::new();
    work.aec(&["decode", "-", "scene.png", "--region", "300,200,200,150"])
        .write_stdin(scene(60.0, 1024))
        .assert()
        .success();
    let out = work
        .aec(&["inspect", "scene.png", "-q", "0,45,100", "--json"])
        .output()
        .unwrap();
    let lines = String::from_utf8(out.stdout).unwrap();
    let reports: Vec<Value> = lines
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(reports.len(), 3);
    for report in &reports {
        check_sums(report);
        assert!(report["psnr_db"].as_f64().unwrap() > 20.0);
    }
    let bits = |i: usize| sum(&reports[i]["block_bits"]);
    assert!(bits(0) < bits(1) && bits(1) < bits(2));
}

#[test]
fn two_tunes_stand_side_by_side() {
    let work = Workspace::new();
    let mut png = Vec::new();
    let image = picture_with_noise(192, 192);
    aec::unstable::picture::io::write(
        &image,
        aec::unstable::picture::io::OutputFormat::Png,
        &mut png,
    )
    .unwrap();
    work.write("a.png", &png);
    let inspect = |more: &[&str]| {
        let args = ["inspect", "a.png", "--json", "--model", TINY, "-q", "50"];
        let out = work.aec(&[&args[..], more].concat()).output().unwrap();
        assert!(out.status.success());
        let text = String::from_utf8(out.stdout).unwrap();
        let reports = text.lines().map(|line| serde_json::from_str(line).unwrap());
        reports.collect::<Vec<Value>>()
    };
    let reports = inspect(&["--tune", "psnr,ssim", "-e", "5", "--out", "both"]);
    assert_eq!(reports.len(), 2);
    let names = ["psnr", "ssim"].map(|tune| format!("a.png at quality 50, tune {tune}"));
    for (report, name) in reports.iter().zip(&names) {
        check_sums(report);
        assert_eq!(report["name"].as_str(), Some(&name[..]));
    }
    assert_ne!(reports[0]["block_bits"], reports[1]["block_bits"]);
    let page = fs::read_to_string(work.path("both/index.html")).unwrap();
    assert!(names.iter().all(|name| page.contains(&name[..])));
    // What is not listed is what encode does by itself.
    let usual = inspect(&[]);
    assert_eq!(
        usual[0]["block_bits"],
        inspect(&["--tune", "ssim", "-e", "4"])[0]["block_bits"]
    );
    assert_eq!(usual[0]["name"].as_str(), Some("a.png at quality 50"));
}

/// The sample picture as a file.
fn scene(percent: f64, tile_size: u32) -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/scene.png");
    let limits = aec::unstable::Limits::default();
    let image = aec::unstable::picture::io::read(&fs::read(path).unwrap(), &limits).unwrap();
    encode(&image, &Model::embedded().unwrap(), percent, tile_size)
}

fn encode(image: &Image, model: &Model, percent: f64, tile_size: u32) -> Vec<u8> {
    let options = EncodeOptions {
        quality: Quality::from_percent(percent).unwrap(),
        tile_size,
        ..EncodeOptions::default()
    };
    aec::unstable::encode(image, model, &options, &NoProgress).unwrap()
}

#[test]
fn many_tiles_add_up_and_noise_stands_out() {
    let work = Workspace::new();
    let mut image = picture_with_noise(250, 130);
    image.metadata.orientation = Orientation::Rotate90;
    let model = Model::embedded().unwrap();
    work.write("noise.aec", &encode(&image, &model, 60.0, 64));
    work.aec(&["decode", "noise.aec", "upright.png"])
        .assert()
        .success();
    let out = work
        .aec(&[
            "inspect",
            "noise.aec",
            "--original",
            "upright.png",
            "--json",
            "--out",
            "shown",
        ])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    check_sums(&report);
    assert_eq!(report["tiles"].as_array().unwrap().len(), 12);
    // The block of noise, in the stored picture's place whatever the orientation.
    let first = &report["outliers"][0];
    assert_eq!(
        (first["x"].as_u64(), first["y"].as_u64()),
        (Some(96), Some(64))
    );
    // The original is what the file decodes to, so there is no error; and maps are upright.
    assert_eq!(
        (&report["psnr_db"], &report["identical"]),
        (&Value::Null, &Value::Bool(true))
    );
    assert_eq!(sum(&report["block_squared_errors"]), 0.0);
    for map in ["shown/bits.png", "shown/error.png", "upright.png"] {
        let limits = aec::unstable::Limits::default();
        let map =
            aec::unstable::picture::io::read(&fs::read(work.path(map)).unwrap(), &limits).unwrap();
        assert_eq!((map.width, map.height), (130, 250));
    }
    let kept = fs::read_to_string(work.path("shown/inspect.json")).unwrap();
    assert_eq!(kept, String::from_utf8(out.stdout).unwrap());
    assert!(work.path("shown/overview.jpg").exists());
}

#[test]
fn two_files_stand_side_by_side_on_one_page() {
    let work = Workspace::new();
    let image = picture_with_noise(150, 90);
    let model = Model::load(TINY.as_ref()).unwrap();
    for (name, percent) in [("a.aec", 30.0), ("b.aec", 70.0)] {
        work.write(name, &encode(&image, &model, percent, 1024));
    }
    let out = work
        .aec(&[
            "inspect",
            "a.aec",
            "b.aec",
            "--model",
            TINY,
            "--out",
            "both.html",
        ])
        .output()
        .unwrap();
    assert!(out.status.success());
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(
        text.contains("a.aec: 150x90, quality 30") && text.contains("b.aec: 150x90, quality 70")
    );
    let page = fs::read_to_string(work.path("both.html")).unwrap();
    assert_eq!(page.matches("<section>").count(), 2);
    // Without an original: the bits and the decoded picture of each.
    assert_eq!(page.matches("src=\"data:image/webp;base64,").count(), 4);
    assert!(!page.contains("http"));
}

#[test]
fn inspect_refuses_what_it_cannot_compare() {
    let work = Workspace::new();
    let model = Model::load(TINY.as_ref()).unwrap();
    work.write(
        "a.aec",
        &encode(&picture_with_noise(150, 90), &model, 30.0, 1024),
    );
    let mut png = Vec::new();
    let other = picture_with_noise(151, 90);
    aec::unstable::picture::io::write(
        &other,
        aec::unstable::picture::io::OutputFormat::Png,
        &mut png,
    )
    .unwrap();
    work.write("other.png", &png);
    let model = ["--model", TINY];
    work.aec(&[&["inspect", "a.aec", "other.png"], &model[..]].concat())
        .assert()
        .code(2);
    work.aec(&["inspect", "other.png", "-q", "1,2,3,4,5"])
        .assert()
        .code(2);
    work.aec(&["inspect", "other.png", "-q", "1,2,3", "--tune", "psnr,ssim"])
        .assert()
        .code(2);
    for refused in [
        ["inspect", "a.aec", "-q", "60"],
        ["inspect", "a.aec", "--tune", "ssim"],
        ["inspect", "a.aec", "-e", "5"],
        ["inspect", "other.png", "--tune", "best"],
        ["inspect", "other.png", "--original", "a.aec"],
    ] {
        work.aec(&refused).assert().code(2);
    }
    let sizes = [
        "inspect",
        "a.aec",
        "--original",
        "other.png",
        "--out",
        "shown",
    ];
    work.aec(&[&sizes, &model[..]].concat()).assert().code(1);
    assert!(!work.path("shown").exists());
}

#[test]
fn the_latent_is_exported_in_both_formats() {
    let work = Workspace::new();
    let model = Model::load(TINY.as_ref()).unwrap();
    let file = encode(&picture_with_noise(150, 90), &model, 50.0, 64);
    work.write("a.aec", &file);
    for name in ["a.npy", "a.safetensors"] {
        work.aec(&["latent", "export", "a.aec", name, "--model", TINY])
            .assert()
            .success();
    }
    let latent = quantized_latent(&file, &model, &DecodeOptions::default()).unwrap();
    assert_eq!([latent.height, latent.width, latent.channels], [8, 12, 16]);
    assert!(latent.values.iter().any(|&value| value != 0.0));
    let values: Vec<u8> = latent.values.iter().flat_map(|v| v.to_le_bytes()).collect();

    let npy = fs::read(work.path("a.npy")).unwrap();
    assert_eq!(&npy[..8], b"\x93NUMPY\x01\x00");
    let start = 10 + usize::from(u16::from_le_bytes([npy[8], npy[9]]));
    assert_eq!(start % 64, 0);
    let header = std::str::from_utf8(&npy[10..start]).unwrap();
    let wanted = "{'descr': '<f4', 'fortran_order': False, 'shape': (8, 12, 16), }";
    assert_eq!(header.trim_end(), wanted);
    assert!(header.ends_with('\n') && npy[start..] == values[..]);

    let bytes = fs::read(work.path("a.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor("latent").unwrap();
    assert_eq!(
        (tensor.shape(), tensor.data()),
        (&[8, 12, 16][..], &values[..])
    );

    work.aec(&["latent", "export", "a.aec", "a.txt", "--model", TINY])
        .assert()
        .code(2);
    let again = [
        "latent",
        "export",
        "a.aec",
        "a.npy",
        "--no-clobber",
        "--model",
        TINY,
    ];
    work.aec(&again).assert().code(1);
}
