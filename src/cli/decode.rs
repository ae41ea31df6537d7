//! `aec decode`: an `.aec` file in, a picture out.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::ValueEnum;

use super::messages::{Complaint, GlobalOptions};
use super::options::{ModelOption, Resources, StageClock, load_model};
use super::progress::Bar;
use super::{stdio, text};
use crate::codec::{self, DecodeOptions};
use crate::error::Error;
use crate::image::io;

/// Arguments of `aec decode`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// .aec file ('-' for stdin)
    input: PathBuf,

    /// Image to write: .png or .ppm ('-' for stdout)
    output: PathBuf,

    /// Output format when OUTPUT does not tell [default for '-': png]
    #[arg(long, value_name = "F")]
    format: Option<Format>,

    /// Do not copy Exif and XMP
    #[arg(long)]
    strip: bool,

    #[command(flatten)]
    model: ModelOption,

    /// Fail if OUTPUT exists
    #[arg(long, help_heading = "Resources")]
    no_clobber: bool,

    #[command(flatten)]
    resources: Resources,
}

/// A picture format that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// PNG, with metadata
    Png,
    /// PPM, or PGM for gray pictures
    Ppm,
}

impl Format {
    /// The format to write `path` in: as asked for, else by the extension.
    fn choose(asked: Option<Self>, path: &Path) -> Result<Self, Complaint> {
        if let Some(format) = asked {
            return Ok(format);
        }
        if stdio::is_standard_stream(path) {
            return Ok(Self::Png);
        }
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        match extension.to_lowercase().as_str() {
            "png" => Ok(Self::Png),
            "ppm" | "pgm" | "pnm" => Ok(Self::Ppm),
            _ => Err(Complaint::usage(
                format!(
                    "cannot tell the picture format from {}",
                    stdio::output_name(path)
                ),
                "name it .png or .ppm, or use --format",
            )),
        }
    }
}

impl From<Format> for io::OutputFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Png => Self::Png,
            Format::Ppm => Self::Ppm,
        }
    }
}

/// Runs the command.
pub(super) fn run(args: Args, global: &GlobalOptions) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut clock = StageClock::start(global);
    let format = Format::choose(args.format, &args.output)?;
    let output = stdio::Output::prepare(&args.output, args.no_clobber)?;
    let options = DecodeOptions {
        limits: args.resources.limits(),
        strip: args.strip,
    };
    let bytes = stdio::read_input(&args.input, &options.limits)?;
    let image = args.resources.install(|| {
        let model = load_model(args.model.model.as_deref())?;
        clock.lap("load model");
        let bar = Bar::new("decoding", global);
        let image = codec::decode(&bytes, &model, &options, &bar)
            .map_err(|error| explain(error, &bytes))
            .with_context(|| format!("cannot decode {}", stdio::input_name(&args.input)))?;
        clock.lap("decode");
        Ok(image)
    })?;
    output.commit(|out| io::write(&image, format.into(), out))?;
    clock.lap("write image");
    global.say(&format!(
        "{}: {}x{}, {}",
        stdio::route(&args.input, &args.output),
        image.width,
        image.height,
        text::speed(image.pixels(), started.elapsed()),
    ));
    Ok(())
}

/// Adds a hint when the input is a picture.
fn explain(error: Error, bytes: &[u8]) -> anyhow::Error {
    match error {
        Error::NotAec if io::is_picture(bytes) => {
            Complaint::failure(error.to_string(), "use 'aec encode' to compress a picture").into()
        }
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_asked_for_or_told_by_the_extension() {
        let choose = |asked, path: &str| Format::choose(asked, Path::new(path)).ok();
        assert_eq!(choose(None, "a.png"), Some(Format::Png));
        assert_eq!(choose(None, "a.PGM"), Some(Format::Ppm));
        assert_eq!(choose(None, "-"), Some(Format::Png));
        assert_eq!(choose(Some(Format::Ppm), "a.png"), Some(Format::Ppm));
        assert_eq!(choose(None, "a.jpg"), None);
        assert_eq!(choose(None, "png"), None);
    }
}
