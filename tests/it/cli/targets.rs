//! Files of a given size, rate or PSNR.

use aec::unstable::Depth;
use aec::unstable::picture::Alpha;
use predicates::prelude::*;
use predicates::str::contains;

use super::{Workspace, gradient, png, psnr, sample};

/// A workspace with the sample picture.
fn with_sample() -> Workspace {
    let here = Workspace::new();
    std::fs::copy(sample(), here.path("scene.png")).unwrap();
    here
}

/// Runs `encode scene.png a.aec` with the arguments; the summary line.
fn encode(here: &Workspace, args: &[&str]) -> String {
    let output = here
        .aec(&["encode", "scene.png", "a.aec"])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// The quality that a summary line names.
fn chosen(summary: &str) -> f64 {
    let rest = summary.split("quality ").nth(1).unwrap();
    let number = rest.split([',', ' ']).next().unwrap();
    number.parse().unwrap()
}

fn decoded_psnr(here: &Workspace) -> f64 {
    here.aec(&["decode", "a.aec", "a.png"]).assert().success();
    psnr(&here.image("scene.png"), &here.image("a.png"))
}

#[test]
fn a_target_size_is_used_up_and_kept() {
    let here = with_sample();
    let targets = [
        ("--target-size", "20k", 20_000),
        ("--target-size", "0.05M", 50_000),
        // 768 * 512 * 0.6 / 8
        ("--target-bpp", "0.6", 29_491),
    ];
    // A search stops at another round now and then: with it, sizes do not rise with every half of a step.
    for (effort, step) in [("1", 0.5), ("4", 1.0)] {
        for (option, value, most) in targets {
            let summary = encode(&here, &["-e", effort, option, value]);
            let size = here.read("a.aec").len();
            assert!(
                size <= most && size > most * 99 / 100,
                "effort {effort}, {value}: {size}"
            );
            let quality = chosen(&summary);
            here.aec(&["info", "a.aec", "--verify"])
                .assert()
                .success()
                .stdout(contains(format!("quality {quality},")));
            let better = format!("{}", quality + step);
            encode(&here, &["-e", effort, "-q", &better]);
            assert!(
                here.read("a.aec").len() > most,
                "effort {effort}: quality {better} fits too"
            );
        }
    }
}

#[test]
fn a_target_psnr_is_reached_and_not_much_more() {
    let here = with_sample();
    let summary = encode(&here, &["--target-psnr", "32.5"]);
    let reached = decoded_psnr(&here);
    assert!((32.5..32.6).contains(&reached), "{reached} dB");
    assert!(
        summary.contains(&format!(" ({reached:.2} dB), ")),
        "{summary}"
    );
    let worse = format!("{}", chosen(&summary) - 1.0);
    encode(&here, &["-q", &worse, "--tune", "psnr"]);
    assert!(decoded_psnr(&here) < 32.5);
}

#[test]
fn targets_beyond_the_scale_end_at_its_ends() {
    let here = Workspace::new();
    here.write("scene.png", &png(&gradient(90, 70)));
    for (args, quality) in [
        (["--target-size", "1M"], "100"),
        (["--target-bpp", "200"], "100"),
        (["--target-psnr", "1"], "0"),
    ] {
        let summary = encode(&here, &[args[0], args[1], "--tune", "psnr"]);
        assert_eq!(chosen(&summary).to_string(), quality, "{summary}");
        let found = here.read("a.aec");
        encode(&here, &["-q", quality, "--tune", "psnr"]);
        assert!(found == here.read("a.aec"));
    }
}

#[test]
fn a_target_out_of_reach_is_an_error_unless_the_closest_file_will_do() {
    let here = Workspace::new();
    here.write("scene.png", &png(&gradient(90, 70)));
    for (args, unit, quality) in [
        (["--target-size", "60"], "60 bytes", "0"),
        (["--target-bpp", "0.001"], "0.001 bpp", "0"),
        (["--target-psnr", "95"], "95.00 dB", "100"),
    ] {
        let expected = format!("the target of {unit} is out of reach: the closest is ");
        let output = here
            .aec(&["encode", "scene.png", "b.aec"])
            .args(args)
            .assert()
            .code(1)
            .stderr(contains("error: cannot encode 'scene.png': ").and(contains(expected)))
            .stderr(contains(format!("at quality {quality}\n")))
            .stderr(contains("hint: ").and(contains("--best-effort")))
            .get_output()
            .clone();
        let lines = String::from_utf8(output.stderr).unwrap().lines().count();
        assert_eq!(lines, 3, "error, blank line, hint");
        assert!(!here.path("b.aec").exists());

        let said = encode(
            &here,
            &[args[0], args[1], "--best-effort", "--tune", "psnr"],
        );
        assert!(said.starts_with("warning: the target is out of reach"));
        assert_eq!(chosen(&said).to_string(), quality);
        let closest = here.read("a.aec");
        encode(&here, &["-q", quality, "--tune", "psnr"]);
        assert!(closest == here.read("a.aec"));
    }
}

#[test]
fn targets_work_in_pipes() {
    let here = Workspace::new();
    let output = here
        .aec(&["encode", "--target-size", "900", "-", "-"])
        .write_stdin(png(&gradient(90, 70)))
        .output()
        .unwrap();
    assert!(output.status.success());
    assert!(output.stdout.len() <= 900);
}

#[test]
fn wrong_targets_are_wrong_usage() {
    let here = Workspace::new();
    here.write("a.png", &png(&gradient(9, 7)));
    let cases: [&[&str]; 12] = [
        &["-q", "50", "--target-size", "1k"],
        &["-q", "60", "--target-psnr", "30"],
        &["--target-size", "1k", "--target-bpp", "1"],
        &["--target-psnr", "30", "--target-bpp", "1"],
        &["--best-effort"],
        &["--best-effort", "-q", "5"],
        &["--target-size", "0"],
        &["--target-size", "4 kB"],
        &["--target-size", "-1"],
        &["--target-bpp", "0"],
        &["--target-bpp", "nan"],
        &["--target-psnr", "inf"],
    ];
    for args in cases {
        here.aec(&["encode", "a.png", "x.aec"])
            .args(args)
            .assert()
            .code(2);
    }
    assert_eq!(here.names(), ["a.png"]);
}

#[test]
fn efforts_and_tunes() {
    let here = with_sample();
    let size = |args: &[&str]| {
        encode(&here, args);
        here.read("a.aec").len()
    };
    let for_psnr = |effort| size(&["-e", effort, "--tune", "psnr"]);
    let (single, search) = (for_psnr("1"), for_psnr("4"));
    assert_ne!(single, search);
    assert_ne!(size(&["--effort", "2", "--tune", "psnr"]), size(&["-e2"]));
    assert_eq!(size(&["--effort", "2", "--tune", "ssim"]), size(&["-e2"]));
    here.aec(&["-v", "encode", "scene.png", "b.aec", "-e", "3"])
        .assert()
        .success()
        .stderr(contains("round 0:").and(contains("round 1:")));
    for args in [["-e", "0"], ["-e", "10"], ["-e", "x"], ["--tune", "mse"]] {
        here.aec(&["encode", "scene.png", "x.aec"])
            .args(args)
            .assert()
            .code(2);
    }
}

#[test]
fn a_target_psnr_is_that_of_the_picture_as_it_is_seen() {
    let here = Workspace::new();
    let mut image = gradient(160, 120);
    let opacity = (0..160 * 120).map(|i| (i % 160) as u16).collect();
    image.alpha = Some(Alpha::new(Depth::Eight, opacity).unwrap());
    here.write("scene.png", &png(&image));
    encode(&here, &["--target-psnr", "38"]);
    let output = here
        .aec(&[
            "compare",
            "scene.png",
            "a.aec",
            "--metric",
            "psnr",
            "--json",
        ])
        .output()
        .unwrap();
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let reached = found["psnr_db"].as_f64().unwrap();
    assert!((38.0..38.2).contains(&reached), "{reached} dB");
}
