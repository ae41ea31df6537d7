//! The built binary as a person uses it: files, pipes, exit statuses, error text.

mod batch;
mod bench;
mod cases;
mod inputs;
mod inspect;
mod kept;
mod limits;
mod matrix;
mod models;
mod outputs;
mod parts;
mod round_trips;
mod runs;
mod talk;
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

use aec::unstable::Limits;
use aec::unstable::picture::{Image, io};
use assert_cmd::Command;
use tempfile::TempDir;

use crate::common::psnr::psnr;

/// The built binary.
pub const AEC: &str = env!("CARGO_BIN_EXE_aec");

/// The weights of the tests, for when the picture's quality does not matter.
const TINY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/vectors/tiny.safetensors"
);

/// A folder of its own for each test.
struct Workspace {
    folder: TempDir,
}

impl Workspace {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `aec` with the folder as its working directory.
    fn aec(&self, args: &[&str]) -> Command {
        let mut command = Command::new(AEC);
        command
            .current_dir(self.folder.path())
            .env_remove("NO_COLOR")
            .env_remove("AEC_MODEL_DIR")
            .args(args);
        command
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn image(&self, name: &str) -> Image {
        io::read(&self.read(name), &Limits::default()).unwrap()
    }

    /// What `script` did, run by bash in the folder; `$aec` is the program.
    #[cfg(unix)]
    fn bash(&self, script: &str) -> std::process::Output {
        std::process::Command::new("bash")
            .current_dir(self.folder.path())
            .env("aec", AEC)
            .args(["-c", script])
            .output()
            .unwrap()
    }

    /// Most bytes of memory that the program had, which must succeed.
    #[cfg(target_os = "linux")]
    fn peak_memory(&self, args: &[&str]) -> u64 {
        let mut child = std::process::Command::new(AEC)
            .current_dir(self.folder.path())
            .args(args)
            .spawn()
            .unwrap();
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0;
        while child.try_wait().unwrap().is_none() {
            let text = fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
            peak = peak.max(kilobytes.unwrap_or(0) * 1024);
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        assert!(child.wait().unwrap().success());
        peak
    }

    /// Every name in the folder, hidden ones too, sorted.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Writes `name`, a PNG, and `a.aec` made from it.
    fn with_encoded(image: &Image) -> Self {
        let here = Self::new();
        here.write("a.png", &png(image));
        here.aec(&["encode", "a.png", "a.aec"]).assert().success();
        here
    }
}

/// A smooth color picture.
fn gradient(width: u32, height: u32) -> Image {
    let mut rgb = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let wave = (f64::from(x) * 0.3).sin() * 20.0 + 128.0;
            rgb.extend([(x * 2 % 256) as u8, (y * 3 % 256) as u8, wave as u8]);
        }
    }
    Image::new(width, height, rgb).unwrap()
}

fn png(image: &Image) -> Vec<u8> {
    let mut bytes = Vec::new();
    io::write(image, io::OutputFormat::Png, &mut bytes).unwrap();
    bytes
}

fn jpeg(image: &Image) -> Vec<u8> {
    let mut bytes = Vec::new();
    image::codecs::jpeg::JpegEncoder::new(&mut bytes)
        .encode(
            &image.rgb,
            image.width,
            image.height,
            image::ExtendedColorType::Rgb8,
        )
        .unwrap();
    bytes
}

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/scene.png")
}
