//! Metrics against values of independent implementations.
//!
//! The pictures in `tests/pictures` are made by the code below; `expected.tsv`
//! beside them holds what other implementations say about each pair (named in its
//! first lines). `AEC_WRITE_PICTURES=1 cargo test --test it metrics` writes the
//! pictures anew; the values then have to be measured again.

use std::path::{Path, PathBuf};

use aec::unstable::metrics::{
    RatePoint, RgbView, bd_rate, ms_ssim, ms_ssim_db, psnr, psnr_from_error, squared_error,
    ssimulacra2,
};

/// A picture or its distorted copy, made from integers only.
struct Picture {
    name: &'static str,
    width: u32,
    height: u32,
    samples: Vec<u8>,
}

fn pictures_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures")
}

/// A repeatable value of 0..256 for a pixel.
fn noise(x: u32, y: u32, channel: u32) -> u32 {
    let mixed = (x.wrapping_mul(0x9E37_79B1)
        ^ y.wrapping_mul(0x85EB_CA77)
        ^ channel.wrapping_mul(0xC2B2_AE3D))
    .wrapping_mul(0x27D4_EB2F);
    (mixed ^ (mixed >> 15)).wrapping_mul(0x2C1B_3C6D) >> 24
}

/// Smooth shading with two discs, a fine grating and a textured band.
fn scene(width: u32, height: u32) -> Vec<u8> {
    let mut samples = Vec::new();
    for y in 0..height {
        for x in 0..width {
            samples.extend((0..3).map(|channel| scene_sample(x, y, channel, width, height)));
        }
    }
    samples
}

fn scene_sample(x: u32, y: u32, channel: u32, width: u32, height: u32) -> u8 {
    let from = |cx: u32, cy: u32| x.abs_diff(cx).pow(2) + y.abs_diff(cy).pow(2);
    let shading = [
        40 + 160 * x / width,
        60 + 130 * y / height,
        200 - 120 * (x + y) / (width + height),
    ];
    let small_disc = from(width / 4, height / 3) < 900;
    let large_disc = from(2 * width / 3, height / 2) < 2500;
    let value = if small_disc {
        [230, 60, 40][channel as usize]
    } else if large_disc {
        shading[channel as usize] / 2
            + if (x / 3 + y / 5).is_multiple_of(2) {
                90
            } else {
                20
            }
    } else if y > 3 * height / 4 {
        shading[channel as usize] / 2 + noise(x / 2, y / 2, 7) / 3
    } else {
        shading[channel as usize]
    };
    u8::try_from(value.min(255)).expect("clamped")
}

/// Coarser steps, as strong quantization leaves.
fn posterized(samples: &[u8]) -> Vec<u8> {
    samples
        .iter()
        .map(|&sample| (sample / 24 * 24).saturating_add(12))
        .collect()
}

/// Independent noise of about +-16 on every sample.
fn noisy(samples: &[u8]) -> Vec<u8> {
    let shaken = |(i, &sample): (usize, &u8)| {
        let i = u32::try_from(i).expect("small picture");
        let shift = i32::try_from(noise(i, i / 7, 3) / 8).expect("below 32") - 16;
        u8::try_from((i32::from(sample) + shift).clamp(0, 255)).expect("clamped")
    };
    samples.iter().enumerate().map(shaken).collect()
}

/// Every 4x4 block replaced by its mean.
fn blocky(samples: &[u8], width: u32, height: u32) -> Vec<u8> {
    let mut out = samples.to_vec();
    let at = |x: u32, y: u32, c: u32| ((y * width + x) * 3 + c) as usize;
    for (y, x, c) in
        (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |c| (y, x, c))))
    {
        let rows = y / 4 * 4..(y / 4 * 4 + 4).min(height);
        let block = rows.flat_map(|y| (x / 4 * 4..(x / 4 * 4 + 4).min(width)).map(move |x| (x, y)));
        let (sum, count) = block.fold((0, 0), |(sum, n), (x, y)| {
            (sum + u32::from(samples[at(x, y, c)]), n + 1)
        });
        out[at(x, y, c)] = u8::try_from(sum / count).expect("mean of bytes");
    }
    out
}

fn made_by_code() -> Vec<Picture> {
    let (even, odd, least) = (scene(224, 192), scene(203, 177), scene(161, 161));
    let picture = |name, width, height, samples| Picture {
        name,
        width,
        height,
        samples,
    };
    vec![
        picture("even-posterized", 224, 192, posterized(&even)),
        picture("even-blocky", 224, 192, blocky(&even, 224, 192)),
        picture("odd-noisy", 203, 177, noisy(&odd)),
        picture("odd-blocky", 203, 177, blocky(&odd, 203, 177)),
        picture("least-posterized", 161, 161, posterized(&least)),
        picture("even", 224, 192, even),
        picture("odd", 203, 177, odd),
        picture("least", 161, 161, least),
    ]
}

fn read_picture(name: &str) -> (Vec<u8>, u32, u32) {
    let path = pictures_folder().join(format!("{name}.png"));
    let picture = image::open(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .into_rgb8();
    let (width, height) = picture.dimensions();
    (picture.into_raw(), width, height)
}

#[test]
fn committed_pictures_are_what_the_code_makes() {
    for picture in made_by_code() {
        if std::env::var_os("AEC_WRITE_PICTURES").is_some() {
            let path = pictures_folder().join(format!("{}.png", picture.name));
            image::save_buffer(
                path,
                &picture.samples,
                picture.width,
                picture.height,
                image::ExtendedColorType::Rgb8,
            )
            .expect("folder is writable");
        }
        let (samples, width, height) = read_picture(picture.name);
        assert_eq!(
            (width, height),
            (picture.width, picture.height),
            "{}",
            picture.name
        );
        assert!(
            samples == picture.samples,
            "{} differs from the code",
            picture.name
        );
    }
}

/// Rows of `expected.tsv` without comments and the heading.
fn expected() -> Vec<Vec<String>> {
    let text =
        std::fs::read_to_string(pictures_folder().join("expected.tsv")).expect("committed file");
    let rows = text.lines().filter(|line| !line.starts_with('#')).skip(1);
    rows.map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

/// In points of SSIMULACRA2. Both sides compute in binary32 and order their sums differently, and the
/// recursive Gaussian filter and the cube root are approximations of their own in each; the largest
/// difference seen is 0.017, and a point is far below what anyone can see.
const SSIMULACRA2_TOLERANCE: f64 = 0.05;

#[test]
fn metrics_agree_with_independent_implementations() {
    let rows = expected();
    assert_eq!(rows.len(), 5);
    for row in rows {
        let (reference, width, height) = read_picture(&row[0]);
        let (distorted, ..) = read_picture(&row[1]);
        let reference = RgbView::new(&reference, width, height).expect("valid");
        let distorted = RgbView::new(&distorted, width, height).expect("valid");
        let want = |column: usize| row[column].parse::<f64>().expect("a number");
        let error = squared_error(&reference, &distorted).expect("same size");
        assert_eq!(
            error,
            row[2].parse::<u64>().expect("a number"),
            "squared error of {}",
            row[1]
        );
        let found = psnr(&reference, &distorted).expect("same size");
        assert!(
            (found - want(3)).abs() < 1e-6,
            "PSNR of {}: {found}",
            row[1]
        );
        let found = ms_ssim(&reference, &distorted).expect("large enough");
        println!("{}: MS-SSIM {found:.7}, expected {}", row[1], row[4]);
        assert!(
            (found - want(4)).abs() < 1e-4,
            "MS-SSIM of {}: {found}",
            row[1]
        );
        let found = ssimulacra2(&reference, &distorted).expect("large enough");
        println!("{}: SSIMULACRA2 {found:.5}, expected {}", row[1], row[5]);
        assert!(
            (found - want(5)).abs() < SSIMULACRA2_TOLERANCE,
            "SSIMULACRA2 of {}: {found}",
            row[1]
        );
    }
}

#[test]
fn ssimulacra2_of_equal_pictures_is_100() {
    let (even, width, height) = read_picture("even");
    let view = RgbView::new(&even, width, height).expect("valid");
    let score = ssimulacra2(&view, &view).expect("large enough");
    assert!((score - 100.0).abs() < 1e-6, "{score}");
}

#[test]
fn metrics_are_symmetric_where_they_should_be() {
    let (a, width, height) = read_picture("odd");
    let (b, ..) = read_picture("odd-noisy");
    let (a, b) = (
        RgbView::new(&a, width, height).expect("valid"),
        RgbView::new(&b, width, height).expect("valid"),
    );
    let forth = ms_ssim(&a, &b).expect("large enough");
    let back = ms_ssim(&b, &a).expect("large enough");
    assert!((forth - back).abs() < 1e-7);
    let error = squared_error(&a, &b).expect("same size");
    assert_eq!(
        psnr_from_error(error, u64::from(width) * u64::from(height) * 3),
        psnr(&b, &a).expect("same size")
    );
}

#[test]
fn too_small_pictures_are_named_with_their_size() {
    let pixel = [1_u8, 2, 3];
    let view = RgbView::new(&pixel, 1, 1).expect("valid");
    for message in [ms_ssim(&view, &view), ssimulacra2(&view, &view)]
        .map(|result| result.expect_err("too small"))
    {
        assert!(
            message.to_string().contains("1x1 is too small"),
            "{message}"
        );
    }
}

/// The points of a published curve: (rate, PSNR) or (rate, MS-SSIM in dB).
fn published(name: &str, metric: &str) -> Vec<RatePoint> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benches/reference/{name}.json"));
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let curve: serde_json::Value = serde_json::from_str(&text).expect("valid JSON");
    let points = curve["points"]
        .as_array()
        .expect("points")
        .iter()
        .map(|point| {
            let value = point[metric].as_f64().expect("a number");
            let quality = if metric == "ms_ssim" {
                ms_ssim_db(value)
            } else {
                value
            };
            RatePoint {
                rate: point["bpp"].as_f64().expect("a number"),
                quality,
            }
        });
    points.collect()
}

#[test]
fn bd_rates_of_published_curves_against_vtm() {
    let anchor = published("vtm-9.1", "psnr");
    let table = [
        ("bpg444", 22.0),
        ("compressai-mbt2018-mean", 21.8),
        ("compressai-hyperprior", 31.0),
        ("av1-libaom", 16.2),
        ("elic", -7.4),
        ("mlicpp", -15.0),
        ("hpcm-large", -20.0),
    ];
    for (name, percent) in table {
        let result = bd_rate(&anchor, &published(name, "psnr")).expect("curves overlap");
        println!(
            "{name}: {:+.2} % over {:.2} to {:.2} dB",
            result.percent, result.low, result.high
        );
        assert!(
            (result.percent - percent).abs() < 0.3,
            "{name}: {:+.2} %, expected {percent:+}",
            result.percent
        );
    }
}

/// Computed with SciPy's `PchipInterpolator` from the same two files.
#[test]
fn bd_rate_on_ms_ssim_agrees_with_scipy() {
    let result = bd_rate(
        &published("vtm-9.1", "ms_ssim"),
        &published("bpg444", "ms_ssim"),
    )
    .expect("curves overlap");
    assert!(
        (result.percent - BPG_MS_SSIM_BD_RATE).abs() < 0.01,
        "{:+.4} %",
        result.percent
    );
}

const BPG_MS_SSIM_BD_RATE: f64 = 21.511_987;
