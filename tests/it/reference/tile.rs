//! Decoding the symbols of one tile (§8).

use super::arrays::{Array, Integers};
use super::bytes::crc32;
use super::file::Payload;
use super::model::{Model, Quality};
use super::rans::Decoder;
use super::{Class, Result, vector};

/// How often symbols made use of what the format has for them.
#[derive(Debug, Default, Clone, Copy)]
pub struct Statistics {
    pub coded: usize,
    pub nonzero: usize,
    pub escapes: usize,
    /// Not coded because of their table index.
    pub skipped: usize,
    /// Not coded because of the zero map.
    pub unmapped: usize,
}

impl Statistics {
    pub fn add(&mut self, other: &Self) {
        self.coded += other.coded;
        self.nonzero += other.nonzero;
        self.escapes += other.escapes;
        self.skipped += other.skipped;
        self.unmapped += other.unmapped;
    }
}

/// The latent of a tile of `h` x `w` latents.
pub fn decode(
    model: &Model,
    quality: &Quality,
    payload: &Payload,
    h: usize,
    w: usize,
) -> Result<(Array<f32>, Statistics)> {
    let mut tile = Tile {
        model,
        quality,
        zero_map: read_zero_map(payload, model.sizes.latent)?,
        stream: Decoder::start(&model.tables, payload.stream)?,
        symbols: Vec::new(),
        used: Statistics::default(),
    };
    let features = tile.hyper_latent(h / 4, w / 4)?;
    let mut latent = Array::zeros(h, w, model.sizes.latent);
    let mut state = None;
    for s in 0..4 {
        tile.step(s, &features, &mut state, &mut latent)?;
    }
    tile.stream.finish()?;
    let bytes: Vec<u8> = tile
        .symbols
        .iter()
        .flat_map(|symbol| symbol.to_le_bytes())
        .collect();
    if crc32(&bytes) != payload.checksum {
        return Err(Class::Corrupt);
    }
    tile.used.escapes = tile.stream.escapes;
    Ok((latent, tile.used))
}

/// Whether each channel is coded.
fn read_zero_map(payload: &Payload, channels: usize) -> Result<Vec<bool>> {
    let Some(map) = payload.zero_map else {
        return Ok(vec![true; channels]);
    };
    let bit = |c: usize| (map[c / 8] >> (c % 8)) & 1 == 1;
    if map.len() != channels.div_ceil(8) || (channels..8 * map.len()).any(bit) {
        return Err(Class::Corrupt);
    }
    Ok((0..channels).map(bit).collect())
}

fn table_index(v: f32) -> usize {
    let v = if v > 0.0 { v } else { 0.0 };
    let v = if v < 63.0 { v } else { 63.0 };
    v.floor() as usize
}

struct Tile<'a> {
    model: &'a Model,
    quality: &'a Quality,
    zero_map: Vec<bool>,
    stream: Decoder<'a>,
    symbols: Vec<i32>,
    used: Statistics,
}

impl Tile<'_> {
    /// The next symbol, or 0 where none is coded.
    fn symbol(&mut self, t: usize, is_mapped: bool) -> Result<f32> {
        let mut symbol = 0;
        if t < self.model.sizes.skip_below {
            self.used.skipped += 1;
        } else if !is_mapped {
            self.used.unmapped += 1;
        } else {
            symbol = self.stream.symbol(t)?;
            self.used.coded += 1;
            self.used.nonzero += usize::from(symbol != 0);
        }
        self.symbols.push(symbol);
        Ok(symbol as f32)
    }

    /// Hyper-latent of `h` x `w`, and the features computed from it (§8.2).
    fn hyper_latent(&mut self, h: usize, w: usize) -> Result<Integers> {
        let (model, quality) = (self.model, self.quality);
        let (scales, gains) = (
            vector(quality, "hyper_scale"),
            vector(quality, "hyper_inverse_gain"),
        );
        let mut zhat = Array::zeros(h, w, model.sizes.hyper);
        for (i, value) in zhat.values.iter_mut().enumerate() {
            let c = i % model.sizes.hyper;
            *value = self.symbol(table_index(scales[c]), true)? * gains[c];
        }
        let z = zhat.rounded(model.exponent("hyper_latent"));
        let x = model.pointwise("hyper_synthesis.up1", &z).depth_to_space(2);
        let x = model.block("hyper_synthesis.block1", &x);
        let gains = vector(quality, "context");
        let x = model
            .gained("hyper_synthesis.up2", gains, &x)
            .depth_to_space(2);
        Ok(model.block("hyper_synthesis.block2", &x))
    }

    /// One step of the latents (§8.3).
    fn step(
        &mut self,
        s: usize,
        features: &Integers,
        state: &mut Option<Integers>,
        latent: &mut Array<f32>,
    ) -> Result<()> {
        let (model, quality) = (self.model, self.quality);
        let y = latent.rounded(model.exponent("latent"));
        // Two exponents side by side: that of the whole does not occur.
        let x = Integers {
            array: features.array.beside(&y.array),
            exponent: 0,
        };
        let path = |layer: &str| format!("context.{s}.{layer}");
        let mut x = model.pointwise(&path("conv_in"), &x);
        if let Some(state) = state.take().filter(|_| model.sizes.context_state) {
            let layer = path("state");
            let exponent = model.exponent(&layer);
            x = model.layer(&layer).integers(&state, Some(&x), exponent);
        }
        let x = model.block(&path("block"), &x);
        *state = Some(x.clone());
        let means = model.layer(&path("mean")).reals(&x);
        let scales = model.layer(&path("scale")).reals(&x);
        let (gain, inverse) = (
            vector(quality, "latent_gain"),
            vector(quality, "latent_inverse_gain"),
        );
        let offset = vector(quality, "latent_scale");
        let group_channels = model.sizes.latent / 4;
        for y in 0..latent.height {
            for x in 0..latent.width {
                let phase = [[0, 2], [3, 1]][y % 2][x % 2];
                let first = (phase + 4 - s) % 4 * group_channels;
                for c in first..first + group_channels {
                    let mean = means.at(y, x, c) * gain[c];
                    let t = table_index(8.0 * scales.at(y, x, c) + offset[c]);
                    let symbol = self.symbol(t, self.zero_map[c])?;
                    let index = latent.index(y, x, c);
                    latent.values[index] = (symbol + mean) * inverse[c];
                }
            }
        }
        Ok(())
    }
}
