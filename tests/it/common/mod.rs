//! What the format's tests share: a tiny model, pictures made by code, the list of
//! test vectors, files taken apart, and every way to run the codec.

pub mod broken;
pub mod checks;
pub mod layout;
pub mod memory;
pub mod model_file;
pub mod pictures;
pub mod psnr;
pub mod random;
pub mod settings;
pub mod symbols;
pub mod tiny;
pub mod vectors;

use aec::unstable::{DecodeOptions, Effort, EncodeOptions, Image, NoProgress, Quality, Result};

/// Encodes with the tiny model, without search.
pub fn encode(picture: &Image, percent: f64, tile_size: u32) -> Vec<u8> {
    let quality = Quality::from_percent(percent).unwrap();
    let options = EncodeOptions {
        quality,
        tile_size,
        effort: Effort::FASTEST,
        ..EncodeOptions::default()
    };
    aec::unstable::encode(picture, tiny::model(), &options, &NoProgress).unwrap()
}

/// Decodes with the tiny model.
pub fn decode(file: &[u8]) -> Result<Image> {
    aec::unstable::decode(file, tiny::model(), &DecodeOptions::default(), &NoProgress)
}

/// The name of an error's variant: `Corrupt`, `Truncated`, ...
pub fn class(error: &aec::unstable::Error) -> String {
    let text = format!("{error:?}");
    text.chars()
        .take_while(|c| c.is_ascii_alphanumeric())
        .collect()
}
