//! The last step of training: scale tables fitted to the symbols that the encoder writes.
//!
//! Tables and symbols depend on each other, since the encoder chooses symbols by what they
//! cost, so that counting and fitting are repeated a few times.

use rayon::prelude::*;

use crate::bitstream::Quality;
use crate::codec::{DecodeOptions, EncodeOptions, Model, NoProgress, Tune, count_symbols, encode};
use crate::entropy::{ScaleTables, SymbolCounts};
use crate::error::Result;
use crate::network::IntegerWeights;
use crate::picture::Image;

/// Qualities at which symbols are counted, in percent.
pub const QUALITIES: [f64; 9] = [0.0, 12.5, 25.0, 37.5, 50.0, 62.5, 75.0, 87.5, 100.0];

/// What one round found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Round {
    /// Symbols counted.
    pub symbols: u64,
    /// Bits that they took with the tables of before.
    pub before: f64,
    /// Bits that they take with the fitted ones.
    pub after: f64,
}

/// Fits the scale tables of `weights` to what the encoder makes of `pictures` for a tune, in so many
/// rounds; `report` is told of each.
///
/// # Errors
/// When a picture cannot be coded.
pub fn fit_tables(
    mut weights: IntegerWeights,
    pictures: &[Image],
    tune: Tune,
    rounds: usize,
    report: &mut dyn FnMut(Round),
) -> Result<IntegerWeights> {
    for _ in 0..rounds {
        let model = Model::from_bytes(&weights.to_bytes()?)?;
        let counts = count(&model, pictures, tune)?;
        let tables = ScaleTables::fitted(&counts);
        report(Round {
            symbols: counts.total(),
            before: counts.bits(model.tables()),
            after: counts.bits(&tables),
        });
        weights.tables = tables.to_words();
    }
    Ok(weights)
}

/// The symbols of all pictures at all qualities.
fn count(model: &Model, pictures: &[Image], tune: Tune) -> Result<SymbolCounts> {
    let of_picture = |picture: &Image| {
        let mut counts = SymbolCounts::default();
        for percent in QUALITIES {
            let options = EncodeOptions {
                quality: Quality::from_percent(percent)?,
                tune,
                ..EncodeOptions::default()
            };
            let file = encode(picture, model, &options, &NoProgress)?;
            counts.merge(&count_symbols(&file, model, &DecodeOptions::default())?);
        }
        Ok(counts)
    };
    let add = |mut a: SymbolCounts, b: SymbolCounts| {
        a.merge(&b);
        Ok(a)
    };
    pictures
        .par_iter()
        .map(of_picture)
        .try_reduce(SymbolCounts::default, add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode, model_id};

    #[test]
    fn fitted_tables_shorten_files_and_files_still_decode() {
        let bytes = include_bytes!("../../tests/vectors/tiny.safetensors");
        let weights = IntegerWeights::from_bytes(bytes).expect("the committed model is valid");
        let pixels = (0..3 * 160 * 128u32).map(|i| (i * (i / 480) / 50 % 256) as u8);
        let picture = Image::new(160, 128, pixels.collect()).expect("the sizes agree");
        let mut rounds = Vec::new();
        let pictures = std::slice::from_ref(&picture);
        let fitted = fit_tables(weights, pictures, Tune::default(), 2, &mut |round| {
            rounds.push(round);
        });
        let fitted = fitted.expect("it codes").to_bytes().expect("it is valid");
        assert!(rounds.len() == 2 && rounds[0].symbols > 1000);
        assert!(rounds[0].after < rounds[0].before);
        // The second round refines what the first one found.
        assert!(rounds[1].before < rounds[0].before);

        let (old, new) = (
            Model::from_bytes(bytes).expect("valid"),
            Model::from_bytes(&fitted).expect("valid"),
        );
        assert!(model_id(&old) != model_id(&new));
        let file = |model: &Model| {
            encode(&picture, model, &EncodeOptions::default(), &NoProgress).expect("it codes")
        };
        assert!(file(&new).len() < file(&old).len());
        let back = decode(&file(&new), &new, &DecodeOptions::default(), &NoProgress);
        assert_eq!(back.expect("it decodes").width, 160);
    }
}
