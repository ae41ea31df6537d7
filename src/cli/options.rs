//! Options that several commands share: threads, device, limits.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;

use super::messages::{Complaint, GlobalOptions};
use crate::codec::DecodeOptions;
use crate::kernels::KernelPath;
use crate::limits::Limits;
use crate::train::ComputeDevice;

/// Lower-case extensions of the pictures that are looked for in folders.
pub(super) const PICTURE_EXTENSIONS: [&str; 16] = [
    "png", "jpg", "jpeg", "jfif", "webp", "ppm", "pgm", "pbm", "pnm", "pam", "tif", "tiff", "bmp",
    "gif", "qoi", "tga",
];

/// How messages call these.
pub(super) const PICTURES: &str = "pictures (PNG, JPEG, WebP, PPM, TIFF, BMP, GIF, QOI, TGA)";

/// The picture format that a path's extension names, whether it can be read or not.
pub(super) fn named_format(path: &Path) -> Option<&'static str> {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    Some(match extension.to_lowercase().as_str() {
        "png" | "apng" => "PNG",
        "jpg" | "jpeg" | "jpe" | "jfif" | "jif" => "JPEG",
        "webp" => "WebP",
        "ppm" | "pgm" | "pbm" | "pnm" | "pam" | "pfm" => "PNM",
        "avif" => "AVIF",
        "heic" | "heif" => "HEIC",
        "jxl" => "JPEG XL",
        "jp2" | "j2k" | "jpx" => "JPEG 2000",
        "tif" | "tiff" | "dng" => "TIFF",
        "bmp" | "dib" => "BMP",
        "gif" => "GIF",
        "qoi" => "QOI",
        "tga" => "TGA",
        "svg" => "SVG",
        "exr" => "OpenEXR",
        "psd" => "PSD",
        _ => return None,
    })
}

/// What a command may use of the machine.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Resources")]
pub struct Resources {
    /// Worker threads [default: all cores]
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,

    /// Where the networks run: pictures are coded on the CPU only
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub device: ComputeDevice,

    /// Refuse larger images
    ///
    /// A side below 64 counts as 64 in coding, because as much is computed.
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_pixels,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub max_pixels: u64,

    /// Refuse images with a longer side
    ///
    /// Memory follows the width as well as the pixels: about 5 kB for every column, and with the encoder's
    /// search another 6 kB, and 1.4 kB for every thread.
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_side,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_side: u32,

    /// Force a kernel path: amx, avx512vnni, avx512, avxvnni, avx2, neon or portable
    ///
    /// Every path gives the same bits; this is for checking that, and for bug reports.
    #[arg(
        long,
        value_name = "PATH",
        help_heading = "Developer options",
        hide_short_help = true
    )]
    pub kernels: Option<KernelPath>,
}

impl Resources {
    /// The limits for reading pictures and files.
    pub fn limits(&self) -> Limits {
        Limits {
            max_pixels: self.max_pixels,
            max_side: self.max_side,
            ..Limits::default()
        }
    }

    /// How many threads will work.
    pub fn thread_count(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(cores, usize::from)
    }

    /// Options for decoding whole pictures within those limits.
    pub fn decoding(&self) -> DecodeOptions {
        DecodeOptions {
            limits: self.limits(),
            ..DecodeOptions::default()
        }
    }

    /// Runs `work` with the chosen kernels on a pool of the chosen number of threads.
    ///
    /// # Errors
    /// When the device or the kernel path is not available here, and those of `work`.
    pub fn install<T: Send>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        self.pool()?.install(work)
    }

    /// Chooses the kernels for the whole process, and starts the chosen number of threads.
    ///
    /// # Errors
    /// When the device or the kernel path is not available here.
    pub fn pool(&self) -> anyhow::Result<rayon::ThreadPool> {
        self.device.check_coding()?;
        if let Some(path) = self.kernels {
            crate::kernels::dispatch::force(path).context("cannot use --kernels")?;
        }
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads.map_or(0, usize::from))
            .build()
            .context("cannot start the worker threads")
    }
}

impl ComputeDevice {
    /// Refuses a device that this build cannot train on.
    ///
    /// # Errors
    /// When the build has no CUDA support.
    pub fn check(self) -> Result<(), Complaint> {
        match self {
            Self::Cuda if !cfg!(feature = "cuda") => Err(Complaint::failure(
                "cannot use --device cuda: this build runs on the CPU only",
                "leave the option out, or build with the feature 'cuda'",
            )),
            Self::Cpu | Self::Cuda => Ok(()),
        }
    }

    /// Refuses a device that pictures are not coded on.
    ///
    /// # Errors
    /// For every other than the CPU.
    fn check_coding(self) -> Result<(), Complaint> {
        match self {
            Self::Cuda => Err(Complaint::failure(
                "cannot use --device cuda: this version encodes and decodes on the CPU only",
                "leave the option out; the result is the same",
            )),
            Self::Cpu => Ok(()),
        }
    }
}

/// Tells `--verbose` users how long each stage took.
pub struct StageClock<'a> {
    global: &'a GlobalOptions,
    last: Instant,
}

impl<'a> StageClock<'a> {
    /// Starts the first stage.
    pub fn start(global: &'a GlobalOptions) -> Self {
        Self {
            global,
            last: Instant::now(),
        }
    }

    /// Ends a stage and starts the next.
    pub fn lap(&mut self, stage: &str) {
        let now = Instant::now();
        let milliseconds = (now - self.last).as_secs_f64() * 1e3;
        self.global
            .detail(|| format!("{stage}: {milliseconds:.1} ms"));
        self.last = now;
    }
}
