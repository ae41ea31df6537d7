//! Coding one tile: hyper-latent, then latents in four context steps
//! (codec-spec.md, Tile decoding).
//!
//! [`code_tile`] decides every probability and is the same function on both
//! sides; a [`SymbolCoder`] supplies the symbols: computed from the latent when
//! encoding, read from the stream when decoding.

use super::curvature::TileCurvature;
use crate::entropy::{ScaleTables, SymbolChecksum, SymbolDecoder, SymbolEncoder, ZeroMap};
use crate::error::Result;
use crate::format::{CONTEXT_STEPS, HYPER_STRIDE, LATENT_STRIDE, MAX_SYMBOL};
use crate::kernels::rounding::nearest;
use crate::network::context::StepMask;
use crate::network::infer::scale_index;
use crate::network::{EntropyParams, Features, Grid, QualityModel};

/// Latents per hyper-latent and direction.
const LATENTS_PER_HYPER: usize = HYPER_STRIDE / LATENT_STRIDE;

/// Where symbols come from.
pub(super) trait SymbolCoder {
    /// The hyper-latent symbol at `index` of the tile's `[h, w, Z]` grid.
    fn hyper(&mut self, index: usize, table: u8) -> Result<i32>;
    /// The latent symbol of a channel at `position` of the tile's `[h, w, M]` grid.
    fn latent(&mut self, position: usize, channel: usize, mean: f32, table: u8) -> Result<i32>;
    /// What hyper-synthesis makes of the hyper-latent of these symbols, normalized.
    fn features(&mut self, model: &QualityModel, hyper_latent: &Grid) -> Features {
        model.hyper_synthesis(hyper_latent)
    }
}

/// What coding a tile yields on both sides.
pub(super) struct CodedTile {
    /// The normalized quantized latent ŷ, `[h, w, M]`.
    pub latent: Grid,
    /// Checksum of all symbols in coding order.
    pub checksum: u32,
    /// What hyper-synthesis made of the hyper-latent.
    pub features: Features,
}

/// Codes a tile of `height` x `width` latents (multiples of 4).
pub(super) fn code_tile(
    model: &QualityModel,
    height: usize,
    width: usize,
    coder: &mut impl SymbolCoder,
) -> Result<CodedTile> {
    let mut checksum = SymbolChecksum::new();
    let size = [height, width].map(|side| side / LATENTS_PER_HYPER);
    let (symbols, hyper_latent) =
        code_hyper_latent(model, size, |index, table| coder.hyper(index, table))?;
    checksum.update(&symbols);
    let features = coder.features(model, &hyper_latent);
    let mut latent = Grid::zeros(height, width, model.config().latent_channels);
    let mut state = None;
    for step in 0..CONTEXT_STEPS {
        let params = model.context_step(step, &features, &latent, &mut state);
        let symbols = code_step(model, step, &params, &mut latent, coder)?;
        checksum.update(&symbols);
    }
    Ok(CodedTile {
        latent,
        checksum: checksum.finish(),
        features,
    })
}

/// Hyper-latent symbols, which `code` gives of index and table, in raster order, channels ascending; and what they stand
/// for, normalized.
fn code_hyper_latent(
    model: &QualityModel,
    [height, width]: [usize; 2],
    mut code: impl FnMut(usize, u8) -> Result<i32>,
) -> Result<(Vec<i32>, Grid)> {
    let mut grid = Grid::zeros(height, width, model.config().hyper_channels);
    let mut symbols = vec![0; grid.values.len()];
    for (index, (symbol, value)) in symbols.iter_mut().zip(&mut grid.values).enumerate() {
        let channel = index % grid.channels;
        let table = model.hyper_indices[channel];
        if table >= model.config().skip_below {
            *symbol = code(index, table)?;
        }
        *value = exact_f32(*symbol) * model.hyper_inverse_gain[channel];
    }
    Ok((symbols, grid))
}

/// The latents of one context step, rows, columns and channels ascending.
fn code_step(
    model: &QualityModel,
    step: usize,
    params: &EntropyParams,
    latent: &mut Grid,
    coder: &mut impl SymbolCoder,
) -> Result<Vec<i32>> {
    let mask = StepMask::new(step);
    let group = model.config().group_channels();
    let skip_below = model.config().skip_below;
    let mut symbols = vec![0; latent.values.len() / CONTEXT_STEPS];
    let mut means = vec![0.0; group];
    let mut tables = vec![0; group];
    for (position, symbols) in symbols.chunks_exact_mut(group).enumerate() {
        let (y, x) = (position / latent.width, position % latent.width);
        let first = mask.group_at(y, x) * group;
        let channels = first..first + group;
        let (normalized, scales) = params.at(y, x);
        let pairs = normalized.iter().zip(&model.latent_gain[channels.clone()]);
        for (mean, (normalized, gain)) in means.iter_mut().zip(pairs) {
            *mean = normalized * gain;
        }
        let pairs = scales.iter().zip(&model.latent_scale[channels.clone()]);
        for (table, (scale, of_channel)) in tables.iter_mut().zip(pairs) {
            *table = scale_index(8.0 * scale + of_channel);
        }
        let coded = channels.clone().zip(means.iter().zip(&tables));
        for (symbol, (channel, (mean, table))) in symbols.iter_mut().zip(coded) {
            if *table >= skip_below {
                *symbol = coder.latent(position, channel, *mean, *table)?;
            }
        }
        let values = &mut latent.values[position * latent.channels..][channels.clone()];
        let decoded = symbols.iter().zip(&means);
        let steps = &model.latent_inverse_gain[channels];
        for ((value, step), (symbol, mean)) in values.iter_mut().zip(steps).zip(decoded) {
            *value = (exact_f32(*symbol) + mean) * step;
        }
    }
    Ok(symbols)
}

/// Symbols are at most 2^20 in size, so the conversion is exact.
fn exact_f32(symbol: i32) -> f32 {
    symbol as f32
}

/// Rounds a value to a symbol, half to even.
fn quantize(value: f32) -> i32 {
    let most = exact_f32(MAX_SYMBOL);
    nearest(value.clamp(-most, most)) as i32
}

/// The symbol of a residual, and what it costs in bits: its rounding, or the next one towards
/// zero where that costs less in rate and distortion together. `weight` is what a squared error
/// of one step costs.
pub(super) fn choose(tables: &ScaleTables, residual: f32, table: u8, weight: f32) -> (i32, f32) {
    let cost = |symbol: i32| {
        let error = residual - exact_f32(symbol);
        tables.bits(table, symbol) + weight * error * error
    };
    let nearest = quantize(residual);
    let of_nearest = cost(nearest);
    if nearest == 0 {
        return (nearest, of_nearest);
    }
    let smaller = nearest - nearest.signum();
    let of_smaller = cost(smaller);
    if of_smaller < of_nearest {
        (smaller, of_smaller)
    } else {
        (nearest, of_nearest)
    }
}

/// A tile's hyper-latent, which stays while the encoder searches for its latent.
pub(super) struct HyperLatent {
    /// `[h, w, Z]`.
    symbols: Vec<i32>,
    /// What hyper-synthesis makes of it, if that is kept.
    features: Option<Features>,
}

impl HyperLatent {
    /// Of values in quantization steps, `[h, w, Z]`. What hyper-synthesis makes of them is kept if they are to be
    /// coded more than once.
    pub fn new(
        model: &QualityModel,
        size: [usize; 2],
        values: &[f32],
        is_kept: bool,
    ) -> Result<Self> {
        let round = |index: usize, _| Ok(quantize(values[index]));
        let (symbols, normalized) = code_hyper_latent(model, size, round)?;
        Ok(Self {
            symbols,
            features: is_kept.then(|| model.hyper_synthesis(&normalized)),
        })
    }
}

/// Marks hyper-latent symbols, which no zero map drops, among recorded symbols.
const HYPER: u16 = u16::MAX;

/// Computes symbols from a tile's latents and records them.
pub(super) struct Recorder<'a> {
    tables: &'a ScaleTables,
    /// What errors cost.
    curvature: &'a TileCurvature<'a>,
    hyper: &'a HyperLatent,
    /// The latent in quantization steps.
    latent: Vec<f32>,
    /// Table, channel and symbol in coding order.
    recorded: Vec<(u8, u16, i32)>,
}

impl<'a> Recorder<'a> {
    /// Records the symbols of a tile's hyper-latent, and of its latent in quantization steps.
    pub fn new(
        tables: &'a ScaleTables,
        curvature: &'a TileCurvature<'a>,
        hyper: &'a HyperLatent,
        latent: Vec<f32>,
    ) -> Self {
        let recorded = Vec::with_capacity(hyper.symbols.len() + latent.len() / 4);
        Self {
            tables,
            curvature,
            hyper,
            latent,
            recorded,
        }
    }

    /// The values that the latent's symbols are chosen for.
    pub fn targets(&self) -> &[f32] {
        &self.latent
    }

    /// The rANS stream, and a map of the channels with nonzero symbols where
    /// leaving out the others makes both together shorter.
    pub fn finish(self, channels: usize) -> (Option<ZeroMap>, Vec<u8>) {
        let mut nonzero = vec![false; channels];
        for (_, channel, symbol) in &self.recorded {
            if *channel != HYPER {
                nonzero[usize::from(*channel)] |= *symbol != 0;
            }
        }
        let map = ZeroMap::new(nonzero);
        let plain = self.stream(|_| true);
        let mapped = self.stream(|channel| map.is_coded(usize::from(channel)));
        // One byte more for the map's length.
        if mapped.len() + map.to_bytes().len() + 1 < plain.len() {
            (Some(map), mapped)
        } else {
            (None, plain)
        }
    }

    /// The stream of the hyper-latent and of the latent channels that are coded.
    fn stream(&self, is_coded: impl Fn(u16) -> bool) -> Vec<u8> {
        let mut encoder = SymbolEncoder::new(self.tables);
        for (table, channel, symbol) in &self.recorded {
            if *channel == HYPER || is_coded(*channel) {
                encoder.push(*table, *symbol);
            }
        }
        encoder.finish()
    }
}

impl SymbolCoder for Recorder<'_> {
    fn hyper(&mut self, index: usize, table: u8) -> Result<i32> {
        let symbol = self.hyper.symbols[index];
        self.recorded.push((table, HYPER, symbol));
        Ok(symbol)
    }

    fn latent(&mut self, position: usize, channel: usize, mean: f32, table: u8) -> Result<i32> {
        let weight = self.curvature.choice_weight(position, channel);
        let target = self.latent[position * self.curvature.channels() + channel];
        let (symbol, _) = choose(self.tables, target - mean, table, weight);
        // At most 1024 latent channels (ModelConfig::validate).
        let channel = u16::try_from(channel).unwrap_or(HYPER);
        self.recorded.push((table, channel, symbol));
        Ok(symbol)
    }

    fn features(&mut self, model: &QualityModel, hyper_latent: &Grid) -> Features {
        let kept = self.hyper.features.as_ref();
        kept.map_or_else(|| model.hyper_synthesis(hyper_latent), Features::clone)
    }
}

/// Reads symbols from a tile's stream.
pub(super) struct Reader<'a> {
    decoder: SymbolDecoder<'a>,
    map: Option<ZeroMap>,
}

impl<'a> Reader<'a> {
    /// Reads from `stream`, skipping the channels that `map` says are zero.
    pub fn new(tables: &'a ScaleTables, stream: &[u8], map: Option<ZeroMap>) -> Result<Self> {
        Ok(Self {
            decoder: SymbolDecoder::new(tables, stream)?,
            map,
        })
    }

    /// Whether the symbols of a latent channel are part of the stream.
    pub fn is_coded(&self, channel: usize) -> bool {
        self.map.as_ref().is_none_or(|map| map.is_coded(channel))
    }

    /// Bits of the stream that are left.
    pub fn bits_left(&self) -> f64 {
        self.decoder.bits_left()
    }

    /// Checks that the stream is used up.
    pub fn finish(self) -> Result<()> {
        self.decoder.finish()
    }
}

impl SymbolCoder for Reader<'_> {
    fn hyper(&mut self, _: usize, table: u8) -> Result<i32> {
        self.decoder.pop(table)
    }

    fn latent(&mut self, _: usize, channel: usize, _: f32, table: u8) -> Result<i32> {
        if self.is_coded(channel) {
            self.decoder.pop(table)
        } else {
            Ok(0)
        }
    }
}
