//! A hostile encoder: it writes whatever symbols it is told to, and gets every checksum right.
//! Decoders have to cope with each of its files.

use aec::unstable::Model;
use aec::unstable::bitstream::{Header, Reader, TilePayload, TileRect};
use aec::unstable::entropy::{ScaleTables, SymbolChecksum, SymbolEncoder};
use aec::unstable::format::{CONTEXT_STEPS, HYPER_STRIDE, LATENT_STRIDE, MAX_SYMBOL};
use aec::unstable::network::context::StepMask;
use aec::unstable::network::infer::scale_index;
use aec::unstable::network::{Grid, QualityModel};

use super::layout::Layout;

/// The valid `file` with all of its symbols replaced: `next` gives each in turn, in coding order,
/// from the index of its scale table.
pub fn with_symbols(file: &[u8], model: &Model, mut next: impl FnMut(u8) -> i32) -> Vec<u8> {
    let header = Header::read(&mut Reader::new(file)).unwrap();
    let quality = model.at_quality(header.quality.raw());
    let tables = model.tables();
    let mut layout = Layout::of(file);
    let mut rects = header.tile_grid().tiles();
    for (_, payload) in layout
        .sections
        .iter_mut()
        .filter(|section| &section.0 == b"TILE")
    {
        *payload = tile(&quality, tables, rects.next().unwrap(), &mut next);
    }
    layout.index_tiles();
    layout.bytes()
}

/// The payload of one tile.
fn tile(
    model: &QualityModel,
    tables: &ScaleTables,
    rect: TileRect,
    next: &mut impl FnMut(u8) -> i32,
) -> Vec<u8> {
    let mut coder = Coder {
        encoder: SymbolEncoder::new(tables),
        checksum: SymbolChecksum::new(),
        skip_below: model.config().skip_below,
        next,
    };
    let (height, width) = (rect.height as usize, rect.width as usize);
    let hyper = hyper_latent(
        model,
        height / HYPER_STRIDE,
        width / HYPER_STRIDE,
        &mut coder,
    );
    let features = model.hyper_synthesis(&hyper);
    let mut latent = Grid::zeros(
        height / LATENT_STRIDE,
        width / LATENT_STRIDE,
        model.config().latent_channels,
    );
    let mut state = None;
    for step in 0..CONTEXT_STEPS {
        let params = model.context_step(step, &features, &latent, &mut state);
        for (index, channel) in coded_in(step, &latent) {
            let position = index / latent.channels;
            let (means, scales) = params.at(position / latent.width, position % latent.width);
            let coded = channel % means.len();
            let mean = means[coded] * model.latent_gain[channel];
            let scale = 8.0 * scales[coded] + model.latent_scale[channel];
            let symbol = coder.code(scale_index(scale));
            latent.values[index] = (symbol + mean) * model.latent_inverse_gain[channel];
        }
    }
    TilePayload {
        zero_map: None,
        checksum: coder.checksum.finish(),
        stream: &coder.encoder.finish(),
    }
    .write()
    .unwrap()
}

fn hyper_latent(
    model: &QualityModel,
    height: usize,
    width: usize,
    coder: &mut Coder<impl FnMut(u8) -> i32>,
) -> Grid {
    let channels = model.config().hyper_channels;
    let mut grid = Grid::zeros(height, width, channels);
    for (index, value) in grid.values.iter_mut().enumerate() {
        let channel = index % channels;
        *value = coder.code(model.hyper_indices[channel]) * model.hyper_inverse_gain[channel];
    }
    grid
}

/// Index and channel of the latents of one context step, in coding order.
fn coded_in(step: usize, latent: &Grid) -> Vec<(usize, usize)> {
    let (width, channels) = (latent.width, latent.channels);
    let group = channels / CONTEXT_STEPS;
    let mask = StepMask::new(step);
    let at = |position: usize| {
        let first = mask.group_at(position / width, position % width) * group;
        (first..first + group).map(move |channel| (position * channels + channel, channel))
    };
    (0..latent.height * width).flat_map(at).collect()
}

/// Writes symbols.
struct Coder<'a, N> {
    encoder: SymbolEncoder<'a>,
    checksum: SymbolChecksum,
    skip_below: u8,
    next: N,
}

impl<N: FnMut(u8) -> i32> Coder<'_, N> {
    /// Codes the next symbol with a table and returns it; 0 where the format skips it.
    fn code(&mut self, table: u8) -> f32 {
        let mut symbol = 0;
        if table >= self.skip_below {
            symbol = (self.next)(table).clamp(-MAX_SYMBOL, MAX_SYMBOL);
            self.encoder.push(table, symbol);
        }
        self.checksum.update(&[symbol]);
        symbol as f32
    }
}
