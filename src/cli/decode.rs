//! `aec decode`: an `.aec` file in, a picture out.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::ValueEnum;

use super::messages::{Complaint, GlobalOptions};
use super::options::{ModelOption, Resources, StageClock, load_model};
use super::progress::Bar;
use super::{stdio, text};
use crate::bitstream::{Header, Reader};
use crate::codec::{self, Damage, DecodeOptions, Region};
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

    /// Decode this part only, in pixels of the upright picture
    ///
    /// Left, top, width and height. The pixels are the same as in the whole picture; only the
    /// tiles that are needed for them are decoded.
    #[arg(long, value_name = "X,Y,W,H", value_parser = parse_region)]
    region: Option<Region>,

    /// Write what is left of a damaged file; exit status 1
    ///
    /// Damaged tiles are named and become an even gray, their alpha opaque; damaged metadata is
    /// left out. A damaged header, or no tile left, is an error all the same.
    #[arg(long)]
    keep_going: bool,

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
    /// PNG, with alpha and metadata
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

impl Format {
    /// Refuses a format that cannot hold what the file says it has, before any work is done.
    fn check_alpha(self, bytes: &[u8]) -> Result<(), Complaint> {
        // A header that cannot be read is reported when the file is decoded.
        let header = Header::read(&mut Reader::new(bytes));
        let has_alpha = header.is_ok_and(|header| header.alpha.is_some());
        if self == Self::Ppm && has_alpha {
            return Err(Complaint::failure(
                "PPM cannot hold the alpha channel of this picture",
                "write a .png, or use --format png",
            ));
        }
        Ok(())
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

/// Reads `--region`: four numbers.
fn parse_region(text: &str) -> Result<Region, String> {
    let numbers: Vec<u32> = text
        .split(',')
        .map(|number| number.trim().parse())
        .collect::<Result<_, _>>()
        .map_err(|_| "not four whole numbers separated by commas".to_string())?;
    match numbers[..] {
        [_, _, 0, _] | [_, _, _, 0] => Err("the width and the height must be at least 1".into()),
        [x, y, width, height] => Ok(Region {
            x,
            y,
            width,
            height,
        }),
        _ => Err("not four whole numbers separated by commas".into()),
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
        region: args.region,
    };
    let bytes = stdio::read_input(&args.input, &options.limits)?;
    format.check_alpha(&bytes)?;
    let (image, damage) = args.resources.install(|| {
        let model = load_model(args.model.model.as_deref())?;
        clock.lap("load model");
        let bar = Bar::new("decoding", global);
        let decoded = if args.keep_going {
            codec::decode_damaged(&bytes, &model, &options, &bar)
        } else {
            codec::decode(&bytes, &model, &options, &bar).map(|image| (image, Vec::new()))
        };
        let decoded = decoded
            .map_err(|error| explain(error, &bytes))
            .with_context(|| format!("cannot decode {}", stdio::input_name(&args.input)))?;
        clock.lap("decode");
        Ok(decoded)
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
    report_damage(&damage, &stdio::input_name(&args.input), global)
}

/// Names what is damaged; an error if anything is.
fn report_damage(damage: &[Damage], name: &str, global: &GlobalOptions) -> anyhow::Result<()> {
    if damage.is_empty() {
        return Ok(());
    }
    for part in damage {
        global.error(&anyhow::anyhow!("{part}"));
    }
    let message = format!("{name} is damaged; what is left of the picture was written");
    Err(Complaint::failure(message, "").into())
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
    fn regions_are_four_numbers() {
        let region = parse_region("1,2, 3,4").unwrap();
        assert_eq!(region.to_string(), "1,2,3,4");
        for text in [
            "",
            "1,2,3",
            "1,2,3,4,5",
            "1,2,0,4",
            "1,2,3,0",
            "-1,2,3,4",
            "a,b,c,d",
        ] {
            assert!(parse_region(text).is_err(), "{text}");
        }
    }

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
