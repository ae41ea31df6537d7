//! Measuring one file: rate and quality, or time.

use std::time::Instant;

use anyhow::Context;
use serde::Deserialize;

use super::codec::{Codec, Source};
use super::record::{optional, positive};
use crate::cli::metric::{Metric, view};

/// Rate and quality of one file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Measurement {
    pub(super) picture: String,
    #[serde(rename = "width_px", deserialize_with = "positive")]
    pub(super) width: u32,
    #[serde(rename = "height_px", deserialize_with = "positive")]
    pub(super) height: u32,
    pub(super) codec: String,
    pub(super) encoder: String,
    pub(super) quality: f64,
    /// Size of the whole file.
    #[serde(rename = "size_bytes")]
    pub(super) bytes: u64,
    #[serde(rename = "psnr_db", deserialize_with = "optional")]
    pub(super) psnr: Option<f64>,
    #[serde(deserialize_with = "optional")]
    pub(super) ms_ssim: Option<f64>,
    #[serde(deserialize_with = "optional")]
    pub(super) ssimulacra2: Option<f64>,
}

impl Measurement {
    /// Bits per pixel of the whole file.
    pub(super) fn bits_per_pixel(&self) -> f64 {
        self.bytes as f64 * 8.0 / (f64::from(self.width) * f64::from(self.height))
    }

    /// The value of a metric, if it was measured.
    pub(super) fn value(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Psnr => self.psnr,
            Metric::MsSsim => self.ms_ssim,
            Metric::Ssimulacra2 => self.ssimulacra2,
        }
    }

    /// Whether the metric is there, or cannot be because the picture is too small.
    pub(super) fn covers(&self, metric: Metric) -> bool {
        let short_side = self.width.min(self.height) as usize;
        self.value(metric).is_some() || short_side < metric.min_side()
    }
}

/// Encodes and decodes a picture and compares the two.
pub(super) fn measure(
    picture: &str,
    source: &Source,
    codec: &Codec,
    quality: f64,
    metrics: &[Metric],
) -> anyhow::Result<Measurement> {
    let coder = &codec.coder;
    let file = coder.encode(source, quality).context("cannot encode")?;
    let decoded = coder.decode(&file).context("cannot decode its own file")?;
    let original = source.image();
    let views = (view(original)?, view(&decoded)?);
    let value = |metric: Metric| {
        let short_side = original.width.min(original.height) as usize;
        let is_wanted = metrics.contains(&metric) && short_side >= metric.min_side();
        is_wanted
            .then(|| metric.measure(&views.0, &views.1))
            .transpose()
    };
    Ok(Measurement {
        picture: picture.to_owned(),
        width: original.width,
        height: original.height,
        codec: codec.name.clone(),
        encoder: codec.encoder.clone(),
        quality,
        bytes: file.len() as u64,
        psnr: value(Metric::Psnr)?,
        ms_ssim: value(Metric::MsSsim)?,
        ssimulacra2: value(Metric::Ssimulacra2)?,
    })
}

/// Encoding and decoding time of one file: medians over the runs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Timing {
    pub(super) picture: String,
    pub(super) codec: String,
    pub(super) encoder: String,
    pub(super) quality: f64,
    pub(super) pixels: u64,
    pub(super) threads: usize,
    pub(super) runs: u32,
    pub(super) encode_s: f64,
    pub(super) decode_s: f64,
}

/// Times a codec on one picture, after one run that does not count.
pub(super) fn time(
    picture: &str,
    source: &Source,
    codec: &Codec,
    quality: f64,
    runs: u32,
) -> anyhow::Result<Timing> {
    let coder = &codec.coder;
    let file = coder.encode(source, quality)?;
    coder.decode(&file)?;
    Ok(Timing {
        picture: picture.to_owned(),
        codec: codec.name.clone(),
        encoder: codec.encoder.clone(),
        quality,
        pixels: source.image().pixels(),
        threads: rayon::current_num_threads(),
        runs,
        encode_s: median_seconds(runs, || coder.encode(source, quality).map(drop))?,
        decode_s: median_seconds(runs, || coder.decode(&file).map(drop))?,
    })
}

/// Median wall time of `runs` calls.
fn median_seconds(runs: u32, mut work: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let mut seconds = Vec::new();
    for _ in 0..runs.max(1) {
        let start = Instant::now();
        work()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let middle = seconds.len() / 2;
    let is_even = seconds.len().is_multiple_of(2);
    Ok(if is_even {
        f64::midpoint(seconds[middle - 1], seconds[middle])
    } else {
        seconds[middle]
    })
}
