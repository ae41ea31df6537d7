//! `aec fit-tables`: a model whose scale tables follow what the encoder really writes.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::messages::GlobalOptions;
use super::models;
use super::output::{Kind, Output, OverwriteOptions};
use super::rate::parse_tune;
use super::text;
use crate::codec::{Model, Tune};
use crate::network::IntegerWeights;
use crate::network::file::read_file;
use crate::train::data::MAX_PIXELS;
use crate::train::tables::{Round, fit_tables};

/// Smallest side of a picture that symbols are counted in.
const MIN_SIDE: u32 = 64;

/// Arguments of `aec fit-tables`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The pictures are encoded at qualities from 0 to 100, and the tables of the entropy coder \
                  fitted to the symbols. Files of the old model are not those of the new one."
)]
pub(super) struct Args {
    /// Pictures to count in, searched recursively
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    /// The model to start from [default: the built-in one for --tune]
    #[arg(long, value_name = "PATH|NAME")]
    model: Option<PathBuf>,

    /// Where to write the model (.safetensors)
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    #[command(flatten)]
    overwrite: OverwriteOptions,

    /// Pictures at most, spread evenly over the folder
    #[arg(long, value_name = "N", default_value = "100",
          value_parser = clap::value_parser!(u16).range(1..))]
    pictures: u16,

    /// What files are encoded for (search and built-in model): ssim, for the eye, or psnr
    #[arg(long, value_name = "METRIC", value_parser = parse_tune, default_value_t)]
    tune: Tune,

    /// Rounds of encoding, counting and fitting
    #[arg(long, value_name = "N", default_value = "2",
          value_parser = clap::value_parser!(u8).range(1..=10))]
    rounds: u8,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &GlobalOptions) -> anyhow::Result<()> {
    let existing = args.overwrite.existing(Kind::Data);
    let usual = Path::new(Model::embedded_name(args.tune));
    let model = args.model.as_deref().unwrap_or(usual);
    let output = Output::prepare(&args.out, existing)?.refuse_input(model)?;
    let weights = load(model)?;
    let most = args.pictures.into();
    let pictures = super::train::load_folder(&args.data, MIN_SIDE, MAX_PIXELS, most, global)?;
    global.say(&format!("counting in {} pictures", pictures.count()));
    let mut report = |round: Round| {
        let (symbols, part) = (round.symbols, 100.0 * (round.after / round.before - 1.0));
        global.say(&format!(
            "{symbols} symbols, {part:+.2} % bits with fitted tables"
        ));
    };
    let (images, rounds) = (pictures.images(), args.rounds.into());
    let fitted = fit_tables(weights, images, args.tune, rounds, &mut report)
        .context("cannot count the symbols")?;
    write(&fitted, output)?;
    global.say(&format!("model in {}", text::quoted(&args.out)));
    Ok(())
}

/// The model in a file, or a built-in one by its name.
fn load(path: &Path) -> anyhow::Result<IntegerWeights> {
    if let Some(model) = super::train::built_in(path)? {
        return Ok(model);
    }
    let read = || IntegerWeights::from_bytes(&read_file(&models::find(path))?);
    read().with_context(|| format!("cannot load the model {}", text::quoted(path)))
}

/// Writes a model that loads.
pub(super) fn write(weights: &IntegerWeights, output: Output) -> anyhow::Result<()> {
    let bytes = weights.to_bytes()?;
    Model::from_bytes(&bytes).context("the model is not valid")?;
    output.commit(|out| Ok(out.write_all(&bytes)?))
}
