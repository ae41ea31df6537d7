//! From rows to curves: means over pictures, and BD-rates between curves.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::codec::Codec;
use super::machine::Machine;
use super::measure::{Measurement, Timing};
use super::reference::Reference;
use crate::cli::metric::Metric;
use crate::metrics::{RatePoint, bd_rate};

/// Everything a report says.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Summary {
    /// Version of the program.
    pub(super) program: String,
    /// The command line.
    pub(super) command: String,
    /// Day of the run, UTC.
    pub(super) date: String,
    /// Where it ran.
    pub(super) machine: Machine,
    /// Threads of the codecs while they were timed; none when nothing was timed.
    pub(super) timing_threads: Option<usize>,
    /// What the user wants remembered about the run.
    pub(super) notes: Vec<String>,
    /// Pictures that all means are over.
    pub(super) pictures: Vec<String>,
    /// Pixels of those pictures together.
    pub(super) pixels: u64,
    /// Metrics measured.
    pub(super) metrics: Vec<Metric>,
    /// Curves: aec, peers, other results, published ones.
    pub(super) curves: Vec<Curve>,
    /// The curve that BD-rates are against.
    pub(super) anchor: String,
    /// BD-rates of all other curves.
    pub(super) bd_rates: Vec<BdRow>,
    /// Codecs that were not there, files that failed, pictures too small.
    pub(super) remarks: Vec<String>,
}

/// Where a curve comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Origin {
    /// aec, measured in this run.
    Aec,
    /// Another codec, measured in this run.
    Peer,
    /// Results of another run.
    OtherRun,
    /// Published elsewhere.
    Published,
}

/// Means of one codec at its qualities.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Curve {
    /// Short name, unique.
    pub(super) name: String,
    /// What ran, or where the numbers were published.
    pub(super) encoder: String,
    /// Where the curve comes from.
    pub(super) origin: Origin,
    /// By rising rate.
    pub(super) points: Vec<CurvePoint>,
}

/// Means over pictures at one quality.
#[derive(Debug, Clone, Serialize)]
pub(super) struct CurvePoint {
    /// The codec's quality setting; none for published curves.
    pub(super) quality: Option<f64>,
    /// Mean bits per pixel.
    pub(super) rate_bpp: f64,
    /// Mean PSNR.
    pub(super) psnr_db: Option<f64>,
    /// Mean MS-SSIM.
    pub(super) ms_ssim: Option<f64>,
    /// Mean SSIMULACRA2.
    pub(super) ssimulacra2: Option<f64>,
    /// Megapixels encoded per second of wall time.
    pub(super) encode_mp_per_s: Option<f64>,
    /// Megapixels decoded per second of wall time.
    pub(super) decode_mp_per_s: Option<f64>,
    /// Mean bits per pixel of the pictures that have MS-SSIM.
    #[serde(skip)]
    ms_ssim_rate_bpp: f64,
}

/// A BD-rate, or why there is none.
#[derive(Debug, Clone, Serialize)]
pub(super) struct BdRow {
    /// The tested curve.
    pub(super) name: String,
    /// Quality measure.
    pub(super) metric: Metric,
    /// Rate difference at equal quality in percent; negative means smaller files.
    pub(super) percent: Option<f64>,
    /// Lower end of the common quality range.
    pub(super) low: Option<f64>,
    /// Upper end of the common quality range.
    pub(super) high: Option<f64>,
    /// Why there is no number.
    pub(super) reason: Option<String>,
}

impl Summary {
    /// Curves that have files behind them.
    pub(super) fn measured(&self) -> impl Iterator<Item = &Curve> {
        let curves = self.curves.iter();
        curves.filter(|curve| curve.origin != Origin::Published)
    }

    /// The others.
    pub(super) fn published(&self) -> impl Iterator<Item = &Curve> {
        let curves = self.curves.iter();
        curves.filter(|curve| curve.origin == Origin::Published)
    }
}

impl CurvePoint {
    /// The mean of a metric.
    pub(super) fn value(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Psnr => self.psnr_db,
            Metric::MsSsim => self.ms_ssim,
            Metric::Ssimulacra2 => self.ssimulacra2,
        }
    }

    /// The rate of the pictures that the metric's mean is over.
    fn rate(&self, metric: Metric) -> f64 {
        if metric == Metric::MsSsim {
            self.ms_ssim_rate_bpp
        } else {
            self.rate_bpp
        }
    }
}

impl Curve {
    /// The name, with a mark on curves that were not measured here.
    pub(super) fn title(&self) -> String {
        if self.origin == Origin::Published {
            format!("{} (published)", self.name)
        } else {
            self.name.clone()
        }
    }

    /// The curve of a metric on the scale of plots and BD-rates, finite points only.
    pub(super) fn rate_points(&self, metric: Metric) -> Vec<RatePoint> {
        let point = |point: &CurvePoint| {
            let quality = metric.scaled(point.value(metric)?);
            quality.is_finite().then(|| RatePoint {
                rate: point.rate(metric),
                quality,
            })
        };
        self.points.iter().filter_map(point).collect()
    }

    /// The means of a measured codec over `pictures`.
    pub(super) fn measured(
        codec: &Codec,
        rows: &[Measurement],
        timings: &[Timing],
        pictures: &BTreeSet<String>,
    ) -> Self {
        let is_own = |name: &str, encoder: &str| name == codec.name && encoder == codec.encoder;
        let rows = rows.iter().filter(|row| pictures.contains(&row.picture));
        let rows: Vec<_> = rows
            .filter(|row| is_own(&row.codec, &row.encoder))
            .collect();
        let timings = timings.iter();
        let timings: Vec<_> = timings
            .filter(|row| is_own(&row.codec, &row.encoder))
            .collect();
        let origin = if codec.name.starts_with("aec") {
            Origin::Aec
        } else {
            Origin::Peer
        };
        let qualities = codec.qualities.iter();
        let points = qualities.filter_map(|&quality| mean_point(quality, &rows, &timings));
        Self::new(&codec.name, &codec.encoder, origin, points.collect())
    }

    /// The means in the rows of another run, over all pictures there.
    pub(super) fn of_other_run(name: &str, rows: &[Measurement]) -> Self {
        let encoder = rows.first().map_or("", |row| row.encoder.as_str());
        let rows: Vec<&Measurement> = rows.iter().filter(|row| row.encoder == encoder).collect();
        let mut qualities: Vec<f64> = rows.iter().map(|row| row.quality).collect();
        qualities.sort_by(f64::total_cmp);
        qualities.dedup();
        let points = qualities
            .into_iter()
            .filter_map(|quality| mean_point(quality, &rows, &[]));
        Self::new(name, encoder, Origin::OtherRun, points.collect())
    }

    /// A published curve.
    pub(super) fn published(reference: &Reference) -> Self {
        let point = |point: &super::reference::ReferencePoint| CurvePoint {
            quality: None,
            rate_bpp: point.bpp,
            psnr_db: Some(point.psnr),
            ms_ssim: point.ms_ssim,
            ssimulacra2: None,
            encode_mp_per_s: None,
            decode_mp_per_s: None,
            ms_ssim_rate_bpp: point.bpp,
        };
        let encoder = format!(
            "{}, published in {} at {}",
            reference.codec, reference.source, reference.commit
        );
        let points = reference.points.iter().map(point).collect();
        Self::new(&reference.name, &encoder, Origin::Published, points)
    }

    fn new(name: &str, encoder: &str, origin: Origin, mut points: Vec<CurvePoint>) -> Self {
        points.sort_by(|a, b| a.rate_bpp.total_cmp(&b.rate_bpp));
        Self {
            name: name.to_owned(),
            encoder: encoder.to_owned(),
            origin,
            points,
        }
    }
}

/// Means over the rows of one quality; none when there are no rows.
fn mean_point(quality: f64, rows: &[&Measurement], timings: &[&Timing]) -> Option<CurvePoint> {
    let rows = rows.iter().filter(|row| row.quality == quality);
    let timings = timings.iter().filter(|row| row.quality == quality);
    let (rows, timings): (Vec<_>, Vec<_>) = (rows.collect(), timings.collect());
    let metric_mean = |metric| mean(rows.iter().filter_map(|row| row.value(metric)));
    let large = rows.iter().filter(|row| row.ms_ssim.is_some());
    let speed = |seconds: fn(&Timing) -> f64| {
        let pixels: f64 = timings.iter().map(|row| row.pixels as f64).sum();
        (!timings.is_empty())
            .then(|| pixels / 1e6 / timings.iter().map(|row| seconds(row)).sum::<f64>())
    };
    let rate_bpp = mean(rows.iter().map(|row| row.bits_per_pixel()))?;
    Some(CurvePoint {
        quality: Some(quality),
        rate_bpp,
        psnr_db: metric_mean(Metric::Psnr),
        ms_ssim: metric_mean(Metric::MsSsim),
        ssimulacra2: metric_mean(Metric::Ssimulacra2),
        encode_mp_per_s: speed(|row| row.encode_s),
        decode_mp_per_s: speed(|row| row.decode_s),
        ms_ssim_rate_bpp: mean(large.map(|row| row.bits_per_pixel())).unwrap_or(rate_bpp),
    })
}

/// Arithmetic mean; none of nothing.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// Pictures that every codec has rows for at all of its qualities.
///
/// Means over them compare like with like, whatever failed.
pub(super) fn complete_pictures(codecs: &[Codec], rows: &[Measurement]) -> BTreeSet<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        *counts.entry(&row.picture).or_default() += 1;
    }
    let planned: usize = codecs.iter().map(|codec| codec.qualities.len()).sum();
    counts
        .into_iter()
        .filter(|(_, count)| *count == planned)
        .map(|(picture, _)| picture.to_owned())
        .collect()
}

/// BD-rates of all curves against the one called `anchor`, metric by metric.
pub(super) fn bd_rates(curves: &[Curve], anchor: &str, metrics: &[Metric]) -> Vec<BdRow> {
    let Some(anchor) = curves.iter().find(|curve| curve.name == anchor) else {
        return Vec::new();
    };
    let tested = || curves.iter().filter(|curve| curve.name != anchor.name);
    metrics
        .iter()
        .flat_map(|&metric| tested().filter_map(move |curve| bd_row(anchor, curve, metric)))
        .collect()
}

/// The BD-rate of one curve; none where the curve or the anchor lacks the metric.
fn bd_row(anchor: &Curve, curve: &Curve, metric: Metric) -> Option<BdRow> {
    let (anchor_points, points) = (anchor.rate_points(metric), curve.rate_points(metric));
    if anchor_points.is_empty() || points.is_empty() {
        return None;
    }
    let result = bd_rate(&anchor_points, &points);
    let number = result.as_ref().ok();
    Some(BdRow {
        name: curve.name.clone(),
        metric,
        percent: number.map(|result| result.percent),
        low: number.map(|result| result.low),
        high: number.map(|result| result.high),
        reason: result.as_ref().err().map(ToString::to_string),
    })
}
