//! The page of `aec inspect`: files side by side, in one HTML file that needs no network.

use std::fmt::Write;

use super::exhibit::Exhibit;
use super::{maps, report};
use crate::cli::html::{STYLE, data_uri, escape, fill};
use crate::cli::table::Table;
use crate::error::Result;
use crate::picture::Image;

const TEMPLATE: &str = include_str!("page.html");

/// Longest side of a picture on the page, so that it stays easy to open and to send.
const SIDE: u32 = 1600;

/// The whole page; blocks of `most` bits have the brightest color, and up to `blocks` are listed.
pub(super) fn html(exhibits: &[Exhibit], most: f64, blocks: usize) -> Result<String> {
    let columns = exhibits.iter().map(|exhibit| column(exhibit, most, blocks));
    let columns: String = columns.collect::<Result<_>>()?;
    let colors = maps::COLORS.map(|[r, g, b]| format!("rgb({r} {g} {b})"));
    Ok(fill(
        TEMPLATE,
        &[
            ("style", STYLE),
            ("colors", &colors.join(", ")),
            ("most", &format!("{most:.0}")),
            ("most_error", &format!("{}", maps::MOST_ERROR)),
            ("exhibits", &columns),
        ],
    ))
}

/// Everything about one file.
fn column(exhibit: &Exhibit, most: f64, blocks: usize) -> Result<String> {
    let mut out = format!(
        "<section>\n<h2>{}</h2>\n<p class=\"small\">{}</p>\n",
        escape(&exhibit.name),
        escape(&report::summary(exhibit))
    );
    out += &figure("Bits by block", maps::bits(exhibit, most)?)?;
    if let Some(comparison) = &exhibit.comparison {
        out += &figure("Error", maps::error(exhibit, comparison)?)?;
    }
    out += &figure("Decoded", maps::picture(exhibit)?)?;
    out += "<h3>Bytes</h3>\n";
    let rows = report::shares(exhibit).into_iter().map(|(name, bytes)| {
        let share = report::percent(bytes, exhibit.file_bytes as f64);
        vec![name.to_owned(), format!("{bytes:.0}"), share]
    });
    out += &table(&["", "bytes", "share"], rows);
    out += "<h3>Context steps</h3>\n";
    let steps = exhibit.usage.steps.iter().enumerate().map(|(i, step)| {
        vec![
            (i + 1).to_string(),
            step.symbols.to_string(),
            step.nonzero.to_string(),
            format!("{:.0}", step.bits),
            format!("{:.3}", report::bits_per_symbol(step)),
        ]
    });
    out += &table(
        &["step", "symbols", "not zero", "bits", "bits per symbol"],
        steps,
    );
    out += &channels(exhibit);
    out += "<h3>Blocks that cost far more than those around them</h3>\n";
    let outliers = exhibit.outliers(blocks).into_iter().map(|block| {
        let place = format!("{}, {}", block.x, block.y);
        vec![
            place,
            format!("{:.0}", block.bits),
            format!("{:.0}", block.surroundings),
        ]
    });
    out += &table(&["left, top", "bits", "around it"], outliers);
    Ok(out + "</section>\n")
}

fn figure(caption: &str, image: Image) -> Result<String> {
    let source = data_uri(&maps::fitted(image, SIDE)?)?;
    Ok(format!(
        "<figure><figcaption class=\"small\">{caption}</figcaption><img alt=\"{caption}\" src=\"{source}\"></figure>\n"
    ))
}

/// The channels as bars, the dearest first.
fn channels(exhibit: &Exhibit) -> String {
    let channels = report::dearest_channels(exhibit);
    let most = channels.first().map_or(1.0, |(_, bits)| bits.max(1.0));
    let mut out = format!(
        "<h3>Channels</h3>\n<p class=\"small\">Half of the latent's bits lie in {} of {} channels.</p>\n<div class=\"bars\">",
        report::channels_of_half(exhibit),
        channels.len()
    );
    for (channel, bits) in channels {
        let height = 100.0 * bits / most;
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            "<i style=\"height:{height:.1}%\" title=\"channel {channel}: {bits:.0} bits\"></i>"
        );
    }
    out + "</div>\n"
}

fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new(head.iter().map(|&cell| cell.to_owned()).collect());
    rows.for_each(|row| table.push(row));
    table.html()
}
