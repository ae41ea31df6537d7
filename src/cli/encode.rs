//! `aec encode`: a picture in, an `.aec` file out.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;

use super::messages::{Complaint, GlobalOptions};
use super::options::{ModelOption, Resources, StageClock, load_model};
use super::progress::Bar;
use super::{stdio, text};
use crate::bitstream::{Container, Quality};
use crate::codec::{self, EncodeOptions};
use crate::error::Error;
use crate::image::{Image, io};
use crate::limits::Limits;

/// Arguments of `aec encode`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Image to compress: PNG, JPEG, WebP or PPM ('-' for stdin)
    input: PathBuf,

    /// File to write ('-' for stdout)
    output: PathBuf,

    /// Quality, 0 (smallest) to 100 (best), decimals allowed
    #[arg(short, long, value_name = "Q", default_value = "60", value_parser = parse_quality,
          help_heading = "Rate")]
    quality: Quality,

    /// Drop Exif and XMP; the ICC profile is kept
    #[arg(long, help_heading = "Content")]
    strip: bool,

    #[command(flatten, next_help_heading = "Content")]
    model: ModelOption,

    /// Fail if OUTPUT exists
    #[arg(long, help_heading = "Resources")]
    no_clobber: bool,

    /// Side of a tile in pixels: a multiple of 64
    ///
    /// Larger tiles make slightly smaller files; smaller ones need less memory and give more
    /// threads something to do.
    #[arg(long, value_name = "N", default_value_t = EncodeOptions::default().tile_size,
          help_heading = "Developer options", hide_short_help = true)]
    tile_size: u32,

    #[command(flatten)]
    resources: Resources,
}

/// Reads `--quality`: a number from 0 to 100.
fn parse_quality(text: &str) -> Result<Quality, String> {
    let percent: f64 = text.parse().map_err(|_| "not a number".to_string())?;
    Quality::from_percent(percent).map_err(|error| error.to_string())
}

/// Runs the command.
pub(super) fn run(args: Args, global: &GlobalOptions) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut clock = StageClock::start(global);
    let output = stdio::Output::prepare(&args.output, args.no_clobber)?;
    let options = EncodeOptions {
        quality: args.quality,
        tile_size: args.tile_size,
        strip: args.strip,
        limits: args.resources.limits(),
    };
    let image = read_image(&args, &options.limits, global)?;
    clock.lap("read image");
    let (file, model) = args.resources.install(|| {
        let model = load_model(args.model.model.as_deref())?;
        clock.lap("load model");
        let bar = Bar::new("encoding", global);
        let file = codec::encode(&image, &model, &options, &bar)
            .with_context(|| format!("cannot encode {}", stdio::input_name(&args.input)))?;
        clock.lap("encode");
        Ok((file, model.name().to_string()))
    })?;
    output.commit(|out| Ok(out.write_all(&file)?))?;
    let bytes = file.len() as u64;
    global.say(&format!(
        "{}: {}x{}, {} bytes, {}, model {model}, {}",
        stdio::route(&args.input, &args.output),
        image.width,
        image.height,
        text::thousands(bytes),
        text::bits_per_pixel(bytes, image.pixels()),
        text::speed(image.pixels(), started.elapsed()),
    ));
    Ok(())
}

/// Reads the input picture; warns when it was compressed with loss before.
fn read_image(args: &Args, limits: &Limits, global: &GlobalOptions) -> anyhow::Result<Image> {
    let name = stdio::input_name(&args.input);
    let bytes = stdio::read_input(&args.input, limits)?;
    let image = io::read(&bytes, limits)
        .map_err(|error| explain(error, &bytes, limits))
        .with_context(|| format!("cannot read {name}"))?;
    if io::is_lossy_source(&bytes) {
        global.warn(&format!(
            "{name} is already lossy; encoding it again can only lower its quality"
        ));
    }
    Ok(image)
}

/// Adds a hint when the input is an `.aec` file already.
fn explain(error: Error, bytes: &[u8], limits: &Limits) -> anyhow::Error {
    match Container::parse(bytes, limits) {
        Err(Error::NotAec) => error.into(),
        _ => Complaint::failure(
            "it is an .aec file already",
            "use 'aec decode' to get a picture",
        )
        .into(),
    }
}
