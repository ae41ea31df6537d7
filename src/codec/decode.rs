//! Decoding: every tile's latents, then the synthesis transform.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::tile::{CodedTile, Reader, code_tile};
use super::{DecodeOptions, Progress, Steps, model_id};
use crate::bitstream::{Container, Header, TilePayload, TileRect};
use crate::entropy::{ScaleTables, ZeroMap};
use crate::error::{Error, Result};
use crate::image::{Image, Metadata};
use crate::kernels::patches_to_pixels;
use crate::kernels::pixels::PATCH;
use crate::limits::Limits;
use crate::model::config::LATENT_STRIDE;
use crate::model::{Grid, Model, QualityModel};

/// Decodes the bytes of an `.aec` file. The picture is upright: its orientation
/// has been applied.
///
/// # Errors
/// [`UnknownModel`](Error::UnknownModel) when the file was made with another model;
/// those of [`Container::parse`]; [`Corrupt`](Error::Corrupt) when a tile's symbols do
/// not match their checksum; [`Cancelled`](Error::Cancelled) when `progress` says so.
pub fn decode(
    bytes: &[u8],
    model: &Model,
    options: &DecodeOptions,
    progress: &dyn Progress,
) -> Result<Image> {
    let container = parse(bytes, model, &options.limits)?;
    let header = &container.header;
    let quality = model.at_quality(header.quality.raw())?;
    let rows = header.tile_grid().height as usize / LATENT_STRIDE;
    let work = container.tiles.len() * tile_rows(header) + 2 * rows;
    let steps = Steps::new(progress, work);

    let latent = decode_tiles(&container, model, &quality, &steps)?;
    let rgb = synthesize(header, &quality, &latent, &steps)?;
    finish_image(&container, rgb, options.strip)
}

/// Decodes and checks the latents of every tile without the synthesis transform.
///
/// # Errors
/// As [`decode`].
pub fn decode_latents(bytes: &[u8], model: &Model, options: &DecodeOptions) -> Result<()> {
    let container = parse(bytes, model, &options.limits)?;
    let quality = model.at_quality(container.header.quality.raw())?;
    let work = container.tiles.len() * tile_rows(&container.header);
    let steps = Steps::new(&super::NoProgress, work);
    decode_tiles(&container, model, &quality, &steps).map(drop)
}

/// Rows of latents in a whole tile: the unit of progress.
fn tile_rows(header: &Header) -> usize {
    header.tile_size as usize / LATENT_STRIDE
}

fn parse<'a>(bytes: &'a [u8], model: &Model, limits: &Limits) -> Result<Container<'a>> {
    let container = Container::parse(bytes, limits)?;
    if container.header.model != model_id(model) {
        return Err(Error::UnknownModel(container.header.model.to_string()));
    }
    Ok(container)
}

/// The normalized latent of the whole picture.
fn decode_tiles(
    container: &Container,
    model: &Model,
    quality: &QualityModel,
    steps: &Steps,
) -> Result<Grid> {
    let tables = ScaleTables::from_words(model.tables())?;
    let grid = container.header.tile_grid();
    let (height, width) = (
        grid.height as usize / LATENT_STRIDE,
        grid.width as usize / LATENT_STRIDE,
    );
    let rects: Vec<TileRect> = grid.tiles().collect();
    // Tiles are put in place as they come, so that few are held twice.
    let latent = Mutex::new(Grid::zeros(height, width, model.config().latent_channels));
    let decode_one = |(payload, rect): (&TilePayload, &TileRect)| {
        let tile = decode_tile(payload, *rect, quality, &tables)
            .map_err(|error| name_tile(error, rect, rects.len()))?;
        let latents = |pixels: u32| pixels as usize / LATENT_STRIDE;
        let size = (tile.latent.height, tile.latent.width);
        latent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .paste_from(
                &tile.latent,
                (0, 0),
                (latents(rect.y), latents(rect.x)),
                size,
            );
        steps.advance(tile_rows(&container.header))
    };
    container
        .tiles
        .par_iter()
        .zip(&rects)
        .with_max_len(1)
        .try_for_each(decode_one)?;
    Ok(latent.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn decode_tile(
    payload: &TilePayload,
    rect: TileRect,
    quality: &QualityModel,
    tables: &ScaleTables,
) -> Result<CodedTile> {
    let channels = quality.config().latent_channels;
    let map = payload
        .zero_map
        .map(|bytes| ZeroMap::from_bytes(bytes, channels))
        .transpose()?;
    let mut reader = Reader::new(tables, payload.stream, map)?;
    let (height, width) = (
        rect.height as usize / LATENT_STRIDE,
        rect.width as usize / LATENT_STRIDE,
    );
    let tile = code_tile(quality, height, width, &mut reader)?;
    reader.finish()?;
    if tile.checksum != payload.checksum {
        return Err(Error::Corrupt(
            "decoded latents do not match their checksum".into(),
        ));
    }
    Ok(tile)
}

/// Says which tile of several is damaged.
fn name_tile(error: Error, rect: &TileRect, tiles: usize) -> Error {
    match error {
        Error::Corrupt(what) if tiles > 1 => {
            Error::Corrupt(format!("tile at {},{}: {what}", rect.x, rect.y))
        }
        other => other,
    }
}

/// The picture's pixels.
fn synthesize(
    header: &Header,
    quality: &QualityModel,
    latent: &Grid,
    steps: &Steps,
) -> Result<Vec<u8>> {
    let (height, width) = (header.height as usize, header.width as usize);
    let coded_width = latent.width * LATENT_STRIDE;
    let mut rgb = vec![0u8; width * height * 3];
    let mut band = Vec::new();
    quality.synthesis(latent, &mut |rows, patches| {
        band.resize(patches.len(), 0);
        patches_to_pixels(patches, rows.len() * PATCH, coded_width, &mut band);
        // The picture may end inside the band, and to the right of it.
        let top = (rows.start * PATCH).min(height);
        let coded_rows = band.chunks_exact(coded_width * 3);
        for (out, coded) in rgb[top * width * 3..]
            .chunks_exact_mut(width * 3)
            .zip(coded_rows)
        {
            out.copy_from_slice(&coded[..width * 3]);
        }
        steps.advance(rows.len())
    })?;
    Ok(rgb)
}

/// Adds metadata, reduces gray pictures to gray, and turns the picture upright.
fn finish_image(container: &Container, rgb: Vec<u8>, strip: bool) -> Result<Image> {
    let header = &container.header;
    let mut image = Image::new(header.width, header.height, rgb)?;
    if header.is_gray {
        image.make_gray();
    }
    let own = |block: Option<&[u8]>| block.map(<[u8]>::to_vec);
    let mut metadata = Metadata::default();
    metadata.icc = own(container.metadata.icc);
    metadata.exif = own(container.metadata.exif);
    metadata.xmp = own(container.metadata.xmp);
    metadata.orientation = header.orientation;
    if strip {
        metadata.strip();
    }
    image.metadata = metadata;
    image.into_upright()
}
