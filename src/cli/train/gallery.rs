//! Reconstructions of validation crops beside their originals: what the numbers of a
//! run look like.

use rayon::prelude::*;

use crate::bitstream::Quality;
use crate::cli::sheet::sheet;
use crate::codec::Model;
use crate::codec::{DecodeOptions, Effort, EncodeOptions, NoProgress, decode, encode};
use crate::error::Result;
use crate::picture::Image;

/// Qualities of the rows below the originals.
const QUALITIES: [f64; 4] = [10.0, 35.0, 60.0, 85.0];
/// Pixels between pictures and around them.
const GAP: u32 = 4;
/// Most columns.
pub(super) const COLUMNS: usize = 5;

/// The grid: a column per crop (`side` x `side` RGB), originals in the first row and
/// below them what `model` makes of them through whole files at rising quality.
///
/// # Errors
/// When a crop cannot be coded.
pub(super) fn grid(model: &Model, crops: &[Vec<u8>], side: u32) -> Result<Image> {
    let originals = crops
        .iter()
        .map(|crop| Image::new(side, side, crop.clone()));
    let originals: Vec<Image> = originals.collect::<Result<_>>()?;
    let mut rows = vec![originals.clone()];
    for percent in QUALITIES {
        let options = EncodeOptions {
            quality: Quality::from_percent(percent)?,
            effort: Effort::FASTEST,
            ..EncodeOptions::default()
        };
        let row = originals.par_iter().map(|picture| {
            let file = encode(picture, model, &options, &NoProgress)?;
            decode(&file, model, &DecodeOptions::default(), &NoProgress)
        });
        rows.push(row.collect::<Result<_>>()?);
    }
    sheet(&rows, GAP, GAP)
}
