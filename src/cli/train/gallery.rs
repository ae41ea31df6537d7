//! Reconstructions of validation crops beside their originals: what the numbers of a
//! run look like.

use rayon::prelude::*;

use crate::bitstream::Quality;
use crate::codec::Model;
use crate::codec::{DecodeOptions, Effort, EncodeOptions, NoProgress, decode, encode};
use crate::error::Result;
use crate::picture::Image;

/// Qualities of the rows below the originals.
const QUALITIES: [f64; 4] = [10.0, 35.0, 60.0, 85.0];
/// Pixels between pictures.
const GAP: usize = 4;
/// Most columns.
pub(super) const COLUMNS: usize = 5;

/// The grid: a column per crop (`side` x `side` RGB), originals in the first row and
/// below them what `model` makes of them through whole files at rising quality.
///
/// # Errors
/// When a crop cannot be coded.
pub(super) fn grid(model: &Model, crops: &[Vec<u8>], side: u32) -> Result<Image> {
    let mut rows = vec![crops.to_vec()];
    for percent in QUALITIES {
        let options = EncodeOptions {
            quality: Quality::from_percent(percent)?,
            effort: Effort::FASTEST,
            ..EncodeOptions::default()
        };
        let row = crops.par_iter().map(|crop| {
            let picture = Image::new(side, side, crop.clone())?;
            let file = encode(&picture, model, &options, &NoProgress)?;
            Ok(decode(&file, model, &DecodeOptions::default(), &NoProgress)?.rgb)
        });
        rows.push(row.collect::<Result<_>>()?);
    }
    arrange(&rows, side)
}

/// Pictures in rows on white.
fn arrange(rows: &[Vec<Vec<u8>>], side: u32) -> Result<Image> {
    let step = side as usize + GAP;
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let (width, height) = (columns * step + GAP, rows.len() * step + GAP);
    let mut rgb = vec![255; 3 * width * height];
    for (i, row) in rows.iter().enumerate() {
        for (j, picture) in row.iter().enumerate() {
            let lines = picture.chunks_exact(3 * side as usize);
            for (y, line) in lines.enumerate() {
                let start = (GAP + i * step + y) * width + GAP + j * step;
                rgb[3 * start..][..line.len()].copy_from_slice(line);
            }
        }
    }
    let pixels = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    Image::new(pixels(width), pixels(height), rgb)
}
