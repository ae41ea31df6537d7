//! `aec train`: weights from a folder of pictures.

mod curve;
mod gallery;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget};

use super::messages::GlobalOptions;
use super::models;
use super::output::{RESUME_OR_OVERWRITE, check_folder, write_file};
use super::progress::style;
use super::{interrupt, text};
use crate::atomic;
use crate::codec::Model;
use crate::error::Error;
use crate::network::embedded;
use crate::network::file::read_file;
use crate::network::{IntegerWeights, Weights};
use crate::picture::io::{OutputFormat, write};
use crate::train::data::{MAX_PIXELS, Pictures};
use crate::train::{
    ComputeDevice, Event, LOG, MODEL, RUN_FILES, Run, RunOptions, StepTimes, TrainConfig,
};

/// Arguments of `aec train`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Training images, searched recursively
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    /// Images for the periodic check [default: every 50th of --data]
    #[arg(long, value_name = "DIR")]
    validation: Option<PathBuf>,

    /// Run folder: configuration, log, checkpoint, model
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Model sizes and schedule in TOML; the flags below override it
    ///
    /// A run that is resumed goes on with the configuration in its folder.
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    config: Option<PathBuf>,

    /// Start from these weights: a file, or the name of a built-in model (base, base-ssim)
    ///
    /// The weights.safetensors of a run, or a model: its integers are the weights rounded. The
    /// optimizer starts afresh, with a warm-up.
    #[arg(long, value_name = "MODEL", conflicts_with = "resume")]
    init: Option<PathBuf>,

    /// Add the configuration's layers and latent channels that --init lacks
    ///
    /// Blocks, states between context steps and gains start as the identity, so that the
    /// grown model computes what the initial one did. Latent channels start as the pictures' next
    /// principal components, which are zero at low qualities.
    #[arg(long, requires = "init")]
    grow: bool,

    /// Continue the run in --out
    #[arg(long)]
    resume: bool,

    /// Start anew in --out, replacing the run that is there
    #[arg(long, conflicts_with = "resume")]
    overwrite: bool,

    /// Optimizer steps in all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,

    /// Crops per step
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: Option<u16>,

    /// Crop side in pixels: a multiple of 64
    #[arg(long, value_name = "PX")]
    crop: Option<u16>,

    /// Peak learning rate
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,

    /// Seed of weights, crops and noise
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Leave out pictures beyond this many pixels in all
    ///
    /// All pictures are held in memory, 3 bytes for a pixel.
    #[arg(long, value_name = "N", default_value_t = MAX_PIXELS, value_parser = clap::value_parser!(u64).range(1..))]
    max_pixels: u64,

    /// Where to train
    ///
    /// The pictures are copied to a GPU's memory.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: ComputeDevice,

    /// Worker threads [default: all cores]
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

/// Runs the command.
pub(super) fn run(args: Args, global: &GlobalOptions) -> anyhow::Result<()> {
    #[cfg(feature = "mimalloc")]
    crate::kernels::memory::keep_freed_memory();
    let threads = args.threads.map_or(0, usize::from);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .context("cannot start the worker threads")?;
    pool.install(|| train(&args, global))
}

fn train(args: &Args, global: &GlobalOptions) -> anyhow::Result<()> {
    args.device.check()?;
    if !args.resume && !args.overwrite {
        check_folder(&args.out, &RUN_FILES, "a run", RESUME_OR_OVERWRITE)?;
    }
    atomic::remove_left(&args.out);
    let init = args.init.as_deref().map(load_initial).transpose()?;
    let config = configure(args, init.as_ref())?;
    let (pictures, validation) = load_pictures(args, &config, global)?;
    let (count, megapixels) = (pictures.count(), pictures.pixels() / 1_000_000);
    global.say(&format!(
        "{count} training pictures ({megapixels} MP), {} for validation",
        validation.count()
    ));
    let options = RunOptions {
        out: args.out.clone(),
        resume: args.resume,
        init,
        grow: args.grow,
        device: args.device,
    };
    let mut run = Run::new(config, &pictures, options).context("cannot start the run")?;
    let bar = progress_bar(&run, global);
    let stop = interrupt::stop_at_request();
    let crops = gallery_crops(&validation, run.config().crop);
    let mut report = |event: Event| {
        show(&bar, &event, global);
        if matches!(event, Event::Validation { .. }) {
            // The run is worth more than its pictures: it goes on without them.
            if let Err(error) = draw(&args.out, &crops, global) {
                bar.suspend(|| global.warn(&format!("cannot draw the run: {error:#}")));
            }
        }
        !stop.load(Ordering::Relaxed)
    };
    run.train(&pictures, &validation, &mut report)
        .context("training failed")?;
    bar.finish_and_clear();
    let (step, steps, model) = (run.step(), run.config().steps, run.model_path());
    global.say(&format!(
        "step {step} of {steps}, model in {}",
        text::quoted(&model)
    ));
    if step < steps {
        global.say("go on with --resume");
        return Err(Error::Cancelled.into());
    }
    Ok(())
}

/// The crops that the gallery shows, and their side.
fn gallery_crops(validation: &Pictures, side: usize) -> (Vec<Vec<u8>>, u32) {
    let shown = (0..validation.count()).take(gallery::COLUMNS);
    let crops = shown.map(|i| validation.center_crop(i, side)).collect();
    (crops, u32::try_from(side).unwrap_or(u32::MAX))
}

/// Refreshes the run folder's pictures: `loss.svg`, `reconstructions.png`.
fn draw(
    out: &Path,
    (crops, side): &(Vec<Vec<u8>>, u32),
    global: &GlobalOptions,
) -> anyhow::Result<()> {
    let figure = curve::figure(&std::fs::read_to_string(out.join(LOG))?);
    let model = Model::load(&out.join(MODEL))?;
    let grid = gallery::grid(&model, crops, *side)?;
    let mut picture = Vec::new();
    write(&grid, OutputFormat::Png, &mut picture)?;
    let files = [
        ("loss.svg", figure.svg().into_bytes()),
        ("reconstructions.png", picture),
    ];
    for (name, bytes) in files {
        write_file(&out.join(name), &bytes)?;
    }
    global.detail(|| format!("pictures of the run in {}", text::quoted(out)));
    Ok(())
}

/// Trained weights, or those that the integers of a model stand for (the name of a built-in one too).
pub(super) fn load_initial(path: &Path) -> anyhow::Result<Weights> {
    if let Some(model) = built_in(path)? {
        return Ok(model.to_real());
    }
    let read = || Weights::of_any(&read_file(&models::find(path))?);
    read().with_context(|| format!("cannot load the model {}", text::quoted(path)))
}

/// The built-in model of this name.
pub(super) fn built_in(name: &Path) -> anyhow::Result<Option<IntegerWeights>> {
    let model = name.to_str().and_then(embedded::named);
    let weights = model.map(|model| IntegerWeights::from_bytes(model.bytes));
    weights
        .transpose()
        .context("cannot load the built-in model")
}

/// The configuration: the run folder's on --resume, else the file's or the default; then the flags.
fn configure(args: &Args, init: Option<&Weights>) -> anyhow::Result<TrainConfig> {
    let file = if args.resume {
        Some(args.out.join("config.toml"))
    } else {
        args.config.clone()
    };
    let mut config = match file {
        Some(path) => {
            let name = || format!("cannot read the configuration {}", text::quoted(&path));
            TrainConfig::from_toml(&std::fs::read_to_string(&path).with_context(name)?)
                .with_context(name)?
        }
        None => TrainConfig {
            model: init.map_or_else(crate::network::ModelConfig::base, |w| w.config.clone()),
            ..TrainConfig::default()
        },
    };
    config.steps = args.steps.unwrap_or(config.steps);
    config.batch = args.batch.map_or(config.batch, usize::from);
    config.crop = args.crop.map_or(config.crop, usize::from);
    config.learning_rate = args.learning_rate.unwrap_or(config.learning_rate);
    config.seed = args.seed.unwrap_or(config.seed);
    config.validate()?;
    Ok(config)
}

fn load_pictures(
    args: &Args,
    config: &TrainConfig,
    global: &GlobalOptions,
) -> anyhow::Result<(Pictures, Pictures)> {
    let side = u32::try_from(config.crop).unwrap_or(u32::MAX);
    let pictures = load_folder(&args.data, side, args.max_pixels, usize::MAX, global)?;
    match &args.validation {
        Some(folder) => {
            let left = args.max_pixels.saturating_sub(pictures.pixels());
            Ok((
                pictures,
                load_folder(folder, side, left, usize::MAX, global)?,
            ))
        }
        None => Ok(pictures.split_for_validation()),
    }
}

/// The pictures below a folder of at least `side` pixels in width and height; those that are
/// left out are warned of.
pub(super) fn load_folder(
    folder: &Path,
    side: u32,
    max_pixels: u64,
    most: usize,
    global: &GlobalOptions,
) -> anyhow::Result<Pictures> {
    let warn =
        |path: &Path, why: &str| global.warn(&format!("left out {}: {why}", text::quoted(path)));
    Pictures::load(folder, side, max_pixels, most, &warn)
        .with_context(|| format!("cannot use the folder {}", text::quoted(folder)))
}

fn progress_bar(run: &Run, global: &GlobalOptions) -> ProgressBar {
    let bar = ProgressBar::new(run.config().steps);
    bar.set_position(run.step());
    bar.reset_eta();
    bar.set_style(style("{pos}/{len} [{bar:30}] {msg} {elapsed} / {duration}"));
    if global.quiet {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}

/// Where a step's time goes, for `--verbose`.
fn milliseconds(times: &StepTimes) -> String {
    let parts = [
        ("data", times.data),
        ("forward", times.forward),
        ("backward", times.backward),
        ("sums", times.gradients),
        ("optimizer", times.optimizer),
    ];
    let parts = parts.map(|(name, seconds)| format!("{name} {:.1}", 1e3 * seconds));
    format!("ms: {}", parts.join(", "))
}

fn show(bar: &ProgressBar, event: &Event, global: &GlobalOptions) {
    match event {
        Event::Step { step } => bar.set_position(*step),
        Event::Progress {
            step,
            loss,
            bpp,
            psnr,
            steps_per_second,
            times,
        } => {
            let text =
                format!("loss {loss:.3} {bpp:.3} bpp {psnr:.2} dB {steps_per_second:.2} steps/s");
            bar.set_message(text.clone());
            global.detail(|| format!("step {step}: {text}; {}", milliseconds(times)));
        }
        Event::Validation {
            step,
            loss,
            seen_loss,
            points,
        } => {
            let points: Vec<String> = points
                .iter()
                .map(|(bpp, psnr)| format!("{bpp:.3} bpp {psnr:.2} dB"))
                .collect();
            bar.suspend(|| {
                global.say(&format!(
                    "step {step}: validation loss {loss:.3}, of training crops {seen_loss:.3}; {}",
                    points.join(", ")
                ))
            });
        }
        Event::Skipped { step } => {
            bar.suspend(|| global.warn(&format!("step {step}: gradient is not finite, skipped")))
        }
    }
}
