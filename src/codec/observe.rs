//! Reading the symbols of a file with an eye on each.
//!
//! The observer stands between [`code_tile`](super::tile::code_tile) and the reader of a stream, so that what
//! it sees is the stream itself.

use rayon::prelude::*;

use super::decode::Decoder;
use super::tile::{Reader, SymbolCoder};
use super::{Model, Steps};
use crate::bitstream::{Container, TilePayload, TileRect};
use crate::error::Result;

/// A symbol in the stream of a tile.
pub(super) struct Symbol {
    /// Its place in the tile's grid: in `[h, w, M]` of the latent or in `[h, w, Z]` of the hyper-latent.
    pub index: usize,
    /// Its channel, if it is one of the latent.
    pub latent_channel: Option<usize>,
    /// The table that it was coded with.
    pub table: u8,
    /// Its value.
    pub value: i32,
    /// Bits by which it shortens the rest of the stream.
    pub bits: f64,
}

/// Decodes the latents of a file. For every tile, `see` gets what `start` gives, and the symbols in its stream one
/// after another. Gives the tiles in coding order.
///
/// # Errors
/// As [`decode()`](super::decode()) of the whole picture.
pub(super) fn observe<'a, T: Send>(
    container: Container<'a>,
    model: &Model,
    steps: &Steps,
    start: impl Fn(TileRect) -> T + Sync,
    see: impl Fn(&mut T, &Symbol) + Sync,
) -> Result<Vec<(TilePayload<'a>, TileRect, T)>> {
    let rects: Vec<TileRect> = container.header.tile_grid().tiles().collect();
    let payloads = container.tiles.clone();
    let decoder = Decoder::new(container, model, None)?;
    let tiles = payloads.into_par_iter().zip(rects);
    let one = |(payload, rect)| {
        let mut seen = start(rect);
        decoder.decode_payload(&payload, rect, |reader| {
            let bits_left = reader.bits_left();
            let see = |symbol: &Symbol| see(&mut seen, symbol);
            let mut observer = Observer {
                reader,
                channels: model.config().latent_channels,
                bits_left,
                see,
            };
            decoder.code_tile(rect, &mut observer)
        })?;
        steps.advance(1)?;
        Ok((payload, rect, seen))
    };
    tiles.map(one).collect()
}

/// Passes on the symbols of a reader and shows them.
struct Observer<'a, 'r, F> {
    reader: &'a mut Reader<'r>,
    /// Those of the latent.
    channels: usize,
    /// Bits in the stream behind the symbols that were seen.
    bits_left: f64,
    see: F,
}

impl<F: FnMut(&Symbol)> Observer<'_, '_, F> {
    /// Shows the symbol that the reader has just taken from its stream.
    fn show(&mut self, index: usize, latent_channel: Option<usize>, table: u8, value: i32) {
        let before = std::mem::replace(&mut self.bits_left, self.reader.bits_left());
        (self.see)(&Symbol {
            index,
            latent_channel,
            table,
            value,
            bits: before - self.bits_left,
        });
    }
}

impl<F: FnMut(&Symbol)> SymbolCoder for Observer<'_, '_, F> {
    fn hyper(&mut self, index: usize, table: u8) -> Result<i32> {
        let value = self.reader.hyper(index, table)?;
        self.show(index, None, table, value);
        Ok(value)
    }

    fn latent(&mut self, position: usize, channel: usize, mean: f32, table: u8) -> Result<i32> {
        let value = self.reader.latent(position, channel, mean, table)?;
        if self.reader.is_coded(channel) {
            let index = position * self.channels + channel;
            self.show(index, Some(channel), table, value);
        }
        Ok(value)
    }
}
