//! Where a file's bits went: sums over its symbols by block, channel, context step and tile.

use std::ops::AddAssign;

use super::area::Area;
use super::observe::{Symbol, observe};
use super::{DecodeOptions, Model, Progress, Steps};
use crate::bitstream::{Container, Header, TileRect};
use crate::error::Result;
use crate::format::{CONTEXT_STEPS, HYPER_STRIDE, LATENT_STRIDE};
use crate::network::ModelConfig;
use crate::network::context::StepMask;

/// Blocks that share a hyper-latent, by direction.
const BLOCKS_PER_HYPER: usize = HYPER_STRIDE / LATENT_STRIDE;

/// What the symbols of a file cost: the bits by which each shortens the rest of its stream, which
/// is `-log2` of its probability, but for the last few of a tile.
///
/// Blocks are 16x16 pixels of the stored picture, before its orientation is applied, and padding
/// included: there is one per position of the latent. What the side information of 64x64 pixels
/// costs is shared by their 16 blocks.
#[derive(Debug, Clone)]
pub struct BitUsage {
    /// The file's header.
    pub header: Header,
    /// Columns of blocks.
    pub columns: usize,
    /// Rows of blocks.
    pub rows: usize,
    /// Bits by block in raster order; they add up to all symbols' bits.
    pub blocks: Vec<f64>,
    /// Bits by channel of the latent.
    pub channels: Vec<f64>,
    /// Bits by channel of the hyper-latent, the side information.
    pub hyper_channels: Vec<f64>,
    /// The context steps in coding order.
    pub steps: [StepUsage; CONTEXT_STEPS],
    /// The tiles in coding order.
    pub tiles: Vec<TileUsage>,
}

/// The latent symbols of one context step.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StepUsage {
    /// Symbols in the stream.
    pub symbols: u64,
    /// Those that are not zero.
    pub nonzero: u64,
    /// Their bits.
    pub bits: f64,
}

/// One tile: what its symbols cost, and what they take in the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TileUsage {
    /// Its place in the padded picture, in pixels.
    pub rect: TileRect,
    /// The bits of its symbols.
    pub symbol_bits: f64,
    /// Bytes of the stream that holds them: [`symbol_bits`](Self::symbol_bits), filled up to whole bytes.
    pub stream_bytes: usize,
    /// Bytes of the map of channels that are not coded.
    pub zero_map_bytes: usize,
}

impl BitUsage {
    /// The bits of the latent's symbols.
    pub fn latent_bits(&self) -> f64 {
        self.channels.iter().sum()
    }

    /// The bits of the hyper-latent's symbols.
    pub fn hyper_bits(&self) -> f64 {
        self.hyper_channels.iter().sum()
    }
}

/// Decodes the latents of a file and tells what their symbols cost.
///
/// # Errors
/// As [`decode()`](super::decode()) of the whole picture.
pub fn bit_usage(
    bytes: &[u8],
    model: &Model,
    options: &DecodeOptions,
    progress: &dyn Progress,
) -> Result<BitUsage> {
    let container = Container::parse(bytes, &options.limits)?;
    let header = container.header;
    let steps = Steps::new(progress, container.tiles.len());
    let start = |rect| Ledger::new(model.config(), Area::from(rect).in_latents());
    let tiles = observe(container, model, &steps, start, Ledger::add)?.into_iter();
    let tiles = tiles.map(|(payload, rect, ledger)| {
        let tile = TileUsage {
            rect,
            symbol_bits: ledger.blocks.iter().sum(),
            stream_bytes: payload.stream.len(),
            zero_map_bytes: payload.zero_map.map_or(0, <[u8]>::len),
        };
        (tile, ledger)
    });
    let tiles: Vec<(TileUsage, Ledger)> = tiles.collect();
    Ok(add_up(header, model.config(), &tiles))
}

/// The sums over all tiles.
fn add_up(header: Header, config: &ModelConfig, tiles: &[(TileUsage, Ledger)]) -> BitUsage {
    let grid = header.tile_grid();
    let whole = Area::whole(grid.width as usize, grid.height as usize).in_latents();
    let mut sum = Ledger::new(config, whole);
    for (_, tile) in tiles {
        whole.copy_from(&mut sum.blocks, &tile.place, &tile.blocks, &tile.place, 1);
        add_all(&mut sum.channels, &tile.channels);
        add_all(&mut sum.hyper_channels, &tile.hyper_channels);
        add_all(&mut sum.steps, &tile.steps);
    }
    BitUsage {
        header,
        columns: whole.width,
        rows: whole.height,
        blocks: sum.blocks,
        channels: sum.channels,
        hyper_channels: sum.hyper_channels,
        steps: sum.steps,
        tiles: tiles.iter().map(|(tile, _)| *tile).collect(),
    }
}

fn add_all<T: AddAssign + Copy>(sums: &mut [T], values: &[T]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += *value;
    }
}

impl AddAssign for StepUsage {
    fn add_assign(&mut self, other: Self) {
        self.symbols += other.symbols;
        self.nonzero += other.nonzero;
        self.bits += other.bits;
    }
}

/// The bits of a part of the picture.
struct Ledger {
    /// Where it lies, in blocks.
    place: Area,
    blocks: Vec<f64>,
    channels: Vec<f64>,
    hyper_channels: Vec<f64>,
    steps: [StepUsage; CONTEXT_STEPS],
    /// Channels coded at a position in one step.
    group: usize,
}

impl Ledger {
    fn new(config: &ModelConfig, place: Area) -> Self {
        Self {
            place,
            blocks: vec![0.0; place.width * place.height],
            channels: vec![0.0; config.latent_channels],
            hyper_channels: vec![0.0; config.hyper_channels],
            steps: [StepUsage::default(); CONTEXT_STEPS],
            group: config.group_channels(),
        }
    }

    fn add(&mut self, symbol: &Symbol) {
        match symbol.latent_channel {
            Some(channel) => self.add_latent(symbol, channel),
            None => self.add_hyper(symbol.index, symbol.bits),
        }
    }

    /// Adds the bits of a latent symbol, whose index is that in the tile's `[h, w, M]` grid.
    fn add_latent(&mut self, symbol: &Symbol, channel: usize) {
        let (position, bits) = (symbol.index / self.channels.len(), symbol.bits);
        self.blocks[position] += bits;
        self.channels[channel] += bits;
        let step = self.step(position, channel);
        self.steps[step] += StepUsage {
            symbols: 1,
            nonzero: u64::from(symbol.value != 0),
            bits,
        };
    }

    /// Adds the bits of a hyper-latent symbol at `index` of the tile's `[h, w, Z]` grid.
    fn add_hyper(&mut self, index: usize, bits: f64) {
        let channels = self.hyper_channels.len();
        self.hyper_channels[index % channels] += bits;
        let (position, columns) = (index / channels, self.place.width / BLOCKS_PER_HYPER);
        let place = [position / columns, position % columns];
        let [top, left] = place.map(|hyper| hyper * BLOCKS_PER_HYPER);
        let share = bits / (BLOCKS_PER_HYPER * BLOCKS_PER_HYPER) as f64;
        for row in top..top + BLOCKS_PER_HYPER {
            let start = row * self.place.width + left;
            for block in &mut self.blocks[start..start + BLOCKS_PER_HYPER] {
                *block += share;
            }
        }
    }

    /// The step that codes a channel at a position.
    fn step(&self, position: usize, channel: usize) -> usize {
        let (y, x) = (position / self.place.width, position % self.place.width);
        let is_in = |&step: &usize| StepMask::new(step).is_active(channel / self.group, y, x);
        // Every group is coded in one of the steps.
        (0..CONTEXT_STEPS).find(is_in).unwrap_or_default()
    }
}
