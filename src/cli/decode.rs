//! `aec decode`: `.aec` files in, pictures out.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;

use super::batch::{self, Batch, BatchOptions, Done, FileKinds, Task};
use super::damage::report_damage;
use super::memory::{self, Work};
use super::messages::{Complaint, GlobalOptions};
use super::models::ModelOption;
use super::options::{Resources, StageClock, named_format};
use super::output::{Kind, Output, OverwriteOptions};
use super::progress::Bar;
use super::{stdio, text};
use crate::bitstream::{Header, Reader};
use crate::codec::{self, Damage, DecodeOptions, Model, NoProgress, Progress, Region};
use crate::error::Error;
use crate::picture::Image;
use crate::picture::io::{self, OutputFormat};

/// Arguments of `aec decode`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "aec decode [OPTIONS] <INPUT> <OUTPUT>\n       \
                            aec decode [OPTIONS] --out-dir <DIR> <INPUT>...")]
pub(super) struct Args {
    /// .aec file ('-' for stdin)
    input: PathBuf,

    /// Image to write: .png, .ppm, .pgm or .pnm ('-' for stdout)
    #[arg(required_unless_present = "out_dir")]
    output: Option<PathBuf>,

    /// More .aec files and folders, with --out-dir
    #[arg(value_name = "INPUT", requires = "out_dir")]
    more: Vec<PathBuf>,

    /// Output format, whatever OUTPUT is called [default: by its name]
    ///
    /// For '-' and --out-dir, where it names the files too, the default is png. 'ppm' is PGM for gray pictures.
    #[arg(long, value_name = "F")]
    format: Option<OutputFormat>,

    /// Decode this part only, in pixels of the upright picture
    ///
    /// Left, top, width and height. The pixels are the same as in the whole picture; only the
    /// tiles that are needed for them are decoded.
    #[arg(long, value_name = "X,Y,W,H", value_parser = parse_region)]
    region: Option<Region>,

    /// Write what is left of a damaged file; exit status 1
    ///
    /// Damaged tiles are named and become an even gray, their alpha opaque; damaged metadata is
    /// left out. A damaged header, or no tile left, is an error all the same: pictures of up to
    /// 1024x1024 pixels are one tile, unless they were encoded with a smaller --tile-size.
    #[arg(long)]
    keep_going: bool,

    /// Do not copy Exif and XMP
    #[arg(long)]
    strip: bool,

    #[command(flatten)]
    model: ModelOption,

    #[command(flatten)]
    batch: BatchOptions,

    #[command(flatten)]
    overwrite: OverwriteOptions,

    /// Give OUTPUT the modification time of INPUT
    #[arg(long, help_heading = "Resources")]
    preserve: bool,

    #[command(flatten)]
    resources: Resources,
}

impl OutputFormat {
    /// The format to write `path` in: as asked for, else by the extension.
    fn choose(asked: Option<Self>, path: &Path) -> Result<Self, Complaint> {
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        let name = stdio::output_name(path);
        let by_name = match extension.to_lowercase().as_str() {
            "png" => Some(Self::Png),
            "ppm" | "pgm" | "pnm" => Some(Self::Ppm),
            "aec" => {
                let why = "it has the name of an .aec file, and decode writes pictures";
                let hint = "name it .png or .ppm, or give --out-dir to decode several files";
                return Err(Complaint::usage(
                    format!("cannot write {name}: {why}"),
                    hint,
                ));
            }
            _ if stdio::is_standard_stream(path) => Some(Self::Png),
            _ => None,
        };
        asked.or(by_name).ok_or_else(|| {
            let message = match named_format(path) {
                Some(format) => format!("cannot write {name}: {format} is not written"),
                None => format!("cannot tell the picture format from {name}"),
            };
            Complaint::usage(message, "name it .png or .ppm, or use --format")
        })
    }

    /// The extension of the files.
    fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Ppm => "ppm",
        }
    }

    /// Refuses a format that cannot hold what the file says it has, before any work is done.
    fn check_content(self, bytes: &[u8], output: &Path) -> Result<(), Complaint> {
        // A header that cannot be read is reported when the file is decoded.
        let Ok(header) = Header::read(&mut Reader::new(bytes)) else {
            return Ok(());
        };
        let is_pgm = output
            .extension()
            .is_some_and(|name| name.eq_ignore_ascii_case("pgm"));
        let (content, hint) = match self {
            Self::Ppm if header.alpha.is_some() => (
                "PPM cannot hold the alpha channel",
                "write a .png, or use --format png",
            ),
            Self::Ppm if is_pgm && !header.is_gray => {
                ("PGM cannot hold the colors", "name it .ppm or .png")
            }
            Self::Ppm | Self::Png => return Ok(()),
        };
        Err(Complaint::failure(
            format!("{content} of this picture"),
            hint,
        ))
    }
}

/// Reads `--region`: four numbers.
fn parse_region(text: &str) -> Result<Region, String> {
    let numbers = text.split(',').map(|number| number.trim().parse());
    match numbers.collect::<Result<Vec<u32>, _>>().as_deref() {
        Ok([_, _, 0, _] | [_, _, _, 0]) => {
            Err("the width and the height must be at least 1".into())
        }
        Ok(&[x, y, width, height]) => Ok(Region {
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
    match (&args.batch.out_dir, &args.output) {
        (None, Some(output)) => decode_one(&args, output, global),
        (Some(folder), _) => decode_many(&args, folder, global),
        (None, None) => unreachable!("the parser requires OUTPUT without --out-dir"),
    }
}

/// One file to one picture; either may be a stream.
fn decode_one(args: &Args, output: &Path, global: &GlobalOptions) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut clock = StageClock::start(global);
    let format = OutputFormat::choose(args.format, output)?;
    let existing = args.overwrite.existing(Kind::Picture);
    let target = Output::prepare(output, existing)?
        .refuse_input(&args.input)?
        .with_time_of(&args.input, args.preserve)?;
    let bytes = stdio::read_input(&args.input, &args.resources.limits())?;
    format.check_content(&bytes, output)?;
    let in_decoding = || cannot_decode(&args.input);
    args.check_size(&bytes).with_context(in_decoding)?;
    let (image, damage) = args.resources.install(|| {
        let models = args.model.for_files(global)?;
        let model = models.of_file(&bytes).with_context(in_decoding)?;
        clock.lap("load model");
        let bar = Bar::new("decoding", global);
        let image = args.decode(&args.input, &bytes, &model, &bar)?;
        clock.lap("decode");
        Ok(image)
    })?;
    let lost = io::not_kept(&image, format);
    target.commit(|out| io::write(&image, format, out))?;
    clock.lap("write image");
    global.warn_about(&stdio::output_name(output), lost.as_slice());
    let route = stdio::route(&args.input, output);
    global.say(&summary(&route, &image, started));
    refuse_damage(&damage, &stdio::input_name(&args.input), global)
}

/// Files and folders of files to a folder of pictures.
fn decode_many(args: &Args, folder: &Path, global: &GlobalOptions) -> anyhow::Result<()> {
    let format = args.format.unwrap_or(OutputFormat::Png);
    let batch = Batch {
        label: "decoding",
        kinds: FileKinds {
            inputs: &["aec"],
            inputs_name: ".aec files",
            output: format.extension(),
            keeps_extension: args.batch.keep_extension,
        },
        size: stdio::coded_size,
        writes: Kind::Picture,
        overwrite: args.overwrite,
        limits: args.resources.limits(),
        work: Work::Pass,
        global,
    };
    let pool = args.resources.pool()?;
    let models = pool.install(|| args.model.for_files(global))?;
    let decode = |task: &Task, bytes: &[u8]| {
        let started = Instant::now();
        format.check_content(bytes, &task.output)?;
        let model = models
            .of_file(bytes)
            .with_context(|| cannot_decode(&task.input))?;
        let (image, damage) = args.decode(&task.input, bytes, &model, &NoProgress)?;
        let output = batch
            .output(task)?
            .with_time_of(&task.input, args.preserve)?;
        output.commit(|out| io::write(&image, format, out))?;
        let lost = io::not_kept(&image, format);
        global.warn_about(&stdio::output_name(&task.output), lost.as_slice());
        refuse_damage(&damage, &stdio::input_name(&task.input), global)?;
        let route = stdio::route(&task.input, &task.output);
        let header = Header::read(&mut Reader::new(bytes))?;
        Ok(Done {
            pixels: image.pixels(),
            whole_pixels: u64::from(header.width) * u64::from(header.height),
            bytes: bytes.len() as u64,
            line: summary(&route, &image, started),
            warning: None,
            is_lossy: false,
        })
    };
    let inputs = batch::inputs(&args.input, args.output.as_deref(), &args.more);
    batch.run(&inputs, folder, &pool, decode)
}

impl Args {
    /// The picture, and what of its file is damaged if that is tolerated.
    fn decode(
        &self,
        input: &Path,
        bytes: &[u8],
        model: &Model,
        progress: &dyn Progress,
    ) -> anyhow::Result<(Image, Vec<Damage>)> {
        let options = DecodeOptions {
            strip: self.strip,
            region: self.region,
            ..self.resources.decoding()
        };
        let decoded = if self.keep_going {
            codec::decode_damaged(bytes, model, &options, progress)
        } else {
            codec::decode(bytes, model, &options, progress).map(|image| (image, Vec::new()))
        };
        decoded
            .map_err(|error| self.explain(error, bytes))
            .with_context(|| cannot_decode(input))
    }

    /// Refuses what is over the limits, or more than memory has room for, before a model is loaded for it.
    fn check_size(&self, bytes: &[u8]) -> anyhow::Result<()> {
        let limits = self.resources.limits();
        // A header that cannot be read is reported when the file is decoded.
        if let Ok(header) = Header::read(&mut Reader::new(bytes)) {
            limits.check_coded_pixels(header.width, header.height)?;
        }
        if self.region.is_none() {
            memory::check(stdio::coded_size(bytes), Work::Pass, &limits)?;
        }
        Ok(())
    }

    /// Adds what the user can do about an error: the input is a picture, or damaged.
    fn explain(&self, error: Error, bytes: &[u8]) -> anyhow::Error {
        let hint = match error {
            Error::NotAec if io::is_picture(bytes) => "use 'aec encode' to compress a picture",
            Error::Corrupt(_) | Error::Truncated { .. }
                if !self.keep_going && Header::read(&mut Reader::new(bytes)).is_ok() =>
            {
                "--keep-going writes what is left of a damaged file, if anything is"
            }
            other => return other.into(),
        };
        Complaint::failure(error.to_string(), hint).into()
    }
}

fn cannot_decode(input: &Path) -> String {
    format!("cannot decode {}", stdio::input_name(input))
}

/// One line: from where to where, and how long it took.
fn summary(route: &str, image: &Image, started: Instant) -> String {
    format!(
        "{route}: {}x{}, {}",
        image.width,
        image.height,
        text::speed(image.pixels(), started.elapsed()),
    )
}

/// Names what is damaged; an error if anything is.
fn refuse_damage(damage: &[Damage], name: &str, global: &GlobalOptions) -> anyhow::Result<()> {
    if damage.is_empty() {
        return Ok(());
    }
    report_damage(damage, global);
    let message = format!("{name} is damaged; what is left of the picture was written");
    Err(Complaint::failure(message, "").into())
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
        let choose = |asked, path: &str| OutputFormat::choose(asked, Path::new(path)).ok();
        assert_eq!(choose(None, "a.png"), Some(OutputFormat::Png));
        assert_eq!(choose(None, "a.PGM"), Some(OutputFormat::Ppm));
        assert_eq!(choose(None, "-"), Some(OutputFormat::Png));
        assert_eq!(
            choose(Some(OutputFormat::Ppm), "a.png"),
            Some(OutputFormat::Ppm)
        );
        assert_eq!(choose(None, "a.jpg"), None);
        assert_eq!(choose(None, "png"), None);
    }
}
