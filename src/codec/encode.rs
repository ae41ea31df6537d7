//! Encoding: analysis transform, then every tile's symbols.

use std::ops::Range;

use rayon::prelude::*;

use super::alpha::{self, EncodedAlpha};
use super::fill::fill_transparent;
use super::tile::{Recorder, code_tile};
use super::{EncodeOptions, Progress, Steps, model_id};
use crate::bitstream::{Container, Header, Metadata, TileGrid, TilePayload, TileRect};
use crate::entropy::ScaleTables;
use crate::error::Result;
use crate::image::{Alpha, Image};
use crate::kernels::pixels::PATCH;
use crate::kernels::pixels_to_patches;
use crate::model::config::LATENT_STRIDE;
use crate::model::{Grid, Model, QualityModel};

/// A tile's coded parts, before they are laid out in the file.
struct EncodedTile {
    zero_map: Option<Vec<u8>>,
    checksum: u32,
    stream: Vec<u8>,
}

/// Encodes a picture to the bytes of an `.aec` file. Colors lose detail, alpha does not; what colors
/// fully transparent pixels have is not kept.
///
/// # Errors
/// [`Image`](crate::Error::Image) when the alpha channel is of another size than the picture,
/// [`LimitExceeded`](crate::Error::LimitExceeded) for pictures over the limits,
/// [`InvalidOption`](crate::Error::InvalidOption) for a tile size out of range,
/// [`Cancelled`](crate::Error::Cancelled) when `progress` says so.
pub fn encode(
    image: &Image,
    model: &Model,
    options: &EncodeOptions,
    progress: &dyn Progress,
) -> Result<Vec<u8>> {
    options.limits.check_pixels(image.width, image.height)?;
    let orientation = image.metadata.orientation;
    let alpha = checked_alpha(image)?;
    let header = Header::new(
        image.width,
        image.height,
        image.is_gray,
        orientation,
        options.quality,
        options.tile_size,
        model_id(model),
    )?
    .with_alpha(alpha.map(Alpha::depth));
    let tables = ScaleTables::from_words(model.tables())?;
    let quality = model.at_quality(options.quality.raw())?;
    let grid = header.tile_grid();
    let tile_rects: Vec<TileRect> = grid.tiles().collect();
    // Both halves of the work in rows of latents.
    let tile_rows = header.tile_size as usize / LATENT_STRIDE;
    let rows = grid.height as usize / LATENT_STRIDE;
    let steps = Steps::new(progress, rows + tile_rects.len() * tile_rows);

    let filled = alpha.and_then(|alpha| fill_transparent(&image.rgb, image.width as usize, alpha));
    let rgb = filled.as_deref().unwrap_or(&image.rgb);
    let latent = analyze(image, rgb, &quality, grid, &steps)?;
    let encode_one = |rect: &TileRect| {
        let tile = encode_tile(&quality, &tables, &latent, *rect)?;
        steps.advance(tile_rows)?;
        Ok(tile)
    };
    let tiles: Vec<EncodedTile> = tile_rects
        .par_iter()
        .map(encode_one)
        .collect::<Result<_>>()?;
    let alpha: Vec<EncodedAlpha> = match alpha {
        Some(alpha) => tile_rects
            .par_iter()
            .map(|rect| alpha::encode_tile(alpha, &header, *rect))
            .collect(),
        None => Vec::new(),
    };
    write_container(image, options, header, &tiles, &alpha)
}

/// The alpha channel, unless it is opaque everywhere.
fn checked_alpha(image: &Image) -> Result<Option<&Alpha>> {
    let Some(alpha) = &image.alpha else {
        return Ok(None);
    };
    alpha.check_size(image.width, image.height)?;
    Ok(Some(alpha).filter(|alpha| !alpha.is_opaque()))
}

/// The normalized latent of the picture with the colors `rgb`.
fn analyze(
    image: &Image,
    rgb: &[u8],
    quality: &QualityModel,
    grid: TileGrid,
    steps: &Steps,
) -> Result<Grid> {
    let (height, width) = (
        grid.height as usize / LATENT_STRIDE,
        grid.width as usize / LATENT_STRIDE,
    );
    let mut latent = Grid::zeros(height, width, quality.config().latent_channels);
    let read = |rows: Range<usize>, patches: &mut [f32]| read_patches(image, rgb, rows, patches);
    quality.analysis((height, width), &read, &mut |rows, values| {
        latent.rows_mut(rows.clone()).copy_from_slice(values);
        steps.advance(rows.len())
    })?;
    Ok(latent)
}

/// Rows of 8 x 8 patches; beyond the picture its edge is repeated.
fn read_patches(image: &Image, rgb: &[u8], rows: Range<usize>, patches: &mut [f32]) {
    let (top, height) = (rows.start * PATCH, rows.len() * PATCH);
    let width = patches.len() / (height * 3);
    let (image_height, image_width) = (image.height as usize, image.width as usize);
    let mut band = vec![0u8; height * width * 3];
    band.par_chunks_exact_mut(width * 3)
        .enumerate()
        .for_each(|(y, out)| {
            let start = (top + y).min(image_height - 1) * image_width * 3;
            let (inside, beyond) = out.split_at_mut(image_width * 3);
            inside.copy_from_slice(&rgb[start..start + image_width * 3]);
            let edge = &inside[inside.len() - 3..];
            for pixel in beyond.chunks_exact_mut(3) {
                pixel.copy_from_slice(edge);
            }
        });
    pixels_to_patches(&band, height, width, patches);
}

fn encode_tile(
    quality: &QualityModel,
    tables: &ScaleTables,
    latent: &Grid,
    rect: TileRect,
) -> Result<EncodedTile> {
    let latents = |pixels: u32| pixels as usize / LATENT_STRIDE;
    let (height, width) = (latents(rect.height), latents(rect.width));
    let tile = latent.crop(latents(rect.y), latents(rect.x), height, width);
    let hyper = quality.hyper_analysis(tile.clone())?;
    let scaled = |values: Vec<f32>, gains: &[f32]| -> Vec<f32> {
        values
            .iter()
            .zip(gains.iter().cycle())
            .map(|(value, gain)| value * gain)
            .collect()
    };
    let channels = latent.channels;
    let hyper = scaled(hyper.values, &quality.hyper_gain);
    let mut recorder = Recorder::new(tables, hyper, scaled(tile.values, &quality.latent_gain));
    let coded = code_tile(quality, height, width, &mut recorder)?;
    let (zero_map, stream) = recorder.finish(channels);
    Ok(EncodedTile {
        zero_map: zero_map.map(|map| map.to_bytes()),
        checksum: coded.checksum,
        stream,
    })
}

fn write_container(
    image: &Image,
    options: &EncodeOptions,
    header: Header,
    tiles: &[EncodedTile],
    alpha: &[EncodedAlpha],
) -> Result<Vec<u8>> {
    let metadata = Metadata {
        icc: image.metadata.icc.as_deref(),
        exif: image.metadata.exif.as_deref().filter(|_| !options.strip),
        xmp: image.metadata.xmp.as_deref().filter(|_| !options.strip),
    };
    let tiles = tiles
        .iter()
        .map(|tile| TilePayload {
            zero_map: tile.zero_map.as_deref(),
            checksum: tile.checksum,
            stream: &tile.stream,
        })
        .collect();
    Container {
        header,
        metadata,
        tiles,
        alpha: alpha.iter().map(EncodedAlpha::payload).collect(),
    }
    .write()
}
