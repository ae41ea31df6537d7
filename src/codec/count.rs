//! How often each scale table coded each symbol of a file: what tables are fitted to.

use super::observe::observe;
use super::{DecodeOptions, Model, NoProgress, Steps};
use crate::bitstream::Container;
use crate::entropy::SymbolCounts;
use crate::error::Result;

/// Counts the symbols in the streams of a file, of the hyper-latent and of the latent.
///
/// # Errors
/// As [`decode()`](super::decode()) of the whole picture.
pub fn count_symbols(bytes: &[u8], model: &Model, options: &DecodeOptions) -> Result<SymbolCounts> {
    let container = Container::parse(bytes, &options.limits)?;
    let steps = Steps::new(&NoProgress, container.tiles.len());
    let start = |_| SymbolCounts::default();
    let tiles = observe(container, model, &steps, start, |counts, symbol| {
        counts.add(symbol.table, symbol.value);
    })?;
    let mut counts = SymbolCounts::default();
    for (_, _, of_tile) in &tiles {
        counts.merge(of_tile);
    }
    Ok(counts)
}
