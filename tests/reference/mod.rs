//! The reference decoder: slow and plain, written from codec-spec.md alone, in its order
//! and with its names. It shares no code with the library, whose results it checks.

mod arrays;
mod bytes;
mod file;
mod model;
mod rans;
mod synthesis;
mod tile;

pub use tile::Statistics;

use arrays::Array;
use file::File;
use model::{Model, Quality};

/// Error classes (§11.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    NotAec,
    UnsupportedVersion,
    Truncated,
    Corrupt,
    Unsupported,
    UnknownModel,
    LimitExceeded,
    Weights,
}

/// `Result` with a [`Class`].
pub type Result<T> = std::result::Result<T, Class>;

/// A decoded picture, upright.
pub struct Picture {
    pub width: usize,
    pub height: usize,
    /// Three samples per pixel in raster order; equal ones where the picture is gray.
    pub rgb: Vec<u8>,
    /// What the symbols made use of.
    pub statistics: Statistics,
}

/// Decodes a file with the model in a model file.
pub fn decode(bytes: &[u8], model_file: &[u8]) -> Result<Picture> {
    let model = Model::read(model_file)?;
    let file = File::read(bytes)?;
    if file.header.model_id != model.id {
        return Err(Class::UnknownModel);
    }
    let quality = model.at_quality(file.header.quality);
    let mut statistics = Statistics::default();
    let mut latent = Array::zeros(
        file.padded_height() / 16,
        file.padded_width() / 16,
        model.sizes.latent,
    );
    for (rect, payload) in file.tiles() {
        let (tile, used) =
            tile::decode(&model, &quality, payload, rect.height / 16, rect.width / 16)?;
        statistics.add(&used);
        latent.paste(&tile, rect.y / 16, rect.x / 16);
    }
    let samples = synthesis::samples(&model, &quality, &latent);
    Ok(finish(&file, &samples, statistics))
}

/// Crop, gray, orientation (§10.1).
fn finish(file: &File, samples: &[[u8; 3]], statistics: Statistics) -> Picture {
    let (w, h, stride) = (file.header.width, file.header.height, file.padded_width());
    let orientation = file.header.orientation;
    let (width, height) = if orientation < 5 { (w, h) } else { (h, w) };
    let mut rgb = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            let (sx, sy) = stored(orientation, x, y, w, h);
            let pixel = samples[sy * stride + sx];
            rgb.extend(if file.header.is_gray {
                gray(pixel)
            } else {
                pixel
            });
        }
    }
    Picture {
        width,
        height,
        rgb,
        statistics,
    }
}

fn gray(pixel: [u8; 3]) -> [u8; 3] {
    let sum: u32 = pixel.iter().map(|sample| u32::from(*sample)).sum();
    [((sum + 1) / 3) as u8; 3]
}

/// The stored pixel that is upright pixel (x, y).
fn stored(orientation: u8, x: usize, y: usize, w: usize, h: usize) -> (usize, usize) {
    match orientation {
        1 => (x, y),
        2 => (w - 1 - x, y),
        3 => (w - 1 - x, h - 1 - y),
        4 => (x, h - 1 - y),
        5 => (y, x),
        6 => (y, h - 1 - x),
        7 => (w - 1 - y, h - 1 - x),
        _ => (w - 1 - y, x),
    }
}

/// The quality vectors by name without `quality.` (§7.4).
fn vector<'a>(quality: &'a Quality, name: &str) -> &'a [f32] {
    &quality[name]
}
