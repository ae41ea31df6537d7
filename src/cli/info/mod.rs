//! `aec info`: what is in a file, and what is in a model.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use serde_json::{Value, json};

mod report;

use report::Report;

use super::damage::report_damage;
use super::messages::{Complaint, GlobalOptions};
use super::models::{ModelOption, Models};
use super::options::{Resources, StageClock};
use super::{stdio, text};
use crate::bitstream::Container;
use crate::codec::{self, Model, Tune, model_id};
use crate::network::Side;

/// Arguments of `aec info`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// .aec files ('-' for stdin)
    #[arg(value_name = "FILE", required_unless_present = "model")]
    files: Vec<PathBuf>,

    /// Describe the built-in models, or the one of that file or name
    #[arg(long, value_name = "PATH|NAME", num_args = 0..=1, require_equals = true)]
    model: Option<Option<PathBuf>>,

    /// List every section with offset, length and checksum
    #[arg(long)]
    sections: bool,

    /// Also decode the latents and check every checksum
    #[arg(long)]
    verify: bool,

    /// Print JSON, one object per line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    resources: Resources,
}

/// Runs the command.
pub(super) fn run(args: Args, global: &GlobalOptions) -> anyhow::Result<()> {
    if let (Some(None), [path]) = (&args.model, &args.files[..]) {
        refuse_separate_name(path)?;
    }
    let option = ModelOption {
        model: args.model.clone().flatten(),
    };
    let needs_models = args.model.is_some() || args.verify;
    let models = needs_models.then(|| option.for_files(global)).transpose()?;
    let described = described_models(&args, &option)?;
    for (i, model) in described.iter().enumerate() {
        let lines = describe_model(model);
        print(&match (args.json, i) {
            (true, _) => model_json(lines),
            (false, 0) => model_text(&lines),
            (false, _) => format!("\n{}", model_text(&lines)),
        })?;
    }
    let mut failed = 0;
    for path in &args.files {
        match describe_file(path, &args, models.as_ref(), global) {
            Err(error) if args.files.len() == 1 => return Err(error),
            Err(error) => {
                global.error(&error);
                failed += 1;
            }
            // Nobody who reads on: then that is the end, and no fault of a file.
            Ok(text) => {
                let mut out = stdio::stdout()?;
                out.write_all(&text)?;
                out.flush()?;
            }
        }
    }
    if failed > 0 {
        let message = format!("{failed} of {} files failed", args.files.len());
        bail!(Complaint::failure(message, ""));
    }
    Ok(())
}

/// Refuses `--model NAME`, which are two arguments: the built-in model, and a file to describe.
fn refuse_separate_name(path: &Path) -> Result<(), Complaint> {
    let is_model = path.extension().is_some_and(|name| name == "safetensors");
    if is_model || !(path.exists() || stdio::is_standard_stream(path)) {
        let message = format!(
            "--model stands alone, and {} is no .aec file",
            text::quoted(path)
        );
        return Err(Complaint::usage(message, "name a model as --model=NAME"));
    }
    Ok(())
}

/// The models to describe: the one that is named, or all built-in ones.
fn described_models(args: &Args, option: &ModelOption) -> anyhow::Result<Vec<Arc<Model>>> {
    let tunes = match &args.model {
        None => &[][..],
        Some(Some(_)) => &[Tune::default()],
        Some(None) => &[Tune::Ssim, Tune::Psnr],
    };
    tunes.iter().map(|&tune| option.load(tune)).collect()
}

fn print(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(stdio::stdout()?, "{text}")?)
}

/// What is shown of a model: key, value.
fn describe_model(model: &Model) -> Vec<(&'static str, Value)> {
    let c = model.config();
    // Two decimals.
    let kmacs = |side| json!((c.macs_per_pixel(side) / 10.0).round() / 100.0);
    let stage = |blocks, channels| json!(format!("{blocks} blocks of {channels} channels"));
    vec![
        ("model", json!(model.name())),
        ("id", json!(model_id(model).to_string())),
        ("parameters", json!(c.parameters())),
        ("weights bytes", json!(model.bytes())),
        ("encoder kMAC/pixel", kmacs(Side::Encoder)),
        ("decoder kMAC/pixel", kmacs(Side::Decoder)),
        ("latent channels", json!(c.latent_channels)),
        ("hyper-latent channels", json!(c.hyper_channels)),
        ("stage at 1/8", stage(c.stage8_blocks, c.stage8_channels)),
        ("stage at 1/16", stage(c.stage16_blocks, c.stage16_channels)),
        ("context channels", json!(c.context_channels)),
        ("quality rows", json!(c.quality_rows)),
    ]
}

fn model_text(lines: &[(&str, Value)]) -> String {
    let width = lines.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    let text = |value: &Value| match (value.as_u64(), value.as_f64(), value.as_str()) {
        (Some(whole), ..) => text::thousands(whole),
        (None, Some(number), _) => format!("{number:.2}"),
        (.., text) => text.unwrap_or_default().to_owned(),
    };
    let line = |(key, value): &(&str, Value)| format!("{key:width$}  {}", text(value));
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn model_json(lines: Vec<(&str, Value)>) -> String {
    let name = |key: &str| key.replace([' ', '/', '-'], "_").to_lowercase();
    let object = lines.into_iter().map(|(key, value)| (name(key), value));
    Value::Object(object.collect()).to_string()
}

/// Parses, and on request decodes, one file: a text of what it contains.
fn describe_file(
    path: &Path,
    args: &Args,
    models: Option<&Models>,
    global: &GlobalOptions,
) -> anyhow::Result<Vec<u8>> {
    let name = stdio::input_name(path);
    let limits = args.resources.limits();
    let bytes = stdio::read_input(path, &limits)?;
    let model = models.map(|models| models.of_file(&bytes));
    // A file whose model is not here can be described without that model's name.
    let model = model
        .filter(|model| args.verify || model.is_ok())
        .transpose()
        .with_context(|| format!("cannot decode {name}"))?;
    if let Some(model) = model.as_ref().filter(|_| args.verify) {
        verify(&bytes, model, args, global).with_context(|| format!("cannot decode {name}"))?;
    }
    let container =
        Container::parse(&bytes, &limits).with_context(|| format!("cannot read {name}"))?;
    let mut report = Report::new(path, &bytes, &container)?;
    let id = container.header.model;
    let at_hand = model.as_ref().filter(|model| model_id(model) == id);
    let name = at_hand.map(|model| model.name());
    report.model_name = name.or_else(|| Model::name_of_embedded(id)).map(Into::into);
    report.lists_sections = args.sections;
    report.is_verified = args.verify;
    let mut text = Vec::new();
    if args.json {
        report.write_json(&mut text)?;
    } else {
        report.write_text(&mut text)?;
    }
    Ok(text)
}

/// Decodes all latents, which checks every checksum on the way; names every tile that is damaged.
fn verify(bytes: &[u8], model: &Model, args: &Args, global: &GlobalOptions) -> anyhow::Result<()> {
    let mut clock = StageClock::start(global);
    let options = args.resources.decoding();
    let damage = args
        .resources
        .install(|| Ok(codec::verify(bytes, model, &options)?))?;
    clock.lap("decode latents");
    report_damage(&damage, global);
    match damage.len() {
        0 => Ok(()),
        parts => Err(Complaint::failure(
            format!(
                "{} of its parts {} damaged",
                text::thousands(parts as u64),
                if parts == 1 { "is" } else { "are" }
            ),
            "'aec decode --keep-going' writes what is left of the picture, if anything is",
        )
        .into()),
    }
}
