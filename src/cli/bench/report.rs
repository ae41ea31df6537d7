//! The summary as text and Markdown, and the tables that the HTML page shows.

use super::summary::{BdRow, Curve, CurvePoint, Summary};
use crate::cli::metric::Metric;
use crate::cli::table::Table;

/// What the program prints.
pub(super) fn text(summary: &Summary) -> String {
    let mut out = format!("{}\n", conditions(summary));
    for curve in summary.measured() {
        let table = points_table(curve, summary).text();
        out += &format!("\n{}: {}\n{table}", curve.name, curve.encoder);
    }
    if !summary.bd_rates.is_empty() {
        let table = bd_table(summary).text();
        out += &format!("\n{}\n{table}", bd_title(summary));
    }
    for remark in &summary.remarks {
        out += &format!("\nnote: {remark}");
    }
    if !summary.remarks.is_empty() {
        out.push('\n');
    }
    out
}

/// The same as a Markdown document.
pub(super) fn markdown(summary: &Summary) -> String {
    let (conditions, command) = (conditions(summary), &summary.command);
    let mut out = format!(
        "# Rate-distortion results\n\n{conditions}\n\nCommand: `{command}`\n\n![Rate-distortion curves](rd.svg)\n"
    );
    if !summary.bd_rates.is_empty() {
        let table = bd_table(summary).markdown();
        out += &format!("\n## {}\n\n{table}", bd_title(summary));
    }
    for curve in summary.measured() {
        let table = points_table(curve, summary).markdown();
        out += &format!("\n## {}\n\n{}\n\n{table}", curve.name, curve.encoder);
    }
    for (title, lines) in [
        ("Sources", sources(summary)),
        ("Notes", summary.remarks.clone()),
    ] {
        if !lines.is_empty() {
            out += &format!("\n## {title}\n\n- {}\n", lines.join("\n- "));
        }
    }
    out
}

/// Where published curves come from.
pub(super) fn sources(summary: &Summary) -> Vec<String> {
    let source = |curve: &Curve| format!("{}: {}", curve.name, curve.encoder);
    summary.published().map(source).collect()
}

/// Pictures, program, machine and day in one paragraph.
pub(super) fn conditions(summary: &Summary) -> String {
    let count = summary.pictures.len();
    let noun = if count == 1 { "picture" } else { "pictures" };
    let mut text = format!(
        "{}: {count} {noun}, {:.2} MP; {}; {}, {}",
        summary.program,
        summary.pixels as f64 / 1e6,
        summary.date,
        summary.machine.cpu,
        summary.machine.system,
    );
    if let Some(threads) = summary.timing_threads {
        let cores = summary.machine.cores;
        text += &format!(", timed with {threads} of {cores} threads");
    }
    for note in &summary.notes {
        text += &format!("; {note}");
    }
    text
}

/// One row per quality.
pub(super) fn points_table(curve: &Curve, summary: &Summary) -> Table {
    let mut heading = vec!["quality".to_owned(), "bpp".to_owned()];
    heading.extend(summary.metrics.iter().map(|metric| match metric {
        Metric::Psnr => "PSNR dB".into(),
        _ => metric.name().into(),
    }));
    let mut points = curve.points.iter();
    let is_timed = points.any(|point| point.encode_mp_per_s.is_some());
    if is_timed {
        heading.extend(["encode MP/s".into(), "decode MP/s".into()]);
    }
    let mut table = Table::new(heading);
    for point in &curve.points {
        table.push(point_row(point, summary, is_timed));
    }
    table
}

fn point_row(point: &CurvePoint, summary: &Summary, is_timed: bool) -> Vec<String> {
    let quality = number(point.quality, 6);
    let quality = quality.trim_end_matches('0').trim_end_matches('.');
    let mut row = vec![quality.to_owned(), number(Some(point.rate_bpp), 3)];
    let value = |&metric: &Metric| number(point.value(metric), decimals(metric));
    row.extend(summary.metrics.iter().map(value));
    if is_timed {
        row.extend([point.encode_mp_per_s, point.decode_mp_per_s].map(|speed| number(speed, 2)));
    }
    row
}

/// Decimals that a metric is printed with.
fn decimals(metric: Metric) -> usize {
    match metric {
        Metric::Psnr | Metric::Ssimulacra2 => 2,
        Metric::MsSsim => 4,
    }
}

/// A number, or `-` where there is none.
fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

/// What the BD-rate table shows.
pub(super) fn bd_title(summary: &Summary) -> String {
    format!(
        "BD-rate against {} (negative: smaller files at equal quality)",
        summary.anchor
    )
}

/// One row per curve, one column per metric.
pub(super) fn bd_table(summary: &Summary) -> Table {
    let has_rate = |metric: &&Metric| summary.bd_rates.iter().any(|row| row.metric == **metric);
    let metrics: Vec<&Metric> = summary.metrics.iter().filter(has_rate).collect();
    let title = |metric: &&Metric| [metric.name().into(), format!("over {}", metric.unit())];
    let mut heading = vec!["codec".to_owned()];
    heading.extend(metrics.iter().flat_map(title));
    let mut table = Table::new(heading);
    let tested = summary.curves.iter();
    for curve in tested.filter(|curve| curve.name != summary.anchor) {
        let cells = |metric: &&Metric| {
            let is_own = |row: &&BdRow| row.name == curve.name && row.metric == **metric;
            bd_cells(summary.bd_rates.iter().find(is_own))
        };
        let cells = metrics.iter().flat_map(cells);
        table.push(std::iter::once(curve.title()).chain(cells).collect());
    }
    table
}

/// A BD-rate with its range; the reason for a missing one is among the remarks.
fn bd_cells(row: Option<&BdRow>) -> [String; 2] {
    match row {
        Some(BdRow {
            percent: Some(percent),
            low: Some(low),
            high: Some(high),
            ..
        }) => [format!("{percent:+.1} %"), format!("{low:.1} to {high:.1}")],
        Some(BdRow {
            reason: Some(_), ..
        }) => ["none".into(), "see notes".into()],
        _ => ["-".into(), "-".into()],
    }
}
