//! `aec inspect`: where the bits of a file went, and where its error is.

mod exhibit;
mod maps;
mod output;
mod page;
mod report;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::messages::{Complaint, GlobalOptions};
use super::models::ModelOption;
use super::options::Resources;
use super::output::check_folder;
use super::rate::{parse_effort, parse_quality, parse_tune};
use super::{stdio, text};
use crate::bitstream::Quality;
use crate::codec::{self, Effort, EncodeOptions, NoProgress, Tune};
use crate::format::SIGNATURE;
use crate::picture::{Image, io};
use exhibit::Exhibit;

/// Most files beside each other.
const MAX_FILES: usize = 4;

/// Arguments of `aec inspect`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A picture is encoded and compared with what comes back; several qualities or tunes, or \
                  several .aec files, are shown side by side. Blocks are 16x16 pixels of the stored picture; \
                  what side information costs is shared evenly by the 16 blocks that it is about."
)]
pub(super) struct Args {
    /// A picture, or up to four .aec files
    #[arg(value_name = "PICTURE|FILE", required = true, num_args = 1..=MAX_FILES)]
    inputs: Vec<PathBuf>,

    /// Qualities to encode the picture at, separated by commas [default: 60]
    #[arg(short, long, value_name = "LIST", value_delimiter = ',', value_parser = parse_quality,
          conflicts_with = "original")]
    quality: Vec<Quality>,

    /// What to encode for: ssim, psnr, or both, separated by commas [default: ssim]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_tune,
          conflicts_with = "original")]
    tune: Vec<Tune>,

    /// Effort of encoding, 1 to 9 [default: 4]
    #[arg(short, long, value_name = "N", value_parser = parse_effort, conflicts_with = "original")]
    effort: Option<Effort>,

    /// What the .aec files were made from, for their error
    #[arg(long, value_name = "PICTURE")]
    original: Option<PathBuf>,

    /// Folder for a page and maps, or a page alone (.html)
    ///
    /// The folder gets index.html, which needs no other file, overview.jpg, inspect.json, and the maps
    /// of bits and of error as PNG.
    #[arg(short, long, value_name = "DIR|PAGE.html")]
    out: Option<PathBuf>,

    /// Replace what --out holds
    #[arg(long, requires = "out")]
    overwrite: bool,

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
    if let Some(out) = &args.out
        && !args.overwrite
    {
        let page = output::page_path(out);
        let (folder, name) = (page.parent().unwrap_or(Path::new("")), page.file_name());
        let name = name.unwrap_or_default().to_string_lossy();
        let files: &[&str] = if page == *out {
            &[&name]
        } else {
            &output::FILES
        };
        let hint = "name another folder or page, or replace it with --overwrite";
        check_folder(folder, files, "a page", hint)?;
    }
    if let Some(out) = &args.out {
        for input in args.inputs.iter().chain(&args.original) {
            output::refuse_input(out, input)?;
        }
    }
    let exhibits = args.resources.install(|| exhibits(&args, global))?;
    if let Some(out) = &args.out {
        output::write(out, &exhibits, args.blocks)?;
        global.say(&format!("wrote {}", text::quoted(&output::page_path(out))));
    }
    let mut stdout = stdio::stdout()?;
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
    let are_aec = files.iter().all(|file| file.starts_with(&SIGNATURE));
    check_usage(args, are_aec)?;
    let read = |path: &Path, file: &[u8]| {
        let name = stdio::input_name(path);
        io::read(file, &limits).with_context(|| format!("cannot read {name}"))
    };
    let (original, named) = if are_aec {
        let original = args.original.as_ref();
        let original = original.map(|path| read(path, &stdio::read_input(path, &limits)?));
        let names = args.inputs.iter().map(|path| stdio::plain_name(path));
        (original.transpose()?, names.zip(files).collect())
    } else {
        let image = read(&args.inputs[0], &files[0])?;
        let named = encode(args, &image)?;
        (Some(image), named)
    };
    let (models, options) = (args.model.for_files(global)?, args.resources.decoding());
    let look = |(name, file): (String, Vec<u8>)| {
        let model = models.of_file(&file)?;
        Exhibit::new(name.clone(), &file, &model, original.as_ref(), &options)
            .with_context(|| format!("cannot inspect '{name}'"))
    };
    named.into_iter().map(look).collect()
}

/// Refuses what contradicts the kind of the inputs.
fn check_usage(args: &Args, are_aec: bool) -> Result<(), Complaint> {
    let encodes = !args.quality.is_empty() || !args.tune.is_empty() || args.effort.is_some();
    if are_aec && encodes {
        let message = "--quality, --tune and --effort are for pictures; an .aec file has its own";
        return Err(Complaint::usage(message, "leave them out"));
    }
    if !are_aec && args.inputs.len() > 1 {
        return Err(Complaint::usage(
            "several inputs must all be .aec files",
            "to compare encodings of a picture, list qualities or tunes with --quality and --tune",
        ));
    }
    if !are_aec && args.original.is_some() {
        let message = "--original is for .aec files; a picture is its own";
        return Err(Complaint::usage(message, "leave it out"));
    }
    if args.quality.len().max(1) * args.tune.len().max(1) > MAX_FILES {
        let message = format!("at most {MAX_FILES} encodings fit side by side");
        return Err(Complaint::usage(message, "list fewer qualities or tunes"));
    }
    Ok(())
}

/// The files of a picture at all qualities and for all tunes, with their names.
fn encode(args: &Args, image: &Image) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let name = stdio::plain_name(&args.inputs[0]);
    let usual = EncodeOptions::default();
    let qualities = match args.quality[..] {
        [] => &[usual.quality],
        _ => &args.quality[..],
    };
    let tunes: Vec<(Tune, String)> = match args.tune[..] {
        [] => vec![(Tune::usual(false), String::new())],
        _ => args
            .tune
            .iter()
            .map(|&tune| (tune, format!(", tune {}", tune.name())))
            .collect(),
    };
    let mut files = Vec::new();
    for (tune, suffix) in &tunes {
        let model = args.model.load(*tune)?;
        for &quality in qualities {
            let options = EncodeOptions {
                quality,
                tune: *tune,
                effort: args.effort.unwrap_or(usual.effort),
                limits: args.resources.limits(),
                ..usual
            };
            let file = codec::encode(image, &model, &options, &NoProgress)
                .with_context(|| format!("cannot encode '{name}'"))?;
            files.push((format!("{name} at quality {quality}{suffix}"), file));
        }
    }
    Ok(files)
}
