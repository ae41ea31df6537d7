//! Arguments of `aec bench`.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;

use super::reference;
use crate::bitstream::Quality;
use crate::cli::metric::Metric;
use crate::cli::models::ModelOption;
use crate::cli::options::Resources;
use crate::cli::rate::{parse_effort, parse_tune};
use crate::codec::{Effort, Tune};

/// Arguments of `aec bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Pictures, or folders of pictures
    #[arg(required = true, value_name = "IMAGES")]
    pub(super) images: Vec<PathBuf>,

    /// Qualities of aec to run, separated by commas
    #[arg(short, long, value_name = "LIST", value_delimiter = ',', value_parser = parse_quality, allow_negative_numbers = true,
          default_values_t = [0.0, 10.0, 25.0, 40.0, 55.0, 70.0, 85.0, 100.0])]
    pub(super) quality: Vec<f64>,

    /// Efforts of aec to run, separated by commas: a curve each
    #[arg(short, long, value_name = "LIST", value_delimiter = ',', value_parser = parse_effort,
          default_values_t = [Effort::DEFAULT])]
    pub(super) effort: Vec<Effort>,

    /// What to encode for, separated by commas: psnr, ssim
    ///
    /// A curve each, with its search and its built-in model.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_tune,
          default_values_t = [Tune::Psnr])]
    pub(super) tune: Vec<Tune>,

    /// Quality measures, separated by commas
    ///
    /// SSIMULACRA2 takes several times as long as the other two together.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values = ["psnr", "ms-ssim"])]
    pub(super) metric: Vec<Metric>,

    #[command(flatten)]
    pub(super) model: ModelOption,

    /// Other codecs to run, separated by commas [default: all]
    ///
    /// JPEG is built in. WebP needs 'cwebp' and 'dwebp' on the PATH, AVIF 'avifenc' and 'avifdec', JPEG XL
    /// 'cjxl' and 'djxl', mozjpeg or libjpeg a 'cjpeg' of theirs; what is missing is left out and named.
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Comparison",
          value_parser = PossibleValuesParser::new(["jpeg", "webp", "avif", "jxl", "mozjpeg", "libjpeg"]))]
    pub(super) peers: Option<Vec<String>>,

    /// Curve that BD-rates are against [default: jpeg, or the last codec of a run without]
    ///
    /// A codec of this run, a name given by --with, or a published curve.
    #[arg(long, value_name = "NAME", help_heading = "Comparison")]
    pub(super) anchor: Option<String>,

    /// Add a published curve, or 'all' (repeatable)
    ///
    /// The curves are means over the 24 Kodak pictures, and make sense beside results on these only.
    #[arg(long, value_name = "NAME", help_heading = "Comparison",
          value_parser = PossibleValuesParser::new(["all"].iter().chain(reference::NAMES)))]
    pub(super) reference: Vec<String>,

    /// Add aec's results of another run (repeatable)
    #[arg(long, value_name = "NAME=RESULTS.tsv", value_parser = parse_named_path, help_heading = "Comparison")]
    pub(super) with: Vec<(String, PathBuf)>,

    /// Timed repetitions; the median is reported
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000),
          help_heading = "Speed")]
    pub(super) runs: u32,

    /// Pictures to time, spread over the list
    #[arg(long, value_name = "N", default_value_t = 3, help_heading = "Speed")]
    pub(super) timed_pictures: usize,

    /// Measure rate and quality only
    #[arg(long, help_heading = "Speed")]
    pub(super) no_timing: bool,

    /// Folder for results, tables, plots and a page
    ///
    /// results.tsv and timing.tsv grow while the benchmark runs; summary.json, summary.md, rd.svg and index.html
    /// are written at its end.
    #[arg(short, long, value_name = "DIR", help_heading = "Output")]
    pub(super) out: Option<PathBuf>,

    /// Keep the results in --out and measure only what is missing
    ///
    /// Pictures are told by their names: one whose content has changed is not measured anew.
    #[arg(long, requires = "out", help_heading = "Output")]
    pub(super) resume: bool,

    /// Start anew in --out, replacing the results that are there
    #[arg(
        long,
        requires = "out",
        conflicts_with = "resume",
        help_heading = "Output"
    )]
    pub(super) overwrite: bool,

    /// Pictures in the page's viewer; 0 for none
    #[arg(long, value_name = "N", default_value_t = 4, help_heading = "Output")]
    pub(super) viewer: usize,

    /// Largest side of a picture in the viewer
    ///
    /// Of larger pictures the middle is shown.
    #[arg(long, value_name = "PIXELS", default_value_t = 768, value_parser = clap::value_parser!(u32).range(16..=4096),
          help_heading = "Output")]
    pub(super) viewer_crop: u32,

    /// Text to keep with the results (repeatable)
    #[arg(long, value_name = "TEXT", help_heading = "Output")]
    pub(super) note: Vec<String>,

    /// Print the summary as JSON
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,

    #[command(flatten)]
    pub(super) resources: Resources,
}

/// One quality of `--quality`.
fn parse_quality(text: &str) -> Result<f64, String> {
    let percent: f64 = text.parse().map_err(|_| "not a number".to_string())?;
    Quality::from_percent(percent)
        .map(|_| percent)
        .map_err(|error| error.to_string())
}

/// `NAME=PATH` of `--with`.
fn parse_named_path(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => {
            Ok((name.to_owned(), path.into()))
        }
        _ => Err("expected NAME=RESULTS.tsv".into()),
    }
}
