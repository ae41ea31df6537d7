//! From trained weights to a model: integers, with exponents chosen by what the networks make
//! of pictures at qualities across the range.
//!
//! The network of integers measures itself: first with steps that leave much room, then with
//! those that follow from it.

use rayon::prelude::*;

use crate::bitstream::Quality;
use crate::codec::{DecodeOptions, Effort, EncodeOptions, Model, NoProgress, decode, encode};
use crate::error::Result;
use crate::image::Image;
use crate::model::ranges::Ranges;
use crate::model::rounding::provisional_exponents;
use crate::model::{IntegerWeights, Weights};

/// Qualities at which tensors are measured, in percent.
const QUALITIES: [f64; 6] = [0.0, 20.0, 40.0, 60.0, 80.0, 100.0];

/// How often they are.
const ROUNDS: usize = 2;

/// Rounds `weights` to a model that suits `pictures`.
///
/// # Errors
/// When a weight is not finite, or a picture cannot be coded.
pub fn export(weights: &Weights, pictures: &[Image]) -> Result<IntegerWeights> {
    let mut exponents = provisional_exponents(&weights.config);
    for _ in 0..ROUNDS {
        let rounded = IntegerWeights::rounded(weights, exponents)?;
        let ranges = Ranges::new(&weights.config);
        let model = Model::measuring(&rounded, &ranges)?;
        let code = |picture: &Image| code_everywhere(picture, &model);
        pictures.par_iter().try_for_each(code)?;
        exponents = ranges.exponents(&rounded);
    }
    IntegerWeights::rounded(weights, exponents)
}

/// Runs every network on a picture.
fn code_everywhere(picture: &Image, model: &Model) -> Result<()> {
    for percent in QUALITIES {
        let options = EncodeOptions {
            quality: Quality::from_percent(percent)?,
            effort: Effort::FASTEST,
            ..EncodeOptions::default()
        };
        let file = encode(picture, model, &options, &NoProgress)?;
        decode(&file, model, &DecodeOptions::default(), &NoProgress)?;
    }
    Ok(())
}
