//! How often each scale table coded each symbol of a file: what tables are fitted to.

use super::decode::Decoder;
use super::tile::{Reader, SymbolCoder};
use super::{DecodeOptions, Model};
use crate::bitstream::{Container, TileRect};
use crate::entropy::SymbolCounts;
use crate::error::Result;

/// Counts the symbols in the streams of a file, of the hyper-latent and of the latent.
///
/// # Errors
/// As [`decode()`](super::decode()) of the whole picture.
pub fn count_symbols(bytes: &[u8], model: &Model, options: &DecodeOptions) -> Result<SymbolCounts> {
    let container = Container::parse(bytes, &options.limits)?;
    let (header, payloads) = (container.header, container.tiles.clone());
    let decoder = Decoder::new(container, model, None)?;
    let rects: Vec<TileRect> = header.tile_grid().tiles().collect();
    let mut counts = SymbolCounts::default();
    for (payload, rect) in payloads.iter().zip(rects) {
        decoder.decode_payload(payload, rect, |reader| {
            let counts = &mut counts;
            decoder.code_tile(rect, &mut Counter { reader, counts })
        })?;
    }
    Ok(counts)
}

/// Passes on the symbols of a reader and counts those that are in its stream.
struct Counter<'a, 'r> {
    reader: &'a mut Reader<'r>,
    counts: &'a mut SymbolCounts,
}

impl SymbolCoder for Counter<'_, '_> {
    fn hyper(&mut self, index: usize, table: u8) -> Result<i32> {
        let symbol = self.reader.hyper(index, table)?;
        self.counts.add(table, symbol);
        Ok(symbol)
    }

    fn latent(&mut self, index: usize, channel: usize, mean: f32, table: u8) -> Result<i32> {
        let symbol = self.reader.latent(index, channel, mean, table)?;
        if self.reader.is_coded(channel) {
            self.counts.add(table, symbol);
        }
        Ok(symbol)
    }
}
