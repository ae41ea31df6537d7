//! `aec inspect`: where the bits of a file went, and where its error is.

mod exhibit;
mod maps;
mod output;
mod page;
mod report;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;

use super::messages::{Complaint, GlobalOptions};
use super::models::ModelOption;
use super::options::Resources;
use super::rate::parse_quality;
use super::stdio;
use crate::bitstream::{Quality, SIGNATURE};
use crate::codec::{self, EncodeOptions, NoProgress};
use crate::image::{Image, io};
use exhibit::Exhibit;

/// Most files beside each other.
const MAX_FILES: usize = 4;

/// Arguments of `aec inspect`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A picture is encoded and compared with what comes back; several qualities, or several \
                  .aec files, are shown side by side. Blocks are 16x16 pixels of the stored picture; \
                  what side information costs is shared evenly by the 16 blocks that it is about."
)]
pub(super) struct Args {
    /// A picture, or .aec files
    #[arg(value_name = "PICTURE|FILE", required = true, num_args = 1..=MAX_FILES)]
    inputs: Vec<PathBuf>,

    /// Qualities to encode the picture at, separated by commas
    #[arg(short, long, value_name = "LIST", value_delimiter = ',', default_value = "60",
          value_parser = parse_quality)]
    quality: Vec<Quality>,

    /// What the .aec files were made from, for their error
    #[arg(long, value_name = "PICTURE")]
    original: Option<PathBuf>,

    /// Folder for a page and maps, or a page alone (.html)
    ///
    /// The folder gets index.html, which needs no other file, overview.jpg, inspect.json, and the maps
    /// of bits and of error as PNG.
    #[arg(short, long, value_name = "DIR|PAGE.html")]
    out: Option<PathBuf>,

    /// Blocks to list, those that stand out most first
    #[arg(long, value_name = "N", default_value_t = 10)]
    blocks: usize,

    /// Print JSON, one object per line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    model: ModelOption,

    #[command(flatten)]
    resources: Resources,
}

/// Runs the command.
///
/// # Errors
/// When an input cannot be read, encoded or decoded, the sizes differ, or a result cannot be written.
pub(super) fn run(args: Args, global: &GlobalOptions) -> anyhow::Result<()> {
    let exhibits = args.resources.install(|| exhibits(&args, global))?;
    if let Some(out) = &args.out {
        output::write(out, &exhibits, args.blocks)?;
        global.say(&format!("wrote {}", output::page_path(out).display()));
    }
    let mut stdout = std::io::stdout().lock();
    for exhibit in &exhibits {
        let report = if args.json {
            report::json(exhibit, args.blocks).to_string()
        } else {
            report::text(exhibit, args.blocks)
        };
        writeln!(stdout, "{report}")?;
    }
    Ok(())
}

/// Everything that is shown.
fn exhibits(args: &Args, global: &GlobalOptions) -> anyhow::Result<Vec<Exhibit>> {
    let limits = args.resources.limits();
    let mut files = Vec::new();
    for path in &args.inputs {
        files.push(stdio::read_input(path, &limits)?);
    }
    let is_aec = |file: &Vec<u8>| file.starts_with(&SIGNATURE);
    let names = args
        .inputs
        .iter()
        .map(|path| stdio::input_name(path).trim_matches('\'').into());
    let (original, named): (_, Vec<(String, Vec<u8>)>) = if files.iter().all(is_aec) {
        let original = args.original.as_ref().map(|path| {
            let file = stdio::read_input(path, &limits)?;
            io::read(&file, &limits)
                .with_context(|| format!("cannot read {}", stdio::input_name(path)))
        });
        (original.transpose()?, names.zip(files).collect())
    } else if files.len() == 1 {
        let image = io::read(&files[0], &limits)
            .with_context(|| format!("cannot read {}", stdio::input_name(&args.inputs[0])))?;
        let named = encode(args, &image)?;
        (Some(image), named)
    } else {
        return Err(Complaint::usage(
            "several inputs are to be .aec files",
            "to compare qualities of a picture, list them with --quality",
        )
        .into());
    };
    let models = args.model.for_files(args.resources.device, global)?;
    let look = |(name, file): (String, Vec<u8>)| {
        let model = models.of_file(&file);
        Exhibit::new(name.clone(), &file, &model, original.as_ref(), &limits)
            .with_context(|| format!("cannot inspect '{name}'"))
    };
    named.into_iter().map(look).collect()
}

/// The files of a picture at all qualities, with their names.
fn encode(args: &Args, image: &Image) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    if args.quality.len() > MAX_FILES {
        let message = format!("at most {MAX_FILES} qualities fit side by side");
        return Err(Complaint::usage(message, "list fewer with --quality").into());
    }
    let model = args.model.load(args.resources.device)?;
    let name = stdio::input_name(&args.inputs[0]);
    let encode = |&quality: &Quality| {
        let options = EncodeOptions {
            quality,
            limits: args.resources.limits(),
            ..EncodeOptions::default()
        };
        let file = codec::encode(image, &model, &options, &NoProgress)
            .with_context(|| format!("cannot encode {name}"))?;
        let name = format!("{} at quality {quality}", name.trim_matches('\''));
        Ok((name, file))
    };
    args.quality.iter().map(encode).collect()
}
