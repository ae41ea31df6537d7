//! Encoding: analysis transform window by window, then every tile's symbols.

use rayon::prelude::*;

use super::tile::{Recorder, code_tile};
use super::window::{Window, paste, windows};
use super::{EncodeOptions, Progress, Steps, model_id};
use crate::bitstream::{Container, Header, Metadata, TileGrid, TilePayload, TileRect};
use crate::entropy::ScaleTables;
use crate::error::Result;
use crate::image::Image;
use crate::kernels::pixels_to_patches;
use crate::model::config::{LATENT_STRIDE, PATCH8};
use crate::model::{Grid, Model, QualityModel};

/// A tile's coded parts, before they are laid out in the file.
struct EncodedTile {
    zero_map: Option<Vec<u8>>,
    checksum: u32,
    stream: Vec<u8>,
}

/// Encodes a picture to the bytes of an `.aec` file.
///
/// # Errors
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
    let header = Header::new(
        image.width,
        image.height,
        image.is_gray,
        orientation,
        options.quality,
        options.tile_size,
        model_id(model),
    )?;
    let tables = ScaleTables::from_words(model.tables())?;
    let quality = model.at_quality(options.quality.raw())?;
    let grid = header.tile_grid();
    let (height, width) = (
        grid.height as usize / LATENT_STRIDE,
        grid.width as usize / LATENT_STRIDE,
    );
    let pieces = windows(height, width, model.config().halo());
    let tile_rects: Vec<TileRect> = grid.tiles().collect();
    let steps = Steps::new(progress, pieces.len() + tile_rects.len());

    let latent = analyze(image, &quality, grid, &pieces, &steps)?;
    let encode_one = |rect: &TileRect| {
        let tile = encode_tile(&quality, &tables, &latent, *rect)?;
        steps.advance()?;
        Ok(tile)
    };
    let tiles: Vec<EncodedTile> = tile_rects
        .par_iter()
        .map(encode_one)
        .collect::<Result<_>>()?;
    write_container(image, options, header, &tiles)
}

/// The normalized latent of the whole picture, computed window by window.
fn analyze(
    image: &Image,
    quality: &QualityModel,
    grid: TileGrid,
    pieces: &[Window],
    steps: &Steps,
) -> Result<Grid> {
    let (height, width) = (
        grid.height as usize / LATENT_STRIDE,
        grid.width as usize / LATENT_STRIDE,
    );
    let mut latent = Grid::zeros(height, width, quality.config().latent_channels);
    for window in pieces {
        let part = quality.analysis(window_patches(image, window))?;
        paste(&mut latent, &part, window, 1);
        steps.advance()?;
    }
    Ok(latent)
}

/// The window's pixels as patches; beyond the picture its edge is repeated.
fn window_patches(image: &Image, window: &Window) -> Grid {
    let pixels = |latents: usize| latents * LATENT_STRIDE;
    let (height, width) = (pixels(window.input_size.0), pixels(window.input_size.1));
    let (top, left) = (pixels(window.input_start.0), pixels(window.input_start.1));
    let (image_height, image_width) = (image.height as usize, image.width as usize);
    let mut rgb = vec![0u8; height * width * 3];
    rgb.par_chunks_exact_mut(width * 3)
        .enumerate()
        .for_each(|(y, out)| {
            let row = (top + y).min(image_height - 1) * image_width;
            let inside = width.min(image_width.saturating_sub(left));
            let start = (row + left) * 3;
            if inside > 0 {
                out[..inside * 3].copy_from_slice(&image.rgb[start..start + inside * 3]);
            }
            let edge = (row + image_width - 1) * 3;
            for pixel in out[inside * 3..].chunks_exact_mut(3) {
                pixel.copy_from_slice(&image.rgb[edge..edge + 3]);
            }
        });
    let mut patches = Grid::zeros(height / 8, width / 8, PATCH8);
    pixels_to_patches(&rgb, height, width, &mut patches.values);
    patches
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
    }
    .write()
}
