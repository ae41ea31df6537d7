//! The reference decoder: slow and plain, written from codec-spec.md alone, in its order
//! and with its names. It shares no code with the library, whose results it checks.

mod alpha;
mod arrays;
mod bytes;
mod file;
mod inflate;
mod model;
mod packed;
mod rans;
mod synthesis;
mod tile;

pub use model::{Stored, read_file as read_model_file};
pub use packed::unpack;
pub use tile::Statistics;

use arrays::Array;
use file::{File, Rect};
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
    /// One alpha sample per pixel, and their number of bits.
    pub alpha: Option<(u32, Vec<u16>)>,
    /// Tag and content of the blocks of metadata, in the order of the file.
    pub blocks: Vec<([u8; 4], Vec<u8>)>,
    /// What the symbols made use of.
    pub statistics: Statistics,
}

impl Picture {
    /// The colors, then the alpha samples in 1 or 2 little-endian bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.rgb.clone();
        if let Some((bits, alpha)) = &self.alpha {
            for sample in alpha {
                bytes.extend(&sample.to_le_bytes()[..*bits as usize / 8]);
            }
        }
        bytes
    }
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
    let alpha = decode_alpha(&file)?;
    Ok(finish(&file, &samples, alpha.as_deref(), statistics))
}

/// The alpha channel of the picture as stored (§10.2).
fn decode_alpha(file: &File) -> Result<Option<Vec<u16>>> {
    let Some(bits) = file.header.alpha_bits else {
        return Ok(None);
    };
    let (w, h) = (file.header.width, file.header.height);
    let mut plane = vec![0; w * h];
    for (rect, payload) in file.alpha() {
        let rect = Rect {
            width: rect.width.min(w - rect.x),
            height: rect.height.min(h - rect.y),
            ..rect
        };
        let samples = alpha::decode(payload, &rect, bits)?;
        for (i, sample) in samples.into_iter().enumerate() {
            plane[(rect.y + i / rect.width) * w + rect.x + i % rect.width] = sample;
        }
    }
    Ok(Some(plane))
}

/// Crop, gray, orientation (§10.1).
fn finish(
    file: &File,
    samples: &[[u8; 3]],
    alpha: Option<&[u16]>,
    statistics: Statistics,
) -> Picture {
    let (w, h, stride) = (file.header.width, file.header.height, file.padded_width());
    let orientation = file.header.orientation;
    let (width, height) = if orientation < 5 { (w, h) } else { (h, w) };
    let mut rgb = Vec::with_capacity(width * height * 3);
    let mut upright_alpha = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let (sx, sy) = stored(orientation, x, y, w, h);
            upright_alpha.extend(alpha.map(|alpha| alpha[sy * w + sx]));
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
        alpha: file.header.alpha_bits.map(|bits| (bits, upright_alpha)),
        blocks: file.blocks.clone(),
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
