//! The numbers of an inspection, as text and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::exhibit::Exhibit;
use crate::cli::text::{self, decibels};
use crate::codec::{StepUsage, TileUsage};
use crate::picture::CHANNELS;

/// Channels that are named in the text.
const NAMED_CHANNELS: usize = 8;

/// What a file's bytes are for; they add up to the file.
pub(super) fn shares(exhibit: &Exhibit) -> Vec<(&'static str, f64)> {
    let usage = &exhibit.usage;
    let tiles =
        |bytes: fn(&TileUsage) -> usize| usage.tiles.iter().map(bytes).sum::<usize>() as f64;
    let (latent, hyper) = (usage.latent_bits() / 8.0, usage.hyper_bits() / 8.0);
    let zero_maps = tiles(|tile| tile.zero_map_bytes);
    let rounding = tiles(|tile| tile.stream_bytes) - latent - hyper;
    let alpha = exhibit.alpha_bytes as f64;
    let rest = exhibit.file_bytes as f64 - latent - hyper - zero_maps - rounding - alpha;
    vec![
        ("latent", latent),
        ("side information", hyper),
        ("zero maps", zero_maps),
        ("coder's rounding", rounding),
        ("alpha", alpha),
        ("header, checksums, metadata", rest),
    ]
}

/// Bits per symbol; 0 where there is none.
pub(super) fn bits_per_symbol(step: &StepUsage) -> f64 {
    step.bits / step.symbols.max(1) as f64
}

/// Latent channels and their bits, the dearest first.
pub(super) fn dearest_channels(exhibit: &Exhibit) -> Vec<(usize, f64)> {
    let mut channels: Vec<(usize, f64)> =
        exhibit.usage.channels.iter().copied().enumerate().collect();
    channels.sort_by(|a, b| b.1.total_cmp(&a.1));
    channels
}

/// How many of the dearest channels hold half of the latent's bits.
pub(super) fn channels_of_half(exhibit: &Exhibit) -> usize {
    let half = exhibit.usage.latent_bits() / 2.0;
    let mut sum = 0.0;
    let below = |&(_, bits): &(usize, f64)| {
        sum += bits;
        sum - bits < half
    };
    dearest_channels(exhibit)
        .into_iter()
        .take_while(below)
        .count()
}

/// Size, rate and, with an original, PSNR on one line.
pub(super) fn summary(exhibit: &Exhibit) -> String {
    let header = &exhibit.usage.header;
    let psnr = exhibit.comparison.as_ref();
    let psnr = psnr.map_or(String::new(), |comparison| {
        format!(", {}", decibels(comparison.psnr))
    });
    let bytes = exhibit.file_bytes as u64;
    format!(
        "{}x{}, quality {}, {} bytes, {}{psnr}, model {}",
        header.width,
        header.height,
        header.quality,
        text::thousands(bytes),
        text::bits_per_pixel(bytes, exhibit.decoded.pixels()),
        exhibit.model_name,
    )
}

/// A share as a percentage.
pub(super) fn percent(part: f64, whole: f64) -> String {
    format!("{:.1} %", 100.0 * part / whole.max(f64::MIN_POSITIVE))
}

/// Everything as text, with up to `blocks` blocks.
pub(super) fn text(exhibit: &Exhibit, blocks: usize) -> String {
    let mut out = format!("{}: {}\n", exhibit.name, summary(exhibit));
    // Writing to a string cannot fail, here and below.
    for (name, bytes) in shares(exhibit) {
        let share = percent(bytes, exhibit.file_bytes as f64);
        let _ = writeln!(out, "  {name:<28} {bytes:>12.1} bytes {share:>8}");
    }
    out.push_str("  context step      symbols   not zero         bits   bits per symbol\n");
    for (i, step) in exhibit.usage.steps.iter().enumerate() {
        let (symbols, nonzero) = (text::thousands(step.symbols), text::thousands(step.nonzero));
        let (number, each) = (i + 1, bits_per_symbol(step));
        let _ = writeln!(
            out,
            "  {number:<12} {symbols:>12} {nonzero:>10} {:>12.0} {each:>17.3}",
            step.bits
        );
    }
    let latent = exhibit.usage.latent_bits();
    let channels: Vec<String> = dearest_channels(exhibit)
        .iter()
        .take(NAMED_CHANNELS)
        .map(|(channel, bits)| format!("{channel} ({})", percent(*bits, latent)))
        .collect();
    let _ = writeln!(
        out,
        "  half of the latent's bits lie in {} of {} channels; most in {}",
        channels_of_half(exhibit),
        exhibit.usage.channels.len(),
        channels.join(", ")
    );
    let outliers = exhibit.outliers(blocks);
    if !outliers.is_empty() {
        out.push_str("  blocks that cost far more than those around them:\n");
        out.push_str("     left    top      bits   around it\n");
    }
    for block in outliers {
        let (x, y, bits, around) = (block.x, block.y, block.bits, block.surroundings);
        let _ = writeln!(out, "  {x:>7} {y:>6} {bits:>9.0} {around:>11.0}");
    }
    out.truncate(out.trim_end().len());
    out
}

/// Everything as a JSON object, with up to `blocks` blocks that stand out.
pub(super) fn json(exhibit: &Exhibit, blocks: usize) -> Value {
    let usage = &exhibit.usage;
    let header = &usage.header;
    let steps = usage.steps.iter().map(|step| {
        json!({
            "symbols": step.symbols,
            "nonzero": step.nonzero,
            "bits": step.bits,
            "bits_per_symbol": bits_per_symbol(step),
        })
    });
    let tiles = usage.tiles.iter().map(|tile| {
        json!({
            "x": tile.rect.x,
            "y": tile.rect.y,
            "width": tile.rect.width,
            "height": tile.rect.height,
            "symbol_bits": tile.symbol_bits,
            "stream_bytes": tile.stream_bytes,
            "zero_map_bytes": tile.zero_map_bytes,
        })
    });
    let outliers = exhibit.outliers(blocks);
    let outliers = outliers.iter().map(|block| {
        json!({"x": block.x, "y": block.y, "bits": block.bits, "surroundings": block.surroundings})
    });
    let mut object = json!({
        "name": exhibit.name,
        "size_bytes": exhibit.file_bytes,
        "width_px": header.width,
        "height_px": header.height,
        "orientation": header.orientation.to_exif(),
        "quality": header.quality.percent(),
        "model_id": header.model.to_string(),
        "rate_bpp": exhibit.file_bytes as f64 * 8.0 / exhibit.decoded.pixels() as f64,
        "latent_bits": usage.latent_bits(),
        "side_information_bits": usage.hyper_bits(),
        "alpha_bytes": exhibit.alpha_bytes,
        "steps": steps.collect::<Vec<_>>(),
        "tiles": tiles.collect::<Vec<_>>(),
        "channel_bits": usage.channels,
        "side_information_channel_bits": usage.hyper_channels,
        "block_columns": usage.columns,
        "block_rows": usage.rows,
        "block_bits": usage.blocks,
        "outliers": outliers.collect::<Vec<_>>(),
    });
    if let Some(comparison) = &exhibit.comparison {
        // Of equal pictures it is null, as JSON has no infinity.
        object["psnr_db"] = json!(Some(comparison.psnr).filter(|psnr| psnr.is_finite()));
        object["identical"] = json!(comparison.psnr.is_infinite());
        object["block_squared_errors"] = json!(comparison.squared_errors);
        let sum: u64 = comparison.squared_errors.iter().sum();
        let samples = exhibit.decoded.pixels() as f64 * CHANNELS as f64;
        object["mse"] = json!(sum as f64 / samples);
    }
    object
}
