//! `aec bench` and `aec compare` as a user runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Output};

use assert_cmd::Command;
use predicates::prelude::*;
use tempfile::TempDir;

use super::AEC;

/// Two small pictures that every metric can handle.
const PICTURES: [&str; 2] = ["even.png", "odd.png"];

fn committed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/pictures")
        .join(name)
}

fn aec() -> Command {
    Command::new(AEC)
}

/// A folder with the two pictures.
fn folder_of_pictures() -> TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    for name in PICTURES {
        fs::copy(committed(name), folder.path().join(name)).expect("copied");
    }
    folder
}

/// That folder, and an empty one for results.
fn folders() -> (TempDir, TempDir) {
    let out = tempfile::tempdir().expect("temporary folder");
    (folder_of_pictures(), out)
}

/// A quick benchmark of `folder` into `out`: aec and JPEG, no speed.
fn quick_bench(folder: &Path, out: &Path) -> Command {
    let mut command = aec();
    command.arg("bench").arg(folder).args([
        "-q",
        "15,45,75",
        "--peers",
        "jpeg",
        "--no-timing",
        "--viewer",
        "1",
        "--out",
    ]);
    command.arg(out);
    command
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_folder_gives_tables_plots_and_a_page() {
    let (folder, out) = folders();
    let stdout = quick_bench(folder.path(), out.path())
        .assert()
        .success()
        .get_output()
        .stdout
        .clone();
    let text = String::from_utf8(stdout).expect("text");
    assert!(
        text.contains("2 pictures") && text.contains("BD-rate against jpeg"),
        "{text}"
    );

    let results = read(out.path().join("results.tsv"));
    assert_eq!(results.lines().count(), 1 + 2 * (3 + 13));
    assert!(results.starts_with("picture\twidth_px\theight_px\tcodec"));
    let summary: serde_json::Value =
        serde_json::from_str(&read(out.path().join("summary.json"))).expect("JSON");
    assert_eq!(summary["pictures"], serde_json::json!(PICTURES));
    assert_eq!(summary["curves"][0]["name"], "aec");
    assert_eq!(
        summary["curves"][0]["points"].as_array().map(Vec::len),
        Some(3)
    );
    assert!(read(out.path().join("summary.md")).contains("| quality |"));
    let plot = read(out.path().join("rd.svg"));
    assert!(plot.matches("<polyline").count() > 10);
    assert!(plot.contains("stroke=\"#0b6bcb\""), "aec's curve is drawn");
    let page = read(out.path().join("index.html"));
    assert!(
        !page.contains("src=\"http") && !page.contains("href=\"http"),
        "the page needs no network"
    );
}

#[test]
fn efforts_are_curves_of_one_table() {
    let (folder, out) = folders();
    quick_bench(folder.path(), out.path())
        .args(["-e", "2,1", "--anchor", "aec-e1"])
        .assert()
        .success()
        .stdout(predicates::str::contains("effort 2, tune psnr"));
    let summary: serde_json::Value =
        serde_json::from_str(&read(out.path().join("summary.json"))).expect("JSON");
    assert_eq!(summary["curves"][0]["name"], "aec-e2");
    assert_eq!(summary["curves"][1]["name"], "aec-e1");
}

#[test]
fn rates_are_those_of_whole_files() {
    let (folder, out) = folders();
    quick_bench(folder.path(), out.path()).assert().success();
    let file = out.path().join("a.aec");
    aec()
        .args(["encode", "--strip", "-q", "45", "--tune", "psnr"])
        .arg(committed("even.png"))
        .arg(&file)
        .assert()
        .success();
    let size = fs::metadata(&file).expect("written").len().to_string();
    let results = read(out.path().join("results.tsv"));
    let row = results
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>());
    let row = row
        .into_iter()
        .find(|row| row[0] == "even.png" && row[3] == "aec" && row[5] == "45")
        .expect("a row");
    assert_eq!(row[6], size);
}

#[test]
fn bad_pictures_are_named_and_the_rest_goes_on() {
    let (folder, out) = folders();
    fs::write(folder.path().join("text.png"), "not a picture").expect("written");
    fs::write(
        folder.path().join("pixel.ppm"),
        b"P6\n1 1\n255\n\x01\x02\x03",
    )
    .expect("written");
    quick_bench(folder.path(), out.path())
        .assert()
        .code(1)
        .stderr(predicate::str::contains("text.png"))
        .stdout(predicate::str::contains("3 pictures"))
        .stdout(predicate::str::contains(
            "pixel.ppm is 1x1: too small for MS-SSIM, which needs 161 pixels",
        ));
    assert!(out.path().join("index.html").exists());
}

/// A picture with alpha is measured without it, which is said.
#[test]
fn alpha_is_blended_and_said() {
    let (folder, out) = (
        tempfile::tempdir().expect("temporary folder"),
        tempfile::tempdir().expect("temporary folder"),
    );
    let opaque = image::open(committed("even.png"))
        .expect("a picture")
        .into_rgba8();
    let mut faded = opaque.clone();
    faded.pixels_mut().for_each(|pixel| pixel.0[3] /= 2);
    faded.save(folder.path().join("faded.png")).expect("saved");
    let stdout = aec()
        .arg("bench")
        .arg(folder.path())
        .args([
            "-q",
            "30",
            "--peers",
            "jpeg",
            "--no-timing",
            "--viewer",
            "0",
        ])
        .args(["--model", "tests/vectors/tiny.safetensors", "--out"])
        .arg(out.path())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .assert()
        .success()
        .get_output()
        .stdout
        .clone();
    let text = String::from_utf8(stdout).expect("text");
    let remark = "faded.png has an alpha channel: measured without it, blended over gray 128";
    assert!(text.contains(remark), "{text}");
    assert!(read(out.path().join("summary.md")).contains(remark));
}

#[test]
fn nothing_to_measure_is_an_error() {
    let folder = tempfile::tempdir().expect("temporary folder");
    aec()
        .arg("bench")
        .arg(folder.path())
        .assert()
        .code(1)
        .stderr(predicate::str::contains("no pictures"));
    let missing = folder.path().join("missing");
    aec()
        .arg("bench")
        .arg(missing)
        .assert()
        .code(1)
        .stderr(predicate::str::contains("no file or folder"));
    fs::write(folder.path().join("text.png"), "not a picture").expect("written");
    aec()
        .args(["bench", "--peers", "jpeg"])
        .arg(folder.path())
        .assert()
        .code(1)
        .stderr(predicate::str::contains("nothing could be measured"));
}

#[test]
fn resume_measures_only_what_is_missing() {
    let (folder, out) = folders();
    quick_bench(folder.path(), out.path()).assert().success();
    let path = out.path().join("results.tsv");
    let whole = read(path.clone());
    // Half of the rows, one of them with a mark, and a last line cut short.
    let mut lines: Vec<String> = whole.lines().take(17).map(str::to_owned).collect();
    let mut fields: Vec<&str> = whole.lines().nth(1).expect("a row").split('\t').collect();
    let cut = &whole.lines().nth(20).expect("a row")[..25];
    fields[8] = "99.000000";
    lines[1] = fields.join("\t");
    fs::write(&path, lines.join("\n") + "\n" + cut).expect("written");
    quick_bench(folder.path(), out.path())
        .arg("--resume")
        .assert()
        .success();
    let resumed = read(path.clone());
    assert_eq!(resumed.lines().count(), whole.lines().count());
    assert!(
        resumed.lines().any(|line| line == lines[1]),
        "known rows are kept"
    );
    let missing = whole
        .lines()
        .skip(17)
        .filter(|line| !resumed.lines().any(|known| known == *line));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&str>::new());

    quick_bench(folder.path(), out.path()).assert().code(1);
    assert_eq!(read(path), resumed, "results are replaced when asked to");
    quick_bench(folder.path(), out.path())
        .arg("--overwrite")
        .assert()
        .success();
    assert_eq!(
        read(out.path().join("results.old.tsv")),
        resumed,
        "and the old file is put aside"
    );
}

#[test]
fn curves_of_others_are_added() {
    let (folder, out) = folders();
    quick_bench(folder.path(), out.path()).assert().success();
    let again = tempfile::tempdir().expect("temporary folder");
    let with = format!("before={}", out.path().join("results.tsv").display());
    quick_bench(folder.path(), again.path())
        .args(["--reference", "all", "--anchor", "before", "--with", &with])
        .assert()
        .success()
        .stdout(predicate::str::contains("BD-rate against before"))
        .stdout(predicate::str::is_match(r"aec +[-+]0\.0 %").expect("valid"))
        .stdout(predicate::str::contains("vtm-9.1 (published)"))
        .stdout(predicate::str::contains(
            "24 Kodak pictures, the others are not",
        ));
    assert!(
        read(again.path().join("summary.md"))
            .contains("InterDigitalInc/CompressAI:results/image/kodak/vtm.json")
    );
}

#[test]
fn speed_is_measured_and_kept() {
    let (folder, out) = folders();
    aec()
        .arg("bench")
        .arg(folder.path())
        .args([
            "-q",
            "30",
            "--peers",
            "jpeg",
            "--runs",
            "1",
            "--timed-pictures",
            "1",
            "--viewer",
            "0",
            "--out",
        ])
        .arg(out.path())
        .assert()
        .success()
        .stdout(predicate::str::contains("decode MP/s"))
        .stdout(predicate::str::contains(
            "no BD-rate of aec on PSNR: a curve has 1 usable points",
        ));
    assert_eq!(
        read(out.path().join("timing.tsv")).lines().count(),
        1 + 1 + 13
    );
}

#[test]
fn missing_tools_are_named() {
    let folder = folder_of_pictures();
    aec()
        .env("PATH", "")
        .args(["bench", "-q", "30", "--no-timing"])
        .arg(folder.path())
        .assert()
        .success()
        .stdout(predicate::str::contains(
            "not measured: webp: 'cwebp' is not on the PATH",
        ))
        .stdout(predicate::str::contains("'avifenc'").and(predicate::str::contains("'cjxl'")));
}

/// A `cjpeg` that only knows its version; it is not mozjpeg's, and nothing calls it so.
#[cfg(unix)]
#[test]
fn another_cjpeg_is_not_mozjpeg_and_its_failure_is_named() {
    use std::os::unix::fs::PermissionsExt;

    let (folder, tools) = (
        folder_of_pictures(),
        tempfile::tempdir().expect("temporary folder"),
    );
    let cjpeg = tools.path().join("cjpeg");
    let script = "#!/bin/sh\n[ \"$1\" = -version ] || { echo no such luck >&2; exit 1; }\n\
                  echo 'libjpeg-turbo version 2.1.5 (build 20230203)' >&2\n";
    fs::write(&cjpeg, script).expect("written");
    fs::set_permissions(&cjpeg, fs::Permissions::from_mode(0o755)).expect("ours");
    aec()
        .env("PATH", tools.path())
        .args([
            "bench",
            "-q",
            "30",
            "--no-timing",
            "--peers",
            "jpeg,libjpeg",
        ])
        .arg(folder.path())
        .assert()
        .code(1)
        .stderr(predicate::str::contains("even.png with libjpeg at 5:"))
        .stderr(predicate::str::contains("cjpeg' failed: no such luck"))
        .stderr(predicate::str::contains("mozjpeg").not());
}

#[test]
fn wrong_usage_is_exit_status_2() {
    let folder = folder_of_pictures();
    for arguments in [
        ["--anchor", "nothing"],
        ["--reference", "nothing"],
        ["-q", "101"],
        ["--with", "x"],
        ["--metric", "x"],
    ] {
        aec()
            .arg("bench")
            .arg(folder.path())
            .args(arguments)
            .assert()
            .code(2);
    }
    aec()
        .args(["bench", "--resume"])
        .arg(folder.path())
        .assert()
        .code(2);
}

#[test]
fn compare_two_pictures() {
    let [a, b] = ["even.png", "even-blocky.png"].map(committed);
    aec()
        .arg("compare")
        .args([&a, &b])
        .assert()
        .success()
        .stdout(
            predicate::str::contains("PSNR         21.")
                .or(predicate::str::is_match(r"PSNR +\d+\.\d\d dB").expect("valid")),
        )
        .stdout(predicate::str::contains("MS-SSIM      0.88046"));
    let output = aec()
        .args(["compare", "--json", "--metric", "psnr,ssimulacra2"])
        .args([&a, &a])
        .output()
        .expect("runs");
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(object["psnr_db"].is_null() && object["identical"] == true);
    assert_eq!(object["mse"], 0.0);
    assert_eq!(object["ssimulacra2"], 100.0);
}

#[test]
fn compare_an_aec_file_and_its_rate() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("a.aec");
    aec()
        .args(["encode", "-q", "50"])
        .arg(committed("even.png"))
        .arg(&file)
        .assert()
        .success();
    let output = aec()
        .args(["compare", "--json"])
        .arg(committed("even.png"))
        .arg(&file)
        .output()
        .expect("runs");
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let size = fs::metadata(&file).expect("written").len();
    assert_eq!(object["size_bytes"], size);
    let rate = size as f64 * 8.0 / (224.0 * 192.0);
    assert!((object["rate_bpp"].as_f64().expect("a number") - rate).abs() < 1e-9);
    assert!(object["psnr_db"].as_f64().expect("a number") > 15.0);
}

#[test]
fn compare_says_what_it_cannot_do() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let pixel = folder.path().join("pixel.ppm");
    fs::write(&pixel, b"P6\n1 1\n255\n\x01\x02\x03").expect("written");
    let compare = |a: &Path, b: &Path| aec().arg("compare").args([a, b]).assert();
    compare(&committed("even.png"), &committed("odd.png"))
        .code(1)
        .stderr(predicate::str::contains("224x192 and 203x177"));
    compare(&pixel, &pixel)
        .success()
        .stdout(predicate::str::contains("PSNR         no difference"))
        .stderr(predicate::str::contains("too small for MS-SSIM"));
    compare(&pixel, &folder.path().join("missing.png"))
        .code(1)
        .stderr(predicate::str::contains("cannot read"));
}

/// A Chromium on the PATH, if there is one.
fn chromium() -> Option<&'static str> {
    let answers = |name: &&str| {
        Process::new(name)
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success())
    };
    ["chromium", "chromium-browser", "google-chrome", "chrome"]
        .into_iter()
        .find(answers)
}

/// Loads a page in a headless browser and gives its log (stderr) and final document (stdout).
fn open_in_browser(browser: &str, page: &Path) -> Output {
    let profile = tempfile::tempdir().expect("temporary folder");
    let mut command = Process::new(browser);
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
    ]);
    command.args([
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]);
    command.args([
        "--virtual-time-budget=20000",
        "--enable-logging=stderr",
        "--dump-dom",
    ]);
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    command.arg(format!("file://{}", page.display()));
    command.output().expect("the browser runs")
}

#[test]
fn the_page_works_in_a_browser() {
    let Some(browser) = chromium() else {
        println!("skipped: no Chromium on the PATH");
        return;
    };
    let (folder, out) = folders();
    quick_bench(folder.path(), out.path()).assert().success();
    let output = open_in_browser(browser, &out.path().join("index.html"));
    let document = String::from_utf8_lossy(&output.stdout);
    let log = String::from_utf8_lossy(&output.stderr);
    let root = document
        .lines()
        .find(|line| line.contains("<html"))
        .unwrap_or_default();
    assert!(
        root.contains("data-ready=\"true\"") && !root.contains("data-error"),
        "{root}\n{log}"
    );
    let count = |name: &str| -> u32 {
        let (_, rest) = root.split_once(name).expect("the script counts");
        let digits = rest.trim_start_matches("=\"").split('"').next();
        digits
            .and_then(|digits| digits.parse().ok())
            .expect("a number")
    };
    // The original, and aec and JPEG at one rate or more.
    assert!(count("data-embedded") >= 3, "{root}");
    assert_eq!(count("data-decoded"), count("data-embedded"), "{root}");
    assert!(count("data-curves") > 10, "{root}");
    assert!(document.contains("<svg") && document.contains("data:image/webp;base64,"));
    let complaints: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("CONSOLE"))
        .collect();
    assert_eq!(complaints, Vec::<&str>::new());
}

#[test]
fn efforts_can_be_compared_with_each_other_alone() {
    let (pictures, _) = folders();
    // Whether the peer is installed or not, there is a curve to be compared with.
    let output = aec()
        .arg("bench")
        .arg(pictures.path().join(PICTURES[0]))
        .args(["-q", "15,45,75,90", "-e", "1,2", "--peers", "webp"])
        .args(["--no-timing", "--json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let anchor = summary["anchor"].as_str().unwrap();
    assert!(["aec-e2", "webp"].contains(&anchor), "{anchor}");
}
