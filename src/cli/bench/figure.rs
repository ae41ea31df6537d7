//! The figure of a summary: one chart per metric.

use super::summary::{Curve, Origin, Summary};
use crate::cli::metric::Metric;
use crate::cli::plot::{Chart, Color, Figure, Series, Style};

const AEC: Color = [11, 107, 203];
const PEERS: [(&str, Color); 6] = [
    ("jpeg", [217, 72, 15]),
    ("webp", [43, 138, 62]),
    ("avif", [112, 72, 232]),
    ("jxl", [194, 37, 92]),
    ("mozjpeg", [224, 159, 0]),
    ("libjpeg", [224, 159, 0]),
];
/// For results of other runs, and for published curves after them.
const MORE: [Color; 10] = [
    [12, 133, 153],
    [134, 94, 60],
    [156, 54, 181],
    [92, 124, 20],
    [103, 112, 122],
    [230, 73, 128],
    [59, 91, 219],
    [166, 30, 77],
    [46, 125, 107],
    [201, 125, 10],
];

/// Charts of all metrics that a curve has values for.
pub(super) fn figure(summary: &Summary) -> Figure {
    let charts = summary.metrics.iter().map(|&metric| chart(summary, metric));
    Figure {
        charts: charts.filter(|chart| !chart.series.is_empty()).collect(),
    }
}

/// The chart of one metric.
fn chart(summary: &Summary, metric: Metric) -> Chart {
    let mut more = MORE.iter().cycle();
    let mut series = Vec::new();
    for curve in &summary.curves {
        let color = color(curve).unwrap_or_else(|| *more.next().expect("a cycle has no end"));
        let points: Vec<(f64, f64)> = curve
            .rate_points(metric)
            .into_iter()
            .map(|point| (point.rate, point.quality))
            .collect();
        if !points.is_empty() {
            series.push(Series {
                name: curve.name.clone(),
                color,
                style: style(curve),
                points,
            });
        }
    }
    let label = match metric {
        Metric::Psnr => "RGB PSNR in dB",
        Metric::MsSsim => "MS-SSIM in dB: -10 log10(1 - MS-SSIM)",
        Metric::Ssimulacra2 => "SSIMULACRA2 score",
    };
    Chart {
        title: metric.name().to_owned(),
        across: "bits per pixel".to_owned(),
        label: label.to_owned(),
        series,
    }
}

fn style(curve: &Curve) -> Style {
    match curve.origin {
        Origin::Aec => Style::Main,
        Origin::Peer | Origin::OtherRun => Style::Measured,
        Origin::Published => Style::Published,
    }
}

/// The fixed color of a codec measured in this run.
fn color(curve: &Curve) -> Option<Color> {
    match curve.origin {
        // Several efforts or tunes are told apart by color.
        Origin::Aec => (curve.name == "aec").then_some(AEC),
        Origin::Peer => PEERS
            .iter()
            .find(|(name, _)| *name == curve.name)
            .map(|(_, color)| *color),
        Origin::OtherRun | Origin::Published => None,
    }
}
