//! Decoding: the latents of every tile that is needed, the synthesis transform, and alpha.

use std::collections::BTreeSet;
use std::sync::Mutex;

use rayon::prelude::*;

use super::alpha;
use super::area::Area;
use super::damage::{Damage, DamageList};
use super::region::Region;
use super::tile::{CodedTile, Reader, SymbolCoder, code_tile};
use super::{DecodeOptions, Model, Progress, Steps, model_id};
use crate::bitstream::{Container, DamagedPart, Header, Parts, TilePayload, TileRect};
use crate::depth::Depth;
use crate::entropy::{ScaleTables, ZeroMap};
use crate::error::{Error, Result};
use crate::format::{LATENT_STRIDE, PATCH};
use crate::kernels::patches_to_pixels;
use crate::network::{Grid, QualityModel};
use crate::orientation::Orientation;
use crate::picture::{Alpha, CHANNELS, Image};
use crate::sync;

/// Pixels of a damaged picture that are decoded however little is left of it.
const FREE_PIXELS: usize = 1 << 24;
/// Tiles of a larger one for each that is intact, at most.
const MOST_TILES_PER_INTACT: usize = 64;

/// Decodes the bytes of an `.aec` file, or a region of the picture. The picture is upright:
/// its orientation has been applied.
///
/// # Errors
/// [`UnknownModel`](Error::UnknownModel) when the file was made with another model;
/// those of [`Container::parse`]; [`Corrupt`](Error::Corrupt) when a tile's symbols or alpha
/// do not match their checksum; [`InvalidOption`](Error::InvalidOption) when the region does not
/// lie within the picture; [`Cancelled`](Error::Cancelled) when `progress` says so.
pub fn decode(
    bytes: &[u8],
    model: &Model,
    options: &DecodeOptions,
    progress: &dyn Progress,
) -> Result<Image> {
    let file = Container::parse(bytes, &options.limits)?;
    let (image, _) = Decoder::new(file, model, options.region)?.decode(options, progress)?;
    Ok(image)
}

/// As [`decode()`], straight into `samples`, of a file for which that is possible: see [`is_plain`].
///
/// # Errors
/// As [`decode()`]; [`InvalidOption`](Error::InvalidOption) when `samples` has another length than those wanted.
pub fn decode_into(
    bytes: &[u8],
    model: &Model,
    options: &DecodeOptions,
    progress: &dyn Progress,
    samples: &mut [u8],
) -> Result<()> {
    let file = Container::parse(bytes, &options.limits)?;
    let decoder = Decoder::new(file, model, options.region)?;
    let steps = decoder.steps(progress);
    let latent = decoder.decode_latents(&steps)?;
    decoder.synthesize(&latent, &steps, samples)
}

/// Whether the samples that are computed are those of the upright picture: red, green and blue, nothing to turn.
pub fn is_plain(header: &Header) -> bool {
    !header.is_gray && header.alpha.is_none() && header.orientation == Orientation::NoTransforms
}

/// As [`decode()`], from a file that may be damaged behind its header: gives what is left of the
/// picture, and what is wrong with the file, in its order.
///
/// The latents of a damaged tile are taken as 0, which gives an even gray; damaged alpha is taken as
/// opaque; damaged metadata is left out.
///
/// # Errors
/// As [`decode()`] for a damaged header, and when no tile that is wanted is intact, or of more than 16.8
/// megapixels less than one in 64.
pub fn decode_damaged(
    bytes: &[u8],
    model: &Model,
    options: &DecodeOptions,
    progress: &dyn Progress,
) -> Result<(Image, Vec<Damage>)> {
    let file = Parts::salvaged(bytes, &options.limits)?;
    let mut decoder = Decoder::new(file, model, options.region)?;
    decoder.tolerate();
    decoder.decode(options, progress)
}

/// Decodes and checks the latents and the alpha of every tile without the synthesis transform.
///
/// # Errors
/// As [`decode()`] of the whole picture.
pub fn decode_latents(bytes: &[u8], model: &Model, options: &DecodeOptions) -> Result<()> {
    let file = Container::parse(bytes, &options.limits)?;
    let decoder = Decoder::new(file, model, None)?;
    let steps = Steps::new(&super::NoProgress, decoder.tile_work());
    decoder.decode_latents(&steps)?;
    decoder.decode_alpha().map(drop)
}

/// As [`decode_latents`], of a file that may be damaged behind its header: gives what is
/// wrong with it, in its order.
///
/// # Errors
/// As [`decode()`] for a damaged header.
pub fn verify(bytes: &[u8], model: &Model, options: &DecodeOptions) -> Result<Vec<Damage>> {
    let file = Parts::salvaged(bytes, &options.limits)?;
    let mut decoder = Decoder::new(file, model, None)?;
    decoder.tolerate();
    for_each(decoder.needed_tiles(), |(index, rect)| {
        decoder.decode_tile(index, rect).map(drop)
    })?;
    decoder.decode_alpha()?;
    Ok(decoder.into_damage())
}

/// The quantized latent ŷ of the whole padded picture, `[rows, columns, channels]`: one position per
/// 16x16 pixels of the stored picture, in the unit of the networks (spec: "Terms", normalized).
///
/// # Errors
/// As [`decode()`] of the whole picture.
pub fn quantized_latent(bytes: &[u8], model: &Model, options: &DecodeOptions) -> Result<Grid> {
    let file = Container::parse(bytes, &options.limits)?;
    let mut decoder = Decoder::new(file, model, None)?;
    let grid = decoder.file.header.tile_grid();
    decoder.needed = Area::whole(grid.width as usize, grid.height as usize).in_latents();
    let steps = Steps::new(&super::NoProgress, decoder.tile_work());
    decoder.decode_latents(&steps)
}

/// A file and what is wanted of it.
pub(super) struct Decoder<'a> {
    file: Parts<'a>,
    quality: QualityModel<'a>,
    tables: &'a ScaleTables,
    /// The wanted pixels of the stored picture.
    pixels: Area,
    /// The latents on which they depend.
    needed: Area,
    /// Where damage is noted; without it, damage is an error.
    damage: Option<Mutex<DamageList>>,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(
        file: impl Into<Parts<'a>>,
        model: &'a Model,
        region: Option<Region>,
    ) -> Result<Self> {
        let file = file.into();
        let header = &file.header;
        if header.model != model_id(model) {
            return Err(Error::UnknownModel(header.model.to_string()));
        }
        let pixels = match region {
            Some(region) => region.stored(header)?,
            None => Area::whole(header.width as usize, header.height as usize),
        };
        let grid = header.tile_grid();
        let bounds = Area::whole(grid.width as usize, grid.height as usize).in_latents();
        Ok(Self {
            quality: model.at_quality(header.quality.raw()),
            tables: model.tables(),
            pixels,
            needed: pixels.in_latents().grown(model.config().halo(), &bounds),
            damage: None,
            file,
        })
    }

    /// Goes on when parts are damaged; of what is known already, only the tiles that are wanted count.
    fn tolerate(&mut self) {
        let known = std::mem::take(&mut self.file.damage);
        let mut damage = DamageList::new(self.file.header, known);
        let tiles: BTreeSet<usize> = self.needed_tiles().into_iter().map(|(i, _)| i).collect();
        let visible: BTreeSet<usize> = self.visible_tiles().into_iter().map(|(i, _)| i).collect();
        damage.retain(|part| match part {
            DamagedPart::File => true,
            DamagedPart::Tile(index) => tiles.contains(&index),
            DamagedPart::Alpha(index) => visible.contains(&index),
        });
        self.damage = Some(Mutex::new(damage));
    }

    /// The picture, and what was damaged.
    fn decode(
        self,
        options: &DecodeOptions,
        progress: &dyn Progress,
    ) -> Result<(Image, Vec<Damage>)> {
        let steps = self.steps(progress);
        self.check_anything_left()?;
        let latent = self.decode_latents(&steps)?;
        self.check_anything_left()?;
        let mut rgb = vec![0; self.pixels.pixels() * CHANNELS];
        self.synthesize(&latent, &steps, &mut rgb)?;
        // The latent takes more than the picture: alpha comes when it is gone.
        drop(latent);
        let alpha = self.decode_alpha()?;
        let image = self.finish_image(rgb, alpha, options.strip)?;
        Ok((image, self.into_damage()))
    }

    /// Reports on all of the work.
    fn steps<'p>(&self, progress: &'p dyn Progress) -> Steps<'p> {
        Steps::new(progress, self.tile_work() + 2 * self.needed.height)
    }

    /// What was damaged.
    fn into_damage(self) -> Vec<Damage> {
        let list = self.damage.map(sync::into_inner);
        list.map_or_else(Vec::new, DamageList::finish)
    }

    /// Fails when every needed tile is damaged, and when so few are left of a large picture that they do not
    /// account for the work: a few bytes could ask for all of it.
    fn check_anything_left(&self) -> Result<()> {
        let Some(damage) = &self.damage else {
            return Ok(());
        };
        let mut damage = sync::lock(damage);
        let tiles = self.needed_tiles();
        if let Some(error) = damage.first_if_all(tiles.len()) {
            return Err(error);
        }
        let Some((index, left)) = damage.intact(tiles.iter().map(|(index, _)| *index)) else {
            return Ok(());
        };
        let is_large = self.needed.in_pixels().pixels() > FREE_PIXELS;
        if is_large && left.saturating_mul(MOST_TILES_PER_INTACT) < tiles.len() {
            let header = &self.file.header;
            let place = Region::showing(&Area::from(header.tile_grid().tile(index)), header);
            let place = place.map_or(String::new(), |region| {
                format!(", the first is region {region}")
            });
            return Err(Error::Corrupt(format!(
                "{left} of {} tiles are intact, too few for the whole picture{place}",
                tiles.len()
            )));
        }
        Ok(())
    }

    /// Notes that a part is damaged, if that is tolerated.
    fn note<T>(&self, part: DamagedPart, result: Result<T>) -> Result<Option<T>> {
        match (result, &self.damage) {
            (Err(error @ Error::Corrupt(_)), Some(damage)) => {
                sync::lock(damage).add(part, error);
                Ok(None)
            }
            (result, _) => result.map(Some),
        }
    }

    /// Number and place of the tiles that have a part in `pixels` of the padded picture.
    fn tiles_in(&self, pixels: &Area) -> Vec<(usize, TileRect)> {
        let grid = self.file.header.tile_grid();
        grid.tiles()
            .enumerate()
            .filter(|(_, rect)| Area::from(*rect).intersection(pixels).is_some())
            .collect()
    }

    /// The tiles on which the wanted pixels depend.
    fn needed_tiles(&self) -> Vec<(usize, TileRect)> {
        self.tiles_in(&self.needed.in_pixels())
    }

    /// The tiles in which the wanted pixels lie.
    fn visible_tiles(&self) -> Vec<(usize, TileRect)> {
        self.tiles_in(&self.pixels)
    }

    /// The work of decoding tiles, in rows of latents.
    fn tile_work(&self) -> usize {
        self.needed_tiles().len() * self.tile_rows()
    }

    /// Rows of latents in a whole tile.
    fn tile_rows(&self) -> usize {
        self.file.header.tile_size as usize / LATENT_STRIDE
    }

    /// The normalized latents of the needed area.
    fn decode_latents(&self, steps: &Steps) -> Result<Grid> {
        let channels = self.quality.config().latent_channels;
        // Tiles are put in place as they come, so that few are held twice.
        let latent = Mutex::new(Grid::zeros(self.needed.height, self.needed.width, channels));
        let decode_one = |(index, rect): (usize, TileRect)| {
            let tile = self.decode_tile(index, rect)?;
            let place = Area::from(rect).in_latents();
            if let (Some(tile), Some(part)) = (tile, place.intersection(&self.needed)) {
                let to = &mut sync::lock(&latent).values;
                self.needed
                    .copy_from(to, &place, &tile.latent.values, &part, channels);
            }
            steps.advance(self.tile_rows())
        };
        for_each(self.needed_tiles(), decode_one)?;
        Ok(sync::into_inner(latent))
    }

    /// A tile's latents; none for a damaged one, if damage is tolerated.
    fn decode_tile(&self, index: usize, rect: TileRect) -> Result<Option<CodedTile>> {
        let Some(payload) = &self.file.tiles[index] else {
            return Ok(None);
        };
        let tile = self.decode_payload(payload, rect, |reader| self.code_tile(rect, reader));
        self.note(DamagedPart::Tile(index), tile)
    }

    /// Reads the symbols of the tile at `rect` by `code`, and checks that they are those that
    /// were meant; an error says which tile it is.
    pub(super) fn decode_payload(
        &self,
        payload: &TilePayload,
        rect: TileRect,
        code: impl FnOnce(&mut Reader) -> Result<CodedTile>,
    ) -> Result<CodedTile> {
        self.read_payload(payload, code)
            .map_err(|error| self.name_tile(error, &rect))
    }

    fn read_payload(
        &self,
        payload: &TilePayload,
        code: impl FnOnce(&mut Reader) -> Result<CodedTile>,
    ) -> Result<CodedTile> {
        let channels = self.quality.config().latent_channels;
        let map = payload
            .zero_map
            .map(|bytes| ZeroMap::from_bytes(bytes, channels));
        let mut reader = Reader::new(self.tables, payload.stream, map.transpose()?)?;
        let tile = code(&mut reader)?;
        reader.finish()?;
        if tile.checksum != payload.checksum {
            return Err(Error::Corrupt(
                "decoded latents do not match their checksum".into(),
            ));
        }
        Ok(tile)
    }

    /// Codes the symbols of the tile at `rect`, which come from `coder`.
    pub(super) fn code_tile(
        &self,
        rect: TileRect,
        coder: &mut impl SymbolCoder,
    ) -> Result<CodedTile> {
        let Area { width, height, .. } = Area::from(rect).in_latents();
        code_tile(&self.quality, height, width, coder)
    }

    /// Says which tile of several is damaged.
    fn name_tile(&self, error: Error, rect: &TileRect) -> Error {
        match error {
            // Where damage is listed, the list says which tile it is.
            Error::Corrupt(what) if self.file.tiles.len() > 1 && self.damage.is_none() => {
                Error::Corrupt(format!("tile at {},{}: {what}", rect.x, rect.y))
            }
            other => other,
        }
    }

    /// The alpha samples of the wanted pixels.
    fn decode_alpha(&self) -> Result<Option<Alpha>> {
        let Some(depth) = self.file.header.alpha else {
            return Ok(None);
        };
        let count = self.pixels.width * self.pixels.height;
        let samples = Mutex::new(vec![depth.max(); count]);
        let decode_one = |(index, rect): (usize, TileRect)| -> Result<()> {
            let tile = self.decode_alpha_tile(index, rect, depth)?;
            let place = alpha::inside(&self.file.header, rect);
            if let (Some(tile), Some(part)) = (tile, place.intersection(&self.pixels)) {
                let to = &mut sync::lock(&samples);
                self.pixels.copy_from(to, &place, &tile, &part, 1);
            }
            Ok(())
        };
        for_each(self.visible_tiles(), decode_one)?;
        let samples = sync::into_inner(samples);
        Ok(Some(Alpha::new(depth, samples)?))
    }

    /// The alpha samples of a tile; none for a damaged one, if damage is tolerated.
    fn decode_alpha_tile(
        &self,
        index: usize,
        rect: TileRect,
        depth: Depth,
    ) -> Result<Option<Vec<u16>>> {
        let Some(payload) = &self.file.alpha[index] else {
            return Ok(None);
        };
        let place = alpha::inside(&self.file.header, rect);
        let samples = alpha::decode_tile(payload, depth, &place);
        let samples = samples.map_err(|error| self.name_tile(error, &rect));
        self.note(DamagedPart::Alpha(index), samples)
    }

    /// The wanted pixels, into `rgb`.
    fn synthesize(&self, latent: &Grid, steps: &Steps, rgb: &mut [u8]) -> Result<()> {
        let wanted = self.pixels.pixels() * CHANNELS;
        if rgb.len() != wanted {
            let found = rgb.len();
            return Err(Error::InvalidOption(format!(
                "{found} bytes for {wanted} samples"
            )));
        }
        let input = self.needed.in_pixels();
        let mut band = Vec::new();
        self.quality.synthesis(latent, &mut |rows, patches| {
            let place = Area {
                y: input.y + rows.start * PATCH,
                height: rows.len() * PATCH,
                ..input
            };
            band.resize(patches.len(), 0);
            patches_to_pixels(patches, place.height, place.width, &mut band);
            if let Some(wanted) = place.intersection(&self.pixels) {
                self.pixels.copy_from(rgb, &place, &band, &wanted, CHANNELS);
            }
            steps.advance(rows.len())
        })
    }

    /// Adds alpha and metadata, reduces gray pictures to gray, and turns the picture upright.
    fn finish_image(&self, rgb: Vec<u8>, alpha: Option<Alpha>, strip: bool) -> Result<Image> {
        let header = &self.file.header;
        // Not more than the header's sizes, which have 32 bits.
        let (width, height) = (self.pixels.width as u32, self.pixels.height as u32);
        let mut image = Image::new(width, height, rgb)?;
        if header.is_gray {
            image.make_gray();
        }
        image.alpha = alpha;
        image.metadata = self.file.metadata.clone();
        image.metadata.orientation = header.orientation;
        if strip {
            image.metadata.strip();
        }
        image.into_upright()
    }
}

/// Does something with each of some tiles, on all threads.
fn for_each(
    tiles: Vec<(usize, TileRect)>,
    act: impl Fn((usize, TileRect)) -> Result<()> + Sync + Send,
) -> Result<()> {
    tiles.into_par_iter().with_max_len(1).try_for_each(act)
}
