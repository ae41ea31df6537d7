//! From trained weights to a model: integers, with exponents chosen by what the networks make
//! of pictures at qualities across the range.
//!
//! The network of integers measures itself: first with steps that leave much room, then with
//! those that follow from it.

use rayon::prelude::*;

use crate::bitstream::Quality;
use crate::codec::{DecodeOptions, Effort, EncodeOptions, Model, NoProgress, decode, encode};
use crate::error::Result;
use crate::network::ranges::Ranges;
use crate::network::rounding::provisional_exponents;
use crate::network::{IntegerWeights, Weights};
use crate::picture::Image;

/// Qualities at which tensors are measured, in percent.
const QUALITIES: [f64; 6] = [0.0, 20.0, 40.0, 60.0, 80.0, 100.0];

/// How often they are.
const ROUNDS: usize = 2;

/// Rounds `weights` to a model that suits `pictures`.
///
/// # Errors
/// When a weight is not finite, or a picture cannot be coded.
pub fn export(weights: &Weights, pictures: &[Image]) -> Result<IntegerWeights> {
    let weights = &without_unread(weights.clone());
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

/// The weights with zeros where the first context step would read latents, none of which is decoded then: they do
/// nothing, but take room and make the steps of the others coarser.
fn without_unread(mut weights: Weights) -> Weights {
    let features = weights.config.context_channels;
    let inputs = features + weights.config.latent_channels;
    if let Some(values) = weights.layers.get_mut("context.0.conv_in") {
        let matrix = values.chunks_exact_mut(inputs).take(features);
        matrix.for_each(|row| row[features..].fill(0.0));
    }
    weights
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

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use candle_core::{Device, Tensor};

    use super::*;
    use crate::format::{CONTEXT_STEPS, PATCH8};
    use crate::network::context::StepMask;
    use crate::network::gains::RowPosition;
    use crate::network::{Grid, Inference};
    use crate::train::parameters::Parameters;

    fn values(count: usize) -> Vec<f32> {
        let value = |i: usize| ((i * 7919 + i / 7) % 1009) as f32 / 1009.0 - 0.5;
        (0..count).map(value).collect()
    }

    /// The size of the difference in parts of that of the values.
    fn difference(found: &[f32], wanted: &Tensor) -> candle_core::Result<f64> {
        let wanted = wanted.flatten_all()?.to_vec1::<f32>()?;
        assert_eq!(found.len(), wanted.len());
        let square = |v: f32| f64::from(v).powi(2);
        let errors: f64 = found.iter().zip(&wanted).map(|(a, b)| square(a - b)).sum();
        Ok((errors / wanted.iter().map(|v| square(*v)).sum::<f64>()).sqrt())
    }

    /// The exact network of integers and the trained one are one network: they differ by as
    /// much as the trained one's products in bf16 do.
    #[test]
    fn the_exact_network_is_near_the_trained_one() -> Result<()> {
        const TOLERANCE: f64 = 0.03;
        let bytes = include_bytes!("../../tests/vectors/tiny.safetensors");
        let integers = IntegerWeights::from_bytes(bytes)?;
        let parameters = Parameters::new(&integers.to_real(), &Device::Cpu, 1)?;
        let (trained, exact) = (&parameters.replicas[0], Inference::new(integers, None)?);
        let (h, w, stored) = (8, 12, 21_000);
        let position = RowPosition::new(stored, exact.config().quality_rows);
        let (gains, exact) = (trained.gains(&[position])?, exact.at_quality(stored));
        let tensor = |values: &[f32], shape| Tensor::from_slice(values, shape, &Device::Cpu);

        let patches = values(4 * h * w * PATCH8);
        let wanted = trained
            .analysis
            .forward(&tensor(&patches, (1, 2 * h, 2 * w, PATCH8))?, &gains)?;
        let stride = 2 * w * PATCH8;
        let read = |rows: Range<usize>, out: &mut [f32]| {
            out.copy_from_slice(&patches[rows.start * stride..rows.end * stride]);
        };
        let mut latent = Grid::zeros(h, w, exact.config().latent_channels);
        exact.analysis((h, w), &read, &mut |rows, values| {
            latent.rows_mut(rows).copy_from_slice(values);
            Ok(())
        })?;
        let found = difference(&latent.values, &wanted)?;
        assert!(found < TOLERANCE, "analysis: {found}");

        let latents = tensor(&latent.values, (1, h, w, latent.channels))?;
        let wanted = trained.hyper_analysis.forward(&latents)?;
        let hyper = exact.hyper_analysis(&latent)?;
        let found = difference(&hyper.values, &wanted)?;
        assert!(found < TOLERANCE, "hyper-analysis: {found}");

        let hyper_latent = tensor(&hyper.values, (1, h / 4, w / 4, hyper.channels))?;
        let features = trained.hyper_synthesis.forward(&hyper_latent, &gains)?;
        let exact_features = exact.hyper_synthesis(&hyper);
        let (mut state, mut exact_state) = (None, None);
        let mut known = Grid::zeros(h, w, latent.channels);
        for (step, context) in trained.context.iter().enumerate() {
            let latents = tensor(&known.values, (1, h, w, known.channels))?;
            let (means, scales) = context.forward(&features, &latents, &mut state)?;
            let params = exact.context_step(step, &exact_features, &known, &mut exact_state);
            let group = latent.channels / CONTEXT_STEPS;
            for at in 0..h * w {
                let first = StepMask::new(step).group_at(at / w, at % w) * group;
                let coded = at * latent.channels + first..at * latent.channels + first + group;
                known.values[coded.clone()].copy_from_slice(&latent.values[coded]);
            }
            let positions = || (0..h * w).map(|at| params.at(at / w, at % w));
            let found_means: Vec<f32> = positions().flat_map(|(means, _)| means.to_vec()).collect();
            let found_scales: Vec<f32> = positions().flat_map(|(_, s)| s.to_vec()).collect();
            let found = difference(&found_means, &means)?;
            assert!(found < TOLERANCE, "means of step {step}: {found}");
            let found = difference(&found_scales, &scales)?;
            assert!(found < TOLERANCE, "scales of step {step}: {found}");
        }

        let wanted = trained.synthesis.forward(&latents, &gains)?;
        let mut patches = Vec::new();
        exact.synthesis(&latent, &mut |_, values| {
            patches.extend_from_slice(values);
            Ok(())
        })?;
        let found = difference(&patches, &wanted)?;
        assert!(found < TOLERANCE, "synthesis: {found}");
        Ok(())
    }

    #[test]
    fn what_the_first_context_step_never_reads_is_dropped() -> Result<()> {
        let bytes = include_bytes!("../../tests/vectors/tiny.safetensors");
        let tiny = IntegerWeights::from_bytes(bytes)?.to_real();
        let picture = Image::new(
            64,
            64,
            (0..3 * 64 * 64u32).map(|i| (i * i / 99) as u8).collect(),
        )?;
        let exported = export(&tiny, &[picture])?.to_real();
        let features = tiny.config.context_channels;
        let inputs = features + tiny.config.latent_channels;
        let path = "context.0.conv_in";
        let rows = exported.layers[path]
            .chunks(inputs)
            .zip(tiny.layers[path].chunks(inputs));
        for (row, (found, before)) in rows.enumerate() {
            let is_zero = |value: &f32| *value == 0.0;
            if row < features {
                assert!(found[features..].iter().all(is_zero), "row {row}");
                assert!(!before[features..].iter().all(is_zero) && !found.iter().all(is_zero));
            } else {
                assert_eq!(found, before, "biases");
            }
        }
        Ok(())
    }

    #[test]
    fn rounded_weights_stand_for_the_trained_ones() -> Result<()> {
        let bytes = include_bytes!("../../tests/vectors/tiny.safetensors");
        let once = IntegerWeights::from_bytes(bytes)?;
        let real = once.to_real();
        // Rounding what integers stand for changes nothing, but for rows whose sums had to be
        // made smaller: of the linear path by half a step of 16 bits.
        let again = IntegerWeights::rounded(&real, once.exponents.clone())?.to_real();
        for (path, values) in &real.layers {
            let largest = values.iter().fold(0f32, |largest, v| largest.max(v.abs()));
            for (a, b) in values.iter().zip(&again.layers[path]) {
                assert!((a - b).abs() <= 2e-5 * largest, "{path}: {a} {b}");
            }
        }
        Ok(())
    }
}
