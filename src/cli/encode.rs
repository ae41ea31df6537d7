//! `aec encode`: pictures in, `.aec` files out.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::Context;

use super::batch::{self, Batch, BatchOptions, Done, FileKinds, Task};
use super::memory::{self, Work};
use super::messages::{Complaint, GlobalOptions};
use super::models::ModelOption;
use super::options::{PICTURE_EXTENSIONS, PICTURES, Resources, StageClock, named_format};
use super::output::{Kind, Output, OverwriteOptions};
use super::progress::Bar;
use super::rate::{RateOptions, SearchOptions};
use super::{stdio, text};
use crate::bitstream::check_tile_size;
use crate::codec::{self, EncodeOptions, Model, NoProgress, Progress, Round, Tune};
use crate::error::Error;
use crate::format::SIGNATURE;
use crate::picture::Image;
use crate::picture::io::{self, Warning};
use crate::sync;

/// Arguments of `aec encode`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "aec encode [OPTIONS] <INPUT> <OUTPUT>\n       \
                            aec encode [OPTIONS] --out-dir <DIR> <INPUT>...")]
pub(super) struct Args {
    /// Image to compress: PNG, JPEG, WebP, PPM, TIFF, BMP, GIF, QOI or TGA ('-' for stdin)
    input: PathBuf,

    /// File to write ('-' for stdout)
    #[arg(required_unless_present = "out_dir")]
    output: Option<PathBuf>,

    /// More images and folders, with --out-dir
    #[arg(value_name = "INPUT", requires = "out_dir")]
    more: Vec<PathBuf>,

    #[command(flatten, next_help_heading = "Rate")]
    rate: RateOptions,

    #[command(flatten, next_help_heading = "Rate")]
    search: SearchOptions,

    /// Drop Exif and XMP; the ICC profile is kept
    #[arg(long, help_heading = "Content")]
    strip: bool,

    #[command(flatten, next_help_heading = "Content")]
    model: ModelOption,

    #[command(flatten)]
    batch: BatchOptions,

    #[command(flatten)]
    overwrite: OverwriteOptions,

    /// Give OUTPUT the modification time of INPUT
    #[arg(long, help_heading = "Resources")]
    preserve: bool,

    /// Side of a tile in pixels: a multiple of 64
    ///
    /// Larger tiles make slightly smaller files; smaller ones need less memory and give more
    /// threads something to do.
    #[arg(long, value_name = "N", default_value_t = EncodeOptions::default().tile_size, value_parser = parse_tile_size,
          help_heading = "Developer options", hide_short_help = true)]
    tile_size: u32,

    #[command(flatten)]
    resources: Resources,
}

/// Reads `--tile-size`.
fn parse_tile_size(text: &str) -> Result<u32, String> {
    let size = text.parse().map_err(|_| "not a whole number".to_string())?;
    check_tile_size(size).map(|()| size)
}

/// Runs the command.
pub(super) fn run(args: Args, global: &GlobalOptions) -> anyhow::Result<()> {
    match (&args.batch.out_dir, &args.output) {
        (None, Some(output)) => encode_one(&args, output, global),
        (Some(folder), _) => encode_many(&args, folder, global),
        (None, None) => unreachable!("the parser requires OUTPUT without --out-dir"),
    }
}

/// One picture to one file; either may be a stream.
fn encode_one(args: &Args, output: &Path, global: &GlobalOptions) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut clock = StageClock::start(global);
    refuse_picture_name(output)?;
    let existing = args.overwrite.existing(Kind::Encoded);
    let target = Output::prepare(output, existing)?
        .refuse_input(&args.input)?
        .with_time_of(&args.input, args.preserve)?;
    let limits = args.resources.limits();
    let bytes = stdio::read_input(&args.input, &limits)?;
    memory::check(io::size(&bytes), args.work(), &limits)
        .with_context(|| format!("cannot encode {}", stdio::input_name(&args.input)))?;
    let image = args.read_image(&args.input, &bytes, global)?;
    if io::is_lossy_source(&bytes) {
        global.warn(&format!(
            "{} is already lossy; encoding it again can only lower its quality",
            stdio::input_name(&args.input)
        ));
    }
    let input_bytes = bytes.len();
    drop(bytes);
    clock.lap("read image");
    let (result, model) = args.resources.install(|| {
        let model = args.model.load(args.tune())?;
        clock.lap("load model");
        let bar = Bar::new("encoding", global);
        let result = args.encode((&args.input, input_bytes), &image, &model, &bar)?;
        clock.lap("encode");
        Ok((result, model))
    })?;
    if let Some(warning) = result.warning(&args.input) {
        global.warn(&warning);
    }
    target.commit(|out| Ok(out.write_all(&result.file)?))?;
    let route = stdio::route(&args.input, output);
    global.say(&result.summary(&route, &image, &model, started));
    Ok(())
}

/// Refuses to write an `.aec` file under the name of a picture: two pictures that a shell pattern
/// found look like INPUT and OUTPUT.
fn refuse_picture_name(output: &Path) -> Result<(), Complaint> {
    match named_format(output) {
        Some(format) => {
            let name = stdio::output_name(output);
            let why =
                format!("it has the name of a {format} picture, and encode writes .aec files");
            let hint = "name it .aec, or give --out-dir to encode several pictures";
            Err(Complaint::usage(
                format!("cannot write {name}: {why}"),
                hint,
            ))
        }
        None => Ok(()),
    }
}

/// Files and folders of pictures to a folder of files.
fn encode_many(args: &Args, folder: &Path, global: &GlobalOptions) -> anyhow::Result<()> {
    let limits = args.resources.limits();
    let batch = Batch {
        label: "encoding",
        kinds: FileKinds {
            inputs: &PICTURE_EXTENSIONS,
            inputs_name: PICTURES,
            output: "aec",
            keeps_extension: args.batch.keep_extension,
        },
        size: io::size,
        writes: Kind::Encoded,
        overwrite: args.overwrite,
        limits,
        work: args.work(),
        global,
    };
    let pool = args.resources.pool()?;
    let model = pool.install(|| args.model.load(args.tune()))?;
    let encode = |task: &Task, bytes: &[u8]| {
        let started = Instant::now();
        let image = args.read_image(&task.input, bytes, global)?;
        let result = args.encode((&task.input, bytes.len()), &image, &model, &NoProgress)?;
        let output = batch
            .output(task)?
            .with_time_of(&task.input, args.preserve)?;
        output.commit(|out| Ok(out.write_all(&result.file)?))?;
        let route = stdio::route(&task.input, &task.output);
        Ok(Done {
            pixels: image.pixels(),
            whole_pixels: image.pixels(),
            bytes: result.file.len() as u64,
            line: result.summary(&route, &image, &model, started),
            warning: result.warning(&task.input),
            is_lossy: io::is_lossy_source(bytes),
        })
    };
    let inputs = batch::inputs(&args.input, args.output.as_deref(), &args.more);
    batch.run(&inputs, folder, &pool, encode)
}

impl Args {
    /// What to encode for: what is asked for, or what the built-in model is for that is, or what people see, unless a
    /// PSNR is the target.
    fn tune(&self) -> Tune {
        let asked = self.search.tune.or_else(|| self.model.built_in_tune());
        asked.unwrap_or_else(|| Tune::usual(self.rate.has_target_psnr()))
    }

    /// Reads a picture; says what is not kept of it.
    fn read_image(
        &self,
        input: &Path,
        bytes: &[u8],
        global: &GlobalOptions,
    ) -> anyhow::Result<Image> {
        let name = stdio::input_name(input);
        let (image, mut warnings) = io::read_with_warnings(bytes, &self.resources.limits())
            .map_err(|error| explain(error, bytes))
            .with_context(|| format!("cannot read {name}"))?;
        if self.strip {
            warnings.retain(|warning| !matches!(warning, Warning::NotKept(_)));
        }
        global.warn_about(&name, &warnings);
        Ok(image)
    }

    /// What is done with each picture.
    fn work(&self) -> Work {
        Work::encoding(self.search.effort, self.resources.thread_count())
    }

    /// The file of one picture, at the quality or for the target that is asked for.
    fn encode(
        &self,
        (input, input_bytes): (&Path, usize),
        image: &Image,
        model: &Model,
        progress: &dyn Progress,
    ) -> anyhow::Result<Encoding> {
        let options = EncodeOptions {
            quality: self.rate.quality,
            tile_size: self.tile_size,
            effort: self.search.effort,
            tune: self.tune(),
            strip: self.strip,
            limits: self.resources.limits(),
        };
        let progress = Watched {
            progress,
            psnr: Mutex::new(None),
        };
        let encoded = match self.rate.target() {
            None => codec::encode(image, model, &options, &progress)
                .map(|file| (String::new(), true, file)),
            Some(target) => codec::encode_to_target(image, model, &target, &options, &progress)
                .map(|found| (chosen(&found), found.is_met, found.file)),
        };
        let (chosen, is_met, file) =
            encoded.with_context(|| format!("cannot encode {}", stdio::input_name(input)))?;
        Ok(Encoding {
            file,
            chosen,
            is_met,
            input_bytes,
            psnr: sync::into_inner(progress.psnr),
        })
    }
}

/// PSNR in dB below which a picture is not recognised.
const LEAST_PSNR: f64 = 15.0;

/// Progress that remembers the PSNR of the file that the search found.
struct Watched<'a> {
    progress: &'a dyn Progress,
    psnr: Mutex<Option<f64>>,
}

impl Progress for Watched<'_> {
    fn report(&self, done: u64, total: u64) -> bool {
        self.progress.report(done, total)
    }

    fn round(&self, round: &Round) {
        if round.is_best {
            *sync::lock(&self.psnr) = Some(round.psnr);
        }
        self.progress.round(round);
    }
}

/// A picture's file, and what there is to say about it.
struct Encoding {
    file: Vec<u8>,
    /// What the search for a target chose and reached; empty without one.
    chosen: String,
    is_met: bool,
    /// Size of the input file.
    input_bytes: usize,
    /// PSNR in dB, where the search measured it.
    psnr: Option<f64>,
}

impl Encoding {
    /// What should not go unsaid about the file.
    fn warning(&self, input: &Path) -> Option<String> {
        let name = stdio::input_name(input);
        if !self.is_met {
            return Some(format!(
                "the target is out of reach for {name}; this is the closest file"
            ));
        }
        if let Some(psnr) = self.psnr.filter(|psnr| *psnr < LEAST_PSNR) {
            return Some(format!(
                "{name} comes out unlike the original ({psnr:.1} dB): this model cannot code its detail"
            ));
        }
        let (bytes, input_bytes) = (self.file.len(), self.input_bytes);
        (bytes > input_bytes).then(|| {
            let [bytes, input_bytes] = [bytes, input_bytes].map(|n| text::thousands(n as u64));
            format!("the file is larger than {name}: {bytes} bytes instead of {input_bytes}")
        })
    }

    /// One line: from where to where, how large, and how long it took.
    fn summary(&self, route: &str, image: &Image, model: &Model, started: Instant) -> String {
        let bytes = self.file.len() as u64;
        let (width, height) = image.upright_size();
        format!(
            "{route}: {width}x{height}, {} bytes, {}, {}model {}, {}",
            text::thousands(bytes),
            text::bits_per_pixel(bytes, image.pixels()),
            self.chosen,
            model.name(),
            text::speed(image.pixels(), started.elapsed()),
        )
    }
}

/// The quality that a search for a target chose, and the PSNR if that was the target.
fn chosen(found: &codec::Encoded) -> String {
    let psnr = found
        .psnr
        .map(|psnr| format!(" ({})", text::decibels(psnr)));
    format!("quality {}{}, ", found.quality, psnr.unwrap_or_default())
}

/// Adds a hint when the input is an `.aec` file already.
fn explain(error: Error, bytes: &[u8]) -> anyhow::Error {
    if !bytes.starts_with(&SIGNATURE) {
        return error.into();
    }
    let hint = "use 'aec decode' to get a picture";
    Complaint::failure("it is an .aec file already", hint).into()
}
