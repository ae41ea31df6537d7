//! `aec export`: a model, in integers, of the weights of a training run.

use std::path::PathBuf;

use anyhow::Context;

use super::fit_tables::write;
use super::messages::GlobalOptions;
use super::output::{Kind, Output, OverwriteOptions};
use super::text;
use super::train::{load_folder, load_initial};
use crate::train::data::MAX_PIXELS;
use crate::train::export::export;

/// Smallest side of a picture that tensors are measured on.
const MIN_SIDE: u32 = 64;

/// Arguments of `aec export`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The weights are rounded to integers. How large the networks' values become is measured on \
                  pictures at qualities from 0 to 100. 'aec train' does this at every checkpoint with crops of \
                  its validation pictures; the entropy tables stay, see 'aec fit-tables'."
)]
pub(super) struct Args {
    /// The weights: weights.safetensors of a run
    #[arg(value_name = "WEIGHTS")]
    weights: PathBuf,

    /// Pictures to measure on, searched recursively
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    /// Where to write the model (.safetensors)
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    #[command(flatten)]
    overwrite: OverwriteOptions,

    /// Pictures at most, spread evenly over the folder
    #[arg(long, value_name = "N", default_value = "32",
          value_parser = clap::value_parser!(u16).range(1..))]
    pictures: u16,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &GlobalOptions) -> anyhow::Result<()> {
    let existing = args.overwrite.existing(Kind::Data);
    let output = Output::prepare(&args.out, existing)?.refuse_input(&args.weights)?;
    let weights = load_initial(&args.weights)?;
    let most = args.pictures.into();
    let pictures = load_folder(&args.data, MIN_SIDE, MAX_PIXELS, most, global)?;
    global.say(&format!("measuring on {} pictures", pictures.count()));
    let model = export(&weights, pictures.images()).context("cannot measure the weights")?;
    write(&model, output)?;
    global.say(&format!("model in {}", text::quoted(&args.out)));
    Ok(())
}
